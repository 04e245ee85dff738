"""Inputs of the relatives: a recorded model in evaluation mode, and single points of its dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from raypol.core.augment import to_unit
from raypol.core.errors import InputError, reject_choice
from raypol.core.spoofing.objectives import model_input
from raypol.core.training.trainer import Trainer

Split = Literal["test", "train"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """A model's predictions for B points."""

    probabilities: Tensor
    """(B, K) of each class, on the CPU."""
    losses: Tensor
    """(B,) cross-entropy in nats against the true label, on the CPU."""

    @property
    def predictions(self) -> Tensor:
        """(B,) int64: the most probable class."""
        return self.probabilities.argmax(1)


def pick_points(trainer: Trainer, indices: Sequence[int], split: Split = "test") -> tuple[Tensor, Tensor]:
    """(B, C, H, W) points of the trainer's dataset in [0, 1] and their (B,) labels, on its device.

    Raises:
        InputError: no index, or one outside the split.
    """
    data = trainer.dataset
    if split not in ("test", "train"):
        reject_choice("split", split, ("test", "train"))
    pixels, labels = (data.test_pixels, data.test_labels) if split == "test" else (data.pixels, data.labels)
    outside = [index for index in indices if not 0 <= index < len(labels)]
    if outside or not indices:
        raise InputError(
            f"expected at least one index in 0..{len(labels) - 1} ({split} points of {data.name}), "
            f"got {', '.join(map(str, outside)) or 'none'}"
        )
    where = torch.tensor(list(indices), device=labels.device)
    return to_unit(pixels[where], trainer.dtype), labels[where]


def look(trainer: Trainer, X_BCHW: Tensor, y_B: Tensor) -> Seen:
    """Predict points in [0, 1], with recorded norm statistics."""
    with trainer.evaluating(), torch.no_grad():
        logits = trainer.logits(model_input(trainer, X_BCHW)).double()
        losses = F.cross_entropy(logits, y_B, reduction="none")
    return Seen(probabilities=logits.softmax(1).cpu(), losses=losses.cpu())


def check_points(trainer: Trainer, X_BCHW: Tensor, y_B: Tensor) -> None:
    """Raise the InputError for points that are not of the model's kind, or a model whose weights are not finite."""
    data = trainer.dataset
    if X_BCHW.shape[1:] != data.image_shape or not len(X_BCHW) or y_B.shape != X_BCHW.shape[:1]:
        raise InputError(
            f"expected points (B>0, {', '.join(map(str, data.image_shape))}) with a label each, "
            f"got {tuple(X_BCHW.shape)} and {tuple(y_B.shape)}"
        )
    if not bool(((X_BCHW >= 0.0) & (X_BCHW <= 1.0)).all()):
        raise InputError("expected pixels in [0, 1], got others (pixels of 0..255 are divided by 255 first)")
    if int(y_B.min()) < 0 or int(y_B.max()) >= data.num_classes:
        raise InputError(f"expected labels in 0..{data.num_classes - 1}, got {sorted(set(y_B.tolist()))}")
    check_weights(trainer)


def check_weights(trainer: Trainer) -> None:
    """Raise the InputError for weights or norm statistics that are not finite: every answer would be NaN."""
    moving = {name: buffer for name, buffer in trainer.buffers.items() if name not in trainer.tables}
    for name, tensor in [*trainer.parameters.items(), *moving.items()]:
        if not bool(tensor.isfinite().all()):
            raise InputError(f"expected finite weights, got NaN or infinity in {name}")
