"""The verifier gathers evidence: it surveys all recorded checkpoints and replays intervals (Jia et al. 2021,
arXiv:2103.05633, Algorithm 2).

`policies` decides what the evidence means. Gathering is split so that it can be sharded: `survey` reads positions of
the proof, `replay_interval` re-trains one interval; `examine` does all of it in this process.

Nothing in a proof is trusted: names, shapes and dtypes are compared with the declared model before anything is loaded,
indices with the dataset before anything is looked up.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch

from raypol.core import hashing
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS, Distances, cosine_of, nan_as_largest
from raypol.core.errors import InputError, reject_choice
from raypol.core.proof import Interval, ProofSource, Recipe, final_checkpoint
from raypol.core.seeds import derive_seed, generator
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import Conditions, IntervalReplay, replay_interval
from raypol.core.verification.survey import Survey, survey
from raypol.core.verification.wishes import Wish
from raypol.core.verification.witness import Reading, check_unchanged

Selection = Literal["all", "top_q", "random", "both"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What W_T keeps of W_0: training moves weights by less than their size, so it remembers where it began."""

    cosine: float = math.nan
    """Of W_0 and W_T, as one vector each over all tensors with a random law; NaN where there is none."""
    num_entries: int = 0
    """Entries of both. An independent W_0 has a cosine of mean 0 and standard deviation 1 over the root of it."""


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
    expected_share: str | None = None
    """The share of the seed that this verifier gave for the training, if it gave one."""
    expected_commitment: str | None = None
    """What the prover committed to before he got that share (`commitment_to`), if the verifier has it."""
    conditions: Conditions = field(default_factory=Conditions)
    """Of the replays."""
    selection: Selection = "all"
    """How the replayed intervals were chosen."""
    query_budget: int = 1
    """Q of that choice."""
    dataset_size: int = 0
    """N."""
    num_points: int = 0
    """Own points that the proof brings."""
    memory: Memory = field(default_factory=Memory)
    machine: str = ""
    """Class of the machine that the proof says it was made on (`machine_class`)."""

    def restricted(self, selection: Selection, query_budget: int, nonce: int) -> "Evidence":
        """The part of this evidence that a verifier with another selection or nonce would have.

        Args:
            selection: see `select_intervals`; intervals that were not replayed here are not in the part either.
            query_budget: Q.
            nonce: the verifier's own random number.
        """
        chosen = select_intervals(
            selection,
            query_budget,
            recipe=self.recipe,
            dataset_size=self.dataset_size,
            movements=self.survey.movements,
            seed=verifier_seed(self.recorded_root, replace(self.conditions, seed=nonce)),
        )
        kept = {interval.index for interval in chosen}
        replays = tuple(replay for replay in self.replays if replay.interval.index in kept)
        return replace(self, replays=replays, selection=selection, query_budget=query_budget)


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
    expected_share: str | None = None,
    expected_commitment: str | None = None,
    wanted: Iterable[Wish] = (),
    exact: bool = False,
) -> Evidence:
    """Survey and replay a whole proof in this process, and gather what a policy wants (`Policy.wanted`, `Policy.needs_exact`)
    besides.
    """
    trainer = Trainer(source.recipe, dataset, device, precision=conditions.precision_for(source.recipe.precision))
    found = survey(source, trainer, 0, len(source.checkpoint_steps), wanted=wanted)
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
        replays = [replay_interval(source, trainer, interval, conditions, exact=exact) for interval in chosen]
    return evidence(
        source,
        found,
        replays,
        conditions=conditions,
        selection=selection,
        query_budget=query_budget,
        dataset_size=len(dataset),
        expected_root=expected_root,
        expected_share=expected_share,
        expected_commitment=expected_commitment,
    )


def is_replayable(found: Survey) -> bool:
    """True if all that a replay loads or looks up belongs to the declared model and dataset."""
    return not found.structure and not found.indices


def verifier_seed(root: str, conditions: Conditions) -> int:
    """Seed for choosing intervals: it depends on the root, so it cannot be known before the proof is fixed."""
    return derive_seed(conditions.seed, "verifier", root)


def evidence(
    source: ProofSource,
    found: Survey,
    replays: Sequence[IntervalReplay],
    *,
    conditions: Conditions,
    selection: Selection,
    query_budget: int,
    dataset_size: int,
    expected_root: str | None = None,
    expected_share: str | None = None,
    expected_commitment: str | None = None,
) -> Evidence:
    """Put surveys and replays together, recompute the root, and compare W_0 with W_T.

    Raises:
        InputError: the proof was changed while it was verified: something was replayed that was not surveyed.
    """
    if is_replayable(found):
        readings = (*found.readings, *(replay.reading for replay in replays))
        check_unchanged(readings, found.checkpoint_digests, found.step_digests)
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
        expected_share=expected_share,
        expected_commitment=expected_commitment,
        conditions=conditions,
        selection=selection,
        query_budget=query_budget,
        dataset_size=dataset_size,
        num_points=source.num_points,
        memory=_memory(source, found),
        machine=source.machine,
    )


def _memory(source: ProofSource, found: Survey) -> Memory:
    names = [test.tensor for test in found.initial if test.p_value is not None]
    if found.structure or not names:
        return Memory()
    start, last = source.checkpoint(0), final_checkpoint(source)
    ends = ((0, start), (len(found.checkpoint_digests) - 1, last))
    digests = tuple((at, hashing.checkpoint_digest(one.step, one.tensor_digests())) for at, one in ends)
    check_unchanged([Reading(checkpoints=digests)], found.checkpoint_digests, ())
    first = {name: start.parameters[name] for name in names}
    return Memory(cosine=cosine_of(first, last.parameters), num_entries=sum(W.numel() for W in first.values()))
