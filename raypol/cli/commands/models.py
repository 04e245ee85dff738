"""`raypol models`: the models by name, how large they and their checkpoints are."""

from dataclasses import dataclass

import torch
from rich.table import Table

from raypol.cli.console import OUT
from raypol.core.imports import is_import_path
from raypol.core.models import MODELS, ModelSize, build_model, model_size
from raypol.core.models.initial_laws import initial_laws
from raypol.report.tables import terminal_text


@dataclass(frozen=True, kw_only=True)
class Models:
    """The built-in models, and own ones: parameters, tensors, size of a checkpoint."""

    model: tuple[str, ...] = ()
    """Own models to show as well, by import path: my_pkg.models:make_net."""
    in_channels: int = 3
    """Channels of the images."""
    num_classes: int = 10
    """Classes of the dataset."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Show them."""
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
        """Of a model whose initial laws are all known; it would be of no use otherwise.

        An own constructor may do what only real tensors can; the built-in ones are counted without being filled.
        """
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
