"""The verifier gathers evidence: it surveys all recorded checkpoints and replays intervals (Jia et al. 2021,
arXiv:2103.05633, Algorithm 2).

`policies` decides what the evidence means. Gathering is split so that it can be sharded: `survey` reads positions of
the proof, `replay_interval` re-trains one interval; `examine` does all of it in this process.

Nothing in a proof is trusted: names, shapes and dtypes are compared with the declared model before anything is loaded,
indices with the dataset before anything is looked up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from raypol.core import hashing
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS, Distances, nan_as_largest
from raypol.core.errors import InputError, reject_choice
from raypol.core.proof import Interval, ProofSource, Recipe
from raypol.core.seeds import derive_seed, generator
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import Conditions, IntervalReplay, replay_interval
from raypol.core.verification.survey import Survey, survey

Selection = Literal["all", "top_q", "random", "both"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Everything that a check may look at."""

    recipe: Recipe
    survey: Survey
    replays: tuple[IntervalReplay, ...]
    recorded_root: str
    computed_root: str
    expected_root: str | None = None
    """The root that the prover published earlier, if the verifier knows it."""


def select_intervals(
    selection: Selection,
    query_budget: int,
    *,
    recipe: Recipe,
    dataset_size: int,
    movements: Sequence[Distances],
    seed: int,
) -> list[Interval]:
    """Which intervals to replay (docs/protocol.md, "Verifier").

    Args:
        selection: `all`; `top_q`: per epoch the Q largest movements, union over metrics (PoL); `random`: Q per epoch; `both`:
            those of `top_q`, which a forger steers by larger honest moves elsewhere, and those of `random`.
        query_budget: Q, intervals per epoch.
        recipe: the proof's.
        dataset_size: N, gives the epoch's length.
        movements: d(W_{t-k}, W_t) per interval. NaN counts as largest.
        seed: for the random ones; must be drawn after the proof is fixed, or a forger tries roots until no bad interval is drawn.
    """
    intervals = recipe.intervals()
    if selection == "all":
        return intervals
    if selection not in get_args(Selection):
        reject_choice("selection", selection, get_args(Selection))
    if query_budget < 1:
        raise InputError(f"expected a query budget (Q) >= 1 interval per epoch, got {query_budget}")
    steps_per_epoch = max(dataset_size // recipe.batch_size, 1)
    epochs: dict[int, list[Interval]] = {}
    for interval in intervals:
        epochs.setdefault(interval.start // steps_per_epoch, []).append(interval)
    chosen: set[int] = set()
    for epoch, members in epochs.items():
        if selection != "top_q":
            order = torch.randperm(len(members), generator=generator(seed, "random intervals", epoch))
            chosen.update(members[i].index for i in order[:query_budget].tolist())
        for metric in METRICS if selection != "random" else ():
            ranked = sorted(members, key=lambda i: nan_as_largest(movements[i.index][metric]), reverse=True)
            chosen.update(i.index for i in ranked[:query_budget])
    return [interval for interval in intervals if interval.index in chosen]


def examine(
    source: ProofSource,
    dataset: Dataset,
    conditions: Conditions,
    *,
    selection: Selection = "all",
    query_budget: int = 1,
    device: torch.device | str = "cpu",
    expected_root: str | None = None,
) -> Evidence:
    """Survey and replay a whole proof in this process."""
    trainer = Trainer(source.recipe, dataset, device, precision=conditions.precision_for(source.recipe.precision))
    found = survey(source, trainer, 0, len(source.checkpoint_steps))
    replays: list[IntervalReplay] = []
    if is_replayable(found):
        chosen = select_intervals(
            selection,
            query_budget,
            recipe=source.recipe,
            dataset_size=len(dataset),
            movements=found.movements,
            seed=verifier_seed(source.root, conditions),
        )
        replays = [replay_interval(source, trainer, interval, conditions) for interval in chosen]
    return evidence(source, found, replays, expected_root=expected_root)


def is_replayable(found: Survey) -> bool:
    """True if all that a replay loads or looks up belongs to the declared model and dataset."""
    return not found.structure and not found.indices


def verifier_seed(root: str, conditions: Conditions) -> int:
    """Seed for choosing intervals: it depends on the root, so it cannot be known before the proof is fixed."""
    return derive_seed(conditions.seed, "verifier", root)


def evidence(
    source: ProofSource, found: Survey, replays: Sequence[IntervalReplay], *, expected_root: str | None = None
) -> Evidence:
    """Put surveys and replays together, and recompute the root."""
    seal = hashing.Seal()
    for digest in found.step_digests:
        seal.add_step(digest)
    for digest in found.checkpoint_digests:
        seal.add_checkpoint(digest)
    return Evidence(
        recipe=source.recipe,
        survey=found,
        replays=tuple(sorted(replays, key=lambda replay: replay.interval.index)),
        recorded_root=source.root,
        computed_root=seal.root(source.recipe.canonical()),
        expected_root=expected_root,
    )
