"""The gradient objective by two first-order passes: the double backward's slope, for every model that it is taken for."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.spoofing import objectives
from raypol.core.spoofing.kinks import Kinks
from raypol.core.spoofing.objectives import double_backward_objective, gradient_objective, statistics_frozen
from raypol.core.training.prover import initial_checkpoint
from raypol.core.training.trainer import Trainer
from tests.scenes import small_recipe, stolen_digits, tiny

TOLERANCE = 0.02
"""Of a slope's l2 norm: the difference has curvature along the residual in it, and float32's rounding."""


class _Net(nn.Module):
    def __init__(self, in_channels: int, num_classes: int, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, num_classes)
        self.bend = bend

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.bend(self.norm(self.conv(x))).mean(dim=(2, 3)))
        return out


def leaky_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return _Net(in_channels, num_classes, nn.LeakyReLU(0.2))


def steep_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return _Net(in_channels, num_classes, nn.LeakyReLU(2.0))


def folded_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return _Net(in_channels, num_classes, nn.LeakyReLU(-0.5))


def in_place_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return _Net(in_channels, num_classes, nn.ReLU(inplace=True))


def pooling_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return _Net(in_channels, num_classes, nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.3)))


def folding_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return _Net(in_channels, num_classes, torch.abs)


def bench(model: str, dataset: Dataset, num_batches: int = 3) -> tuple[Trainer, Tensor, Tensor, Tensor]:
    """A trainer that holds W_0, batches, and a perturbation of them."""
    recipe = small_recipe(dataset, model=model)
    trainer = Trainer(recipe, dataset)
    trainer.load(stolen_digits().checkpoints[-1] if model == "resnet8" else initial_checkpoint(recipe, dataset))
    where = torch.arange(num_batches * 16).view(num_batches, 16) % len(dataset)
    X = dataset.pixels[where].float() / 255.0
    R = 0.1 * torch.rand(X.shape, generator=torch.Generator().manual_seed(3))
    return trainer, X, dataset.labels[where], R


def off(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("model", ["leaky_net", "steep_net", "folded_net", "in_place_net", "pooling_net", "resnet8"])
@pytest.mark.parametrize("at_zero", [False, True])
def test_the_slope_is_the_double_backwards(model: str, at_zero: bool) -> None:
    dataset = load_dataset("digits") if model == "resnet8" else tiny()
    name = model if model == "resnet8" else f"{__name__}:{model}"
    trainer, X, y, R = bench(name, dataset)
    R = torch.zeros_like(R) if at_zero else R
    with statistics_frozen(trainer):
        value, slope = gradient_objective(trainer, X, y, alpha=0.1)(R)
        expected_value, expected = double_backward_objective(trainer, X, y, alpha=0.1)(R)
    assert value == pytest.approx(expected_value, rel=1e-5)
    assert off(slope, expected) < TOLERANCE
    assert not torch.equal(slope, expected), "the difference was taken, not the double backward"


def test_without_holding_the_sides_the_difference_is_another_slope() -> None:
    """The oracle against the claim: rectifiers that change sides along the step are most of a plain difference."""
    trainer, X, y, R = bench("resnet8", load_dataset("digits"))
    held: list[bool] = []

    class Free(Kinks):
        def holding(self) -> Kinks:
            held.append(True)
            return Kinks()  # notes anew

    with pytest.MonkeyPatch.context() as patched, statistics_frozen(trainer):
        _, expected = double_backward_objective(trainer, X, y, alpha=0.0)(R)
        patched.setattr(objectives, "Kinks", Free)
        patched.setattr(objectives, "_STEP", 1e-3)
        _, slope = gradient_objective(trainer, X, y, alpha=0.0)(R)
    assert held
    assert off(slope, expected) > 5 * TOLERANCE


def test_a_model_with_an_unknown_kink_is_differentiated_twice() -> None:
    trainer, X, y, R = bench(f"{__name__}:folding_net", tiny())
    with statistics_frozen(trainer):
        expected = double_backward_objective(trainer, X, y, alpha=0.1)(R)
        found = gradient_objective(trainer, X, y, alpha=0.1)(R)
        assert found[0] == expected[0]
        assert torch.equal(found[1], expected[1])
        spent = trainer.gradient_evals
        gradient_objective(trainer, X, y, alpha=0.1)(R)
        assert trainer.gradient_evals - spent == 9, "what was found once is not tried again"


def test_the_weights_are_untouched_and_the_price_is_two_passes_a_batch() -> None:
    trainer, X, y, R = bench("resnet8", load_dataset("digits"))
    before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
    with statistics_frozen(trainer):
        gradient_objective(trainer, X, y, alpha=0.1)(R)
    assert all(torch.equal(p, before[name]) for name, p in trainer.parameters.items())
    assert trainer.gradient_evals == 6


def test_notes_beyond_the_memory_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, X, y, R = bench("resnet8", load_dataset("digits"))
    with statistics_frozen(trainer):
        value, slope = gradient_objective(trainer, X, y, alpha=0.1)(R)
        monkeypatch.setattr(objectives, "_NOTES_BYTES", 0)
        spent = trainer.gradient_evals
        again, same = gradient_objective(trainer, X, y, alpha=0.1)(R)
    assert (again, trainer.gradient_evals - spent) == (value, 9)
    assert off(same, slope) < 1e-3


def test_with_a_goal_that_is_reached_the_slope_is_that_of_the_size_alone() -> None:
    trainer, X, y, R = bench("resnet8", load_dataset("digits"), num_batches=1)
    with statistics_frozen(trainer):
        leaf = (X[0] + R[0]).clamp(0.0, 1.0)
        trainer.loss(objectives.model_input(trainer, leaf), y[0]).backward()  # type: ignore[no-untyped-call]
        goal = trainer.gradients()
        trainer.optimizer.zero_grad()
        value, slope = gradient_objective(trainer, X, y, alpha=0.5, goal=goal)(R)
    assert value == pytest.approx(0.5 * float(R.square().sum()), rel=1e-3)
    torch.testing.assert_close(slope, R, rtol=0.05, atol=0.05)
