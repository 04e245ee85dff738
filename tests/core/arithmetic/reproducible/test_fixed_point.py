"""Sums without an order: what they equal in whole numbers, and what happens to the numbers that have no room."""

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.arithmetic.reproducible import contractions, normalisation
from raypol.core.arithmetic.reproducible.contractions import matmul
from raypol.core.arithmetic.reproducible.fixed_point import (
    MOST_BITS,
    exact_sum,
    exact_sum_of_doubles,
    factor_bits,
    magic,
    term_bits,
    to_fixed,
)

FINITE = st.floats(width=32, min_value=-(2.0**118), max_value=2.0**118, allow_subnormal=True)


def floats(values: Sequence[float] | Sequence[Sequence[float]]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


@given(values=st.lists(FINITE, min_size=1, max_size=60), seed=st.integers(0, 1000))
def test_a_sum_has_no_order(values: list[float], seed: int) -> None:
    x = floats(values)
    shuffled = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    whole = sum((Fraction(v) for v in to_fixed(x, term_bits(len(x)), (0,)).tolist()), Fraction(0))
    for found in (exact_sum(x, (0,)), exact_sum(shuffled, (0,)), exact_sum(shuffled.flip(0), (0,))):
        assert Fraction(float(found)) == whole
        assert not torch.signbit(found) or whole < 0


@given(values=st.lists(FINITE, min_size=1, max_size=40), bits=st.integers(16, MOST_BITS))
def test_a_fixed_number_is_the_nearest_multiple_of_a_unit(values: list[float], bits: int) -> None:
    x = floats(values)
    unit = Fraction(float(magic(x, bits, (0,)))) / 3 / 2**22
    assert math.log2(unit).is_integer()
    for value, fixed in zip(x.tolist(), to_fixed(x, bits, (0,)).tolist(), strict=True):
        assert (Fraction(fixed) / unit).denominator == 1
        assert abs(Fraction(fixed) / unit) <= 2**bits
        assert abs(Fraction(fixed) - Fraction(value)) <= unit / 2


@pytest.mark.parametrize("length", [1, 2, 3, 9, 512, 513, 8192, 32768, 65536, 1 << 20])
def test_the_largest_terms_and_factors_stay_exact(length: int) -> None:
    assert length * 2 ** term_bits(length) <= 2**53
    assert length * 2 ** (2 * factor_bits(length)) <= 2**53
    assert factor_bits(length) >= min(MOST_BITS, 16)


@pytest.mark.parametrize("length", [1, 7, 1000, 32768, 131072])
def test_products_of_full_factors_equal_those_in_whole_numbers(length: int) -> None:
    drawn = torch.Generator().manual_seed(length)
    bits = factor_bits(length)
    a, b = (torch.randint(2**bits - 3, 2**bits, (2, length), generator=drawn) for _ in range(2))
    for signs in (torch.ones(2, length, dtype=torch.int64), torch.randint(0, 2, (2, length), generator=drawn) * 2 - 1):
        whole = ((a * signs)[:, None] * b[None]).sum(-1)
        order = torch.randperm(length, generator=drawn)
        for place in (torch.arange(length), order):
            found = (a * signs)[:, place].double() @ b[:, place].double().T
            assert torch.equal(found.long(), whole)
            assert torch.equal(matmul((a * signs)[:, place].float(), b[:, place].float().T), whole.to(torch.float32))


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan, 3.3e38])
def test_what_has_no_room_becomes_nan_and_stays_in_its_own_sums(wrong: float) -> None:
    x = torch.ones(3, 4)
    x[1, 2] = wrong
    assert exact_sum(x, (1,)).isnan().tolist() == [False, True, False]
    assert matmul(x, torch.ones(4, 2)).isnan().tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert exact_sum_of_doubles(x.double() * 1e270, 1).isfinite().flatten().tolist() == [True, False, True]


def test_denormals_and_zeros_become_zero_with_the_sign_plus() -> None:
    tiny = floats([2.0**-149, -(2.0**-127), -0.0, 0.0])
    assert to_fixed(tiny, MOST_BITS, (0,)).view(torch.int32).tolist() == [0, 0, 0, 0]
    assert exact_sum(-tiny * 0.0, (0,)).view(torch.int64).item() == 0
    minus = matmul(floats([[-1.0, -1.0]]), floats([[0.0], [0.0]]))
    assert minus.view(torch.int32).item() == 0


def test_each_row_has_its_own_unit() -> None:
    x = torch.stack([torch.full((8,), 1e-20), torch.full((8,), 1e20)])
    assert exact_sum(x, (1,)).tolist() == pytest.approx([8e-20, 8e20], rel=1e-6)
    assert matmul(x, torch.ones(8, 1)).flatten().tolist() == pytest.approx([8e-20, 8e20], rel=1e-6)


def test_no_bit_depends_on_how_work_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    x, w = torch.randn(9, 4, 8, 8, generator=rng), torch.randn(6, 4, 3, 3, generator=rng)
    grad = torch.randn(9, 6, 8, 8, generator=rng)
    how = contractions.Convolution((1, 1), (1, 1), (1, 1), False, (0, 0), 1)

    def everything() -> list[torch.Tensor]:
        found = [contractions.convolution(x, w, None, how)]
        found += [
            one for one in contractions.convolution_backward(grad, x, w, how, (True, True, True)) if one is not None
        ]
        found += normalisation.batch_norm(x, None, None, None, None, True, 0.1, 1e-5)
        return found

    at_once = everything()
    monkeypatch.setattr(contractions, "_WINDOW_BYTES", 1)
    monkeypatch.setattr(normalisation, "_AT_ONCE", 1)
    assert all(torch.equal(one, other) for one, other in zip(at_once, everything(), strict=True))
