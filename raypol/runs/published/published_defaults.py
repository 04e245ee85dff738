"""Built-in choices of the published PoL code (Jia et al. 2021, arXiv:2103.05633) that a raypol proof declares.

Its verifier is given the names of model and dataset. The dataset's name determines the transform, the class of the optimizer
and whether the learning rate is scheduled. All numbers of the optimizer come from the proof's files.
"""

from dataclasses import dataclass
from typing import Final, Literal

from raypol.core.augment import Transform

TransformName = Literal["identity", "cifar10", "cifar100", "mnist"]

TRANSFORMS: Final[dict[TransformName, Transform]] = {
    "identity": Transform(),
    "cifar10": Transform(crop_padding=4, horizontal_flip=True, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "cifar100": Transform(
        crop_padding=4,
        horizontal_flip=True,
        rotation_degrees=15.0,
        mean=(0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
        std=(0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
    ),
    "mnist": Transform(mean=(0.5,), std=(0.5,)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltIn:
    """A dataset that the published verifier can name."""

    flag: str
    """Its class in torchvision.datasets; empty for any other."""
    transform: TransformName
    optimizer: Literal["SGD", "Adam"]
    scheduled: bool
    """Whether the verifier goes on with a MultiStepLR inside an interval."""


PUBLISHED_DATASETS: Final[dict[str, BuiltIn]] = {
    "cifar10": BuiltIn(flag="CIFAR10", transform="cifar10", optimizer="SGD", scheduled=True),
    "cifar100": BuiltIn(flag="CIFAR100", transform="cifar100", optimizer="SGD", scheduled=True),
    "fashion_mnist": BuiltIn(flag="FashionMNIST", transform="mnist", optimizer="Adam", scheduled=False),
}
"""By raypol's name."""
OTHER_DATASET: Final = BuiltIn(flag="", transform="cifar10", optimizer="Adam", scheduled=False)
"""Its choices for any other name."""

RESNET20: Final = ("resnet20", 3, 10)
"""Name, input channels and classes of the one model that has the same tensor names in both codes."""
