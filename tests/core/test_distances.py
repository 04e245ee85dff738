"""The four distances: identities, scipy as an oracle, accuracy, and what is not a number."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import distance
from torch import Tensor

from raypol.core.distances import METRICS, Distances, parameter_distances, vector_distances

Vector = npt.NDArray[np.float64]
CHUNK = 1 << 20  # entries per accumulation block in the implementation: both sides of the border are tried


def vectors(*, min_size: int = 1) -> st.SearchStrategy[tuple[Vector, Vector, Vector]]:
    """Three vectors of one length."""
    entries = st.floats(-1e6, 1e6, allow_subnormal=False, width=32)

    def of_length(n: int) -> st.SearchStrategy[tuple[Vector, Vector, Vector]]:
        one = hnp.arrays(np.float64, n, elements=entries)
        return st.tuples(one, one, one)

    return st.integers(min_size, 30).flatmap(of_length)


def between(a: Vector, b: Vector) -> Distances:
    return vector_distances(torch.from_numpy(a), torch.from_numpy(b))


@given(vectors())
def test_symmetric_and_zero_only_to_itself(abc: tuple[Vector, Vector, Vector]) -> None:
    a, b, _ = abc
    assert between(a, b) == between(b, a)
    assert between(a, a) == Distances(0.0, 0.0, 0.0, 0.0)
    same = bool((a == b).all())
    assert (between(a, b).linf == 0.0) == same
    assert (between(a, b).l1 == 0.0) == same


@given(vectors())
def test_norms_obey_the_triangle_inequality_and_their_order(abc: tuple[Vector, Vector, Vector]) -> None:
    a, b, c = abc
    ab, bc, ac = between(a, b), between(b, c), between(a, c)
    for metric in ("l1", "l2", "linf"):
        # Relative slack of a few float64 roundings.
        assert ac[metric] <= (ab[metric] + bc[metric]) * (1 + 1e-12)
    assert ab.linf <= ab.l2 * (1 + 1e-12)
    assert ab.l2 <= ab.l1 * (1 + 1e-12)
    assert 0.0 <= ab.cos <= 2.0


@given(vectors())
def test_agrees_with_scipy(abc: tuple[Vector, Vector, Vector]) -> None:
    a, b, _ = abc
    ours = between(a, b)
    assert ours.l1 == pytest.approx(distance.cityblock(a, b), rel=1e-12)
    assert ours.l2 == pytest.approx(distance.euclidean(a, b), rel=1e-12)
    assert ours.linf == distance.chebyshev(a, b)
    if a.any() and b.any():
        # scipy computes 1 - <a,b>/(|a||b|), which cancels: its own error is some 1e-16, absolute.
        assert ours.cos == pytest.approx(distance.cosine(a, b), abs=1e-14)


@given(vectors(), st.floats(1e-3, 1e3))
def test_cosine_does_not_see_scale(abc: tuple[Vector, Vector, Vector], factor: float) -> None:
    a, b, _ = abc
    scaled = factor * b
    if scaled.any() == b.any():
        assert between(a, scaled).cos == pytest.approx(between(a, b).cos, abs=1e-14)  # float64 rounding of factor * b
    if a.any():
        assert between(a, 2.0 * a).cos < 1e-15


@pytest.mark.parametrize(
    ("a", "b", "cos"),
    [
        ([1.0, 0.0], [0.0, 3.0], 1.0),
        ([1.0, 2.0], [-2.0, -4.0], 2.0),
        ([1.0, 1.0], [5.0, 5.0], 0.0),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [1.0, 2.0], 1.0),
        ([1e-30, 0.0], [0.0, 1e-30], 1.0),
        ([1e17, 0.0], [-1.0, 0.0], 2.0),
        ([1e-9, 1e-9], [1e9, -1e9], 1.0),
        ([3e8, 4e8], [0.0, 1.0], 0.2),
        ([], [], 0.0),
    ],
)
def test_cosine_of_known_angles(a: list[float], b: list[float], cos: float) -> None:
    assert between(np.asarray(a), np.asarray(b)).cos == pytest.approx(cos, abs=1e-15)


@pytest.mark.parametrize("eps", [1e-2, 1e-4, 1e-6, 1e-8])
def test_tiny_angles_keep_their_digits(eps: float) -> None:
    # 1 - 1/sqrt(1 + e^2) = e^2/2 - 3e^4/8 + ...: at e = 1e-8 the textbook formula gives exactly 0.
    expected = eps**2 / 2 - 3 * eps**4 / 8 + 5 * eps**6 / 16
    assert between(np.array([1.0, 0.0]), np.array([1.0, eps])).cos == pytest.approx(expected, rel=1e-7)


def test_several_million_float32_entries_are_summed_in_float64() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(1.0, 0.1, 3 * CHUNK + 12_345).astype(np.float32)
    b = (a + rng.normal(0.0, 1e-3, a.size)).astype(np.float32)
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    difference = np.abs(a64 - b64)
    ours = vector_distances(torch.from_numpy(a), torch.from_numpy(b))
    # 1e-11: both sides sum 3 million float64 numbers, in different orders.
    assert ours.l1 == pytest.approx(difference.sum(), rel=1e-11)
    assert ours.l2 == pytest.approx(math.sqrt((difference**2).sum()), rel=1e-11)
    assert ours.linf == difference.max()
    # The reference cancels 1 - (1 - 5e-7): ten of its sixteen digits are left.
    reference = 1.0 - (a64 @ b64) / math.sqrt((a64 @ a64) * (b64 @ b64))
    assert ours.cos == pytest.approx(reference, rel=1e-7)


def test_a_float32_sum_would_have_stopped_growing() -> None:
    # 2^24 + 1 is no float32: a running float32 sum of ones after 2^24 stays there.
    a = torch.zeros(CHUNK)
    a[0] = 2.0**24
    a[1:] = 1.0
    assert vector_distances(a, torch.zeros(CHUNK)).l1 == 2.0**24 + CHUNK - 1


@pytest.mark.parametrize("position", [0, 5, CHUNK - 1, CHUNK, CHUNK + 3])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sides", ["a", "b", "ab"])
def test_nan_and_infinity_give_four_non_finite_numbers(position: int, value: float, sides: str) -> None:
    a, b = torch.ones(CHUNK + 4), torch.full((CHUNK + 4,), 2.0)
    if "a" in sides:
        a[position] = value
    if "b" in sides:
        b[position] = value
    found = vector_distances(a, b)
    assert not found.is_finite
    assert not any(math.isfinite(found[metric]) for metric in METRICS)


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            *[hnp.arrays(np.float64, n, elements=st.floats(allow_nan=True, allow_infinity=True, width=64))] * 2
        )
    )
)
def test_no_input_raises_and_only_finite_input_is_finite(ab: tuple[Vector, ...]) -> None:
    found = between(*ab)
    if not all(np.isfinite(v).all() for v in ab):
        assert not found.is_finite
    assert found.cos >= 0.0 or math.isnan(found.cos)


def test_tensors_are_matched_by_name_not_by_order() -> None:
    a = {"x": torch.ones(2, 3), "y": torch.zeros(4)}
    b = {"y": torch.zeros(4), "x": torch.ones(2, 3)}
    assert parameter_distances(a, b) == Distances(0.0, 0.0, 0.0, 0.0)


def test_many_tensors_are_one_vector() -> None:
    rng = torch.Generator().manual_seed(1)
    a = {str(i): torch.randn(shape, generator=rng) for i, shape in enumerate([(2, 3, 4), (5,), (), (0,), (1, 1)])}
    b = {name: torch.randn(t.shape, generator=rng) for name, t in a.items()}
    flat = [torch.cat([t.reshape(-1) for t in tensors.values()]) for tensors in (a, b)]
    assert parameter_distances(a, b) == vector_distances(flat[0], flat[1])
    memory = {name: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for name, t in b.items()}
    assert parameter_distances(a, memory) == parameter_distances(a, b)


def test_no_tensors_have_no_distance() -> None:
    assert parameter_distances({}, {}) == Distances(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"x": torch.ones(2)}, {"y": torch.ones(2)}),
        ({"x": torch.ones(2)}, {"x": torch.ones(2), "y": torch.ones(2)}),
        ({"x": torch.ones(2)}, {"x": torch.ones(3)}),
        ({"x": torch.ones(2, 3)}, {"x": torch.ones(3, 2)}),
        ({"x": torch.ones(1)}, {"x": torch.ones(())}),
    ],
)
def test_different_names_or_shapes_are_an_error(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="expected"):
        parameter_distances(a, b)


def test_vectors_must_be_vectors_of_one_length() -> None:
    with pytest.raises(ValueError, match="equal length"):
        vector_distances(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="equal length"):
        vector_distances(torch.ones(2, 2), torch.ones(2, 2))


@pytest.mark.parametrize(
    ("value", "reference", "expected"),
    [(3.0, 2.0, 1.5), (0.0, 0.0, 0.0), (1.0, 0.0, math.inf), (0.0, 2.0, 0.0), (math.inf, 2.0, math.inf)],
)
def test_normalised_divides_each_metric(value: float, reference: float, expected: float) -> None:
    found = Distances(value, value, value, value).normalised(Distances(reference, reference, reference, reference))
    assert found == Distances(expected, expected, expected, expected)


@pytest.mark.parametrize(
    ("value", "reference"), [(math.nan, 1.0), (1.0, math.nan), (math.nan, 0.0), (math.inf, math.inf)]
)
def test_normalising_never_makes_a_number_out_of_nan(value: float, reference: float) -> None:
    found = Distances(value, value, value, value).normalised(Distances(reference, reference, reference, reference))
    assert not found.is_finite
