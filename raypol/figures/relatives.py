"""Pictures of the relatives: a point before and after, and a point as its gradient gives it away."""

from typing import Final

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from torch import Tensor

from raypol.core.relatives.dlg import psnr
from raypol.core.relatives.perturbing import Perturbed
from raypol.core.relatives.points import Seen
from raypol.figures.style.axes import apply_scale, choose_scale, number
from raypol.figures.style.images import in_255, picture, readable, show_image, strongest
from raypol.figures.style.page import FAINT, INK, SMALL, Page, lay_out, plain_axes
from raypol.runs.relatives import Leak

_SHOWN: Final = 4
"""Points in one picture."""
_CELL_IN: Final = 1.55
_GAP_IN: Final = 0.25
_BAR_IN: Final = 0.7
"""Between R and the result: the scale of R."""
_UNDER_IN: Final = 0.42
"""Two lines below an image."""
_OVER_IN: Final = 0.26
_SMALL_CELL_IN: Final = 1.05
_STAGES: Final = 4
"""Images between a random start and the result."""
_TRACE_IN: Final = 1.5


def perturbed_picture(result: Perturbed, title: str) -> Figure:
    """A row per point, the first four at most: the image, R amplified, and the rounded image, with what the model says."""
    count = min(len(result.labels), _SHOWN)
    R = result.rounded.double() / 255.0 - result.originals.double()
    R[R.abs() < 1e-6] = 0.0  # of float32's rounding
    largest = float(R[:count].abs().max())
    factor = readable(largest)
    row = _OVER_IN + _CELL_IN + _UNDER_IN
    lefts = (0.0, _CELL_IN + _GAP_IN, 2 * _CELL_IN + _GAP_IN + _BAR_IN)
    notes = [
        f"R = crafted - original, rounded to grey levels; largest |R| = {in_255(largest)}, shown {factor:g} times."
    ]
    if len(R[0]) == 3:
        notes.append("R of colour images: in the channel that changed most.")
    if count < len(result.labels):
        notes.append(f"The first {count} of {len(result.labels)} points.")
    page = lay_out(lefts[-1] + _CELL_IN + 0.4, count * row, title=title, notes=notes)
    for i in range(count):
        bottom = (count - 1 - i) * row + _UNDER_IN
        label = int(result.labels[i])
        shown = (
            (f"original, label {label}", picture(result.originals[i]), _said(result.before, i)),
            (f"R × {factor:g}", strongest(R[i]) * factor, f"|R|_inf = {in_255(float(R[i].abs().max()))}"),
            ("X + R", picture(result.rounded[i].double() / 255.0), _said(result.after_rounding, i)),
        )
        for j, (head, values, said) in enumerate(shown):
            ax = page.axes(lefts[j], bottom, _CELL_IN, _CELL_IN)
            drawn = show_image(ax, values, signed=j == 1)
            _captions(ax, head, said)
            if j == 1:
                place = page.axes(lefts[j] + _CELL_IN + 0.05, bottom + 0.1, 0.07, _CELL_IN - 0.2)
                bar = page.figure.colorbar(drawn, cax=place, ticks=[-1.0, 0.0, 1.0])
                bar.ax.set_yticklabels([in_255(s / factor) for s in (-1.0, 0.0, 1.0)], fontsize=SMALL - 1.5, color=INK)
                bar.ax.tick_params(length=2, pad=1)
                bar.outline.set_visible(False)
    return page.figure


def leak_picture(leak: Leak, title: str) -> Figure:
    """The truth, some images on the way, what was recovered; below them the objective over the evaluations."""
    found = leak.recovered
    lowest = found.trace.index(found.objective)
    stages = _spread([(at, image) for at, image in found.snapshots if at < lowest])
    shown: list[tuple[str, Tensor, str]] = [(f"truth, label {leak.label}", leak.truth, "never shared")]
    shown += [(_after(at), image, _quality(leak, image, found.trace[at])) for at, image in stages]
    shown.append((f"recovered, label {found.label}", found.image, _quality(leak, found.image, found.objective)))
    pitch = _SMALL_CELL_IN + 0.28
    width = 6 * pitch
    notes = [
        "Mismatch: |g' - g|^2 / |g|^2 of the gradient of the image shown; PSNR against the truth, in dB. "
        f"{found.restarts} random {'start' if found.restarts == 1 else 'starts'}, the best is shown, recovered after "
        f"{lowest:,} evaluations."
    ]
    head = _OVER_IN + _SMALL_CELL_IN + _UNDER_IN + 0.05
    page = lay_out(width + 0.4, head + _TRACE_IN + 0.5, title=title, notes=notes)
    for i, (over, image, under) in enumerate(shown):
        ax = page.axes(i * pitch + 0.1, _TRACE_IN + 0.5 + _UNDER_IN, _SMALL_CELL_IN, _SMALL_CELL_IN)
        show_image(ax, picture(image))
        _captions(ax, over, under)
    _draw_trace(page, found.trace, [at for at, _ in stages], lowest, width)
    return page.figure


def _draw_trace(page: Page, trace: tuple[float, ...], marked: list[int], lowest: int, width: float) -> None:
    ax = page.axes(0.75, 0.45, width - 0.95, _TRACE_IN)
    plain_axes(ax)
    end = max(1.01 * len(trace), 1.5)
    ax.set_xlim(0.0, end)
    ticks = MaxNLocator(integer=True).tick_values(0.0, end)
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if 0.0 <= tick <= end]))
    scale = choose_scale(trace, clip=False)
    if scale is not None:
        apply_scale(ax, scale, below=False, above=False)
    ax.plot(range(len(trace)), trace, color="#0072B2", linewidth=1.1)
    marked = [*marked, lowest]
    ax.plot(
        marked,
        [trace[at] for at in marked],
        linestyle="none",
        marker="o",
        markersize=4,
        color=INK,
        zorder=4,
        clip_on=False,
    )
    ax.set_xlabel("evaluations of the objective (dots: images above)", fontsize=SMALL + 0.5, color=INK)
    ax.set_ylabel("mismatch", fontsize=SMALL + 0.5, color=INK)


def _captions(ax: Axes, over: str, under: str) -> None:
    ax.set_title(over, fontsize=SMALL + 0.5, color=INK, pad=3, parse_math=False)
    ax.set_xlabel(under, fontsize=SMALL, color=FAINT, labelpad=3, parse_math=False)


def _said(seen: Seen, i: int) -> str:
    said = int(seen.predictions[i])
    return f"predicts {said} at {float(seen.probabilities[i, said]):.1%}\nloss {number(float(seen.losses[i]), 3)}"


def _quality(leak: Leak, image: Tensor, mismatch: float) -> str:
    return f"PSNR {psnr(leak.truth, image):.1f} dB\nmismatch {number(mismatch, 2)}"


def _after(evaluations: int) -> str:
    return "random start" if evaluations == 0 else f"after {evaluations:,}"


def _spread(snapshots: list[tuple[int, Tensor]]) -> list[tuple[int, Tensor]]:
    """At most four of them, the first and the last among them."""
    if len(snapshots) <= _STAGES:
        return snapshots
    chosen = torch.linspace(0, len(snapshots) - 1, _STAGES).round().int().tolist()
    return [snapshots[i] for i in chosen]
