"""The circuit's text and the count of its constraints, against what circom's compiler counted."""

import pytest

from raypol.core.verifiable.circuit import circuit_sha256, circuit_text, key_digest, num_constraints
from raypol.core.verifiable.integer_model import ModelShape

COUNTED = {
    (4, 2, 1, 4): 1_597,
    (64, 10, 16, 4): 69_601,
}
"""Features, classes, batch, s -> constraints as groth16py 0.2.0's compiler counted them."""


@pytest.mark.parametrize(("sizes", "count"), COUNTED.items())
def test_constraints_are_counted_without_compiling(sizes: tuple[int, int, int, int], count: int) -> None:
    features, classes, batch, shift = sizes
    assert num_constraints(ModelShape(features=features, classes=classes, batch_size=batch, lr_shift=shift)) == count


def test_other_shapes_are_other_circuits_and_other_keys() -> None:
    shapes = [
        ModelShape(features=4, classes=2, batch_size=1, lr_shift=4),
        ModelShape(features=2, classes=4, batch_size=1, lr_shift=4),
        ModelShape(features=4, classes=2, batch_size=2, lr_shift=4),
        ModelShape(features=4, classes=2, batch_size=1, lr_shift=5),
    ]
    assert len({circuit_sha256(shape) for shape in shapes}) == len(shapes)
    assert len({key_digest(shape, b"key") for shape in shapes}) == len(shapes)
    assert key_digest(shapes[0], b"key") != key_digest(shapes[0], b"another")


def test_the_text_leaves_no_signal_to_a_hint_of_its_own() -> None:
    """`<--` would assign without constraining; circomlib's Num2Bits alone does, and constrains the bits."""
    assert "<--" not in circuit_text(ModelShape(features=4, classes=2, batch_size=1))
