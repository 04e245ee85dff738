"""What a cluster file for `ray up` can start, as a table."""

from rich.console import Console
from rich.table import Table

from raypol.cluster.launcher import read_cluster_file


def show_cluster_file(path: str, out: Console) -> None:
    """Check a cluster file and show its node types, and what is still to be filled in.

    Raises:
        InputError: what is wrong with it.
    """
    file = read_cluster_file(path)
    table = Table(title=f"{file.path}: cluster {file.name}", title_justify="left", box=None, pad_edge=False)
    for column in ("node type", "machine", "CPU", "GPU", "accelerator", "nodes", "spot", "labels"):
        table.add_column(column, justify="right" if column in ("CPU", "GPU", "nodes") else "left")
    for node in file.node_types:
        table.add_row(
            node.name,
            node.machine or "-",
            str(node.resources.get("CPU", "-")),
            str(node.resources.get("GPU", "-")),
            node.accelerator or "-",
            "1" if node.is_head else f"{node.min_workers} to {node.max_workers}",
            "yes" if node.spot else "no",
            ", ".join(f"{key}={value}" for key, value in sorted(node.labels.items())) or "-",
        )
    out.print(table)
    out.print(
        f"valid for Ray's provider {file.provider}; one head and at most {file.max_workers} workers at once",
        soft_wrap=True,
    )
    if file.unfilled:
        out.print("\n  ".join(["still to fill in:", *file.unfilled]), soft_wrap=True)
