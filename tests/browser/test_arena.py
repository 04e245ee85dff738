"""The arena's page as a person opens it: from the disk, without a network."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raypol.report.arena.board import board_of
from raypol.report.arena.page import arena_html
from raypol.report.arena.rankings import place_text, rank_attacks, rank_verifiers
from raypol.report.arena.uncarried import with_uncarried
from raypol.store.results.cell_rows import CellRow, Mode
from tests.browser.conftest import shoot
from tests.report.arena.cells import cell, large_arena, small_arena

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=document.title='owned'>"


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    return written(tmp_path, [*small_arena(), *large_arena()])


def written(folder: Path, cells: list[CellRow]) -> Path:
    path = folder / "arena #1.html"
    path.write_text(arena_html(board_of(cells)))
    return path


def opened(page: "Page", path: Path, address: str = "") -> list[str]:
    """Everything that the page says and asks for, but for itself."""
    heard: list[str] = []
    page.on("console", lambda said: heard.append(said.text))
    page.on("request", lambda asked: heard.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    page.goto(path.as_uri() + address)
    return heard


def button(arm: str, policy: str) -> str:
    return f'.matrix button[aria-label^="{arm} against {policy}:"]'


def test_a_cell_opens_its_record_and_the_address_keeps_it(page: "Page", arena: Path) -> None:
    heard = opened(page, arena, "#task=digits-resnet8-T200-k10-B64")
    page.click(button("selected", "strict"))
    panel = page.locator("dialog")
    assert panel.locator(".trial").inner_text() == "trial-selected-strict-adaptive"
    text = panel.inner_text()
    for part in (
        "Broken by a forgery of W_T",
        "raypol arena --task digits",
        "at the end of the range",
        "50..100 by 10",
        "8 forgeries",
    ):
        assert part in text, part
    panel.get_by_role("button", name="as declared").click()
    assert panel.locator(".trial").inner_text() == "trial-selected-strict-declared"
    address = page.evaluate("location.hash")
    page.keyboard.press("Escape")
    assert not panel.is_visible()
    page.wait_for_function("!location.hash.includes('arm=')", timeout=5_000)  # a closed dialog says so a task later
    page.goto("about:blank")
    page.goto(arena.as_uri() + address)
    assert panel.locator(".trial").inner_text() == "trial-selected-strict-adaptive"
    assert heard == []


@pytest.mark.parametrize("mode", ["adaptive", "declared"])
@pytest.mark.parametrize("width", [420, 1440])
def test_every_number_of_the_standing_results_is_seen_whole(page: "Page", width: int, mode: str) -> None:
    page.set_viewport_size({"width": width, "height": 1180})
    opened(page, Path(__file__).parents[2] / "docs" / "arena" / "page.html")
    for task in page.evaluate("JSON.parse(document.getElementById('data').textContent).tasks.map(task => task.slug)"):
        page.goto(page.url.partition("#")[0] + f"#task={task}&mode={mode}")
        page.wait_for_function(
            "task => location.hash.includes(task) && document.querySelector('.matrix .sub')", arg=task
        )
        cut = page.evaluate(
            """() => [...document.querySelectorAll(".matrix td .main, .matrix td .sub span")].filter(shown => {
              const range = document.createRange();
              range.selectNodeContents(shown);
              return range.getBoundingClientRect().right > shown.closest("td").getBoundingClientRect().right;
            }).map(shown => shown.textContent)"""
        )
        assert cut == [], task


@pytest.mark.parametrize("mode", ["adaptive", "declared"])
def test_the_page_ranks_as_the_board_does(page: "Page", tmp_path: Path, mode: str) -> None:
    cells = [
        *small_arena(),
        cell("honest", "wall", accepted=0),
        cell("selected", "wall"),
        cell("selected", "soft", cost=0.07),
    ]
    (task,) = with_uncarried(board_of(cells)).tasks
    kind: Mode = "declared" if mode == "declared" else "adaptive"
    opened(page, written(tmp_path, cells), f"#mode={mode}")
    verifiers = [
        [place_text(one.place, is_tied=one.is_tied), one.policy.label, f"{one.broken_by} of {one.attacks}"]
        for one in rank_verifiers(task, kind)
    ]
    assert ranking(page, "verifiers", 3) == verifiers
    attacks = [
        [place_text(one.place, is_tied=one.is_tied), one.line.arm, f"{one.mean_rank:.1f}"]
        for one in rank_attacks(task, kind)
    ]
    assert ranking(page, "attacks", 2) == attacks


def ranking(page: "Page", name: str, column: int) -> list[list[str]]:
    """Place, name and another cell of each line."""
    return [
        [
            row.locator("td").nth(0).inner_text(),
            row.locator("th").evaluate("th => th.firstChild.textContent"),
            row.locator("td").nth(column).inner_text(),
        ]
        for row in page.locator(f"#{name} tbody tr").all()
    ]


def test_filters_change_matrix_and_rankings(page: "Page", tmp_path: Path) -> None:
    opened(page, written(tmp_path, small_arena()))
    arms = page.locator(".matrix tbody th[scope=row]")
    assert arms.count() == 6
    assert page.locator("#attacks tbody tr").count() == 4
    page.get_by_label("no training").uncheck()
    assert page.locator("#attacks tbody tr").count() == 3
    assert arms.count() == 5
    page.locator("details summary").click()
    page.get_by_label("trace the honest proof itself").uncheck()
    assert arms.count() == 4, "retrain uses the trace"
    assert "Hidden by the filters: untrained; retrain" in page.locator("#missing").inner_text()
    page.reload()
    assert arms.count() == 4, "the address keeps the filters"
    page.get_by_role("radio", name="as declared").check()
    assert "Not adaptive" in page.locator("#note").inner_text()
    assert page.locator(button("selected", "strict")).inner_text().startswith("✕ 0.14")


def test_the_matrix_is_a_table_that_the_keyboard_reaches(page: "Page", tmp_path: Path) -> None:
    opened(page, written(tmp_path, [*small_arena(), cell("blend", "strict", cost=0.2)]))
    assert page.locator(".matrix thead th[scope=col]").count() == 5
    assert page.locator(".matrix td button[tabindex='0']").count() == 1
    page.locator(".matrix td button[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("null against strict")
    page.keyboard.press("Enter")
    assert page.locator("dialog .trial").inner_text() == "trial-null-strict-adaptive"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("null against strict")
    empty = [one.get_attribute("aria-label") or "" for one in page.locator(".matrix td.absent button").all()]
    assert [label for label in empty if " against vc: " not in label] == [
        f"blend against {policy}: not run: no sweep has a trial of this arm that this policy judged"
        for policy in ("published", "exact")
    ]


def test_a_policy_that_can_judge_nothing_says_why(page: "Page", tmp_path: Path) -> None:
    opened(page, written(tmp_path, small_arena()))
    assert page.locator(".matrix td.absent button[aria-label*=' against vc: its circuit carries']").count() == 6
    page.click(button("selected", "vc"))
    assert "its circuit carries a linear model alone; one step of resnet8" in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    missing = page.locator("#missing").inner_text()
    assert missing.count("vc") == 1
    assert "(estimate)" in missing


def test_texts_of_rows_are_shown_and_do_nothing(page: "Page", tmp_path: Path) -> None:
    columns = ("arm", "attack", "source", "trial_id", "setting", "searched", "versions", "rejected_by", "command")
    text: dict[str, Any] = dict.fromkeys(columns, HOSTILE)
    heard = opened(page, written(tmp_path, [replace(cell(), policy=HOSTILE, **text)]))
    page.locator(".matrix td button").first.click()
    assert HOSTILE in page.locator("dialog").inner_text()
    assert page.locator("img").count() == 0
    assert page.title() == "raypol arena"
    assert heard == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_fits(page: "Page", arena: Path, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    opened(page, arena)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0, "the matrix scrolls in its own box"
    shoot(page, f"arena-{scheme}-{width}")
    page.locator(".matrix td button").nth(20).click()
    assert page.evaluate(overflow) <= 0
    assert (
        page.evaluate("document.querySelector('dialog').scrollWidth - document.querySelector('dialog').clientWidth")
        <= 0
    )
    shoot(page, f"arena-cell-{scheme}-{width}")
