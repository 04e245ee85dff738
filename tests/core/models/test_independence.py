"""Independent draws pass, whatever their shapes; values in the order of trained weights, or moved a little each, do not."""

import math

import pytest
import torch
from scipy import stats

from raypol import TrainConfig, prove
from raypol.core.datasets.dataset import Dataset
from raypol.core.models import build_model
from raypol.core.models.independence import dependences, moments_statistic, normal_scores
from raypol.core.models.initial_laws import (
    SIGNIFICANCE,
    Law,
    Normal,
    Uniform,
    draw_initial,
    initial_laws,
    ks_p_value,
)
from raypol.core.models.legal_starts import rank_matched

LAWS: dict[str, Law] = {"conv": Normal(0.2), "linear": Uniform(0.1), "bias": Uniform(0.1)}
SHAPES = {"conv": torch.Size((24, 8, 3, 3)), "linear": torch.Size((40, 64)), "bias": torch.Size((40,))}


def drawn(seed: int) -> dict[str, torch.Tensor]:
    return draw_initial(LAWS, SHAPES, torch.Generator().manual_seed(seed))


def smallest(weights: dict[str, torch.Tensor], laws: dict[str, Law] = LAWS) -> float:
    found = dependences(weights, laws)
    return min(one.p_value for one in found) * len(found)


def test_p_values_of_independent_draws_are_those_of_the_null_distribution() -> None:
    found = [dependences(drawn(seed), LAWS) for seed in range(200)]
    assert len({one.name for one in found[0]}) == len(found[0]) == 4 + 2 + 4 + 2 + 1
    for i, name in enumerate(one.name for one in found[0]):
        p_values = [one[i].p_value for one in found]
        assert stats.kstest(p_values, "uniform").pvalue > 1e-4, name


def test_moments_of_draws_are_chi_squared() -> None:
    for name in ("conv", "linear"):
        law = LAWS[name]
        assert isinstance(law, Normal | Uniform)
        found = [moments_statistic(drawn(seed)[name], law) or 0.0 for seed in range(200)]
        assert stats.kstest(found, stats.chi2(4).cdf).pvalue > 1e-4


def test_trained_order_is_seen_where_no_test_of_values_sees_it(digits: Dataset) -> None:
    proof = prove(TrainConfig(steps=60, interval=60, batch_size=64), digits)
    laws = initial_laws(build_model("resnet8", in_channels=1, num_classes=10))
    honest = dict(proof.checkpoints[0].parameters)
    assert smallest(honest, laws) > 1e-3
    # 60 steps leave W_T next to its own W_0, whose order is a draw's; what training added is in the difference.
    learnt = {n: w - proof.checkpoints[0].parameters[n] for n, w in proof.checkpoints[-1].parameters.items()}
    forged = rank_matched(learnt, laws, torch.Generator().manual_seed(0))
    assert all(
        ks_p_value(forged[n], law) >= SIGNIFICANCE for n, law in laws.items() if isinstance(law, Normal | Uniform)
    )
    assert smallest(forged, laws) < 1e-20


@pytest.mark.parametrize("kind", ["shift", "width"])
def test_values_moved_within_the_band_of_the_other_test_are_seen(kind: str) -> None:
    n = 20_000
    quantiles = torch.arange(0.5, n) / n
    far = 1.2 / math.sqrt(n)  # below the band's half width of 1.63
    moved = quantiles + far if kind == "shift" else 0.5 + (quantiles - 0.5) * (1.0 + 2.0 * far)
    values = torch.special.ndtri(moved.clamp(1e-6, 1.0 - 1e-6).double())
    assert ks_p_value(values, Normal(1.0)) >= SIGNIFICANCE
    found = moments_statistic(values, Normal(1.0))
    assert found is not None
    assert stats.chi2.sf(found, 4) < 1e-3
    assert stats.chi2.sf(20 * found, 80) < 1e-12, "twenty tensors, each moved a little"


def test_scores_are_those_of_the_law_and_bounded() -> None:
    values = torch.tensor([[-1.0, 0.0], [0.5, 9.0]])
    scores = normal_scores(values, Uniform(1.0))
    assert scores[0, 1] == 0.0
    assert scores[1, 0] == pytest.approx(stats.norm.ppf(0.75))
    assert abs(scores).max() < 10.0
    assert normal_scores(values, Normal(0.1))[1, 1] == 12.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_no_draw(bad: float) -> None:
    weights = drawn(0)
    weights["conv"][0, 0, 0, 0] = bad
    assert smallest(weights) < 1e-3 or math.isinf(bad)


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (3, 0, 2, 2), (1, 5, 1, 1), ()])
def test_small_and_empty_tensors_are_no_error(shape: tuple[int, ...]) -> None:
    found = dependences({"w": 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(1))}, {"w": Normal(0.1)})
    assert all(0.0 < one.p_value <= 2.0 for one in found)
    assert moments_statistic(torch.zeros(shape), Normal(0.1)) is None
