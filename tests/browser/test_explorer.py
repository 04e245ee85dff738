"""The analysis app as a person uses it: figures, a filter, a trial, SQL, downloads; and on folders with something amiss."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from raypol.core.distances import METRICS
from raypol.store.location import open_location
from raypol.store.results.columns import schema_of
from raypol.store.results.files import read_trials, write_trial
from raypol.store.results.rows import TrialRow
from tests.browser.conftest import shoot
from tests.conftest import Shown
from tests.many_rows import varied_row, write_many
from tests.rows import made_row

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

_HOSTILE: Final = "<img src=x onerror=console.error('run')><script>console.error('run')</script>"
Serve = Callable[[Path], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`raypol explore` on a folder; its address. Ctrl-C must end each."""
    running: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> str:
        program = "from raypol.cli.main import main; main()"
        command = [sys.executable, "-c", program, "explore", folder.name, "--no-browser"]
        environment = {**os.environ, "RAYPOL_CACHE": str(tmp_path / "cache")}
        with (tmp_path / "stderr").open("w") as errors:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=folder.parent
            )
        running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("http://127.0.0.1:"):
                return line.strip()
        raise AssertionError((tmp_path / "stderr").read_text())

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
    try:
        assert [process.wait(20) for process in running] == [0] * len(running), (tmp_path / "stderr").read_text()
    finally:
        for process in running:
            process.kill()
            process.communicate()


def open_tab(page: "Page", name: str) -> None:
    page.get_by_role("tab", name=name).click()


def choose(page: "Page", label: str, option: str) -> None:
    """Tick one option of a filter."""
    page.locator("marimo-multiselect", has_text=re.compile(rf"^\s*{re.escape(label)}")).get_by_role(
        "button"
    ).first.click()
    page.get_by_role("option", name=option).click()
    page.keyboard.press("Escape")


def first_tile(page: "Page") -> "Locator":
    return page.locator(".tile b").first


def test_a_real_run_is_explored(serve: Serve, page: "Page", shown: Shown, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(shown.folder, folder)
    rows = read_trials(open_location(folder))
    page.goto(serve(folder))
    page.get_by_text("By arm").wait_for()
    assert first_tile(page).inner_text() == str(len(rows))
    shoot(page, "explorer-overview")

    open_tab(page, "Figures")
    figure = page.locator("img[alt*='normalised reproduction error']")
    figure.wait_for()
    assert figure.evaluate("image => image.naturalWidth") > 800
    shoot(page, "explorer-figures")
    titles = page.locator("select").first.locator("option").all_inner_texts()
    for title in titles:
        before = page.locator("img[alt]").first.get_attribute("alt") if page.locator("img[alt]").count() else ""
        page.locator("select").first.select_option(label=title)
        if title != titles[0]:
            page.wait_for_function("said => [...document.images].every(image => image.alt !== said)", arg=before)
        page.locator("img[alt], :text('Not drawn')").first.wait_for()
    assert len(titles) >= 6

    open_tab(page, "Overview")
    choose(page, "arm", "III-loss")
    left = [row for row in rows if row.arm == "III-loss"]
    page.wait_for_function(f"document.querySelector('.tile b').innerText === '{len(left)}'")
    assert f"of {len(rows)} trials" in page.locator(".tile").first.inner_text()

    open_tab(page, "Trials")
    with page.expect_download() as coming:
        page.get_by_role("link", name=f"CSV, {len(left)} trial").click()
    coming.value.save_as(tmp_path / "trials.csv")
    got = pa_csv.read_csv(tmp_path / "trials.csv")
    assert got.column_names == schema_of(TrialRow).names
    assert sorted(got["trial_id"].to_pylist()) == sorted(row.trial_id for row in left)
    with page.expect_download() as coming:
        page.get_by_role("link", name=f"Parquet, {len(left)} trial").click()
    coming.value.save_as(tmp_path / "trials.parquet")
    assert pq.read_table(tmp_path / "trials.parquet").num_rows == len(left)

    page.get_by_role("button", name="Clear filters").click()
    page.wait_for_function(f"document.querySelector('.tile b').innerText === '{len(rows)}'")
    crafted = next(row for row in rows if row.num_points)
    open_trial(page, crafted.trial_id)
    page.get_by_text("Points before and after").wait_for()
    page.locator("img[alt^='Reproduction error of']").wait_for()
    assert (
        f"T' = {crafted.steps}, k = {crafted.interval}"
        in page.locator(".rp", has=page.locator(".subtitle")).inner_text()
    )
    assert page.get_by_text(f"proofs/{crafted.proof_id}").count() >= 1
    page.locator(".subtitle").scroll_into_view_if_needed()
    shoot(page, "explorer-trial")

    open_tab(page, "SQL")
    ask(page, "SELECT arm, count(*) AS num FROM trials GROUP BY arm ORDER BY arm")
    page.get_by_text(f"{len({row.arm for row in rows})} rows", exact=True).wait_for()
    shoot(page, "explorer-sql")
    ask(page, "DROP TABLE trials")
    page.get_by_text("expected one SELECT").wait_for()
    ask(page, "SELECT * FROM read_text('/etc/passwd')")
    page.get_by_text("disabled").wait_for()


def open_trial(page: "Page", trial_id: str) -> None:
    """Tick it in the table."""
    page.get_by_placeholder("Search").first.fill(trial_id)
    line = page.locator("tr", has_text=trial_id).first
    line.get_by_role("checkbox").click()
    page.get_by_text("Where this comes from").wait_for()


def ask(page: "Page", question: str) -> None:
    """Type a question in SQL and run it."""
    editor = page.locator(".cm-content").first
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(question)
    page.get_by_role("button", name="Run").click()


def test_new_trials_show_when_read_again_and_filters_stay(serve: Serve, page: "Page", tmp_path: Path) -> None:
    folder = tmp_path / "results"
    write_many(folder, 60)
    page.goto(serve(folder))
    page.get_by_text("By arm").wait_for()
    choose(page, "sweep", "sweep-b")
    page.wait_for_function("document.querySelector('.tile b').innerText === '12'")
    write_many(folder, 80, first=60)
    page.get_by_role("button", name="Read again").click()
    page.wait_for_function("document.querySelector('.tile b').innerText === '16'")
    assert "of 80 trials" in page.locator(".tile").first.inner_text()
    assert page.get_by_text("on simulated hardware", exact=True).count() == 1
    shoot(page, "explorer-many")


def test_an_empty_folder_says_so(serve: Serve, page: "Page", tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    page.goto(serve(tmp_path / "results"))
    page.get_by_text("This folder holds no trials").wait_for()
    for tab in ("Figures", "Trials", "SQL", "Overview"):
        open_tab(page, tab)
    ask_in_empty(page)
    shoot(page, "explorer-empty")


def ask_in_empty(page: "Page") -> None:
    open_tab(page, "SQL")
    ask(page, "SELECT count(*) AS num FROM trials")
    page.get_by_text("1 row", exact=True).wait_for()


def only_errors(folder: Path) -> None:
    for number in range(3):
        failed = replace(
            made_row(number),
            status="error",
            message="RuntimeError: out of memory\n" + _HOSTILE,
            success=None,
            error_l2=None,
        )
        write_trial(open_location(folder), failed, [])


def one_trial(folder: Path) -> None:
    write_trial(open_location(folder), made_row(0), [])


def no_numbers(folder: Path) -> None:
    lacking = {f"error_{metric}": float("nan") for metric in METRICS}
    for number in range(4):
        row = replace(varied_row(number), device_s=float("nan"), ratio_time=float("nan"), status="ok", **lacking)  # type: ignore[arg-type]
        write_trial(open_location(folder), row, [])


def another_version(folder: Path) -> None:
    (folder / "trials").mkdir(parents=True)
    whole = pa.Table.from_pylist([asdict(made_row(1))], schema=schema_of(TrialRow))
    older = whole.drop_columns(["simulated", "estimated", "success", "ratio_time", "arm"])
    pq.write_table(older, folder / "trials" / "made-1.parquet")


def hostile(folder: Path) -> None:
    row = replace(varied_row(1), arm=_HOSTILE, dataset=_HOSTILE, message=_HOSTILE, device=_HOSTILE, bound_by=_HOSTILE)
    write_trial(open_location(folder), row, [])
    write_trial(open_location(folder), replace(row, trial_id="second", arm="II", dataset="none such", device="cpu"), [])


@pytest.mark.parametrize(
    ("make", "trial_id", "said"),
    [
        (only_errors, "made-1", ["out of memory", "status error", "ended with status error"]),
        (one_trial, "made-0", ["No intervals of this trial"]),
        (no_numbers, varied_row(1).trial_id, ["No intervals of this trial"]),
        (another_version, "made-1", ["1 row is of another version of raypol, without arm"]),
        (hostile, varied_row(1).trial_id, ["onerror"]),
    ],
)  # fmt: skip
def test_what_is_amiss_is_said_and_every_tab_opens(
    serve: Serve, page: "Page", tmp_path: Path, make: Callable[[Path], None], trial_id: str, said: list[str]
) -> None:
    folder = tmp_path / "results"
    make(folder)
    page.goto(serve(folder))
    page.get_by_text("By arm").wait_for()
    open_tab(page, "Figures")
    page.locator("img[alt], :text('Not drawn')").first.wait_for()
    open_tab(page, "Trials")
    open_trial(page, trial_id)
    for text in said:
        page.get_by_text(text).first.wait_for()
    assert page.locator("img[src='x']").count() == 0
    assert page.get_by_text("Traceback").count() == 0
    assert page.locator("[data-testid='marimo-error'], .marimo-error").count() == 0
    shoot(page, f"explorer-{make.__name__}")
    time.sleep(0.2)  # so that late errors reach the console before the page closes


def test_the_page_asks_for_the_token(serve: Serve, page: "Page", tmp_path: Path) -> None:
    one_trial(tmp_path / "results")
    address = serve(tmp_path / "results").partition("?")[0]
    page.goto(address)
    assert "auth/login" in page.url
    assert page.get_by_text("By arm").count() == 0
