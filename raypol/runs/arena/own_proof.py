"""The arena around a proof of one's own: its model, its data, its training."""

from dataclasses import replace
from typing import Final

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.core.training.train_config import training_of
from raypol.runs.arena.contenders import Lengths
from raypol.runs.arena.tasks import ARENA_QUESTION, arena_design
from raypol.runs.designs.design import Design, Sweep
from raypol.runs.trials.honest_proof import proof_at

_FEWEST: Final = 4
"""Intervals of the shortest spoofs."""


def own_arena(address: str, dataset: Dataset, data_dir: str | None = None) -> Sweep:
    """The arena on the proof at an address, for its own seed.

    Args:
        address: its folder.
        dataset: the verifier's copy of its dataset.
        data_dir: folder of the dataset's files.

    Raises:
        InputError: no proof that can be read, one of few intervals, or one whose training cannot be declared here.
    """
    found = proof_at(address)
    recipe = found.manifest.recipe
    if recipe.num_intervals < 2 * _FEWEST:
        raise InputError(f"the proof has {recipe.num_intervals} intervals; the arena needs at least {2 * _FEWEST}")
    train = replace(training_of(recipe, dataset), data_dir=data_dir)

    def design(*, calibrate_on: int, budget: int) -> Design:
        made = arena_design(
            train,
            lengths_of(recipe, len(dataset)),
            seeds=[train.seed],
            calibrate_on=calibrate_on,
            budget=budget,
        )
        return replace(made, proof=address)

    return Sweep(
        name=f"arena-{found.manifest.root[:12]}",
        question=ARENA_QUESTION,
        smoke=design(calibrate_on=0, budget=2),
        standard=design(calibrate_on=5, budget=8),
        paper=design(calibrate_on=20, budget=50),
    )


def lengths_of(recipe: Recipe, dataset_size: int) -> Lengths:
    """Lengths of spoofs of a training on N points."""
    steps, interval = recipe.steps, recipe.interval
    per_epoch = max(dataset_size // recipe.batch_size, 1)
    starts = {
        n: ((n - 2) * interval // per_epoch, (n - 1) * interval // per_epoch)
        for n in range(_FEWEST, steps // interval + 1)
    }
    shared = [n for n, (before, last) in starts.items() if before == last]

    def whole(share: float) -> int:
        return min(max(round(share * steps / interval), _FEWEST), steps // interval) * interval

    return Lengths(
        declared=whole(0.2),
        low=whole(0.05),
        high=whole(1.0),
        step=interval,
        searching=whole(0.08),
        searching_high=whole(0.2),
        whole=steps,
        epochs=shared[-1] * interval if shared else steps,
    )
