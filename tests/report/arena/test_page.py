"""The arena's page: closed to the texts of rows, small, and the same for the same cells."""

import base64
import hashlib
import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from typing import Any

import pytest

from raypol.report.arena.board import board_of
from raypol.report.arena.page import arena_html, embedded_json, page_data
from raypol.store.results.cell_rows import CellRow
from raypol.store.results.columns import columns_of
from tests.report.arena.cells import cell, large_arena, small_arena

BREAKING = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;'\"\u2028\u202e<!--"
MOST_BYTES = 3_000_000


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in ("script", "style"):
            self.texts.append((self.cdata_elem, data))


def elements(html: str) -> Elements:
    found = Elements()
    found.feed(html)
    return found


def data_of(html: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_hostile_texts_add_no_element() -> None:
    plain = arena_html(board_of([cell()]))
    text: dict[str, Any] = {
        one.name: BREAKING for one in columns_of(CellRow) if one.kind is str and one.name not in ("mode", "claims")
    }
    hostile = arena_html(board_of([replace(cell(), **text)]))
    assert [tag for tag, _ in elements(hostile).tags] == [tag for tag, _ in elements(plain).tags]
    assert hostile.count("<script") == plain.count("<script") == 2
    assert "onerror=alert(1)>" not in hostile
    assert "\u2028" not in hostile
    (line,) = data_of(hostile)["tasks"][0]["lines"]
    assert line["arm"].startswith("</script><script>alert(1)"), "it is shown as it is"
    assert "\u202e" not in line["arm"], "but for what would turn the direction of text"


def test_json_in_the_page_ends_neither_element_nor_line() -> None:
    text = str(embedded_json({"a": BREAKING, "b": [1.5, None, True]}))
    assert not set("<>&'\u2028") & set(text)
    assert json.loads(text) == {"a": BREAKING, "b": [1.5, None, True]}


def test_only_the_page_s_own_script_and_style_may_run() -> None:
    html = arena_html(board_of(small_arena()))
    found = elements(html)
    (content,) = [of["content"] for tag, of in found.tags if tag == "meta" and "http-equiv" in of]
    assert content is not None
    assert content.startswith("default-src 'none'")
    assert "unsafe" not in content
    for kind, text in found.texts:
        if text.lstrip().startswith("{"):
            continue
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in content
    assert not [of for _, of in found.tags if "src" in of or "style" in of or any(name.startswith("on") for name in of)]
    assert [of["href"] for _, of in found.tags if "href" in of] == ["data:,", "#matrix-title"]


def test_numbers_that_are_none_are_no_number_in_json() -> None:
    cells = [cell(error=float("nan"), cost=float("inf")), cell(policy="b", error=float("inf"), cost=None)]
    of = page_data(board_of(cells))["cells"]
    assert of["error"]["of"] == [None, "∞"]
    json.dumps(of, allow_nan=False)


def test_every_column_is_described_as_its_row_describes_it() -> None:
    described = page_data(board_of([cell()]))["columns"]
    assert [one["name"] for one in described] == [one.name for one in fields(CellRow)]
    assert [one["meaning"] for one in described] == [one.meaning for one in columns_of(CellRow)]


def test_a_whole_arena_is_small_and_its_cells_are_all_there() -> None:
    cells = large_arena()
    html = arena_html(board_of(cells))
    assert len(html.encode()) < MOST_BYTES / 4
    found = data_of(html)
    assert found["count"] == len(cells)
    trials = found["cells"]["trial_id"]
    assert {trials["of"][place] for place in trials["at"]} == {one.trial_id for one in cells}


def test_long_texts_do_not_fill_the_page() -> None:
    html = arena_html(board_of([replace(cell(), setting="x" * 5_000_000, arm="y" * 5_000_000)]))
    assert len(html.encode()) < MOST_BYTES / 10


def test_secrets_of_addresses_are_not_shown() -> None:
    html = arena_html(board_of([replace(cell(), command="raypol arena --tracking https://user:hunter2@host/")]))
    assert "hunter2" not in html


@pytest.mark.parametrize("cells", [[], small_arena()], ids=["empty", "small"])
def test_the_same_cells_give_the_same_page(cells: list[CellRow]) -> None:
    assert arena_html(board_of(cells)) == arena_html(board_of(list(cells)))
