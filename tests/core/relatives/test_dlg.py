"""DLG, by its effect: a digit's image and label from its gradient, checked by PSNR against the truth."""

import math
from dataclasses import replace
from typing import Any, Final

import pytest
import torch
from torch import Tensor

from raypol.core.errors import InputError
from raypol.core.relatives.dlg import DLG, Recovered, infer_label, psnr, recover, shared_gradient
from raypol.core.relatives.points import pick_points
from raypol.core.training.trainer import Trainer
from tests.core.relatives.conftest import NETS, Fresh, everything_of, is_same

SIGMOID: Final = "tests.core.relatives.conftest:sigmoid_net"
SMOOTH: Final = DLG(line_search="strong_wolfe")


def leak(trainer: Trainer, index: int, config: DLG) -> tuple[Recovered, Tensor, int]:
    """What is recovered of a test point, and the truth."""
    X, y = pick_points(trainer, [index])
    gradient = shared_gradient(trainer, X, y, statistics=config.statistics)
    return recover(trainer, gradient, config), X[0], int(y)


@pytest.mark.parametrize("label", ["joint", "inferred"])
@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_a_digit_is_recovered_from_a_smooth_net(fresh: Fresh, index: int, label: Any) -> None:  # noqa: ANN401
    found, truth, y = leak(fresh(SIGMOID), index, replace(SMOOTH, label=label))
    assert found.label == y
    assert psnr(truth, found.image) > 35.0  # joint 56 to 92 dB, inferred 115 to 124 dB over 20 digits
    assert found.objective < 1e-5


@pytest.mark.parametrize(
    ("index", "config"),
    [
        (2, DLG(iterations=150, restarts=1)),  # 39 dB; 19 to 57 dB over 20 digits by the defaults
        (5, DLG(iterations=150, restarts=1, crafting="adam", step_size=0.1)),  # 38 dB; 28 to 39 dB over 8 digits
    ],
    ids=["lbfgs", "adam"],
)
def test_a_digit_is_recovered_from_resnet8_at_its_initial_weights(fresh: Fresh, index: int, config: DLG) -> None:
    found, truth, y = leak(fresh("resnet8"), index, config)
    assert found.label == y
    assert psnr(truth, found.image) > 20.0


@pytest.mark.parametrize("case", ["batch statistics", "trained"])
def test_what_hides_the_image(fresh: Fresh, trained: Trainer, case: str) -> None:
    """The limits that the README states: were they lifted, it should say so."""
    trainer = trained if case == "trained" else fresh("resnet8")
    config = DLG(iterations=150, restarts=1, statistics="recorded" if case == "trained" else "batch")
    found, truth, _ = leak(trainer, 1, config)
    assert psnr(truth, found.image) < 15.0  # 4 to 12 dB over 18 cases; a random image has 5
    assert found.objective > 0.1  # and the search knows it


def test_the_mismatch_is_that_of_the_recovered_image(fresh: Fresh) -> None:
    """Recomputed from image and label alone."""
    trainer = fresh(SIGMOID)
    X, y = pick_points(trainer, [4], "train")
    goal = shared_gradient(trainer, X, y)
    found = recover(trainer, goal, replace(SMOOTH, label="inferred", iterations=6, restarts=1))
    assert bool(((found.image > 0.0) & (found.image < 1.0)).any())
    ours = shared_gradient(trainer, found.image[None], torch.tensor([found.label]))
    scale = sum(float(g.square().sum()) for g in goal.values())
    mismatch = sum(float((ours[name] - goal[name]).square().sum()) for name in goal) / scale
    assert mismatch == pytest.approx(found.objective, rel=0.3)  # clamping moves the image a little


def test_the_trace_tells_the_search(fresh: Fresh) -> None:
    found, truth, _ = leak(fresh("resnet8"), 0, DLG(iterations=60, restarts=2))
    assert found.restarts == 2
    assert 1 < len(found.trace) <= 60
    assert found.objective == min(found.trace)
    assert found.objective < 0.9 * found.trace[0]
    steps = [at for at, _ in found.snapshots]
    assert steps == [at for at in (0, 1, 2, 5, 10, 20, 50) if at < len(found.trace)]
    assert all(
        image.shape == truth.shape and 0.0 <= float(image.min()) <= float(image.max()) <= 1.0
        for _, image in found.snapshots
    )


def test_a_solved_search_is_not_started_again(fresh: Fresh) -> None:
    assert leak(fresh(SIGMOID), 0, replace(SMOOTH, restarts=50))[0].restarts < 5


def test_the_seed_decides(fresh: Fresh) -> None:
    trainer, config = fresh("resnet8"), DLG(iterations=5, restarts=1, seed=3)
    before = everything_of(trainer)
    first, second, other = (leak(trainer, 0, c)[0] for c in (config, config, replace(config, seed=4)))
    assert torch.equal(first.image, second.image)
    assert first.trace == second.trace
    assert first.trace != other.trace
    assert is_same(before, everything_of(trainer))


@pytest.mark.parametrize("model", NETS)
@pytest.mark.parametrize("statistics", ["recorded", "batch"])
def test_on_every_kind_of_model(fresh: Fresh, model: str, statistics: Any) -> None:  # noqa: ANN401
    """Whether it recovers depends on the model; that it searches does not."""
    trainer = fresh(model)
    before = everything_of(trainer)
    found, truth, _ = leak(trainer, 0, DLG(iterations=20, restarts=1, statistics=statistics))
    assert found.objective < found.trace[0]
    assert found.image.shape == truth.shape
    assert is_same(before, everything_of(trainer))


# --- the label -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["resnet8", SIGMOID, "tests.core.relatives.conftest:without_bias", "tests.toys:mlp"])
def test_the_last_layer_gives_the_label_away(fresh: Fresh, model: str) -> None:
    trainer = fresh(model)
    for index in range(30):
        X, y = pick_points(trainer, [index])
        assert infer_label(trainer, shared_gradient(trainer, X, y)) == int(y)


def test_training_does_not_hide_the_label(trained: Trainer) -> None:
    for index in range(30):
        X, y = pick_points(trained, [index])
        assert infer_label(trained, shared_gradient(trained, X, y)) == int(y)


def test_a_label_cannot_be_inferred_without_a_linear_layer(fresh: Fresh) -> None:
    trainer = fresh("tests.core.relatives.conftest:without_a_head")
    with pytest.raises(InputError, match=r"label inferred needs.*use label joint"):
        leak(trainer, 0, DLG(label="inferred"))


# --- the gradient ----------------------------------------------------------------------------------------------------


def test_the_shared_gradient_is_that_of_the_declared_loss(fresh: Fresh) -> None:
    trainer = fresh(SIGMOID)
    X, y = pick_points(trainer, [3])
    shared = shared_gradient(trainer, X, y)
    loss = torch.nn.functional.cross_entropy(trainer.model((X - 0.3) / 0.38), y)
    for (name, parameter), grad in zip(
        trainer.parameters.items(), torch.autograd.grad(loss, list(trainer.parameters.values())), strict=True
    ):
        assert torch.allclose(shared[name], grad, atol=1e-7)
        assert shared[name].shape == parameter.shape


def test_gradients_of_another_model_are_refused(fresh: Fresh) -> None:
    trainer = fresh("resnet8")
    X, y = pick_points(trainer, [0])
    good = shared_gradient(trainer, X, y)
    name = "layer1.0.conv1.weight"
    bad: list[tuple[dict[str, Tensor], str]] = [
        ({}, r"another model's: expected one of shape .*conv1\.weight, got none"),
        ({n: g for n, g in good.items() if n != name}, rf"{name}, got none"),
        ({**good, name: good[name][:4]}, r"expected one of shape \(8, 8, 3, 3\).*got one of shape \(4, 8, 3, 3\)"),
        ({**good, "head.weight": torch.zeros(3)}, r"trains no head\.weight"),
        ({**good, name: good[name] * torch.nan}, "finite gradient"),
        ({**good, name: good[name] * torch.inf}, "finite gradient"),
        ({n: torch.zeros_like(g) for n, g in good.items()}, "other than zero"),
        (shared_gradient(fresh(SIGMOID), X, y), "another model's"),
    ]
    for gradient, said in bad:
        with pytest.raises(InputError, match=said):
            recover(trainer, gradient, DLG())


def test_one_point_at_a_time(fresh: Fresh) -> None:
    trainer = fresh("resnet8")
    with pytest.raises(InputError, match="one point, got 2"):
        shared_gradient(trainer, *pick_points(trainer, [0, 1]))


def test_one_point_has_no_batch_statistics_behind_a_flat_norm(fresh: Fresh) -> None:
    trainer = fresh("tests.scenes:reordering_net")
    before = everything_of(trainer)
    with pytest.raises(InputError, match="use statistics recorded"):
        shared_gradient(trainer, *pick_points(trainer, [0]), statistics="batch")
    assert is_same(before, everything_of(trainer))


def test_weights_that_are_not_finite(fresh: Fresh) -> None:
    trainer = fresh("resnet8")
    X, y = pick_points(trainer, [0])
    gradient = shared_gradient(trainer, X, y)
    trainer.parameters["linear.weight"].data[0, 0] = torch.inf
    for ask in (lambda: shared_gradient(trainer, X, y), lambda: recover(trainer, gradient, DLG())):
        with pytest.raises(InputError, match=r"finite weights.*linear\.weight"):
            ask()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crafting": "signed", "step_size": 0.1}, "crafting of DLG 'signed'; possible: adam, lbfgs"),
        ({"linf_limit": 0.1}, "no point to stay close to"),
        ({"label": "guessed"}, "unknown label 'guessed'; possible: inferred, joint"),
        ({"statistics": "fresh"}, "unknown statistics 'fresh'; possible: batch, recorded"),
        ({"restarts": 0}, "restarts >= 1"),
        ({"iterations": 0}, "iterations >= 1"),
    ],
)
def test_bad_settings(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(DLG(), **changes)


def test_psnr() -> None:
    black, grey = torch.zeros(1, 4, 4), torch.full((1, 4, 4), 0.1)
    assert psnr(black, grey) == pytest.approx(20.0)
    assert psnr(black, grey) == psnr(grey, black)
    assert psnr(black, torch.ones(1, 4, 4)) == 0.0
    assert psnr(grey, grey) == math.inf
