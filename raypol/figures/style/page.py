"""Pages: title, axes, legend and footnotes, placed by matplotlib's constrained layout so that nothing overlaps."""

import textwrap
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

INK: Final = "#222222"
FAINT: Final = "#666666"
SMALL: Final = 7.5
"""Points; footnotes and numbers in the margin."""
TEXT: Final = 9.0
CHARACTER_IN: Final = 0.058
"""Width of an average character of small text, in inches; on the safe side."""

Entry = tuple[Artist | tuple[Artist, ...], str]
"""Handle (several are drawn over each other) and label of a legend."""

_BLANK: Final[Entry] = (Line2D([], [], linestyle="none"), " ")
_LABELS: Final = ((60, 60), (44, 60), (32, 60), (22, 60), (22, 22))
"""Letters of a legend's labels, in its first group (names that users give) and in the others: the most that fit."""
_HANDLE_IN: Final = 0.68
"""Width of a legend's handle with the space around it."""


def new_page(
    width: float,
    height: float,
    *,
    title: str,
    subtitle: str = "",
    entries: Sequence[Sequence[Entry]] = (),
    notes: Sequence[str] = (),
) -> tuple[Figure, SubFigure]:
    """A figure and its body, the room between title and legend.

    Args:
        width: inches.
        height: of the body, in inches; what stands around it makes the page higher.
        title: bold; wrapped if long.
        subtitle: small, below the title.
        entries: of the legend, in groups that start a column each.
        notes: footnotes.
    """
    head = _wrap(title, width, TEXT + 2)
    under = _wrap(subtitle, width)
    foot = [line for note in notes for line in _wrap(note, width, indent="   ")]
    columns = _columns([list(group) for group in entries if group], width - 0.4)
    rows = max(map(len, columns), default=0)
    height += 0.23 * len(head) + 0.17 * len(under) + 0.145 * len(foot) + 0.19 * rows + 0.3
    figure = Figure(figsize=(width, height), facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))
    body = figure.add_subfigure(figure.add_gridspec(1, 1)[0])
    add_heading(figure, title, size=TEXT + 2, weight="bold")
    if under:
        add_heading(body, subtitle)
    if foot:
        look = {"fontsize": SMALL, "color": FAINT, "parse_math": False}
        figure.supxlabel("\n".join(foot), x=0.12 / width, ha="left", **look)
    if columns:
        handles: list[Any] = [handle for column in columns for handle, _ in column]
        legend = body.legend(
            handles,
            [label for column in columns for _, label in column],
            loc="outside lower center",
            ncols=len(columns),
            fontsize=TEXT - 1,
            frameon=False,
            handlelength=3.2,
            columnspacing=1.6,
            labelspacing=0.35,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure, body


def add_heading(part: Figure | SubFigure, text: str, *, size: float = SMALL, weight: str = "normal") -> None:
    """Put a line or more on top of a page or of a part of it, at the left edge."""
    width = part.bbox.width / part.get_figure(root=True).dpi
    lines = [wrapped for line in text.split("\n") for wrapped in _wrap(line, width, size)]
    look = {"fontsize": size, "fontweight": weight, "color": INK, "parse_math": False}
    part.suptitle("\n".join(lines), x=0.12 / width, ha="left", **look)


def _wrap(text: str, width: float, size: float = SMALL, *, indent: str = "") -> list[str]:
    """The text in lines that fit `width` inches."""
    letters = int((width - 0.3) / CHARACTER_IN * SMALL / size)
    return textwrap.wrap(printable(text), letters, subsequent_indent=indent)


def add_axes(part: SubFigure, count: int, columns: int) -> list[Axes]:
    """Axes side by side, row by row, the last row perhaps not full."""
    axes = list(part.subplots(-(-count // columns), columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.remove()
    return axes[:count]


def plain_axes(ax: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Give axes with numbers their look, a bold title and labels."""
    ax.grid(visible=True, color="#E4E4E4", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=SMALL + 0.5, colors=INK, which="major")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.set_title(
        "\n".join(map(printable, title.split("\n"))),
        loc="left",
        fontsize=TEXT + 0.5,
        fontweight="bold",
        color=INK,
        parse_math=False,
    )
    ax.set_xlabel(x, fontsize=TEXT - 0.5, color=INK)
    ax.set_ylabel(y, fontsize=TEXT - 0.5, color=INK)


def say_empty(ax: Axes, text: str) -> None:
    """Say in the middle of axes that there is nothing to draw."""
    ax.set_yticks([])
    if ax.get_xlim() == (0.0, 1.0):  # as they come
        ax.set_xticks([])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=TEXT)


def _columns(groups: Sequence[list[Entry]], width: float) -> list[list[Entry]]:
    """The groups in as few rows as fit the width, each group in columns of its own, padded to equal length.

    Where that is too wide the groups behind the first share columns.
    """
    merged = [*groups[:1], [entry for group in groups[1:] for entry in group]]
    columns: list[list[Entry]] = []
    for letters in _LABELS:
        for some in (groups, merged):
            cut = [[(one, _entry_label(label, letters[i > 0])) for one, label in group] for i, group in enumerate(some)]
            for rows in range(1, max(map(len, some), default=0) + 1):
                starts = [(group, first) for group in cut for first in range(0, len(group), rows)]
                columns = [(group[first : first + rows] + [_BLANK] * rows)[:rows] for group, first in starts]
                across = sum(max(len(label) for _, label in column) for column in columns)
                if _HANDLE_IN * len(columns) + CHARACTER_IN * (TEXT - 1) / SMALL * across <= width:
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
