"""Points before and after an attack, and the difference amplified (Zhang et al. 2022, arXiv:2108.09454, figure 12)."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure, SubFigure

from raypol.core.errors import InputError
from raypol.figures.image_pairs import ImagePairs
from raypol.figures.style.images import add_scale, in_255, picture, readable, show_image, strongest
from raypol.figures.style.notes import note_names
from raypol.figures.style.page import FAINT, INK, SMALL, TEXT, add_heading, new_page


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
        columns * (1.05 * cells + 1.6),
        rows * 3.4 or 0.2,
        title="Crafted points, before and after" if blocks else "No crafted points: no spoof here has data of its own",
        notes=notes,
    )
    grid = body.add_gridspec(max(rows, 1), columns)
    for i, pair in enumerate(blocks):
        _draw_block(body.add_subfigure(grid[i // columns, i % columns]), pair, cells, amplification)
    return figure


def _draw_block(part: SubFigure, pair: ImagePairs, columns: int, amplification: float | None) -> None:
    """One arm: a heading, three rows of images, and the scale of the difference."""
    R_nCHW = (pair.crafted - pair.originals).double()
    largest = float(R_nCHW.abs().max())
    factor = amplification or readable(largest)
    add_heading(
        part,
        f"{pair.arm}, T' = {pair.steps:,}: largest |R| = {in_255(largest)}",
        size=TEXT + 0.5,
        weight="bold",
    )
    names = ("original", "crafted", f"R × {factor:g}" + (", cut off" if largest * factor > 1.0 + 1e-9 else ""))
    axes = part.subplots(3, columns, squeeze=False)
    for ax in axes[:, len(pair.labels) :].flat:
        ax.set_axis_off()
    for i in range(len(pair.labels)):
        axes[0, i].set_title(f"label {int(pair.labels[i])}", fontsize=SMALL, color=FAINT, pad=2)
        shown = (picture(pair.originals[i]), picture(pair.crafted[i]), strongest(R_nCHW[i]) * factor)
        image = [show_image(axes[j, i], values, signed=j == 2) for j, values in enumerate(shown)][2]
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=SMALL + 0.5, color=INK, labelpad=6)
    add_scale(image, axes[2, len(pair.labels) - 1], factor)
