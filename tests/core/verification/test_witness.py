"""A proof that is another when it is read again: whoever can write to its storage must not be judged by what he showed first."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from raypol.core.augment import Transform
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, MemoryProof
from raypol.core.protocol import prove, spoof
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import find_policy
from raypol.core.verification.replay import replay_interval
from raypol.core.verification.survey import survey
from raypol.core.verification.verifier import evidence, examine
from raypol.core.verification.witness import Witness, check_same_recipe, recipe_digest
from tests.scenes import RECORDED, claiming, small_recipe, tiny
from tests.toys import copy_of

DATA = tiny()


@pytest.fixture(scope="module")
def honest() -> MemoryProof:
    return prove(small_recipe(DATA, steps=12, interval=4, transform=Transform(horizontal_flip=True)), DATA)


@pytest.fixture(scope="module")
def crafted(honest: MemoryProof) -> MemoryProof:
    """With own points."""
    return spoof(honest, DATA, "iii", claiming(steps=6, interval=3, batch_size=16))


def judged(first: MemoryProof, later: MemoryProof) -> None:
    """Surveyed as one proof, replayed as another."""
    trainer = Trainer(first.recipe, DATA)
    found = survey(first, trainer, 0, len(first.checkpoint_steps))
    replays = [replay_interval(later, trainer, one, RECORDED) for one in first.recipe.intervals()]
    evidence(first, found, replays, conditions=RECORDED, selection="all", query_budget=1, dataset_size=len(DATA))


def nudged(checkpoint: Checkpoint) -> Checkpoint:
    name, W = next(iter(checkpoint.parameters.items()))
    return replace(checkpoint, parameters={**checkpoint.parameters, name: W + 1e-3})


def with_other_weights(proof: MemoryProof, position: int) -> None:
    proof.checkpoints[position] = nudged(proof.checkpoints[position])


def with_other_batch(proof: MemoryProof) -> None:
    proof.records[5] = proof.records[5]._replace(indices=proof.records[5].indices[::-1].copy())


@pytest.mark.parametrize(
    ("change", "what"),
    [*((partial(with_other_weights, position=at), f"checkpoint {at}") for at in range(4)),
     (with_other_batch, "the batch of step 5")],
)  # fmt: skip
def test_what_is_replayed_is_what_was_surveyed(
    change: Callable[[MemoryProof], None], what: str, honest: MemoryProof
) -> None:
    judged(honest, honest)
    other = copy_of(honest)
    change(other)
    with pytest.raises(InputError, match=f"changed while it was verified: {what} was another"):
        judged(honest, other)


def test_own_points_are_compared_by_their_pixels(crafted: MemoryProof) -> None:
    assert crafted.num_points
    judged(crafted, crafted)
    other = copy_of(crafted)
    pixels = other._points[0].pixels
    pixels[0] = 255 - pixels[0]
    with pytest.raises(InputError, match="the batch of step"):
        judged(crafted, other)


class _Flickering(MemoryProof):
    """Another model at the last reading than before: two replays of an interval, or a check that reads again, see both."""

    honest_readings = 0

    def checkpoint(self, position: int) -> Checkpoint:
        self.honest_readings -= 1
        found = super().checkpoint(position)
        return found if self.honest_readings >= 0 else nudged(found)


def test_a_check_that_reads_again_sees_what_the_survey_saw(honest: MemoryProof) -> None:
    policy = find_policy("strict+memorisation")
    examine(honest, DATA, RECORDED, wanted=policy.wanted)
    flickering = _Flickering(honest.recipe, len(DATA))
    flickering.__dict__.update(copy_of(honest).__dict__)
    flickering.honest_readings = len(honest.checkpoints)
    with pytest.raises(InputError, match="changed while it was verified"):
        examine(flickering, DATA, RECORDED, wanted=policy.wanted)


def test_readings_of_one_process_are_compared_with_each_other(honest: MemoryProof) -> None:
    flickering = _Flickering(honest.recipe, len(DATA))
    flickering.__dict__.update(copy_of(honest).__dict__)
    flickering.honest_readings = 1
    witness = Witness(flickering, DATA)
    witness.checkpoint(1)
    with pytest.raises(InputError, match="checkpoint 1 was another when it was read again"):
        witness.checkpoint(1)


def test_a_recipe_is_the_one_that_was_read_before(honest: MemoryProof) -> None:
    check_same_recipe(honest, "")
    check_same_recipe(honest, recipe_digest(honest.recipe))
    with pytest.raises(InputError, match="its recipe was another"):
        check_same_recipe(honest, recipe_digest(replace(honest.recipe, seed=9)))
