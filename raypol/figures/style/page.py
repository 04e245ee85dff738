"""What the figures share: pages measured in inches, legends, footnotes, bands, text."""

import math
import statistics
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

INK: Final = "#222222"
FAINT: Final = "#666666"
SMALL: Final = 7.5
"""Points; footnotes and numbers in the margin."""
TEXT: Final = 9.0
_LINE_IN: Final = 0.155
"""Height of a line of small text, in inches."""
CHARACTER_IN: Final = 0.056
"""Width of an average character of small text, in inches; on the safe side."""

Entry = tuple[Artist | tuple[Artist, ...], str]
"""Handle (several are drawn over each other) and label of a legend."""

_BLANK: Final[Entry] = (Line2D([], [], linestyle="none"), " ")
_LABELS: Final = (60, 52, 44, 38, 32, 27, 22)
"""Letters of a legend's labels, as many as fit."""
_LEGEND_PT: Final = 8.0
_HANDLE_IN: Final = 0.68
"""Width of a legend's handle with the space around it."""


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
    per_line = int((width - 2 * margin) / CHARACTER_IN)
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
            fontsize=_LEGEND_PT,
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

    Where that is too wide the groups behind the first share columns; then labels of the first group are cut (names that
    users give), then all.
    """
    ways = [groups, [groups[0], [entry for group in groups[1:] for entry in group]]] if len(groups) > 2 else [groups]
    columns: list[list[Entry]] = []
    for first_letters, letters in (*((some, _LABELS[0]) for some in _LABELS), (_LABELS[-1], _LABELS[-1])):
        for way in ways:
            cut = [
                [(handle, _entry_label(label, letters if i else first_letters)) for handle, label in group]
                for i, group in enumerate(way)
            ]
            for rows in range(1, max(map(len, way), default=0) + 1):
                columns = [
                    [*group[first : first + rows], *[_BLANK] * (rows - len(group[first : first + rows]))]
                    for group in cut
                    for first in range(0, len(group), rows)
                ]
                if sum(_HANDLE_IN + max(_width(label) for _, label in column) for column in columns) <= width:
                    return columns
    return columns


@lru_cache(maxsize=1024)
def _width(label: str) -> float:
    """Inches of a label in a legend."""
    if not label.isascii():  # fonts may lack its letters
        return CHARACTER_IN * _LEGEND_PT / SMALL * len(label)
    points, _, _ = text_to_path.get_text_width_height_descent(label, FontProperties(size=_LEGEND_PT), ismath=False)
    return 1.03 * float(points) / 72.0  # hinting differs with resolution


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
