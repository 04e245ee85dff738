"""Hashes of weights and batches, as the circuit computes them: packed into scalars, chained by Poseidon.

Packing is one to one only because every packed number has a fixed count of bits, which the circuit checks for both W and W', and
for inputs and labels: else (w_0 + 2^20, w_1 - 1) would have the hash of (w_0, w_1). The number of words is the circuit's, so a
chain with a tag in front is as collision-free as Poseidon itself.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from raypol.core.verifiable.integer_model import INPUT_BITS, WEIGHT_BITS, Integers, ModelShape
from raypol.core.verifiable.poseidon import poseidon

WORD_BITS: Final = 240
"""Bits packed into one scalar of 254; a multiple of the bits of a weight."""
CHAINED: Final = 7
"""Words per permutation, beside the hash of those before: Poseidon of 8 inputs. Fewer constraints with 15, but circom then takes
300 MB more."""
WEIGHTS_TAG: Final = 1
BATCH_TAG: Final = 2


def hash_weights(weights: Integers) -> int:
    """Poseidon hash of (F, C) weights in their range."""
    shifted = (weights.reshape(-1) + (1 << (WEIGHT_BITS - 1))).tolist()
    return _chain(_packed((value, WEIGHT_BITS) for value in shifted), WEIGHTS_TAG)


def hash_batch(inputs: Integers, targets: Integers) -> int:
    """Poseidon hash of a batch in its order: all inputs (B, F), 5 bits each, then all one-hot labels (B, C)."""
    bits = [(value, INPUT_BITS) for value in inputs.reshape(-1).tolist()]
    bits += [(value, 1) for value in targets.reshape(-1).tolist()]
    return _chain(_packed(bits), BATCH_TAG)


def num_words(num_bits: int) -> int:
    """Scalars that hold so many bits."""
    return -(-num_bits // WORD_BITS)


def num_rounds(words: int) -> int:
    """Permutations that hash so many scalars."""
    return -(-words // CHAINED)


def batch_bits(shape: ModelShape) -> int:
    """Bits of a packed batch."""
    return shape.batch_size * (shape.features * INPUT_BITS + shape.classes)


def _packed(values: Iterable[tuple[int, int]]) -> list[int]:
    """Scalars of 240 bits, the first value lowest; the last one is filled up with zeros."""
    whole, place = 0, 0
    words = []
    for value, size in values:
        assert 0 <= value < 1 << size
        whole |= value << place
        place += size
        while place >= WORD_BITS:
            words.append(whole & ((1 << WORD_BITS) - 1))
            whole >>= WORD_BITS
            place -= WORD_BITS
    return [*words, whole] if place else words


def _chain(words: Sequence[int], tag: int) -> int:
    hashed = tag
    for start in range(0, len(words), CHAINED):
        some = words[start : start + CHAINED]
        hashed = poseidon([hashed, *some, *[0] * (CHAINED - len(some))])
    return hashed
