"""Poseidon over BN254's scalars (Grassi et al. 2019, eprint 2019/458), with the parameters of circomlib.

The constants are drawn by the paper's Grain LFSR (its appendix E), so that nothing but their recipe stands here. S-box x^5, 8
full rounds; the partial ones by width, as circomlib has them. Slow and obvious: some 5 ms per permutation.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from raypol.core.verifiable.field import SCALAR_MODULUS

FULL_ROUNDS: Final = 8
PARTIAL_ROUNDS: Final = (56, 57, 56, 60, 60, 63, 64, 63, 60, 66, 60, 65, 70, 60, 64, 68)
"""By width t = 2..17."""
_FIELD_BITS: Final = 254
_WARM_UP: Final = 160
_TAPS: Final = (62, 51, 38, 23, 13, 0)


def poseidon(inputs: Sequence[int]) -> int:
    """Hash 1 to 16 scalars to one: the permutation of (0, inputs), of which the first word is kept."""
    assert 1 <= len(inputs) <= len(PARTIAL_ROUNDS)
    assert all(0 <= value < SCALAR_MODULUS for value in inputs)
    width = len(inputs) + 1
    constants, matrix = _parameters(width)
    partial = PARTIAL_ROUNDS[width - 2]
    state = [0, *inputs]
    for number in range(FULL_ROUNDS + partial):
        state = [word + constants[number * width + i] for i, word in enumerate(state)]
        is_full = number < FULL_ROUNDS // 2 or number >= FULL_ROUNDS // 2 + partial
        raised = width if is_full else 1
        state[:raised] = [pow(word, 5, SCALAR_MODULUS) for word in state[:raised]]
        state = [sum(m * word for m, word in zip(row, state, strict=True)) % SCALAR_MODULUS for row in matrix]
    return state[0]


@lru_cache(maxsize=len(PARTIAL_ROUNDS))
def _parameters(width: int) -> tuple[list[int], list[list[int]]]:
    """Round constants, and the Cauchy matrix 1 / (x_i + y_j)."""
    partial = PARTIAL_ROUNDS[width - 2]
    bits = _grain_bits(width, partial)

    def draw() -> int:
        return int("".join(str(next(bits)) for _ in range(_FIELD_BITS)), 2)

    constants: list[int] = []
    while len(constants) < width * (FULL_ROUNDS + partial):
        if (value := draw()) < SCALAR_MODULUS:
            constants.append(value)
    seeds = [draw() % SCALAR_MODULUS for _ in range(2 * width)]
    assert len(set(seeds)) == 2 * width
    xs, ys = seeds[:width], seeds[width:]
    return constants, [[pow(x + y, -1, SCALAR_MODULUS) for y in ys] for x in xs]


def _grain_bits(width: int, partial: int) -> Iterator[int]:
    """The bits of the self-shrinking Grain LFSR, whose first state names the parameters."""
    words = ((1, 2), (0, 4), (_FIELD_BITS, 12), (width, 12), (FULL_ROUNDS, 10), (partial, 10), ((1 << 30) - 1, 30))
    register = [int(bit) for value, size in words for bit in f"{value:0{size}b}"]

    def next_bit() -> int:
        bit = 0
        for tap in _TAPS:
            bit ^= register[tap]
        del register[0]
        register.append(bit)
        return bit

    for _ in range(_WARM_UP):
        next_bit()
    while True:
        keep, bit = next_bit(), next_bit()
        if keep:
            yield bit
