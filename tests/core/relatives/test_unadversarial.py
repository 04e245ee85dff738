"""Unadversarial examples, by their effect: every loss falls within 8/255, and what was seen wrongly is seen rightly."""

import pytest
import torch

from raypol.core.relatives.adversarial import Adversarial, adversarial_example
from raypol.core.relatives.perturbing import Perturbed
from raypol.core.relatives.points import pick_points
from raypol.core.relatives.unadversarial import Unadversarial, unadversarial_example
from raypol.core.training.trainer import Trainer
from tests.core.relatives.conftest import NETS, Fresh, everything_of, is_same


@pytest.fixture(scope="module")
def result(trained: Trainer) -> Perturbed:
    """Of all test points, by the defaults."""
    return unadversarial_example(trained, *pick_points(trained, range(359)), Unadversarial())


def test_every_loss_falls_within_8_of_255(result: Perturbed) -> None:
    assert bool((result.after.losses < result.before.losses).all())
    assert bool((result.after_rounding.losses < result.before.losses).all())
    # To 0.14 of it on the whole; half is asked for.
    assert float(result.after_rounding.losses.mean()) < 0.5 * float(result.before.losses.mean())


def test_wrong_predictions_become_right_and_none_the_other_way(result: Perturbed) -> None:
    before, after = (seen.predictions == result.labels for seen in (result.before, result.after_rounding))
    assert not bool((before & ~after).any())
    assert int(after.sum()) - int(before.sum()) >= int((~before).sum()) // 2


def test_bounds_hold_to_the_last_grey_level(result: Perturbed) -> None:
    assert float(result.crafted.min()) >= 0.0
    assert float(result.crafted.max()) <= 1.0
    assert float(result.linf.max()) <= 8 / 255 + 1e-6
    assert int((result.rounded.int() - (result.originals * 255.0).round().int()).abs().max()) == 8


def test_the_first_step_is_the_adversarial_one_with_the_other_sign(trained: Trainer) -> None:
    points = pick_points(trained, range(30))
    helped = unadversarial_example(trained, *points, Unadversarial(iterations=1, step_size=0.02))
    harmed = adversarial_example(trained, *points, Adversarial(iterations=1, step_size=0.02))
    X = points[0]
    inside = (X > 0.03) & (X < 0.97)
    assert int(inside.sum()) > 300
    assert torch.allclose((helped.crafted - X)[inside], -(harmed.crafted - X)[inside], atol=1e-6)


@pytest.mark.parametrize("model", NETS)
def test_on_every_kind_of_model(fresh: Fresh, model: str) -> None:
    trainer = fresh(model)
    before = everything_of(trainer)
    made = unadversarial_example(trainer, *pick_points(trainer, range(8)), Unadversarial(iterations=3))
    assert bool((made.after.losses <= made.before.losses).all())
    assert float(made.after.losses.mean()) < float(made.before.losses.mean())
    assert is_same(before, everything_of(trainer))
