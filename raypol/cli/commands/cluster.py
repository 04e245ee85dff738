"""`raypol cluster`: what this machine or a cluster offers, can scale to; `raypol join`: become a node of one."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from raypol.cli.cluster_tables import cluster_tables, device_names, needs_table, show_cluster_file, view_of
from raypol.cli.console import print_tables, say
from raypol.cli.options import Debug
from raypol.cli.sweep import plan_of_file
from raypol.cli.sweep_options import Size
from raypol.cluster.cluster_file import read_cluster_file
from raypol.cluster.connection import check_listening
from raypol.cluster.join import check_kernels, find_gpus, plan_joining
from raypol.cluster.scaling import view_of_file
from raypol.core.errors import InputError
from raypol.store.quoting import command_line


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


@dataclass(frozen=True, kw_only=True)
class JoinCommand:
    """Let this machine join a running Ray cluster, with its GPUs as resources and labels. `ray stop` takes it out again."""

    head: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="HEAD")]
    """HOST or HOST:PORT (6379) of the cluster's head node."""
    auth: Literal["token", "disabled"] | None = None
    """As on the head: token needs its ~/.ray/auth_token here; None = RAY_AUTH_MODE, else token if there is one."""
    node_ip: str | None = None
    """Address under which the other nodes reach this machine, such as the VPN's; None = Ray's guess."""
    block: bool = False
    """Stay in the foreground until Ray ends, as a service manager wants it."""
    dry_run: bool = False
    """Only show what would be run."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        gpus = find_gpus()
        joining = plan_joining(self.head, gpus)
        auth = self.auth or os.environ.get("RAY_AUTH_MODE") or ("token" if _token_file().exists() else "disabled")
        if auth == "token" and not (_token_file().exists() or os.environ.get("RAY_AUTH_TOKEN")):
            raise InputError(
                f"the head wants a token: copy its ~/.ray/auth_token to {_token_file()}, or use --auth disabled"
            )
        words = joining.arguments()
        words += [f"--node-ip-address={self.node_ip}"] if self.node_ip else []
        words += ["--block"] if self.block else []
        say(f"found {', '.join(gpu.name for gpu in gpus) or 'no GPU: offers its CPU cores'}")
        check_kernels(gpus)
        say(f"RAY_AUTH_MODE={auth} {command_line('ray', *words)}")
        sys.stdout.flush()
        if not self.dry_run:
            try:
                check_listening(joining.address)
            except OSError as err:
                raise InputError(
                    f"nobody answers at {joining.address}: {err}; is the head running, and does it let this machine in?"
                ) from err
            command = [sys.executable, "-m", "ray.scripts.scripts", *words]
            os.execve(sys.executable, command, os.environ | {"RAY_AUTH_MODE": auth})  # noqa: S606 - Ray takes over
        return 0


def _token_file() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
