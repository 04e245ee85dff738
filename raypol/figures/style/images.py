"""How images and perturbations are shown: what imshow takes, and what is said about it."""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from torch import Tensor

from raypol.figures.style.page import INK, SMALL

_READABLE: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Amplifications, times powers of ten."""


def show_image(ax: Axes, values: npt.NDArray[np.float64], *, signed: bool = False) -> Any:  # noqa: ANN401 - matplotlib's
    """Draw pixels in [0, 1], or signed differences in [-1, 1], without ticks; returns what a colour bar needs."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(color="#BBBBBB", linewidth=0.5)
    return ax.imshow(
        values,
        cmap="RdBu_r" if signed else "gray",
        vmin=-1.0 if signed else 0.0,
        vmax=1.0,
        interpolation="nearest",
        aspect="equal",
    )


def add_scale(image: Any, ax: Axes, factor: float) -> None:  # noqa: ANN401 - matplotlib's
    """Put the scale of a difference that is shown `factor` times beside its image."""
    figure = ax.get_figure(root=False)
    assert figure is not None, "the axes are on a page"
    bar = figure.colorbar(image, ax=ax, ticks=[-1.0, 0.0, 1.0], aspect=9, pad=0.04, panchor=False)
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
    """As imshow takes it: RGB, or the mean of the channels in grey."""
    if len(image_CHW) == 3:
        return np.asarray(image_CHW.double().permute(1, 2, 0).clamp(0.0, 1.0))
    return np.asarray(image_CHW.double().mean(0))


def strongest(R_CHW: Tensor) -> npt.NDArray[np.float64]:
    """(H, W): per pixel the signed change in the channel that changed most."""
    where = R_CHW.abs().argmax(0, keepdim=True)
    return np.asarray(R_CHW.double().gather(0, where)[0])
