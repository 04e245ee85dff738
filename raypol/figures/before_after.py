"""Points before and after an attack, and the difference amplified (Zhang et al. 2022, arXiv:2108.09454, figure 12)."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raypol.core.errors import InputError
from raypol.figures.image_pairs import ImagePairs
from raypol.figures.style.images import add_scale, in_255, picture, readable, show_image, strongest
from raypol.figures.style.notes import note_names
from raypol.figures.style.page import FAINT, SMALL, add_axes, new_page, plain_axes, shortened


def before_after(pairs: Sequence[ImagePairs], *, amplification: float | None = None) -> Figure:
    """Per arm a block of three rows: points as they were, as they were crafted, and the difference (figure 12).

    Args:
        pairs: one per arm, in the order of the blocks.
        amplification: of the difference; None = per arm the largest readable number at which nothing is cut off.
    """
    if amplification is not None and not (math.isfinite(amplification) and amplification > 0.0):
        raise InputError(f"expected amplification > 0, got {amplification}")
    blocks = [pair for pair in pairs if len(pair.labels)]
    notes = []
    if blocks:
        notes.append("R = crafted - original, pixels in [0, 1]. The largest |R| is that of the points shown.")
    if any(pair.originals.shape[1] == 3 for pair in blocks):
        notes.append("Difference of colour images: in the channel that changed most.")
    empty = (f"{pair.arm} at T' = {pair.steps:,}" for pair in pairs if not len(pair.labels))
    notes += note_names("Without crafted points", empty)
    columns = 1 if len(blocks) < 3 else 2
    rows = -(-len(blocks) // columns)
    cells = max([4, *(len(pair.labels) for pair in blocks)])  # of one size, whatever there is
    figure, body = new_page(
        columns * (0.9 * cells + 1.7),
        rows * 3.3 or 0.2,
        title="Crafted points, before and after" if blocks else "No crafted points: no spoof here has data of its own",
        notes=notes,
    )
    if blocks:
        for ax, pair in zip(add_axes(body, len(blocks), columns), blocks, strict=True):
            _draw_block(ax, pair, cells, amplification)
    return figure


def _draw_block(ax: Axes, pair: ImagePairs, cells: int, amplification: float | None) -> None:
    """One arm: three rows of images with room for `cells` in each, and the scale of the difference."""
    R_nCHW = (pair.crafted - pair.originals).double()
    largest = float(R_nCHW.abs().max())
    factor = amplification or readable(largest)
    cut_off = ", cut off" if largest * factor > 1.0 + 1e-9 else ""
    name = f"{pair.arm}, " if len(pair.arm) <= 22 else f"{shortened(pair.arm, 50)},\n"
    plain_axes(ax, title=f"{name}T' = {pair.steps:,}: largest |R| = {in_255(largest)}")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    height, width = (1.07 * size for size in pair.originals.shape[2:])
    for i in range(len(pair.labels)):
        shown = (picture(pair.originals[i]), picture(pair.crafted[i]), strongest(R_nCHW[i]) * factor)
        for j, values in enumerate(shown):
            image = show_image(ax, values, signed=j == 2, corner=(i * width, j * height))
    ax.set(xlim=(0, cells * width), ylim=(3 * height, 0), anchor="NW")
    labels = [f"label {int(label)}" for label in pair.labels]
    ax.set_xticks([(i + 0.47) * width for i in range(len(labels))], labels, fontsize=SMALL, color=FAINT)
    ax.xaxis.tick_top()
    ax.set_yticks([(j + 0.47) * height for j in range(3)], ["original", "crafted", f"R × {factor:g}{cut_off}"])
    add_scale(image, factor)
