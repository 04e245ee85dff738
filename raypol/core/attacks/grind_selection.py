"""Attack `grind_selection`: re-salt the root until V's random selection misses the bad intervals.

V draws Q intervals of each epoch from a number that depends on the root and on a nonce of its own. Whoever knows the nonce before
the root is fixed computes the selection himself:

    find s with  { bad intervals } and select(seed(nonce, root(s)), Q) disjoint

b bad intervals of an epoch of m are missed with probability C(m-b, Q) / C(m, Q), so that the expected number of tries is the
inverse; for b = 1 it is 1 / (1 - Q/m).

**The salt** s is the order of the B points in the last recorded batch, of which there are B!. A replay sums the same gradients,
so nothing moves beyond rounding (a layer with dropout would: its masks belong to places), and a try costs three digests: that of
the step, of all steps, of the root. With `joint` = 1 the salted batch lies in a bad interval that V will not replay, so that all
replayed intervals have error 0 even by exact replay. A bit of the last weights would cost one digest more, and change the
claimed model.

**Source.** The grinding of Fiat-Shamir transcripts; Choi et al. 2023 (arXiv:2307.00682) grind seeds and datasets.

**Granted.** W_T, V's selection and Q, V's nonce, the choice of W_0 and of the batches.

**Costs** those of `glue`, and 4 + E digests a try with E epochs (three of the root's, one of V's seed, one an epoch), counted as
`hashes`. `retries` of the row are the tries before the last; `accepted` is 0 if no salt suited and the last one is recorded.

**Stopped by** a nonce that is drawn after the root is committed to: a fresh one draws a bad interval with probability
1 - C(m-b, Q) / C(m, Q). By `all`, and by `top_q`, which no salt changes. By `bound_seed`, for the order of a batch is not the
declared one.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice, permutations
from typing import Final

from raypol.core import hashing
from raypol.core.attacks import glue
from raypol.core.errors import InputError, check_whole
from raypol.core.proof import MAX_STEPS, Checkpoint, Interval, Recipe
from raypol.core.seeds import check_seed
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, CraftedBatch, Scene
from raypol.core.spoofing.seal import recorded_end
from raypol.core.spoofing.search import CraftStats
from raypol.core.verification.replay import Conditions
from raypol.core.verification.verifier import select_intervals, verifier_seed

_DIGESTS_OF_ROOT: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class GrindSelection(glue.Glue):
    """What is ground against, and how long."""

    joint: float = 1.0
    """Share of the intervals before the joint, 0 to 1; 1 puts it last, so that the claimed model is W_T itself."""
    query_budget: int = 1
    """Q, intervals that V replays in each epoch."""
    nonce: int = 1
    """The verifier's random number, which A knows."""
    max_tries: int = 100_000
    """Salts to try at most; if none suits, the last is recorded."""

    def __post_init__(self) -> None:
        glue.Glue.__post_init__(self)
        check_whole("query_budget", self.query_budget, 1, MAX_STEPS)
        check_seed(self.nonce, "nonce")
        check_whole("max_tries", self.max_tries, 1, MAX_STEPS)


PRESETS: Final = {"grind_selection": GrindSelection()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Salt:
    """An order of the last batch."""

    order: tuple[int, ...]
    """Of its B points."""
    tries: int
    suits: bool
    """False: the tries ran out."""


def find_salt(
    seal: hashing.Seal,
    step: int,
    batch: hashing.Digests,
    recipe: Recipe,
    *,
    suits: Callable[[str], bool],
    max_tries: int,
) -> Salt:
    """Permute the last step's points until the root suits.

    Args:
        seal: of the whole proof but its last step.
        step: the last.
        batch: (B, 32) digests of its points, in their ordinary order, which is tried first.
        recipe: as declared.
        suits: what is asked of a root, in hex.
        max_tries: of so many, or of all B! orders, the last is returned if none suits.
    """
    auxiliary = recipe.canonical()
    for tries, order in enumerate(islice(permutations(range(len(batch))), max_tries), start=1):
        salted = seal.copy()
        salted.add_step(hashing.step_digest(step, batch[list(order)]))
        if suits(salted.root(auxiliary)):
            return Salt(order=order, tries=tries, suits=True)
    return Salt(order=order, tries=tries, suits=False)


def declare(recipe: Recipe, config: GrindSelection) -> Recipe:
    """The recipe unchanged, if a batch has more than one order."""
    if recipe.batch_size < 2:
        raise InputError("grind_selection re-orders a batch: expected a batch size >= 2, got 1")
    return glue.declare(recipe, config)


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: GrindSelection) -> Crafted:
    """As `glue`; the very last batch in an order with which V looks elsewhere."""
    made = glue.craft(scene, interval, start, config)
    seal = _seal(scene, interval, start, made)
    if interval.stop < scene.recipe.steps:
        return made
    last = made.batches[-1]
    salt = find_salt(
        seal,
        interval.stop - 1,
        scene.dataset.point_digests[last.sources],
        scene.recipe,
        suits=_misses(scene, config),
        max_tries=config.max_tries if _can_be_missed(scene, config) else 1,
    )
    order = list(salt.order)
    salted = CraftedBatch(last.sources[order], last.labels[order], None)
    return replace(made, batches=[*made.batches[:-1], salted], stats=(_outcome(salt),))


def _seal(scene: Scene, interval: Interval, start: Checkpoint, made: Crafted) -> hashing.Seal:
    """The seal of everything until the end of this interval, but for the very last step."""
    seals = scene.once("seal to grind", list[hashing.Seal])
    if interval.index == 0:
        seals[:] = [hashing.Seal()]
    (seal,) = seals
    checkpoints = [start]
    if interval.stop == scene.recipe.steps:
        checkpoints.append(recorded_end(METHOD, scene, made, start))
    for checkpoint in checkpoints:
        seal.add_checkpoint(hashing.checkpoint_digest(checkpoint.step, checkpoint.tensor_digests()))
    for step, batch in zip(range(interval.start, interval.stop), made.batches, strict=True):
        if step < scene.recipe.steps - 1:
            seal.add_step(hashing.step_digest(step, scene.dataset.point_digests[batch.sources]))
    return seal


def _misses(scene: Scene, config: GrindSelection) -> Callable[[str], bool]:
    """Whether V, given a root, replays no bad interval."""
    bad = glue.bad_intervals(scene.recipe, config)
    digests = _DIGESTS_OF_ROOT + 1 + len(set(epochs_of(scene)))

    def misses(root: str) -> bool:
        scene.hashes += digests
        chosen = select_intervals(
            "random",
            config.query_budget,
            recipe=scene.recipe,
            dataset_size=len(scene.dataset),
            movements=(),
            seed=verifier_seed(root, Conditions(seed=config.nonce)),
        )
        return all(interval.index not in bad for interval in chosen)

    return misses


def _can_be_missed(scene: Scene, config: GrindSelection) -> bool:
    """True if each epoch with bad intervals has at least Q others."""
    bad, epochs = glue.bad_intervals(scene.recipe, config), epochs_of(scene)
    others = Counter(epoch for index, epoch in enumerate(epochs) if index not in bad)
    return all(others[epochs[index]] >= config.query_budget for index in bad)


def epochs_of(scene: Scene) -> list[int]:
    """The epoch that V counts each interval to."""
    steps_per_epoch = max(len(scene.dataset) // scene.recipe.batch_size, 1)
    return [interval.start // steps_per_epoch for interval in scene.recipe.intervals()]


def _outcome(salt: Salt) -> CraftStats:
    return CraftStats(
        loss_before=math.nan,
        loss_after=math.nan,
        grad_norm2_before=math.nan,
        grad_norm2_after=math.nan,
        perturbation_norm2=0.0,
        perturbation_linf=0.0,
        retries=salt.tries - 1,
        accepted=salt.suits,
    )


METHOD = AttackMethod(
    config=GrindSelection,
    craft=craft,
    declare=declare,
    chooses_batches=lambda _: True,
    sequential=lambda _, __: True,
    independent=False,
    uses=("weights", "selection", "nonce", "order"),
)
