"""Attack connected: a curve of low loss from a W_0 that is not near W_T, for a tenth of the gradients."""

from dataclasses import replace
from typing import Any, Final

import pytest
import torch
from scipy.stats import spearmanr

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.attacks.connected import Connected
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.trainer import Trainer
from tests.scenes import SHORT, Forged, all_bits, claiming, forge, small_recipe, tiny

STEPS, K = 300, 20
CHOICES: Final = claiming(
    steps=STEPS, interval=K, declares="no_momentum", trajectory=TrajectoryConfig(start="honest"), seed=3
)


@pytest.fixture(scope="module")
def curve(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return forge(Connected(curve_lr=0.3), stolen, dataset, CHOICES)


@pytest.fixture(scope="module")
def line(stolen: MemoryProof, dataset: Dataset) -> Forged:
    """The straight line with the same statistics: what the curve's training adds."""
    return forge(Connected(train_share=0.0), stolen, dataset, CHOICES)


def accuracies(made: Forged, data: Dataset) -> list[float]:
    trainer = Trainer(made.proof.recipe, data)
    return [trainer.accuracy(checkpoint) for checkpoint in made.proof.checkpoints]


def test_both_ends_are_kept(curve: Forged, line: Forged, stolen: MemoryProof) -> None:
    assert all_bits(curve.proof.checkpoints[0]) == all_bits(line.proof.checkpoints[0])
    end = curve.proof.checkpoints[-1].parameters
    assert all(torch.equal(end[name], W) for name, W in stolen.checkpoints[-1].parameters.items())


def test_it_costs_a_tenth_of_the_gradients_and_the_passes_that_were_asked(curve: Forged, line: Forged) -> None:
    assert curve.proof.cost.gradient_evals == STEPS // 10
    assert line.proof.cost.gradient_evals == 0
    # Recorded models but the first and the last; each is asked for once.
    assert curve.proof.cost.forward_passes == line.proof.cost.forward_passes == 2 * (STEPS // K - 1)


def test_accuracy_rises_as_in_training_and_long_before_it_does_on_the_line(
    curve: Forged, line: Forged, dataset: Dataset
) -> None:
    """Spearman's rho of accuracy and step is high on the line, too, where nothing is learnt before the last third."""
    ours, theirs = accuracies(curve, dataset), accuracies(line, dataset)
    assert spearmanr(range(len(ours)), ours).statistic > 0.8
    early = STEPS // K * 2 // 5
    assert ours[early] > 0.8 > 0.4 > theirs[early]


def test_points_lie_on_one_quadratic_curve(curve: Forged) -> None:
    """Third differences of equidistant points of a quadratic are 0."""
    name = max(curve.proof.checkpoints[0].parameters, key=lambda n: curve.proof.checkpoints[0].parameters[n].numel())
    W = torch.stack([checkpoint.parameters[name].double() for checkpoint in curve.proof.checkpoints])
    assert float(W.diff(n=3, dim=0).abs().max()) < 1e-3 * float(W.diff(n=2, dim=0).abs().max())
    assert float(W.diff(n=2, dim=0).abs().max()) > 1e-2 * float(W.diff(n=1, dim=0).abs().max())


def test_statistics_are_those_of_the_recorded_weights(curve: Forged, stolen: MemoryProof, dataset: Dataset) -> None:
    plain = forge(Connected(curve_lr=0.3, passes=0), stolen, dataset, CHOICES)
    middle = STEPS // K // 2
    for ours, theirs in zip(curve.proof.checkpoints, plain.proof.checkpoints, strict=True):
        assert all(torch.equal(W, theirs.parameters[name]) for name, W in ours.parameters.items())
    assert accuracies(curve, dataset)[middle] > accuracies(plain, dataset)[middle] + 0.3


def test_the_path_is_trained_when_the_clock_runs_and_is_the_seeds() -> None:
    data = tiny()
    honest = prove(small_recipe(data), data)
    made = [forge(Connected(train_share=1.0), honest, data, replace(SHORT, carry="restart")) for _ in range(2)]
    assert [one.proof.cost.gradient_evals for one in made] == [7, 7]
    assert made[0].proof.root == made[1].proof.root


def test_it_needs_the_weights() -> None:
    data = tiny()
    choices = replace(SHORT, grants=("usual", "interval", "no_weights"))
    with pytest.raises(InputError, match="uses weights"):
        forge(find_attack("connected"), prove(small_recipe(data), data), data, choices)


@pytest.mark.parametrize(
    ("fields", "choices", "words"),
    [
        ({"train_share": 1.5}, {}, "train_share in 0..1, got 1.5"),
        ({"curve_lr": 0.0}, {}, "curve_lr > 0, got 0.0"),
        ({"passes": -1}, {}, "expected passes in 0"),
        ({}, {"trajectory": TrajectoryConfig(path="eased")}, "contradicts path eased"),
    ],
)
def test_bad_input_is_one_line(fields: dict[str, Any], choices: dict[str, Any], words: str) -> None:
    data = tiny()
    with pytest.raises(InputError) as caught:
        forge(Connected(**fields), prove(small_recipe(data), data), data, replace(SHORT, **choices))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
