"""Options that commands share, each declared once."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, Literal

import tyro

from raypol.cli.console import ERR, print_facts
from raypol.cli.progress import progress
from raypol.cluster.placement import parse_device
from raypol.cluster.ray_runner import RayRunner
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.allocator import keep_freed_memory
from raypol.core.errors import InputError, first_line
from raypol.core.proof import Recipe
from raypol.store.location import Location, open_location
from raypol.store.proofs.format import Manifest

Debug = Annotated[bool, tyro.conf.arg(help="Show the traceback of an error.")]
DataDir = Annotated[str | None, tyro.conf.arg(help="Folder of the dataset's files; None = its usual place.")]
_ALLOWED = "Needed only if the proof names a {0} by import path: the same path, to allow running it."
AllowedDataset = Annotated[str | None, tyro.conf.arg(help=_ALLOWED.format("dataset"))]
AllowedModel = Annotated[str | None, tyro.conf.arg(help=_ALLOWED.format("model"))]
ProofDir = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="PROOF_DIR", help="Folder of the proof, as RESULTS/proofs/<proof_id> or a copy of it."),
]
StolenProofDir = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="PROOF_DIR",
        help="Folder of the proof whose final weights are stolen, as RESULTS/proofs/<proof_id> or a copy of it.",
    ),
]
_RESULTS = "Results folder: a local path, s3://... or gs://..."
ReadResults = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RESULTS", help=_RESULTS)]
WrittenResults = Annotated[str, tyro.conf.arg(help=f"{_RESULTS}; the proof goes to RESULTS/proofs/<proof_id>.")]


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """Where the work runs."""

    device: str = "cpu"
    """What each worker computes on: cpu (one core, one thread), cpu:2, gpu, gpu:0.5 (a share), or an accelerator type: T4."""
    runner: Literal["local", "ray"] = "local"
    """local: in this process; ray: one actor per device slot."""
    address: str | None = None
    """ray only: address of a running cluster; None starts Ray on this machine for this command."""
    debug: Debug = False

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


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """What a command on a possibly hostile file may take; passing a limit is one line and exit code 2."""

    max_memory: float | None = None
    """Gigabytes of memory of this process; None = 90 % of the machine's. With --runner ray the workers are not counted."""
    max_seconds: float = 604_800.0
    """Seconds of wall time; 604800 = a week."""


def options_given(options: Any, *, besides: Collection[str]) -> list[str]:  # noqa: ANN401 - any dataclass of options
    """The options that are not at their defaults, as they are typed, but for some fields."""
    others = [part for part in fields(options) if part.name not in besides]
    return [f"--{part.name.replace('_', '-')}" for part in others if getattr(options, part.name) != part.default]


def open_results_folder(address: str) -> Location:
    """An existing results folder.

    Raises:
        InputError: there is none, or it cannot be reached.
    """
    results = open_location(address)
    try:
        if results.exists():
            return results
    except OSError as err:
        raise InputError(f"cannot read {results}: {first_line(err)}") from err
    raise InputError(f"no such results folder: {results}")


_SHOWN_S: Final = 0.005
"""Seconds that are not 0.00."""


def describe_proof(manifest: Manifest, *, reused: bool) -> None:
    """Print what a proof claims, what it cost, its size and its root."""
    recipe, sizes, cost = manifest.recipe, manifest.sizes, manifest.generation
    note = " (it was there already; nothing was computed)" if reused else ""
    steps = ", ".join(map(str, manifest.taken_up_at))
    parts = f" (of all parts: interrupted and resumed at step {steps})" if steps else ""
    times = f"{cost.device_s:.2f} device seconds, {cost.wall_s:.2f} s wall"
    if cost.writing_s >= _SHOWN_S:
        times += f", of which {cost.writing_s:.2f} s waiting for writes"
    work = [f"{cost.gradient_evals} gradient evaluations"]
    work += [f"{cost.forward_passes} forward passes"] if cost.forward_passes else []
    work += [f"{cost.hashes} hashes"] if cost.hashes else []
    size = (
        f"{sizes.total / 1e6:.2f} MB: weights {sizes.weights / 1e6:.2f}, optimizer state {sizes.optimizer_state / 1e6:.2f}, "
        f"indices and hashes {sizes.indices_and_hashes / 1e6:.2f}, own points {sizes.points / 1e6:.2f} "
        f"({manifest.points.count})"
    )
    facts = {
        "claims": f"{claims(recipe)}{note}",
        "cost": f"{times}, {', '.join(work)}{parts}",
        "size": size,
        "root": manifest.root,
    }
    print_facts(facts.items())


def claims(recipe: Recipe) -> str:
    """What a proof claims: model, dataset, T, k, batch size."""
    return f"{recipe.model} on {recipe.dataset}, {recipe.steps} steps, k = {recipe.interval}, batch {recipe.batch_size}"
