"""`raypol models`: models by name, with their sizes and those of their checkpoints."""

from dataclasses import dataclass

import torch

from raypol.cli.console import print_tables, say
from raypol.cli.options import Debug
from raypol.core.imports import is_import_path
from raypol.core.models import MODELS, build_model, model_size
from raypol.core.models.constructed import checked_laws
from raypol.report.tables import Table, TableColumn, words


@dataclass(frozen=True, kw_only=True)
class ModelsCommand:
    """List the built-in models, and your own: parameters, tensors, size of a checkpoint."""

    model: tuple[str, ...] = ()
    """Your own models to show as well, by import path: my_pkg.models:make_net."""
    in_channels: int = 3
    """Channels of the images that the models are built for."""
    num_classes: int = 10
    """Classes that the models are built for."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
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
        size = model_size(model)
        parts = (size.weight_bytes, size.buffer_bytes, size.momentum_bytes, size.checkpoint_bytes)
        return [name, f"{size.num_parameters:,}", str(size.num_tensors), *(f"{part / 1e6:.3f}" for part in parts)]
