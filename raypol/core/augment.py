"""The declared transform: batched, seeded augmentation and normalisation as tensor operations on the device.

No per-sample Python and no PIL. The random draws are made on the CPU from a seed and the step, then applied wherever the
pixels are, so that every machine can repeat the augmentation of any step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from raypol.core.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """What happens to the stored pixels before the model sees them."""

    crop_padding: int = 0
    """Zero padding in pixels on each side before a random crop back to the original size; 0 = no crop."""
    horizontal_flip: bool = False
    """Mirror each image with probability 1/2."""
    mean: tuple[float, ...] = ()
    """Per channel, subtracted from pixels in [0, 1]; () = no normalisation."""
    std: tuple[float, ...] = ()
    """Per channel, divides after the mean is subtracted."""

    def __post_init__(self) -> None:
        if not 0 <= self.crop_padding <= 64:
            raise InputError(f"expected crop_padding in 0..64 pixels, got {self.crop_padding}")
        if len(self.mean) != len(self.std) or any(not s > 0 for s in self.std):
            raise InputError(f"expected one mean and one positive std per channel, got {self.mean} and {self.std}")

    @property
    def is_random(self) -> bool:
        """True if two replays with different augmentation seeds see different pixels."""
        return self.crop_padding > 0 or self.horizontal_flip

    def without_augmentation(self) -> "Transform":
        """The same normalisation, no random part."""
        return Transform(mean=self.mean, std=self.std)


def augment(pixels: Tensor, transform: Transform, generator: torch.Generator) -> Tensor:
    """Random crop with zero padding and random horizontal flip, drawn per image.

    Args:
        pixels: (B, C, H, W), any dtype, any device.
        transform: the declared transform; its mean and std are not applied here.
        generator: CPU generator that decides offsets and flips.

    Returns:
        (B, C, H, W), same dtype and device.
    """
    if not transform.is_random:
        return pixels
    return apply_draws(pixels, transform, draw(transform, len(pixels), generator))


def draw(transform: Transform, count: int, generator: torch.Generator) -> Tensor:
    """(3, count) int64: vertical offset, horizontal offset, mirrored or not, per image."""
    draws_3B = torch.zeros(3, count, dtype=torch.int64)
    if transform.crop_padding:
        draws_3B[:2] = torch.randint(0, 2 * transform.crop_padding + 1, (2, count), generator=generator)
    if transform.horizontal_flip:
        draws_3B[2] = torch.rand(count, generator=generator) < 0.5
    return draws_3B


def apply_draws(pixels: Tensor, transform: Transform, draws_3B: Tensor) -> Tensor:
    """Crop and mirror (B, C, H, W) pixels by what was drawn for each."""
    B, C, H, W = pixels.shape
    device = pixels.device
    pad = transform.crop_padding
    top_B1, left_B1, mirrored_B1 = draws_3B[:, :, None]
    rows_BH = top_B1 + torch.arange(H)
    cols_BW = left_B1 + torch.arange(W)
    if transform.horizontal_flip:
        cols_BW = torch.where(mirrored_B1 > 0, cols_BW.flip(1), cols_BW)
    padded = torch.nn.functional.pad(pixels, (pad, pad, pad, pad)) if pad else pixels
    # One flat gather: the fastest form of "window per image" measured on CPU, and a single kernel on a GPU.
    flat_BHW = (rows_BH[:, :, None] * (W + 2 * pad) + cols_BW[:, None, :]).reshape(B, 1, H * W).to(device)
    return padded.flatten(2).gather(2, flat_BHW.expand(B, C, H * W)).reshape(B, C, H, W)


def to_unit(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Stored pixels as numbers in [0, 1]: uint8 is divided by 255, floats are taken as they are."""
    return pixels.to(dtype).div_(255.0) if pixels.dtype == torch.uint8 else pixels.to(dtype)


def normalise(unit: Tensor, transform: Transform) -> Tensor:
    """(X - mean) / std per channel, for X in [0, 1] of shape (B, C, H, W); differentiable."""
    if not transform.mean:
        return unit
    mean = torch.tensor(transform.mean, dtype=unit.dtype, device=unit.device).view(1, -1, 1, 1)
    std = torch.tensor(transform.std, dtype=unit.dtype, device=unit.device).view(1, -1, 1, 1)
    return (unit - mean) / std
