"""The figures of the paper (Zhang et al. 2022, arXiv:2108.09454) from results: data in, a matplotlib Figure out.

No pyplot: a figure needs no display, and is gone when nobody holds it.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from raypol.core.errors import InputError
from raypol.face.arm_styles import HONEST, in_order, style_of
from raypol.face.drawing import FAINT, INK, SMALL, TEXT, Entry, Page, band, enumerate_briefly, lay_out, plain_axes, real
from raypol.face.panels import six_panels
from raypol.face.pixels import in_255, picture, readable, show_image, strongest
from raypol.runs.images import ImagePairs
from raypol.store.location import atomic_output, open_location
from raypol.store.results import IntervalRow, TrialRow

__all__ = ["accuracy_over_progress", "before_after", "save", "six_panels"]

DPI: Final = 160

_CELL_IN: Final = 0.82
_GAP_IN: Final = 0.05
_NAMES_IN: Final = 0.85
_BAR_IN: Final = 0.75
_HEAD_IN: Final = 0.4


def save(figure: Figure, stem: Path, kinds: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write STEM.png and STEM.pdf (or one of them), each as a whole or not at all; the same figure gives the same bytes.

    Raises:
        InputError: the folder cannot be written.
    """
    written = []
    for kind in kinds:
        content = io.BytesIO()
        # Type 42: text in the PDF stays text, and publishers take it. No date: the same figure, the same file.
        with mpl.rc_context({"pdf.fonttype": 42}):
            metadata = {"CreationDate": None} if kind == "pdf" else {}
            figure.savefig(content, format=kind, dpi=DPI, metadata=metadata)
        path = stem.with_name(f"{stem.name}.{kind}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_output(open_location(path)) as stream:
                stream.write(content.getvalue())
        except OSError as err:
            raise InputError(f"cannot write the figure {path}: {err.strerror or err}") from err
        written.append(path)
    return written


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
        max(rows * height, 0.6),
        title="Crafted points, before and after" if blocks else "No crafted points: no spoof here has data of its own",
        notes=notes if blocks else notes[1:],
    )
    for i, pair in enumerate(blocks):
        _draw_block(page, pair, (i % columns) * width, (rows - 1 - i // columns) * height, amplification)
    return page.figure


def accuracy_over_progress(intervals: Sequence[IntervalRow | Mapping[str, Any]], rows: Sequence[TrialRow]) -> Figure:
    """Test accuracy of the intermediate models against training progress: the proof, the longest spoofs (figure 10).

    Args:
        intervals: rows of RESULTS/intervals of these trials; those of one metric are enough.
        rows: the trials.
    """
    ok = [row for row in rows if row.status == "ok"]
    longest = max((row.steps for row in ok if row.arm != HONEST), default=0)
    chosen = [row for row in ok if row.arm == HONEST or row.steps == longest]
    accuracies: dict[str, dict[int, float]] = {}
    for interval in intervals:
        cell = interval if isinstance(interval, Mapping) else asdict(interval)
        accuracies.setdefault(cell["trial_id"], {})[cell["step_to"]] = real(cell["accuracy"])
    curves: dict[tuple[str, int], list[dict[float, float]]] = {}
    lost = []
    for row in chosen:
        curve = {t / row.steps: a for t, a in sorted(accuracies.get(row.trial_id, {}).items()) if math.isfinite(a)}
        if curve:
            curves.setdefault((row.arm, row.interval), []).append(curve)
        else:
            lost.append(row.arm)
    arms = in_order(arm for arm, _ in curves)
    notes = ["Accuracy at the ends of the verified intervals, W_0 is not among them."] if curves else []
    if any(arm != HONEST for arm in arms):
        notes.append("Spoofs of equal accuracy share a line in the colours of all; their markers stand side by side.")
    if any(len(several) > 1 for several in curves.values()):
        notes.append("Several seeds: their median, band from the smallest to the largest.")
    if lost:
        notes.append(f"Missing: accuracies of {enumerate_briefly(in_order(lost))}.")
    if HONEST not in arms and HONEST not in lost:
        notes.append("Missing: an honest row with status ok.")
    absent = in_order({row.arm for row in rows} - {row.arm for row in chosen} - {HONEST})
    if absent:
        notes.append(f"Missing: no row with status ok at T' = {longest:,} of {enumerate_briefly(absent)}.")
    subject = " / ".join(dict.fromkeys(f"{row.dataset}, {row.model}" for row in chosen)) or "No trials"
    proofs = " / ".join(dict.fromkeys(f"T = {row.steps:,}, k = {row.interval}" for row in ok if row.arm == HONEST))
    spoofs = " / ".join(dict.fromkeys(f"T' = {longest:,}, k = {row.interval}" for row in chosen if row.arm != HONEST))
    page = lay_out(
        8.0,
        4.1,
        title=f"{subject}: accuracy over training",
        subtitle=f"Proof: {proofs or 'missing'}.  Spoofs: {spoofs or 'missing'}.",
        entries=[[_curve_entry(arm) for arm in arms]],
        notes=notes,
    )
    ax = page.axes(0.6, 0.55, page.body[2] - 0.8, 3.45)
    plain_axes(ax)
    ax.set_xlabel("training progress, t/T (proof) or t/T' (spoofs) (fraction of steps)", fontsize=TEXT, color=INK)
    ax.set_ylabel("test accuracy (%)", fontsize=TEXT, color=INK)
    ax.set_xlim(0.0, 1.04)
    ax.set_ylim(0.0, 104.0)
    if not curves:
        ax.text(0.5, 0.5, "no accuracies", transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=TEXT)
    _draw_curves(ax, curves, arms)
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


def _draw_curves(ax: Axes, curves: Mapping[tuple[str, int], list[dict[float, float]]], arms: Sequence[str]) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None, "the axes are on a page"
    drawn: list[tuple[str, list[float], list[float]]] = []
    for arm, k in sorted(curves, key=lambda key: (arms.index(key[0]), key[1])):
        several = curves[arm, k]
        xs = sorted({x for curve in several for x in curve})
        bands = [band(100.0 * curve[x] for curve in several if x in curve) for x in xs]
        if len(several) > 1:
            low, high = [b.low for b in bands], [b.high for b in bands]
            ax.fill_between(xs, low, high, color=style_of(arm).colour, alpha=0.13, linewidth=0)
        drawn.append((arm, xs, [b.median for b in bands]))
    for i, (arm, xs, ys) in enumerate(drawn):
        style = style_of(arm)
        # Which lines lie under or over this one: they take turns, a dash each.
        same = [j for j, (other, *line) in enumerate(drawn) if other != HONEST and _same_line(line, [xs, ys])]
        rank, dash = same.index(i) if i in same else 0, 7.0
        line: Any = "-" if len(same) == 1 else (-rank * dash, (dash, dash * (len(same) - 1)))
        if arm == HONEST:
            ax.plot(xs, ys, color=style.colour, linewidth=1.6, zorder=2.5, gid=arm)
            continue
        ax.plot(xs, ys, color=style.colour, linewidth=1.4, linestyle=line, dash_capstyle="butt", zorder=3, gid=arm)
        shift = (rank - (len(same) - 1) / 2) * 5.0
        sideways = ax.transData + ScaledTranslation(shift / 72.0, 0.0, figure.dpi_scale_trans)
        ax.plot(
            xs,
            ys,
            color=style.colour,
            linestyle="none",
            marker=style.marker,
            markersize=5,
            transform=sideways,
            zorder=4,
            clip_on=False,
            gid=f"{arm}:markers",
        )


def _same_line(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> bool:
    # Half a percent of accuracy is less than a marker's height.
    return a[0] == b[0] and all(abs(x - y) <= 0.5 for x, y in zip(a[1], b[1], strict=True))


def _curve_entry(arm: str) -> Entry:
    style = style_of(arm)
    if arm == HONEST:
        return Line2D([], [], color=style.colour, linewidth=1.6), "honest proof"
    return Line2D([], [], color=style.colour, linewidth=1.4, marker=style.marker, markersize=5), arm
