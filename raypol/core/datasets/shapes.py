"""Sizes and image shapes of datasets, which decide costs, known without their files."""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Number and kind of points."""

    num_points: int
    """N, of the training set."""
    image_shape: tuple[int, int, int]
    """(C, H, W)."""
    num_classes: int

    def half(self, half: int) -> "Shape":
        """The shape of D1 or D2."""
        middle = self.num_points // 2
        return replace(self, num_points=middle if half == 1 else self.num_points - middle)


_CIFAR10: Final = Shape(num_points=50_000, image_shape=(3, 32, 32), num_classes=10)
SHAPES: Final[dict[str, Shape]] = {
    "digits": Shape(num_points=1_438, image_shape=(1, 8, 8), num_classes=10),
    "fashion_mnist": Shape(num_points=60_000, image_shape=(1, 28, 28), num_classes=10),
    "fashion_mnist_32x32x3": Shape(num_points=60_000, image_shape=(3, 32, 32), num_classes=10),
    "cifar10": _CIFAR10,
    "cifar100": replace(_CIFAR10, num_classes=100),
    "imagenet_subset": Shape(num_points=13_000, image_shape=(3, 128, 128), num_classes=10),
}
"""Shapes of the built-in datasets whose content is fixed; ImageNet has 1,300 images in nearly every class."""
