"""`raypol models`: models by name, with their sizes and those of their checkpoints."""

from dataclasses import dataclass
from typing import Final

import torch

from raypol.cli.console import print_tables, say, warn
from raypol.cli.options import Debug
from raypol.core.errors import InputError, check_whole, first_names
from raypol.core.imports import is_import_path
from raypol.core.models import MODELS, build_model, model_size
from raypol.core.models.constructed import checked_laws
from raypol.core.models.rehearsal import Rehearsal, rehearse
from raypol.report.tables import Table, TableColumn, words

_LARGEST_IMAGE: Final = 4096


@dataclass(frozen=True, kw_only=True)
class ModelsCommand:
    """List the built-in models, and your own: parameters, tensors, size of a checkpoint."""

    model: tuple[str, ...] = ()
    """Your own models to show as well, by import path: my_pkg.models:make_net."""
    in_channels: int = 3
    """Channels of the images that the models are built for."""
    num_classes: int = 10
    """Classes that the models are built for."""
    image_size: int = 32
    """Height and width of the images on which your own models make a step, to see that they can."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        check_whole("--image-size", self.image_size, 1, _LARGEST_IMAGE)
        parts = ("weights", "+ buffers", "+ momentum", "checkpoint")
        columns = (
            *words("model"),
            *map(TableColumn, ("parameters", "tensors")),
            *(TableColumn(part, "MB") for part in parts),
        )
        print_tables(Table(columns=columns, lines=[self._line(name) for name in (*MODELS, *self.model)]))
        say(
            f"for images of {self.in_channels} channels and {self.num_classes} classes, in float32; parameters: trainable ones. "
            "A checkpoint holds weights, buffers (statistics of norm layers) and the optimizer's state, here that of SGD with "
            "momentum; files are a little smaller. _small: torchvision's network with the stem for small images."
        )
        return 0

    def _line(self, name: str) -> list[str]:
        """Sizes of a model; your own is an InputError if no proof could be made of it, for its initial laws are not known."""
        # A user's constructor may need real tensors; built-in models are counted without being filled.
        with torch.device("cpu" if is_import_path(name) else "meta"):
            model = build_model(name, in_channels=self.in_channels, num_classes=self.num_classes)
        if is_import_path(name):
            checked_laws(model, name)
            self._rehearse(name)
        size = model_size(model)
        parts = (size.weight_bytes, size.buffer_bytes, size.momentum_bytes, size.checkpoint_bytes)
        return [name, f"{size.num_parameters:,}", str(size.num_tensors), *(f"{part / 1e6:.3f}" for part in parts)]

    def _rehearse(self, name: str) -> None:
        shape = (self.in_channels, self.image_size, self.image_size)
        try:
            idle = rehearse(Rehearsal(model=name, image_shape=shape, num_classes=self.num_classes))
        except InputError as err:
            raise InputError(f"{err} (other images: --in-channels, --image-size, --num-classes)") from err
        if idle:
            warn(f"warning: {name}: no gradient reaches {first_names(idle)}; such parameters stay as they are drawn")
