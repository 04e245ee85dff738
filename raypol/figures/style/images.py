"""Images and perturbations: drawing them, and their values in words."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from torch import Tensor

from raypol.figures.style.page import INK, SMALL

_READABLE: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Amplifications, times powers of ten."""


def show_image(
    ax: Axes, values: npt.NDArray[np.float64], *, signed: bool = False, corner: tuple[float, float] = (0.0, 0.0)
) -> AxesImage:
    """Draw pixels in [0, 1], or signed differences in [-1, 1], a unit each, with their upper left corner at `corner`."""
    (left, top), (height, width) = corner, values.shape[:2]
    ax.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="#BBBBBB", linewidth=1.0))
    return ax.imshow(
        values,
        cmap="RdBu_r" if signed else "gray",
        vmin=-1.0 if signed else 0.0,
        vmax=1.0,
        interpolation="nearest",
        extent=(left, left + width, top + height, top),
    )


def add_scale(image: AxesImage, factor: float) -> None:
    """Put a scale to the right of a difference that is shown `factor` times; the limits of its axes are set."""
    ax, (left, right, bottom, top) = image.axes, image.get_extent()
    figure = image.get_figure(root=False)
    assert ax is not None, "the image is on a page"
    assert figure is not None, "the image is on a page"
    x = [right + share * (right - left) for share in (0.07, 0.16)]
    (x0, y0), (x1, y1) = (ax.transData - ax.transAxes).transform([(x[0], bottom), (x[1], top)])
    bar = figure.colorbar(image, cax=ax.inset_axes((x0, y0, x1 - x0, y1 - y0)), ticks=[-1.0, 0.0, 1.0])
    bar.ax.set_yticklabels([in_255(sign / factor) for sign in (-1.0, 0.0, 1.0)], fontsize=SMALL - 1, color=INK)
    bar.ax.tick_params(length=2, pad=1)
    bar.outline.set_visible(False)


def readable(largest: float) -> float:
    """The largest readable factor that keeps `largest` within 1."""
    if largest <= 0.0:
        return 1.0
    room = 1.0 / largest + 1e-9
    power = 10.0 ** math.floor(math.log10(room))
    return max(step * power for step in _READABLE if step * power <= room)


def in_255(value: float) -> str:
    """A pixel value as n/255, n whole if it is."""
    n = value * 255.0
    return "0" if n == 0.0 else f"{round(n)}/255" if abs(n - round(n)) < 1e-3 else f"{n:.1f}/255"


def picture(image_CHW: Tensor) -> npt.NDArray[np.float64]:
    """The pixels that imshow takes: RGB, or the mean of the channels in grey."""
    if len(image_CHW) == 3:
        return np.asarray(image_CHW.double().permute(1, 2, 0).clamp(0.0, 1.0))
    return np.asarray(image_CHW.double().mean(0))


def strongest(R_CHW: Tensor) -> npt.NDArray[np.float64]:
    """(H, W): per pixel the signed change in the channel that changed most."""
    where = R_CHW.abs().argmax(0, keepdim=True)
    return np.asarray(R_CHW.double().gather(0, where)[0])
