"""`raypol cluster`: what this machine or a cluster offers, what it can scale to, and how to ask for it."""

from dataclasses import dataclass

from raypol.cli.cluster_tables import cluster_tables, device_names, needs_table, show_cluster_file, view_of
from raypol.cli.console import print_tables, say
from raypol.cli.options import Debug
from raypol.cli.sweep import plan_of_file
from raypol.cli.sweep_options import Size
from raypol.cluster.cluster_file import read_cluster_file
from raypol.cluster.scaling import view_of_file
from raypol.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ClusterCommand:
    """Show what this machine offers, or the nodes of a running Ray cluster and what its autoscaler can start."""

    address: str | None = None
    """Address of a running cluster (auto finds one on this machine); None shows this machine."""
    file: str | None = None
    """A cluster file for `ray up`: check it and show what it can start; nothing is started."""
    sweep: str | None = None
    """A sweep file: show what its trials would need of this cluster."""
    size: Size = "paper"
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        if self.file is not None and self.address is not None:
            raise InputError("--file and --address name two clusters; expected one of them")
        if self.file is not None:
            file = read_cluster_file(self.file)
            show_cluster_file(file)
            view = view_of_file(file)
        else:
            view = view_of(self.address)
            title = "this machine (no cluster asked)" if self.address is None else f"cluster at {self.address}"
            print_tables(*cluster_tables(view, title=title))
        offers = [*view.nodes, *view.scalable.types]
        say("devices to ask for with --device: " + ", ".join(device_names(offers)))
        if self.sweep is not None:
            plan = plan_of_file(self.sweep, self.size)
            say("")
            print_tables(needs_table(plan.groups(), plan.num_trials, view.nodes, view.scalable))
        return 0
