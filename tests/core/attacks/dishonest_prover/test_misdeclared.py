"""Attacks subtract and add: the replay's error grows with the share of points that are not the declared ones."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pytest
import torch

from raypol.core.attacks import find_attack, method_of
from raypol.core.attacks.dishonest_prover.misdeclared import taken_instead
from raypol.core.augment import Transform
from raypol.core.datasets.load import load_dataset
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.protocol import prove, spoof
from raypol.core.spoofing.grants import USUAL, NotGrantedError
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.scene import Crafted
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import find_policy
from raypol.core.verification.thresholds import Thresholds, slack_in_moves
from tests.scenes import Forged, forge, small_recipe, stolen_digits, tiny, zero

CHOICES = SpoofConfig(steps=60, interval=10, grants=(*USUAL, "interval"), trajectory=TrajectoryConfig(start="honest"))
LIES: Final = ("subtract", "add")
FRACTIONS: Final = (0.0, 0.05, 0.2, 0.5)
EXACT = Thresholds(l1=0.0, l2=0.0, linf=0.0, cos=0.0)
SHARE = "cd" * 16


@cache
def lying(lie: str, fraction: float) -> Forged:
    return forge(find_attack(lie, fraction=fraction), stolen_digits(), load_dataset("digits"), CHOICES)


@cache
def honest(**changes: Any) -> MemoryProof:  # noqa: ANN401 - any field of Recipe
    return prove(small_recipe(tiny(), **changes), tiny())


@pytest.mark.parametrize("lie", LIES)
def test_the_error_grows_with_the_fraction(lie: str) -> None:
    averages = [lying(lie, fraction).mean_error_l2 for fraction in FRACTIONS]
    assert averages[0] == 0.0
    assert all(b > 1.1 * a for a, b in pairwise(averages)), averages


@pytest.mark.parametrize("lie", LIES)
def test_the_smallest_fraction_that_a_slack_in_moves_sees(lie: str) -> None:
    seen = [
        fraction for fraction in FRACTIONS if "replay" in lying(lie, fraction).rejected_by("strict", slack_in_moves(10))
    ]
    assert seen == [0.05, 0.2, 0.5]


@pytest.mark.parametrize("lie", LIES)
def test_without_a_lie_it_is_an_honest_proof(lie: str) -> None:
    choices = SpoofConfig(
        steps=60,
        interval=40,
        trajectory=TrajectoryConfig(start="bound"),
        share=SHARE,
        data_order="declared",
        grants=("data", "policy"),
    )
    made = forge(find_attack(lie, fraction=0.0), stolen_digits(), load_dataset("digits"), choices)
    policy = find_policy("strict+initial_independence+bound_seed+own_points+fresh_order")
    verdict = policy(replace(made.evidence, expected_share=SHARE), EXACT)
    assert verdict.is_valid, verdict.rejected_by
    own = prove(made.proof.recipe, load_dataset("digits"))
    assert own.root == made.proof.root


def test_what_is_declared_does_not_show_the_lie() -> None:
    plain = lying("subtract", 0.0).proof
    for lie in LIES:
        made = lying(lie, 0.5).proof
        assert [record.sha256 for record in made.records] == [record.sha256 for record in plain.records]
        assert made.num_points == 0
        assert made.cost.gradient_evals == 60


def batches_used(lie: str, fraction: float, choices: SpoofConfig) -> tuple[list[Crafted], list[tuple[Any, Any]]]:
    """What was recorded, and the pixels and labels that the trainer was given."""
    seen: list[tuple[Any, Any]] = []
    made: list[Crafted] = []
    with pytest.MonkeyPatch.context() as patch:
        step = Trainer.step

        def watched(self: Trainer, at: int, pixels: Any, labels: Any, **more: Any) -> Any:  # noqa: ANN401
            seen.append((pixels, labels))
            return step(self, at, pixels, labels, **more)

        patch.setattr(Trainer, "step", watched)
        spoof(honest(), tiny(), find_attack(lie, fraction=fraction), choices, on_interval=made.append)
    return made, seen


def test_subtracted_points_are_never_trained_on_and_the_rest_are() -> None:
    data = tiny()
    choices = replace(CHOICES, steps=12, interval=4)
    made, seen = batches_used("subtract", 0.25, choices)
    keys = [pixels.numpy().tobytes() for pixels in data.pixels]
    assert len(set(keys)) == 48
    used = [[keys.index(pixels.numpy().tobytes()) for pixels in batch] for batch, _ in seen]
    declared = [batch.sources.tolist() for one in made for batch in one.batches]
    replaced = {a: b for A, B in zip(declared, used, strict=True) for a, b in zip(A, B, strict=True) if a != b}
    assert len(replaced) == 12  # four epochs see every point
    assert not set(replaced) & {i for batch in used for i in batch}
    assert not set(replaced) & set(replaced.values())
    for batch, (_, labels) in zip(used, seen, strict=True):
        assert torch.equal(labels, data.labels[batch])


def test_what_a_larger_fraction_subtracts_includes_what_a_smaller_one_does() -> None:
    attack = find_attack("subtract")
    recipe = spoof_recipe(method_of(attack), attack, replace(CHOICES, steps=12, interval=4), honest().recipe)
    scene = make_scene(method_of(attack), attack, CHOICES, recipe, tiny(), honest().checkpoints[-1])
    gone = [set(np.flatnonzero(taken_instead(scene, f) != np.arange(48)).tolist()) for f in (0.1, 0.25, 0.5)]
    assert [len(one) for one in gone] == [5, 12, 24]
    assert gone[0] < gone[1] < gone[2]


@pytest.mark.parametrize(("fraction", "added"), [(0.0, 0), (0.25, 4), (1.0, 16)])
def test_added_points_are_test_points(fraction: float, added: int) -> None:
    data = tiny()
    made, seen = batches_used("add", fraction, replace(CHOICES, steps=12, interval=4))
    tests = {
        pixels.numpy().tobytes(): int(label) for pixels, label in zip(data.test_pixels, data.test_labels, strict=True)
    }
    declared = [batch.sources for one in made for batch in one.batches]
    for sources, (pixels, labels) in zip(declared, seen, strict=True):
        for i in range(added):
            assert tests[pixels[i].numpy().tobytes()] == int(labels[i])
        assert torch.equal(pixels[added:], data.pixels[sources[added:]])
        assert torch.equal(labels[added:], data.labels[sources[added:]])


def test_declared_augmentation_is_applied_to_what_is_really_used() -> None:
    trained = honest(transform=Transform(crop_padding=1))
    for lie in LIES:
        made = forge(
            find_attack(lie, fraction=0.0),
            trained,
            tiny(),
            replace(CHOICES, steps=8, interval=4, augmentation="honest"),
        )
        assert all(zero(replay.error) for replay in made.replays)


@pytest.mark.parametrize("missing", ["data", "order"])
def test_it_is_refused_without_what_it_uses(missing: str) -> None:
    for lie in LIES:
        with pytest.raises(NotGrantedError, match=f"uses {missing} "):
            forge(find_attack(lie), honest(), tiny(), replace(CHOICES, grants=("usual", "interval", f"no_{missing}")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fraction": -0.1}, "expected fraction in 0..1, got -0.1"),
        ({"fraction": float("nan")}, "expected fraction in 0..1, got nan"),
        ({"fraction": 1.0}, "subtract contradicts fraction 1.0"),
        ({"lie": "multiply"}, "lie"),
    ],
)
def test_bad_input_is_told_in_a_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_attack("subtract", **fields)
    assert "\n" not in str(caught.value)
