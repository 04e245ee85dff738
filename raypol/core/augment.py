"""The declared transform: batched, seeded augmentation and normalisation as tensor operations on the device.

No per-sample Python and no PIL. The random draws are made on the CPU from a seed and the step, then applied wherever the
pixels are, so that every machine can repeat the augmentation of any step.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from raypol.core.errors import InputError

_MILLIDEGREES: Final = 1000
"""Per degree; angles are drawn as integers, like all draws."""
_FRACTION_BITS: Final = 30
"""Fixed-point bits of sine and cosine: positions are integers, so that all machines and devices pick the same pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """Steps from stored pixels to the model's input."""

    crop_padding: int = 0
    """Zero padding in pixels on each side before a random crop back to the original size; 0 = no crop."""
    horizontal_flip: bool = False
    """Mirror each image with probability 1/2."""
    rotation_degrees: float = 0.0
    """Turn each image by an angle drawn from [-rotation_degrees, rotation_degrees] about its centre, after crop and mirror:
    nearest pixel, zeros from outside; 0 = no rotation."""
    mean: tuple[float, ...] = ()
    """Per channel, subtracted from pixels in [0, 1]; () = no normalisation."""
    std: tuple[float, ...] = ()
    """Per channel, divides after the mean is subtracted."""

    def __post_init__(self) -> None:
        if not 0 <= self.crop_padding <= 64:
            raise InputError(f"expected crop_padding in 0..64 pixels, got {self.crop_padding}")
        if not 0 <= self.rotation_degrees <= 180:
            raise InputError(f"expected rotation_degrees in [0, 180], got {self.rotation_degrees}")
        object.__setattr__(self, "rotation_degrees", float(self.rotation_degrees))  # 15 and 15.0 are one declaration
        if len(self.mean) != len(self.std) or any(not s > 0 for s in self.std):
            raise InputError(f"expected one mean and one positive std per channel, got {self.mean} and {self.std}")

    @property
    def is_random(self) -> bool:
        """True if two replays with different augmentation seeds see different pixels."""
        return self.crop_padding > 0 or self.horizontal_flip or self.rotation_degrees > 0

    def without_augmentation(self) -> "Transform":
        """The same normalisation, no random part."""
        return Transform(mean=self.mean, std=self.std)


def augment(pixels: Tensor, transform: Transform, generator: torch.Generator) -> Tensor:
    """Random crop with zero padding, random horizontal flip, random rotation, in this order, drawn per image.

    Args:
        pixels: (B, C, H, W), any dtype, any device.
        transform: the declared transform; its mean and std are not applied here.
        generator: CPU generator that decides offsets, flips and angles.

    Returns:
        (B, C, H, W), same dtype and device.
    """
    if not transform.is_random:
        return pixels
    return apply_draws(pixels, transform, draw_augmentation(transform, len(pixels), generator))


def draw_augmentation(transform: Transform, count: int, generator: torch.Generator) -> Tensor:
    """(4, count) int64: vertical offset, horizontal offset, mirrored or not, angle in millidegrees, per image."""
    draws_4B = torch.zeros(4, count, dtype=torch.int64)
    if transform.crop_padding:
        draws_4B[:2] = torch.randint(0, 2 * transform.crop_padding + 1, (2, count), generator=generator)
    if transform.horizontal_flip:
        draws_4B[2] = torch.rand(count, generator=generator) < 0.5
    if transform.rotation_degrees:
        widest = round(transform.rotation_degrees * _MILLIDEGREES)
        draws_4B[3] = torch.randint(-widest, widest + 1, (count,), generator=generator)
    return draws_4B


def apply_draws(pixels: Tensor, transform: Transform, draws_4B: Tensor) -> Tensor:
    """Crop, mirror and turn (B, C, H, W) pixels as drawn for each."""
    B, C, H, W = pixels.shape
    device = pixels.device
    pad = transform.crop_padding
    padded = torch.nn.functional.pad(pixels, (pad, pad, pad, pad)) if pad else pixels
    top_B1, left_B1, mirrored_B1 = draws_4B[:3, :, None]
    # One flat gather: the fastest form of "window per image" measured on CPU, and a single kernel on a GPU.
    if not transform.rotation_degrees:
        rows_BH = top_B1 + torch.arange(H)
        cols_BW = left_B1 + torch.arange(W)
        if transform.horizontal_flip:
            cols_BW = torch.where(mirrored_B1 > 0, cols_BW.flip(1), cols_BW)
        flat_BHW = (rows_BH[:, :, None] * (W + 2 * pad) + cols_BW[:, None, :]).reshape(B, 1, H * W).to(device)
        return padded.flatten(2).gather(2, flat_BHW.expand(B, C, H * W)).reshape(B, C, H, W)
    top_B11, left_B11, mirrored_B11 = (drawn[..., None].to(device) for drawn in (top_B1, left_B1, mirrored_B1))
    rows_BHW, cols_BHW, inside_BHW = _turned(draws_4B[3], H, W, device)
    if transform.horizontal_flip:
        cols_BHW = torch.where(mirrored_B11 > 0, W - 1 - cols_BHW, cols_BHW)
    flat_BHW = ((top_B11 + rows_BHW) * (W + 2 * pad) + left_B11 + cols_BHW).reshape(B, 1, H * W)
    turned = padded.flatten(2).gather(2, flat_BHW.expand(B, C, H * W)).reshape(B, C, H, W)
    return turned.masked_fill_(~inside_BHW[:, None], 0)


def _turned(angle_B: Tensor, H: int, W: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column that each pixel of the turned image shows (0 where it shows none), and whether it shows one.

    Counter-clockwise for positive angles, about the centre of the image, as torchvision turns Pillow images. Each of the
    three is (B, H, W).
    """
    radians_B = angle_B.double() * (math.pi / (180.0 * _MILLIDEGREES))
    one = 1 << _FRACTION_BITS
    sin_B11 = (radians_B.sin() * one).round().long()[:, None, None].to(device)
    cos_B11 = (radians_B.cos() * one).round().long()[:, None, None].to(device)
    # Twice the distance of a pixel's middle from the centre is an integer.
    y_H1 = (2 * torch.arange(H, device=device) + 1 - H)[:, None]
    x_W = 2 * torch.arange(W, device=device) + 1 - W
    cols_BHW = (cos_B11 * x_W - sin_B11 * y_H1 + (W << _FRACTION_BITS)) >> (_FRACTION_BITS + 1)
    rows_BHW = (sin_B11 * x_W + cos_B11 * y_H1 + (H << _FRACTION_BITS)) >> (_FRACTION_BITS + 1)
    inside_BHW = (rows_BHW >= 0) & (rows_BHW < H) & (cols_BHW >= 0) & (cols_BHW < W)
    return rows_BHW.where(inside_BHW, 0), cols_BHW.where(inside_BHW, 0), inside_BHW


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
