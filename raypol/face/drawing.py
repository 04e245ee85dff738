"""What the figures share: pages measured in inches, scales that suit their values, bands, legends, footnotes."""

import math
import statistics
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter, NullLocator

INK: Final = "#222222"
FAINT: Final = "#666666"
SMALL: Final = 7.5
"""Points; footnotes and numbers in the margin."""
TEXT: Final = 9.0
_LINE_IN: Final = 0.155
"""Height of a line of small text, in inches."""
_CHARACTER_IN: Final = 0.056
"""Width of an average character of small text, in inches; on the safe side."""

Entry = tuple[Artist | tuple[Artist, ...], str]
"""Handle (several are drawn over each other) and label of a legend."""

_MANY_TIMES: Final = 4.0
"""Values whose largest is this many times the smallest get a log axis."""
_GULF: Final = 100.0
"""A minority of values below a gap this wide leaves the axis: it would squash the others for one fact, "very small"."""
_WIDE: Final = 20.0
"""T' whose largest is this many times the smallest get a log axis."""
_EACH_TICK: Final = 12
"""Among more T' than this ticks are at round numbers instead of at each T'."""
_EACH_MARK: Final = 30
"""Among more T' than this no tick marks each."""
_BLANK: Final[Entry] = (Line2D([], [], linestyle="none"), " ")
_LABELS: Final = (60, 44, 32, 22)
"""Letters of a legend's labels, as many as fit."""
STRIP: Final = 0.085
"""Height of the strip for values beyond the axis, as a part of the panel's."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A value axis: what is below `low` or above `high` is drawn in a strip at the edge."""

    low: float
    high: float
    kind: Literal["linear", "log"]

    def place(self, value: float) -> Literal["inside", "below", "above"]:
        """Where a value lies; NaN lies nowhere and must not be asked about."""
        assert not math.isnan(value), "missing values are not placed"
        return "below" if value < self.low else "above" if value > self.high else "inside"

    def limits(self, *, below: bool, above: bool) -> tuple[float, float]:
        """Axis limits with air around the values, and room for the strips that are needed."""
        first, last = (math.log10(self.low), math.log10(self.high)) if self.kind == "log" else (self.low, self.high)
        bottom, top = 0.06 + STRIP * below, 0.06 + STRIP * above
        span = (last - first) or max(abs(last) * 0.2, 1e-12 if self.kind == "linear" else 0.2)
        middle = (first + last) / 2
        whole = span / (1.0 - bottom - top)
        start = middle - span / 2 - whole * bottom
        return (10.0**start, 10.0 ** (start + whole)) if self.kind == "log" else (start, start + whole)


def choose_scale(values: Iterable[float], keep: Iterable[float] = (), *, clip: bool = True) -> Scale | None:
    """The scale on which these values are told apart.

    Args:
        values: everything that is drawn; NaN and infinities are passed over.
        keep: values that must stay on the axis, if positive.
        clip: False = no positive value leaves the axis.

    Returns:
        Log where the values span a factor of 4 or more, else linear. None if no value is finite.
    """
    finite = sorted(v for v in values if math.isfinite(v))
    positive = [v for v in finite if v > 0.0]
    if not positive:
        return Scale(finite[0], finite[-1], "linear") if finite else None
    lowest = min([v for v in keep if v > 0.0 and math.isfinite(v)], default=math.inf)
    first = 0
    if clip:
        for i in range(1, len(positive)):
            if positive[i] > _GULF * positive[i - 1] and i < len(positive) / 2 and lowest >= positive[i]:
                first = i
    low, high = positive[first], positive[-1]
    return Scale(low, high, "log" if high >= _MANY_TIMES * low else "linear")


def apply_scale(ax: Axes, scale: Scale, *, below: bool, above: bool, horizontal: bool = False) -> None:
    """Limits, and ticks at round numbers; none in the strips, where the axis means nothing.

    Args:
        ax: whose value axis is set.
        scale: what is on it.
        below: there is a strip below the axis, above: above it.
        above: as said.
        horizontal: the value axis is that of x.
    """
    axis, side = (ax.xaxis, "bottom") if horizontal else (ax.yaxis, "left")
    limits = scale.limits(below=below, above=above)
    if scale.kind == "log":
        (ax.set_xscale if horizontal else ax.set_yscale)("log")
        decades = math.log10(limits[1] / limits[0])
        subs = (1, 1.5, 2, 3, 5, 7) if decades < 0.9 else (1, 2, 5) if decades < 2.2 else (1,)
        major: Locator = LogLocator(subs=subs, numticks=7 if decades >= 2.2 else 20)
        minor: Locator = LogLocator(subs=tuple(range(1, 10)), numticks=100)
    else:
        major, minor = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]), NullLocator()
    (ax.set_xlim if horizontal else ax.set_ylim)(*limits)
    edges = ax.transData.inverted().transform(ax.transAxes.transform([(0, STRIP * below), (0, 1 - STRIP * above)]))
    first, last = limits if horizontal else (float(edges[0][1]), float(edges[1][1]))
    for locator, set_locator in ((major, axis.set_major_locator), (minor, axis.set_minor_locator)):
        set_locator(FixedLocator([tick for tick in locator.tick_values(*limits) if first < tick < last]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_formatter(NullFormatter())
    ax.spines[side].set_bounds(first, last)


def number(value: float, digits: int = 4) -> str:
    """A number as short as it goes: 0.05, 1.2e-7, 20,000."""
    if value == 0.0 or not math.isfinite(value):
        return "0" if value == 0.0 else str(value)
    if 1e-4 <= abs(value) < 1e6:
        rounded = float(f"{value:.{digits}g}")
        return f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.10g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def apply_steps(ax: Axes, labels: dict[int, str]) -> None:
    """The T' axis: ticks where there is data, or at round numbers where there is too much; crowded labels are dropped.

    Log where T' spans a factor of 20 or more, or where that spreads the T' better.
    """
    steps = sorted(labels)
    if not steps:
        ax.set_xticks([])
        return

    def closest(place: Callable[[float], float]) -> float:
        span = place(steps[-1]) - place(steps[0])
        return min((place(b) - place(a)) / span for a, b in pairwise(steps))

    log = len(steps) > 1 and (steps[-1] >= _WIDE * steps[0] or closest(math.log) > closest(float) + 1e-9)
    place: Callable[[float], float] = math.log10 if log else float
    first, span = place(steps[0]), place(steps[-1]) - place(steps[0])
    air = (0.16 if len(steps) <= _EACH_TICK else 0.05) * span or 1.0  # markers of one T' stand side by side
    if log:
        ax.set_xscale("log")
        ax.set_xlim(10 ** (first - air), 10 ** (first + span + air))
    else:
        ax.set_xlim(first - air, first + span + air)
    inches = ax.get_window_extent().width / ax.figure.dpi * span / (span + 2 * air)
    needed = 0.08 + _CHARACTER_IN * 1.15 * max(len(line) for label in labels.values() for line in label.split("\n"))
    at: list[int] = steps
    if len(steps) > _EACH_TICK:
        # A factor of ten or more between the ends leaves round numbers enough on a log axis.
        wide = steps[-1] >= 10 * steps[0]
        locator = LogLocator(subs=(1, 2, 5)) if log and wide else MaxNLocator(7, steps=[1, 2, 2.5, 5, 10], integer=True)
        at = [round(tick) for tick in locator.tick_values(steps[0], steps[-1]) if steps[0] <= tick <= steps[-1]]
    shown = at[-1:]
    for step in reversed(at[:-1]):
        if (place(shown[-1]) - place(step)) / span * inches >= needed:
            shown.append(step)
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: labels.get(round(value), f"{round(value):,}")))
    ax.xaxis.set_minor_locator(FixedLocator(steps) if len(steps) <= _EACH_MARK else NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


@dataclass(frozen=True, slots=True)
class Band:
    """Median, smallest and largest of some values; NaN ones are passed over, all NaN gives NaN."""

    median: float
    low: float
    high: float


def band(values: Iterable[float]) -> Band:
    """The band of values that belong to one point."""
    known = [v for v in values if not math.isnan(v)]
    return Band(statistics.median(known), min(known), max(known)) if known else Band(math.nan, math.nan, math.nan)


def real(value: float | None) -> float:
    """A metric, NaN where there is none."""
    return math.nan if value is None else float(value)


def plain_axes(ax: Axes) -> None:
    """The look of all axes with numbers."""
    ax.grid(visible=True, color="#E4E4E4", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=SMALL + 0.5, colors=INK, which="major")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)


@dataclass(frozen=True, slots=True)
class Page:
    """A figure in inches: title lines on top, a body for axes, legend and footnotes below it; nothing can overlap."""

    figure: Figure
    body: tuple[float, float, float, float]
    """Left, bottom, width, height in inches."""

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes at a place in the body, inches."""
        total_w, total_h = self.figure.get_size_inches()
        x, y = self.body[0] + left, self.body[1] + bottom
        return self.figure.add_axes((x / total_w, y / total_h, width / total_w, height / total_h))

    def text(self, left: float, bottom: float, text: str, *, size: float = TEXT, weight: str = "normal") -> None:
        """A line of text at a place in the body, inches."""
        total_w, total_h = self.figure.get_size_inches()
        x, y = (self.body[0] + left) / total_w, (self.body[1] + bottom) / total_h
        self.figure.text(
            x, y, printable(text), fontsize=size, fontweight=weight, color=INK, va="bottom", parse_math=False
        )


def lay_out(
    width: float,
    body_height: float,
    *,
    title: str,
    subtitle: str = "",
    entries: Sequence[Sequence[Entry]] = (),
    notes: Sequence[str] = (),
) -> Page:
    """A page of the given width whose height follows from what is on it.

    Args:
        width: inches.
        body_height: inches for the axes and their labels.
        title: first line, bold; wrapped if long.
        subtitle: further lines, small.
        entries: of the legend, in groups that start a column each.
        notes: footnotes.
    """
    margin = 0.2
    per_line = int((width - 2 * margin) / _CHARACTER_IN)
    head = textwrap.wrap(printable(title), int(per_line * SMALL / (TEXT + 2)))
    under = textwrap.wrap(printable(subtitle), per_line)
    foot = [line for note in notes for line in textwrap.wrap(printable(note), per_line, subsequent_indent="   ")]
    columns = _columns([group for group in entries if group], width - 2 * margin)
    legend_height = 0.19 * len(columns[0]) + 0.12 if columns else 0.0
    foot_height = _LINE_IN * len(foot) + 0.1 * bool(foot)
    head_height = 0.22 * len(head) + 0.17 * len(under) + 0.1
    height = margin / 2 + foot_height + legend_height + body_height + head_height + margin / 2
    figure = Figure(figsize=(width, height), facecolor="white")
    y = height - margin / 2
    for text, size, weight, step in [(t, TEXT + 2, "bold", 0.22) for t in head] + [
        (t, SMALL + 0.5, "normal", 0.17) for t in under
    ]:
        figure.text(
            margin / width, y / height, text, fontsize=size, fontweight=weight, color=INK, va="top", parse_math=False
        )
        y -= step
    y = margin / 2 + foot_height - 0.08
    for line in foot:
        figure.text(margin / width, y / height, line, fontsize=SMALL, color=FAINT, va="top", parse_math=False)
        y -= _LINE_IN
    if columns:
        handles: list[Any] = [handle for column in columns for handle, _ in column]
        legend = figure.legend(
            handles,
            [label for column in columns for _, label in column],
            loc="lower center",
            bbox_to_anchor=(0.5, (margin / 2 + foot_height) / height),
            borderaxespad=0.0,
            ncols=len(columns),
            fontsize=8.0,
            frameon=False,
            handlelength=3.2,
            columnspacing=1.6,
            labelspacing=0.35,
        )
        for entry in legend.get_texts():
            entry.set_parse_math(False)
    return Page(figure, (margin, margin / 2 + foot_height + legend_height, width - 2 * margin, body_height))


def _columns(groups: Sequence[Sequence[Entry]], width: float) -> list[list[Entry]]:
    """The groups in as few rows as fit the width, each group in columns of its own, padded to equal length.

    Where the longest labels do not let them fit, those of the first group are cut (names that users give), else all.
    """
    most = max(map(len, groups), default=0)
    columns: list[list[Entry]] = []
    for first_letters, letters in (*((some, _LABELS[0]) for some in _LABELS), (_LABELS[-1], _LABELS[-1])):
        cut = [
            [(handle, _entry_label(label, letters if i else first_letters)) for handle, label in group]
            for i, group in enumerate(groups)
        ]
        for rows in range(1, most + 1):
            columns = [
                [*group[first : first + rows], *[_BLANK] * (rows - len(group[first : first + rows]))]
                for group in cut
                for first in range(0, len(group), rows)
            ]
            needed = sum(0.75 + _CHARACTER_IN * 8.0 / SMALL * max(len(label) for _, label in c) for c in columns)
            if needed <= width:
                return columns
    return columns


def _entry_label(label: str, letters: int) -> str:
    # Matplotlib leaves entries out whose label begins with "_".
    short = shortened(" ".join(label.split()), letters)
    return f" {short}" if not short or short.startswith("_") else short


def printable(text: str) -> str:
    """The text with blanks where fonts have no character: names in rows may hold anything."""
    return "".join(character if character.isprintable() else " " for character in text)


def shortened(text: str, letters: int) -> str:
    """The text in one line, cut with an ellipsis if it is longer."""
    text = printable(text)
    return text if len(text) <= letters else f"{text[: letters - 3].rstrip()}..."


def enumerate_briefly(names: Sequence[str], *, most: int = 6) -> str:
    """Names joined by semicolons, each once, the first few of many."""
    distinct = list(dict.fromkeys(names))
    rest = len(distinct) - most
    return "; ".join(distinct[:most]) + (f"; and {rest} more" if rest > 0 else "")
