"""One table on a terminal, in Markdown and on a web page, whatever an adversary calls things."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from raypol.report.tables import (
    Bad,
    Good,
    Table,
    TableColumn,
    terminal_text,
    to_html,
    to_markdown,
    words,
)
from raypol.store.escaping import markdown_text
from tests.report.demo_rows import printed

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "![x](http://evil/x.png)",
    "a | b", "`code` *bold* \\", "</td></table>", "[red]x[/red]", "[link=http://x]y[/link]", "**b**", "a\n| b |\n\n# c",
    "<http://evil>",
)  # fmt: skip
TABLE = Table(
    columns=[*words("arm"), TableColumn("T'"), TableColumn("error\nl2", "d_ref"), *words("bound by", wraps=True)],
    lines=[["null", "20", "0.5", "time"], [], ["II", "160", "0.25", "rejected by replay"]],
    title="What passes",
    note="One line per arm.",
)


class Page(HTMLParser):
    """Tags that are opened, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(str(text))

    def handle_starttag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def rendered(markdown: str) -> Page:
    return Page(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown))


def test_a_terminal_shows_every_cell_and_a_two_line_heading() -> None:
    lines = [line.split() for line in printed(TABLE, 80).splitlines()]
    assert lines[0] == ["What", "passes"]
    assert ["null", "20", "0.5", "time"] in lines
    assert ["II", "160", "0.25", "rejected", "by", "replay"] in lines
    assert lines[-1] == ["One", "line", "per", "arm."]
    assert "d_ref" in lines[3]


def test_markdown_and_a_page_hold_the_same_cells() -> None:
    page, markdown = Page(to_html(TABLE)), rendered(to_markdown(TABLE))
    expected = ["arm", "T'", "error l2 (d_ref)", "bound by", *TABLE.lines[0], *TABLE.lines[2]]
    assert [cell.strip() for cell in markdown.cells][:-1] == expected[:-1]
    assert [cell.strip() for cell in page.cells if cell.strip()][:-1] == expected[:-1]
    assert "One line per arm." in page.cells[-1]
    assert "<details>" not in to_html(TABLE)
    assert Page(to_html(Table(columns=words("a"), lines=[], title="All", folded=True))).tags[:2] == [
        "details",
        "summary",
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_stay_words_in_markdown_and_on_a_page(text: str) -> None:
    table = Table(columns=words(text, "other"), lines=[[text, Good(text)], [Bad(text), "x"]], title=text)
    flat = " ".join(text.split())
    for page, expected in ((Page(to_html(table)), text), (rendered(to_markdown(table)), flat)):
        assert not {"script", "img", "a", "code", "em", "h1"} & set(page.tags)
        assert page.tags.count("table") == 1
        assert page.tags.count("td") == 4
        cells = [cell.strip("\n") for cell in page.cells]
        assert cells[2:5] == [expected] * 3
    assert rendered(markdown_text(text)).tags == ["p"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_stay_words_on_a_terminal(text: str) -> None:
    table = Table(columns=words(text.replace("\n", " ")), lines=[[text]], title=text, note=text)
    shown = repr(text)[1:-1].replace("\\\\", "\\") if "\n" in text else text
    assert printed(table, 300).count(shown) >= 3


def test_control_characters_cannot_steer_a_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07 \r accepted \x9b31m ok\u202e"
    text = printed(Table(columns=words(hostile), lines=[[hostile]], note=hostile), 300)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert text.count(r"\x1b[2J\x1b]0;owned\x07 \r accepted \x9b31m ok\u202e") == 3


@given(st.text())
def test_terminal_text_is_printable_and_loses_nothing_printable(text: str) -> None:
    shown = terminal_text(text).plain
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


def wide(widths: dict[str, int]) -> Table:
    """A key column and a group of each name, one cell that wide."""
    columns = [TableColumn("key", is_number=False), *(TableColumn(name, group=name) for name in widths)]
    return Table(columns=columns, lines=[["k", *("x" * width for width in widths.values())]])


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (200, [["a", "b", "c", "d"]]),
        (100, [["a", "b"], ["c", "d"]]),
        (80, [["a"], ["b", "c"], ["d"]]),
        (62, [["a"], ["b"], ["c"], ["d"]]),
    ],
)
def test_a_narrow_terminal_gets_few_tables_of_even_widths(width: int, expected: list[list[str]]) -> None:
    heads = [line for line in printed(wide({"a": 50, "b": 30, "c": 30, "d": 50}), width).splitlines() if "key" in line]
    assert [line.split()[1:] for line in heads] == expected
