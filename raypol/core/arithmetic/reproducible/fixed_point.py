"""Sums whose value does not depend on their order: numbers rounded to a common unit before they are added.

A float32 number x with |x| <= 2^b u becomes an integer multiple of the unit u, a power of two, by adding and subtracting
C = 3 * 2^22 u: the sum rounds to a multiple of u. A sum of n such numbers, or of n products of two, is exact in float64 while
n 2^b or n 2^2b stays within 2^53, so that order, threads, blocking, fused multiply-add and device cannot change it (pre-rounding:
Demmel and Nguyen 2013, "Fast Reproducible Floating-Point Summation"; for matrix products Ozaki et al. 2012, "Error-free
transformations of matrix multiplication by using fast routines of matrix multiplication"). Here only the leading part of each
number is kept; the published methods go on with the remainder.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

_EXACT_BITS: Final = 53
"""Integers up to 2^53 are exact in float64."""
MOST_BITS: Final = 22
"""Of a float32 number that is rounded by adding and subtracting 3 * 2^22 units: the sum must keep its exponent."""
_MOST_BITS_OF_DOUBLES: Final = 51
"""As `MOST_BITS`."""
_MANTISSA: Final = 23
_LEAST_FIELD: Final = 25
"""Of C's exponent: the unit is then 2^-125, and denormals, which some devices flush, round to 0 everywhere."""
_NOT_A_NUMBER: Final = 255
"""Exponent field of infinity and NaN. So do numbers within 2^(25 - b) of the largest float32: their C overflows."""


def term_bits(length: int) -> int:
    """Bits b of a term so that `length` of them have an exact sum."""
    return min(MOST_BITS, _EXACT_BITS - _log2(length))


def factor_bits(length: int) -> int:
    """Bits b of a factor so that `length` products of two have an exact sum."""
    return min(MOST_BITS, (_EXACT_BITS - _log2(length)) // 2)


def _log2(length: int) -> int:
    return (max(length, 1) - 1).bit_length()


def magic(x: Tensor, bits: int, dims: Sequence[int]) -> Tensor:
    """C of the docstring above, shared by the numbers along `dims`, which keep size 1.

    NaN where any of them is NaN or infinite: the rounded numbers, and all sums of them, then are NaN as well.
    """
    largest = _largest(x, dims)
    field = (largest.view(torch.int32) >> _MANTISSA) & _NOT_A_NUMBER
    field = (field + (_MANTISSA + 1 - bits)).clamp_(_LEAST_FIELD, _NOT_A_NUMBER)
    return ((field << _MANTISSA) | (1 << (_MANTISSA - 1))).view(torch.float32)


def _largest(x: Tensor, dims: Sequence[int]) -> Tensor:
    """Largest magnitude along `dims`; torch's own norm of order inf takes nine times as long."""
    return torch.maximum(x.amax(tuple(dims), True), x.amin(tuple(dims), True).neg_())


def to_fixed(x: Tensor, bits: int, dims: Sequence[int]) -> Tensor:
    """Multiples in float32 of a common unit along `dims`, nearest to x, ties to even."""
    shift = magic(x, bits, dims)
    return x.add(shift).sub_(shift)


def exact_sum(x: Tensor, dims: Sequence[int], *, keepdim: bool = False) -> Tensor:
    """Sum in float64 along `dims` of float32 numbers rounded to 22 bits below the largest of each sum; never -0."""
    count = math.prod(x.shape[dim] for dim in dims)
    if not count:
        return x.double().sum(list(dims), keepdim=keepdim)
    fixed = to_fixed(x, term_bits(count), dims)
    return fixed.double().sum(list(dims), keepdim=keepdim).add_(0.0)


def exact_sum_of_doubles(x: Tensor, dim: int) -> Tensor:
    """Sum along one dimension, which is kept, of normal float64 numbers, rounded to as many bits as stay exact."""
    bits = min(_MOST_BITS_OF_DOUBLES, _EXACT_BITS - _log2(x.shape[dim]))
    largest = _largest(x, (dim,))
    field = ((largest.view(torch.int64) >> 52) & 2047) + (_EXACT_BITS - bits)
    shift = ((field.clamp_(64, 2047) << 52) | (1 << 51)).view(torch.float64)
    return x.add(shift).sub_(shift).sum(dim, keepdim=True).add_(0.0)
