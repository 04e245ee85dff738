"""`raypol models`: models by name, with their sizes and those of their checkpoints."""

from dataclasses import dataclass

import torch
from rich.table import Table

from raypol.cli.console import OUT
from raypol.cli.options import Debug
from raypol.core.imports import is_import_path
from raypol.core.models import MODELS, ModelSize, build_model, model_size
from raypol.core.models.initial_laws import initial_laws
from raypol.report.tables import terminal_text


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
        sizes = {name: self._size(name) for name in (*MODELS, *self.model)}
        OUT.print(_table(sizes))
        OUT.print(
            f"for images of {self.in_channels} channels and {self.num_classes} classes, in float32; parameters: trainable ones. "
            "A checkpoint holds weights, buffers (statistics of norm layers) and the optimizer's state, here that of SGD with "
            "momentum; files are a little smaller. _small: torchvision's network with the stem for small images.",
            soft_wrap=True,
        )
        return 0

    def _size(self, name: str) -> ModelSize:
        """Size of a model; one whose initial laws are not all known is an InputError, as no proof of it could be verified."""
        # A user's constructor may need real tensors; built-in models are counted without being filled.
        with torch.device("cpu" if is_import_path(name) else "meta"):
            model = build_model(name, in_channels=self.in_channels, num_classes=self.num_classes)
        initial_laws(model)
        return model_size(model)


def _table(sizes: dict[str, ModelSize]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for column in ("parameters", "tensors", "weights\nMB", "+ buffers\nMB", "+ momentum\nMB", "checkpoint\nMB"):
        table.add_column(column, justify="right")
    for name, size in sizes.items():
        parts = (size.weight_bytes, size.buffer_bytes, size.momentum_bytes, size.checkpoint_bytes)
        table.add_row(
            terminal_text(name),
            f"{size.num_parameters:,}",
            str(size.num_tensors),
            *(f"{part / 1e6:.3f}" for part in parts),
        )
    return table
