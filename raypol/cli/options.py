"""Options and output that commands share."""

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from raypol.cli.console import ERR, OUT
from raypol.cli.progress import progress
from raypol.cluster.placement import parse_device
from raypol.cluster.ray_runner import RayRunner
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.allocator import keep_freed_memory
from raypol.store.proofs.format import Manifest


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Work(Common):
    """Where the work runs."""

    device: str = "cpu"
    """What each worker computes on: cpu (one core, one thread), cpu:2, gpu, gpu:0.5 (a share), or an accelerator type: T4."""
    runner: Literal["local", "ray"] = "local"
    """local: in this process; ray: one actor per device slot."""
    address: str | None = None
    """ray only: address of a running cluster; None starts Ray on this machine for this command."""

    def open_runner(self) -> AbstractContextManager[LocalRunner | RayRunner]:
        """The runner that these options name."""
        request = parse_device(self.device)
        devices = dict.fromkeys(ROLES, request)
        if self.runner == "local":
            keep_freed_memory()
            return LocalRunner(devices)
        with progress(ERR) as update:
            update("starting Ray", 0, 0)
            return RayRunner(devices, address=self.address)


def describe_proof(manifest: Manifest, *, reused: bool) -> None:
    """Print what a proof claims, what it cost, its size and its root."""
    recipe, sizes, cost = manifest.recipe, manifest.sizes, manifest.generation
    note = " (it was there already; nothing was computed)" if reused else ""
    steps = ", ".join(map(str, manifest.taken_up_at))
    parts = f" (of all parts: interrupted and taken up at step {steps})" if steps else ""
    OUT.print(
        f"claims           {recipe.model} on {recipe.dataset}, {recipe.steps} steps, k = {recipe.interval}, "
        f"batch {recipe.batch_size}{note}\n"
        f"cost             {cost.device_s:.2f} device seconds, {cost.wall_s:.2f} s wall, {cost.gradient_evals} gradient "
        f"evaluations{parts}\n"
        f"size             {sizes.total / 1e6:.2f} MB: weights {sizes.weights / 1e6:.2f}, optimizer state "
        f"{sizes.optimizer_state / 1e6:.2f}, indices and hashes {sizes.indices_and_hashes / 1e6:.2f}, own points "
        f"{sizes.points / 1e6:.2f} ({manifest.points.count})\n"
        f"root             {manifest.root}",
        soft_wrap=True,
    )


def print_last(text: str) -> None:
    """The line that scripts read: plain, unwrapped."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
