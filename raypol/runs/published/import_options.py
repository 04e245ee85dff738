"""Options of an import: claims about a proof that its folder does not record."""

from dataclasses import dataclass, replace

from raypol.core.augment import Transform
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.runs.published.published_defaults import TRANSFORMS, TransformName


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """Claims about a folder of the published code; those that the folder records must agree with it."""

    dataset: str
    """The prover's dataset: built-in, or your own by import path (my_pkg.data:load)."""
    model: str
    """The prover's model: built-in with the folder's tensor names, or your own by import path
    (my_pkg.models:make_net)."""
    transform: TransformName | None = None
    """How pixels became inputs. The published code's own: cifar10 (crop after padding 4, mirror, ImageNet's mean and std),
    cifar100 (the same, rotation by 15 degrees, its own mean and std), mnist ((x - 0.5) / 0.5); or identity
    (pixels in [0, 1] as they are). The next five options replace parts of it, or all of it."""
    crop_padding: int | None = None
    """Zero padding in pixels before a random crop; 0 = no crop."""
    horizontal_flip: bool | None = None
    """Random mirror image."""
    rotation_degrees: float | None = None
    """Largest angle of a random rotation; 0 = none."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel, subtracted from pixels in [0, 1]."""
    std: tuple[float, ...] | None = None
    """Divisor of each channel after that."""
    optimizer: str = "SGD"
    """Class in torch.optim; the published code has SGD, and Adam for datasets other than CIFAR and MNIST."""
    lr: float | None = None
    """Initial learning rate. Like the next four: needed only if the folder records none, else compared with it."""
    momentum: float | None = None
    """SGD's momentum."""
    weight_decay: float | None = None
    """Weight decay."""
    milestones: tuple[int, ...] | None = None
    """Steps after which the learning rate falls."""
    gamma: float | None = None
    """Factor of the learning rate at each milestone."""
    interval: int | None = None
    """k, if known. Otherwise it follows from the file names, where a missing one of few checkpoints may go unnoticed."""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place."""

    @property
    def data(self) -> DataSource:
        """Source of the dataset."""
        return DataSource(name=self.dataset, folder=self.data_dir)

    def declared_transform(self) -> Transform:
        """Transform that the options describe.

        Raises:
            InputError: they describe none.
        """
        parts = ("crop_padding", "horizontal_flip", "rotation_degrees", "mean", "std")
        given = {name: getattr(self, name) for name in parts if getattr(self, name) is not None}
        if self.transform is None and not given:
            raise InputError(
                "the folder does not record how pixels became inputs; give --transform "
                f"({', '.join(TRANSFORMS)}), or --crop-padding, --horizontal-flip, --rotation-degrees, --mean and --std"
            )
        return replace(TRANSFORMS[self.transform or "identity"], **given)
