"""The claimed path from W_0 to W_T: its ends, its shape, its legality, and that any actor computes the same one."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from raypol import prove
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.distances import parameter_distances
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Recipe
from raypol.core.spoofing.trajectory import Trajectory, TrajectoryConfig
from tests.scenes import all_bits, bits, small_recipe, stolen_digits, tiny

STEPS = 10


def spoof_recipe(**changes: Any) -> Recipe:  # noqa: ANN401 - any field of Recipe
    return small_recipe(load_dataset("digits"), model="resnet8", **{"steps": STEPS, "interval": 2, **changes})


def trajectory(seed: int = 0, **fields: Any) -> Trajectory:  # noqa: ANN401 - any field of TrajectoryConfig
    target = stolen_digits().checkpoints[-1]
    return Trajectory(target, spoof_recipe(), load_dataset("digits"), TrajectoryConfig(**fields), seed)


def flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in weights.values()]).double()


CONFIGS = st.builds(
    dict[str, Any],
    path=st.sampled_from(["linear", "eased", "noisy"]),
    ease=st.floats(1.0, 8.0),
    noise=st.floats(0.0, 3.0),
    noise_decay=st.floats(0.0, 8.0),
    initial=st.sampled_from(["strict", "published"]),
)


# --- the ends ------------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(CONFIGS, st.integers(0, 2**31))
def test_every_path_starts_at_w0_and_ends_at_the_stolen_weights_bit_for_bit(fields: dict[str, Any], seed: int) -> None:
    path = trajectory(seed, **fields)
    target = stolen_digits().checkpoints[-1]
    start, end = path.checkpoint(0), path.checkpoint(STEPS)
    assert start.step == 0
    assert end.step == STEPS
    assert {n: bits(t) for n, t in end.parameters.items()} == {n: bits(t) for n, t in target.parameters.items()}
    assert {n: bits(t) for n, t in start.parameters.items()} == {n: bits(t) for n, t in path.start.items()}
    assert not start.optimizer_state
    assert not end.optimizer_state
    assert all(torch.isfinite(t).all() for step in range(STEPS + 1) for t in path.weights(step).values())


def test_norm_statistics_go_from_fresh_ones_to_the_stolen_ones() -> None:
    path = trajectory(path="eased")
    target = stolen_digits().checkpoints[-1]
    first, last = path.checkpoint(0), path.checkpoint(STEPS)
    for name, stolen in target.buffers.items():
        if name.endswith("num_batches_tracked"):
            assert [int(path.checkpoint(t).buffers[name]) for t in (0, 3, STEPS)] == [0, 3, STEPS]
        else:
            assert torch.equal(last.buffers[name], stolen)
            assert torch.equal(first.buffers[name], torch.full_like(stolen, float(name.endswith("running_var"))))


def test_an_index_table_is_part_of_the_model_and_stays() -> None:
    dataset = tiny()
    honest = prove(small_recipe(dataset, model="tests.scenes:reordering_net"), dataset)
    path = Trajectory(honest.checkpoints[-1], honest.recipe, dataset, TrajectoryConfig(), 0)
    for step in (0, 5, 12):
        buffers = path.checkpoint(step).buffers
        assert buffers["order"].tolist() == list(range(15, -1, -1))
        assert int(buffers["norm.num_batches_tracked"]) == step


@pytest.mark.parametrize("path", ["linear", "eased", "noisy"])
def test_a_float64_model_gets_a_float64_path(path: Literal["linear", "eased", "noisy"]) -> None:
    dataset = tiny()
    honest = prove(small_recipe(dataset, precision="float64"), dataset)
    made = Trajectory(honest.checkpoints[-1], honest.recipe, dataset, TrajectoryConfig(path=path), 0)
    for step in (0, 5, 12):
        tensors = made.checkpoint(step).tensors()
        assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float64}


# --- W_0 is legal --------------------------------------------------------------------------------------------------


def kaiming_std(weight: Tensor) -> float:
    """He et al. 2015 with fan-in: sqrt(2 / (channels in x kernel area))."""
    return math.sqrt(2.0 / weight[0].numel())


@pytest.mark.parametrize("seed", range(8))
def test_w0_follows_its_laws(seed: int) -> None:
    start = trajectory(seed).start
    random = [name for name, tensor in start.items() if tensor.dim() > 1]
    assert len(random) == 8
    for name in random:
        p = stats.kstest(start[name].double().flatten().numpy(), stats.norm(0.0, kaiming_std(start[name])).cdf).pvalue
        assert p >= 0.01, name
    bound = 1.0 / math.sqrt(32.0)  # torch's default bias of a linear layer with 32 inputs
    assert float(start["linear.bias"].abs().max()) <= bound


def test_under_strict_the_constants_of_w0_hold() -> None:
    start = trajectory(initial="strict").start
    norms = {name: tensor for name, tensor in start.items() if "bn" in name}
    assert len(norms) == 14
    for name, tensor in norms.items():
        assert torch.equal(tensor, torch.full_like(tensor, float(name.endswith("weight")))), name


def test_under_published_the_constants_of_w0_are_the_stolen_ones() -> None:
    target = stolen_digits().checkpoints[-1].parameters
    start = trajectory(initial="published").start
    for name, tensor in start.items():
        assert torch.equal(tensor, target[name]) == ("bn" in name), name
        assert tensor.data_ptr() != target[name].data_ptr(), "the start must not share memory with W_T"


@pytest.mark.parametrize("seed", range(3))
def test_w0_is_rank_matched_and_no_other_order_of_its_values_is_closer(seed: int) -> None:
    target = stolen_digits().checkpoints[-1].parameters
    start = trajectory(seed).start
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in start.items():
        if tensor.dim() < 2:
            continue
        values, goal = tensor.flatten(), target[name].flatten()
        assert torch.equal(values[goal.argsort()], values.sort().values), name
        for order in (2.0, 1.0, math.inf):
            matched = torch.linalg.vector_norm(values - goal, order)
            for _ in range(3):
                other = values[torch.randperm(len(values), generator=rng)]
                assert matched <= torch.linalg.vector_norm(other - goal, order)


# --- the shape of the path -----------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(st.integers(0, 2**31))
def test_linear_moves_are_all_alike_and_in_one_direction(seed: int) -> None:
    path = trajectory(seed, path="linear")
    start, end = flat(path.weights(0)), flat(path.weights(STEPS))
    for step in range(1, STEPS):
        expected = start + step / STEPS * (end - start)
        # A float32 rounding of numbers of order 1 per entry.
        torch.testing.assert_close(flat(path.weights(step)), expected, rtol=0.0, atol=1e-6)


@settings(max_examples=20)
@given(st.floats(1.05, 6.0), st.integers(0, 2**31))
def test_eased_moves_shrink_late(ease: float, seed: int) -> None:
    path = trajectory(seed, path="eased", ease=ease)
    moves = [parameter_distances(path.weights(t), path.weights(t + 1)) for t in range(STEPS)]
    for before, after in pairwise(moves):
        for metric in ("l1", "l2", "linf"):
            # Moves as small as the rounding of W_t (1e-7 times the norm) can compare either way.
            rounding = {"l1": 1e-2, "l2": 1e-4, "linf": 1e-6}[metric]
            assert getattr(after, metric) < getattr(before, metric) + rounding
    # s(t) = 1 - (1 - t/T')^ease: the last move's share of the whole way is T'^-ease.
    whole = parameter_distances(path.weights(0), path.weights(STEPS)).l2
    assert moves[-1].l2 / whole == pytest.approx(STEPS**-ease, rel=1e-2, abs=1e-6)


def test_no_easing_is_the_straight_line() -> None:
    eased, linear = trajectory(path="eased", ease=1.0), trajectory(path="linear")
    for step in range(STEPS + 1):
        torch.testing.assert_close(flat(eased.weights(step)), flat(linear.weights(step)), rtol=0.0, atol=1e-6)


@settings(max_examples=15)
@given(st.floats(0.5, 5.0), st.floats(0.01, 2.0), st.integers(0, 2**31))
def test_noise_on_the_stolen_weights_falls_as_declared(decay: float, noise: float, seed: int) -> None:
    path = trajectory(seed, path="noisy", noise=noise, noise_decay=decay)
    end = path.weights(STEPS)
    matrices = [name for name, tensor in end.items() if tensor.dim() > 1]

    def strength(step: int) -> float:
        """Root mean square over all matrices of the noise in units of each matrix's own in W_T."""
        weights = path.weights(step)
        noises = [((weights[n] - end[n]) / end[n].square().mean().sqrt()).flatten() for n in matrices]
        return float(torch.cat(noises).square().mean().sqrt())

    away = [strength(step) for step in range(1, STEPS)]
    assert all(after < before for before, after in pairwise(away))
    for step, found in enumerate(away, start=1):
        sigma = noise * (1.0 - step / STEPS) ** decay
        if sigma > 1e-4:  # below, float32 rounding of W_T is part of the difference
            assert found == pytest.approx(sigma, rel=0.03)  # 19,000 draws: half a per cent is one standard deviation


def test_noise_of_strength_zero_claims_the_stolen_model_all_along() -> None:
    path = trajectory(path="noisy", noise=0.0)
    assert torch.equal(flat(path.weights(3)), flat(path.weights(STEPS)))


def test_noise_of_different_steps_is_independent() -> None:
    path = trajectory(path="noisy", noise_decay=0.0)
    end = flat(path.weights(STEPS))
    first, second = flat(path.weights(4)) - end, flat(path.weights(5)) - end
    assert abs(float(first.dot(second) / (first.norm() * second.norm()))) < 0.05  # 20,000 draws: 0.007 is one sigma


# --- seeds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["linear", "eased", "noisy"])
def test_same_seed_same_bytes_in_any_order_under_any_global_seed(path: Literal["linear", "eased", "noisy"]) -> None:
    torch.manual_seed(1)
    first = [all_bits(trajectory(7, path=path).checkpoint(step)) for step in range(STEPS + 1)]
    torch.manual_seed(2)
    again = trajectory(7, path=path)
    assert [all_bits(again.checkpoint(step)) for step in range(STEPS, -1, -1)] == first[::-1]
    assert all_bits(again.checkpoint(4)) == first[4]


@pytest.mark.parametrize("path", ["linear", "eased", "noisy"])
def test_other_seed_other_bytes_but_for_the_end(path: Literal["linear", "eased", "noisy"]) -> None:
    one, other = trajectory(7, path=path), trajectory(8, path=path)
    for step in range(STEPS):
        assert not torch.equal(flat(one.weights(step)), flat(other.weights(step)))
    assert torch.equal(flat(one.weights(STEPS)), flat(other.weights(STEPS)))


def test_what_is_handed_out_is_the_callers_own() -> None:
    path = trajectory(path="linear")
    stolen = all_bits(stolen_digits().checkpoints[-1])
    before = [all_bits(path.checkpoint(step)) for step in (0, 5, STEPS)]
    for step in (0, 5, STEPS):
        for tensor in path.weights(step).values():
            tensor.fill_(math.nan)
    assert [all_bits(path.checkpoint(step)) for step in (0, 5, STEPS)] == before
    assert all_bits(stolen_digits().checkpoints[-1]) == stolen


# --- what makes no sense -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "spiral"}, "possible: eased, linear, noisy"),
        ({"initial": "random"}, "possible: published, strict"),
        ({"ease": 0.9}, "ease >= 1"),
        ({"ease": math.nan}, "ease >= 1"),
        ({"noise": -0.1}, "noise and noise_decay >= 0"),
        ({"noise": math.nan}, "noise and noise_decay >= 0"),
        ({"noise_decay": -1.0}, "noise and noise_decay >= 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        TrajectoryConfig(**fields)
    assert "\n" not in str(caught.value)


def foreign(checkpoint: Checkpoint, kind: str) -> Checkpoint:
    """A W_T that is not the declared model's."""
    parameters = dict(checkpoint.parameters)
    match kind:
        case "missing parameter":
            del parameters["linear.bias"]
        case "other shape":
            parameters["linear.bias"] = torch.zeros(11)
        case "missing buffer":
            return replace(checkpoint, buffers={})
    return replace(checkpoint, parameters=parameters)


@pytest.mark.parametrize("kind", ["missing parameter", "other shape", "missing buffer"])
def test_a_stolen_model_of_another_kind_is_refused(kind: str) -> None:
    dataset: Dataset = load_dataset("digits")
    target = foreign(stolen_digits().checkpoints[-1], kind)
    with pytest.raises(InputError, match="recorded model") as caught:
        Trajectory(target, spoof_recipe(), dataset, TrajectoryConfig(), 0)
    assert "\n" not in str(caught.value)
