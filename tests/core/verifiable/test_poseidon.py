"""Poseidon outside the circuit: answers that circomlib publishes, and what a hash must tell apart."""

import pytest

from raypol.core.verifiable.digests import hash_batch, hash_weights
from raypol.core.verifiable.field import SCALAR_MODULUS
from raypol.core.verifiable.integer_model import WEIGHT_BITS, one_hot
from raypol.core.verifiable.poseidon import poseidon
from tests.proved import small


@pytest.mark.parametrize(
    ("inputs", "hashed"),
    [
        ([1], 18586133768512220936620570745912940619677854269274689475585506675881198879027),
        ([1, 2], 7853200120776062878684798364095072458815029376092732009249414926327459813530),
        ([1, 2, 3, 4], 0x299C867DB6C1FDD79DCEFA40E4510B9837E60EBB1CE0663DBAA525DF65250465),
        (list(range(1, 17)), 9989051620750914585850546081941653841776809718687451684622678807385399211877),
    ],
)
def test_circomlibs_known_answers(inputs: list[int], hashed: int) -> None:
    assert poseidon(inputs) == hashed < SCALAR_MODULUS


def test_a_weight_of_one_unit_more_has_another_hash_and_so_have_weights_in_another_order() -> None:
    weights = one_hot(small().labels, 2)
    more, turned = weights.copy(), weights[::-1]
    more[3, 1] += 1
    assert len({hash_weights(weights), hash_weights(more), hash_weights(turned), hash_weights(weights.T)}) == 4


def test_the_borrow_that_packing_alone_would_not_see_is_no_weight() -> None:
    """(w_0 + 2^20, w_1 - 1) packs to the same word: out of range, and refused here as the circuit refuses it."""
    weights = one_hot(small().labels, 2)
    weights[0, 0] += 1 << WEIGHT_BITS
    weights[0, 1] -= 1
    with pytest.raises(AssertionError):
        hash_weights(weights)


def test_batches_are_told_apart_by_every_pixel_label_and_order() -> None:
    inputs, targets = one_hot(small().labels[:4], 2) * 16, one_hot(small().labels[:4], 2)
    dimmed = inputs.copy()
    dimmed[0, 0] -= 1
    hashes = {
        hash_batch(inputs, targets),
        hash_batch(dimmed, targets),
        hash_batch(inputs, targets[::-1]),
        hash_batch(inputs[[1, 0, 2, 3]], targets),
    }
    assert len(hashes) == 4
