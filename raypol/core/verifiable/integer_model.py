"""A linear model without softmax, squared loss, in integers alone: what one step of its SGD is, exactly.

Inputs X are 0..16, one-hot labels Y are 0 or 1, weights W are integers of scale 2^16. With real weights w = W / 2^16 and inputs
x = X / 16 the step is SGD on |x w - y|^2 / 2, averaged over a batch of B = 2^b points, at the learning rate 2^-s:

    W' = W - floor(2^-R X^T (X W - 16 2^16 Y)),   R = 8 + s + b

Every number is an integer; the floor is the only rounding, so any machine gives the same bits.

Bounds, F features: |W| <= 2^19 and X < 2^5 as the circuit checks them, so |X W - 16 2^16 Y| < 2^24 F + 2^20 =: e and the sums of
the gradient stay below 2^5 B e. At the largest sizes that `ModelShape` takes this is below 2^62: int64 and the field are larger.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.errors import InputError, check_whole
from raypol.core.seeds import generator

LINEAR_INTEGER: Final = "linear_integer"
"""Its name in claims, and in the seed that both parties bind."""
FRACTION_BITS: Final = 16
"""Weights have the scale 2^16."""
WEIGHT_BITS: Final = 20
"""Weights lie in [-2^19, 2^19): below 8 in real numbers."""
INPUT_BITS: Final = 5
LARGEST_INPUT: Final = 16
"""Grey levels; 2^4, so that an input's unit is a shift, too."""
DEFAULT_LR_SHIFT: Final = 4
MAX_LR_SHIFT: Final = 12
MAX_WIDTH: Final = 1 << 20
"""Of features and of classes."""
LARGEST_BATCH: Final = 1 << 12
_LARGEST_PIXEL: Final = 255
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The sizes that one circuit is made for."""

    features: int
    """F, at least 2."""
    classes: int
    """C."""
    batch_size: int
    """B, a power of two."""
    lr_shift: int = DEFAULT_LR_SHIFT
    """s: the learning rate is 2^-s."""

    def __post_init__(self) -> None:
        check_whole("features", self.features, 2, MAX_WIDTH)
        check_whole("classes", self.classes, 1, MAX_WIDTH)
        check_whole("batch_size", self.batch_size, 1, LARGEST_BATCH)
        check_whole("lr_shift", self.lr_shift, 0, MAX_LR_SHIFT)
        if self.batch_size & (self.batch_size - 1):
            raise InputError(f"expected batch_size as a power of two for a circuit, got {self.batch_size}")
        assert self.largest_sum < 1 << 62  # for all sizes up to those bounds

    @property
    def num_weights(self) -> int:
        """F C."""
        return self.features * self.classes

    @property
    def remainder_bits(self) -> int:
        """R: bits that the division of the gradient drops."""
        return 8 + self.lr_shift + self.batch_size.bit_length() - 1

    @property
    def largest_sum(self) -> int:
        """Bound of every integer of a step that the circuit's constraints admit, in absolute value.

        The gradient's sums, and the 2^R (W - W') that they are compared with.
        """
        error = (self.features << (INPUT_BITS + WEIGHT_BITS - 1)) + (LARGEST_INPUT << FRACTION_BITS)
        gradient = self.batch_size * (error << INPUT_BITS)
        return gradient + (1 << (self.remainder_bits + WEIGHT_BITS))


def integer_inputs(pixels: Tensor) -> Integers:
    """(N, F) grey levels 0..16 of (N, C, H, W) uint8 pixels; the digits' own levels come back exactly."""
    flat = pixels.reshape(len(pixels), -1).numpy().astype(np.int64)
    return (2 * LARGEST_INPUT * flat + _LARGEST_PIXEL) // (2 * _LARGEST_PIXEL)


def one_hot(labels: Tensor, classes: int) -> Integers:
    """(N, C) zeros and ones."""
    rows: Integers = np.eye(classes, dtype=np.int64)[labels.numpy()]
    return rows


def initial_integers(shape: ModelShape, seed: int) -> Integers:
    """W_0, (F, C): uniform in real numbers below 1 / sqrt(F), as torch's linear layers are, drawn from the seed."""
    bound = min(int((1 << FRACTION_BITS) / shape.features**0.5), 1 << (WEIGHT_BITS - 2))
    drawn = torch.randint(
        -bound, bound + 1, (shape.features, shape.classes), generator=generator(seed, LINEAR_INTEGER, "initial weights")
    )
    return drawn.numpy().astype(np.int64)


def integer_step(weights: Integers, inputs: Integers, targets: Integers, shape: ModelShape) -> Integers:
    """W', (F, C), of one step.

    Args:
        weights: (F, C).
        inputs: (B, F) in 0..16.
        targets: (B, C), one-hot.
        shape: the sizes.

    Raises:
        InputError: a new weight leaves the range that the circuit has for weights.
    """
    errors = inputs @ weights - (LARGEST_INPUT << FRACTION_BITS) * targets
    new: Integers = weights - ((inputs.T @ errors) >> shape.remainder_bits)  # >> is the floor, of negative numbers too
    if not in_weight_range(new):
        raise InputError(
            f"a weight left [-8, 8), which is all that the circuit has bits for: "
            f"take a smaller learning rate than 1/{1 << shape.lr_shift}"
        )
    return new


def in_weight_range(weights: Integers) -> bool:
    """Look whether every weight has its 20 bits."""
    half = 1 << (WEIGHT_BITS - 1)
    return bool((weights >= -half).all() and (weights < half).all())


def integer_accuracy(weights: Integers, inputs: Integers, labels: Tensor) -> float:
    """Share of points whose largest output is that of their label."""
    return float(((inputs @ weights).argmax(axis=1) == labels.numpy()).mean())
