"""`raypol cluster`: what this machine or a cluster offers, what it can scale to, and how to ask for it."""

from dataclasses import dataclass

from rich.console import Console

from raypol.cli.cluster_tables import cluster_tables, look, needs_table, show_cluster_file, spellings
from raypol.cli.sweep import plan_of_file
from raypol.cluster.cluster_file import read_cluster_file
from raypol.cluster.scaling import view_of_file
from raypol.core.errors import InputError
from raypol.runs.sweeps.design import SizeName


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Show what this machine offers, or the nodes of a running Ray cluster and what its autoscaler can start."""

    address: str | None = None
    """Address of a running cluster (auto finds one on this machine); None shows this machine."""
    file: str | None = None
    """A cluster file for `ray up`: it is checked, and what it can start is shown; nothing is started."""
    sweep: str | None = None
    """A sweep file: what its trials would need of this cluster."""
    size: SizeName = "paper"
    """The sweep's size."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Run it."""
        if self.file is not None and self.address is not None:
            raise InputError("--file and --address name two clusters; expected one of them")
        out = Console(highlight=False, markup=False)
        if self.file is not None:
            show_cluster_file(self.file, out)
            view = view_of_file(read_cluster_file(self.file))
        else:
            view = look(self.address)
            title = "this machine (no cluster asked)" if self.address is None else f"cluster at {self.address}"
            out.print(cluster_tables(view, title=title))
        offers = [*view.nodes, *view.scalable.types]
        out.print("devices to ask for with --device: " + ", ".join(spellings(offers)), soft_wrap=True)
        if self.sweep is not None:
            plan = plan_of_file(self.sweep, self.size)
            out.print(needs_table(plan.groups(), plan.num_trials, view.nodes, view.scalable))
        return 0
