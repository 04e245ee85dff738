"""Pictures of the relatives: a point before and after, and a point as its gradient gives it away."""

from collections.abc import Sequence
from typing import Final

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from raypol.core.relatives.dlg import psnr
from raypol.core.relatives.perturbing import Perturbed
from raypol.core.relatives.points import Seen
from raypol.figures.style.axes import apply_scale, choose_scale, short_number
from raypol.figures.style.images import add_scale, in_255, picture, readable, show_image, strongest
from raypol.figures.style.page import FAINT, INK, SMALL, new_page, plain_axes
from raypol.runs.relatives import Leak

_SHOWN: Final = 4
"""Points in one picture."""
_STAGES: Final = 4
"""Images between a random start and the result."""


def perturbed_picture(result: Perturbed, title: str) -> Figure:
    """A row per point, the first four at most: the image, R amplified, and the rounded image, with what the model says."""
    count = min(len(result.labels), _SHOWN)
    R = result.rounded.double() / 255.0 - result.originals.double()
    R[R.abs() < 1e-6] = 0.0  # of float32's rounding
    largest = float(R[:count].abs().max())
    factor = readable(largest)
    notes = [
        f"R = crafted - original, rounded to grey levels; largest |R| = {in_255(largest)}, shown {factor:g} times."
    ]
    if len(R[0]) == 3:
        notes.append("R of colour images: in the channel that changed most.")
    if count < len(result.labels):
        notes.append(f"The first {count} of {len(result.labels)} points.")
    figure, body = new_page(6.5, 2.3 * count, title=title, notes=notes)
    for i, axes in enumerate(body.subplots(count, 3, squeeze=False)):
        shown = (
            (f"original, label {int(result.labels[i])}", picture(result.originals[i]), _says(result.before, i)),
            (f"R × {factor:g}", strongest(R[i]) * factor, f"|R|_inf = {in_255(float(R[i].abs().max()))}"),
            ("X + R", picture(result.rounded[i].double() / 255.0), _says(result.after_rounding, i)),
        )
        drawn = []
        for j, (over, values, under) in enumerate(shown):
            drawn.append(show_image(axes[j], values, signed=j == 1))
            _add_captions(axes[j], over, under)
        add_scale(drawn[1], factor)
    return figure


def leak_picture(leak: Leak, title: str) -> Figure:
    """The truth, some images on the way, the recovered image; below them the objective over the evaluations."""
    found = leak.recovered
    lowest = found.trace.index(found.objective)
    stages = _spread([(at, image) for at, image in found.snapshots if at < lowest])
    shown: list[tuple[str, Tensor, str]] = [(f"truth, label {leak.label}", leak.truth, "never shared")]
    for at, image in stages:
        name = "random start" if at == 0 else f"after {at:,}"
        shown.append((name, image, _quality(leak, image, found.trace[at])))
    shown.append((f"recovered, label {found.label}", found.image, _quality(leak, found.image, found.objective)))
    notes = [
        "Mismatch: |g' - g|^2 / |g|^2 of the gradient of the image shown; PSNR against the truth, in dB. "
        f"{found.restarts} random {'start' if found.restarts == 1 else 'starts'}, the best is shown, recovered after "
        f"{lowest:,} evaluations."
    ]
    figure, body = new_page(8.4, 3.9, title=title, notes=notes)
    grid = body.add_gridspec(2, _STAGES + 2, height_ratios=(1.0, 1.2))
    for i, (over, image, under) in enumerate(shown):
        ax = body.add_subplot(grid[0, i])
        show_image(ax, picture(image))
        _add_captions(ax, over, under)
    _draw_trace(body.add_subplot(grid[1, :]), found.trace, [*(at for at, _ in stages), lowest])
    return figure


def _draw_trace(ax: Axes, trace: Sequence[float], marked: list[int]) -> None:
    plain_axes(ax, x="evaluations of the objective (dots: images above)", y="mismatch")
    ax.set_xlim(0.0, max(1.01 * len(trace), 1.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    scale = choose_scale(trace, clip=False)
    if scale is not None:
        apply_scale(ax, scale)
    ax.plot(range(len(trace)), trace, color="#0072B2", linewidth=1.1)
    ax.plot(marked, [trace[at] for at in marked], "o", markersize=4, color=INK, zorder=4, clip_on=False)


def _add_captions(ax: Axes, over: str, under: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(over, fontsize=SMALL + 0.5, color=INK, pad=3, parse_math=False)
    ax.set_xlabel(under, fontsize=SMALL, color=FAINT, labelpad=3, parse_math=False)


def _says(seen: Seen, i: int) -> str:
    top = int(seen.predictions[i])
    return f"predicts {top} at {float(seen.probabilities[i, top]):.1%}\nloss {short_number(float(seen.losses[i]), 3)}"


def _quality(leak: Leak, image: Tensor, mismatch: float) -> str:
    return f"PSNR {psnr(leak.truth, image):.1f} dB\nmismatch {short_number(mismatch, 2)}"


def _spread(snapshots: list[tuple[int, Tensor]]) -> list[tuple[int, Tensor]]:
    """At most four of them, the first and the last among them."""
    if len(snapshots) <= _STAGES:
        return snapshots
    chosen = torch.linspace(0, len(snapshots) - 1, _STAGES).round().int().tolist()
    return [snapshots[i] for i in chosen]
