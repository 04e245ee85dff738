"""A table of text, for a terminal, Markdown and a web page. Cells may hold an adversary's words, so each escapes them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from statistics import median
from typing import Final

from markupsafe import Markup, escape
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from raypol.store.escaping import markdown_text, visible, visible_lines, without_secrets

_READABLE: Final = 34
"""Characters of a column of words below which it rather gets a table of its own."""
_LONG: Final = 60
"""Characters from which a cell of a web page is broken over lines."""


class Good(str):
    """A cell that a terminal shows in green."""

    __slots__ = ()


class Bad(str):
    """A cell that a terminal shows in red."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table."""

    title: str
    """A line break counts on a terminal alone."""
    unit: str = ""
    is_number: bool = True
    """Right-justified."""
    wraps: bool = False
    """True for words that may be broken over lines."""
    group: str = ""
    """Columns of one group stay together where a terminal is too narrow for all; those without a group are repeated."""

    @property
    def heading(self) -> str:
        """Title and unit on one line."""
        return self.title.replace("\n", " ") + (f" ({self.unit})" if self.unit else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Columns and lines of cells; an empty line is a gap."""

    columns: Sequence[TableColumn]
    lines: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""
    folded: bool = False
    """True if a web page shows it only when asked."""


def words(*titles: str, wraps: bool = False) -> list[TableColumn]:
    """Left-justified columns."""
    return [TableColumn(title, is_number=False, wraps=wraps) for title in titles]


def shown(value: float | None, form: str, absent: str = "-") -> str:
    """A number, or a mark for one that is not known."""
    return absent if value is None or math.isnan(value) else format(value, form)


def median_of(values: Iterable[float | None]) -> float | None:
    """The median of the numbers that are known."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return median(known) if known else None


def terminal_text(text: str) -> Text:
    """Text of a proof or a user as it is: brackets are no markup, and control characters cannot steer a terminal."""
    style = "green" if isinstance(text, Good) else "red" if isinstance(text, Bad) else ""
    return Text(visible(without_secrets(text)), style)


def to_terminal(table: Table, *, width: int = 10_000) -> RenderableType:
    """The table for rich: in as few tables, of widths as equal, as `width` characters allow; then its note."""
    parts: list[RenderableType] = [
        *map(_rich, _fitting(table, width)),
        *([terminal_text(table.note)] if table.note else []),
    ]
    return Group(*[shown for part in parts for shown in ("", part)][1:])


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, with its title and note."""
    lines = [[column.heading for column in table.columns], *filter(None, table.lines)]
    head, *body = (f"| {' | '.join(map(markdown_text, line))} |" for line in lines)
    rule = "|" + "|".join(" ---: " if column.is_number else " --- " for column in table.columns) + "|"
    title = f"**{markdown_text(table.title)}**" if table.title else ""
    return "\n\n".join(filter(None, [title, "\n".join([head, rule, *body]), markdown_text(table.note)]))


def to_html(table: Table) -> Markup:
    """The table for a web page, with its title and note."""
    kinds = ["number" if column.is_number else "" for column in table.columns]
    head = _cells("th", kinds, [column.heading for column in table.columns])
    gap = Markup('<tr class="gap"><td colspan="{}"></td></tr>').format(len(table.columns))
    body = Markup("\n").join(_cells("td", kinds, line) if line else gap for line in table.lines)
    text = Markup('<div class="scroll"><table>\n<thead>{}</thead>\n<tbody>\n{}\n</tbody></table></div>').format(
        head, body
    )
    if table.note:
        text += Markup('\n<p class="faint">{}</p>').format(visible(table.note))
    if table.folded:
        return Markup("<details><summary>{}</summary>{}</details>").format(visible(table.title), text)
    return (Markup("<p><b>{}</b></p>").format(visible_lines(table.title)) if table.title else Markup()) + text


def _cells(tag: str, kinds: Sequence[str], line: Sequence[str]) -> Markup:
    cells = (
        Markup('<{0} class="{1}">{2}</{0}>').format(
            tag, f"{kind} wide" if len(cell) > _LONG else kind, escape(visible_lines(cell))
        )
        for kind, cell in zip(kinds, line, strict=True)
    )
    return Markup("<tr>{}</tr>").format(Markup().join(cells))


def _fitting(table: Table, width: int) -> Iterable[Table]:
    """The table, or tables of some groups of its columns each: as few as fit, and of these the narrowest."""
    groups = list(dict.fromkeys(column.group for column in table.columns if column.group))

    def split(cuts: Sequence[int]) -> list[Table]:
        return [_part(table, groups[a:b]) for a, b in pairwise((0, *cuts, len(groups)))]

    for number in range(max(len(groups), 1)):
        cuts = combinations(range(1, len(groups)), number)
        widest, best = min((max(map(_width, split(cut))), cut) for cut in cuts)
        if widest <= width:
            break
    return split(best)


def _part(table: Table, groups: Sequence[str]) -> Table:
    """The columns of some groups, and those of none."""
    places = [i for i, column in enumerate(table.columns) if not column.group or column.group in groups]
    lines = [[line[i] for i in places] if line else [] for line in table.lines]
    return replace(table, columns=[table.columns[i] for i in places], lines=lines)


def _width(table: Table) -> int:
    """Characters that the table takes; words may be wrapped, but not into slivers."""
    made, console = _rich(table), Console(width=10_000)
    for column in made.columns:
        if not column.no_wrap:
            column.max_width = _READABLE
    return int(Measurement.get(console, console.options, made).maximum)


def _rich(table: Table) -> RichTable:
    title = terminal_text(table.title) if table.title else None
    made = RichTable(
        title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0)
    )
    for column in table.columns:
        heading = Text("\n").join(map(terminal_text, filter(None, (*column.title.split("\n"), column.unit))))
        made.add_column(heading, justify="right" if column.is_number else "left", no_wrap=not column.wraps)
    for line in table.lines:
        made.add_row(*map(terminal_text, line))
    return made
