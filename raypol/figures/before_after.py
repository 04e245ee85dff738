"""Points before and after an attack, and the difference amplified (Zhang et al. 2022, arXiv:2108.09454, figure 12)."""

import math
from collections.abc import Sequence
from typing import Final

from matplotlib.figure import Figure

from raypol.core.errors import InputError
from raypol.figures.image_pairs import ImagePairs
from raypol.figures.style.images import in_255, picture, readable, show_image, strongest
from raypol.figures.style.page import FAINT, INK, SMALL, TEXT, Page, enumerate_briefly, lay_out

_CELL_IN: Final = 0.82
_GAP_IN: Final = 0.05
_NAMES_IN: Final = 0.85
_BAR_IN: Final = 0.75
_HEAD_IN: Final = 0.4


def before_after(pairs: Sequence[ImagePairs], *, amplification: float | None = None) -> Figure:
    """Per arm a block of three rows: points as they were, as they were crafted, and the difference (figure 12).

    Args:
        pairs: one per arm, in the order of the blocks.
        amplification: of the difference; None = per arm the largest readable number at which nothing is cut off.
    """
    if amplification is not None and not (math.isfinite(amplification) and amplification > 0.0):
        raise InputError(f"expected amplification > 0, got {amplification}")
    blocks = [pair for pair in pairs if len(pair.labels)]
    empty = [f"{pair.arm} at T' = {pair.steps:,}" for pair in pairs if not len(pair.labels)]
    notes = ["R = crafted - original, pixels in [0, 1]. The largest |R| is that of the points shown."]
    if any(pair.originals.shape[1] == 3 for pair in blocks):
        notes.append("Difference of colour images: in the channel that changed most.")
    if empty:
        notes.append(f"Without crafted points: {enumerate_briefly(empty)}.")
    columns = 1 if len(blocks) < 3 else 2
    most = max((len(pair.labels) for pair in blocks), default=0)
    width = _NAMES_IN + max(most * (_CELL_IN + _GAP_IN), 3.0) + _BAR_IN
    height = _HEAD_IN + 3 * (_CELL_IN + _GAP_IN) + 0.12
    rows = -(-len(blocks) // columns)
    page = lay_out(
        max(columns * width, 6.0) + 0.4,
        max(rows * height + 0.12, 0.6),
        title="Crafted points, before and after" if blocks else "No crafted points: no spoof here has data of its own",
        notes=notes if blocks else notes[1:],
    )
    for i, pair in enumerate(blocks):
        _draw_block(page, pair, (i % columns) * width, (rows - 1 - i // columns) * height + 0.12, amplification)
    return page.figure


def _draw_block(page: Page, pair: ImagePairs, left: float, bottom: float, amplification: float | None) -> None:
    """One arm: a head line, column titles, three rows of images, and the scale of the difference."""
    R_nCHW = (pair.crafted - pair.originals).double()
    largest = float(R_nCHW.abs().max())
    factor = amplification or readable(largest)
    pitch = _CELL_IN + _GAP_IN
    head = bottom + 3 * pitch + 0.22
    page.text(
        left, head, f"{pair.arm}, T' = {pair.steps:,}: largest |R| = {in_255(largest)}", size=TEXT + 0.5, weight="bold"
    )
    names = ("original", "crafted", f"R × {factor:g}" + (", cut off" if largest * factor > 1.0 + 1e-9 else ""))
    image = None
    for i in range(len(pair.labels)):
        shown = (picture(pair.originals[i]), picture(pair.crafted[i]), strongest(R_nCHW[i]) * factor)
        for j, (name, values) in enumerate(zip(names, shown, strict=True)):
            ax = page.axes(left + _NAMES_IN + i * pitch, bottom + (2 - j) * pitch, _CELL_IN, _CELL_IN)
            image = show_image(ax, values, signed=j == 2)
            if i == 0:
                ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=SMALL + 0.5, color=INK, labelpad=6)
            if j == 0:
                ax.set_title(f"label {int(pair.labels[i])}", fontsize=SMALL, color=FAINT, pad=2)
    assert image is not None, "blocks have points"
    place = page.axes(left + _NAMES_IN + len(pair.labels) * pitch + 0.04, bottom, 0.09, _CELL_IN)
    bar = page.figure.colorbar(image, cax=place, ticks=[-1.0, 0.0, 1.0])
    ends = [in_255(sign / factor) for sign in (-1.0, 0.0, 1.0)]
    bar.ax.set_yticklabels(ends, fontsize=SMALL - 1, color=INK)
    bar.outline.set_visible(False)
    bar.ax.set_title("R", fontsize=SMALL, color=INK, pad=2)
