"""How long `raypol explore` lets one wait: `python -m benchmarks.explorer [--trials 100000] [--results DIR]`.

Makes a results folder of that many trials (a file each, as the store writes them), reads it without and with the cache, starts
the app, and times it in headless Chromium: from the address to the first view (with an empty browser cache, and again), and
from ticking a filter to the new numbers, in each tab. An app of one line, served by marimo in the same way, says how much of the
first view is marimo's.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import tyro

from raypol.store.location import open_location
from raypol.store.results.cache import read_trial_table
from tests.many_rows import write_many

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_EMPTY_APP: Final = """import marimo
app = marimo.App()
@app.cell
def _():
    import marimo as mo
    mo.Html("By arm")
    return
"""
_TILE: Final = "() => document.querySelector('.tile b').innerText"
_FILTERS: Final = (
    ("sweep", "sweep-b"),
    ("dataset", "cifar10 "),
    ("arm", "III-loss"),
    ("k, steps", "50 "),
    ("status", "ok "),
)


@dataclass(frozen=True, kw_only=True)
class Explorer:
    """Measure it."""

    trials: int = 100_000
    """How many; made once if `results` is given."""
    results: str | None = None
    """Folder of the trials, kept; None = a temporary one."""
    repeats: int = 5
    """Of each time that is taken in the browser."""
    cache: str | None = None
    """Folder of a cache that is there already; None = a new one, which takes minutes to fill and is timed."""


def main() -> None:
    """Entry point."""
    asked = tyro.cli(Explorer, description=__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(asked.results or f"{temporary}/results")
        if not (folder / "trials").exists():
            write_many(folder, asked.trials)
        cache = Path(asked.cache or f"{temporary}/cache")
        if asked.cache is None:
            _say("first read, no cache", [_seconds(lambda: read_trial_table(open_location(folder), cache=cache))])
        again = [_seconds(lambda: read_trial_table(open_location(folder), cache=cache)) for _ in range(asked.repeats)]
        _say("read with the cache", again)
        empty = Path(temporary) / "empty.py"
        empty.write_text(_EMPTY_APP)
        with _chromium() as browser:
            marimo = [sys.executable, "-m", "marimo", "run", str(empty), "--headless", "--no-token", "--port", "8799"]
            with _serving(marimo, cache, "http://127.0.0.1:8799/") as address:
                time.sleep(3)
                _first_views("an app of one line", browser, address, asked.repeats)
            program = "from raypol.cli.main import main; main()"
            explore = [sys.executable, "-c", program, "explore", str(folder), "--no-browser"]
            begin = time.monotonic()
            with _serving(explore, cache) as address:
                _say("command to address", [time.monotonic() - begin])
                _first_views("the explorer", browser, address, asked.repeats)
                _filters(browser, address, asked.repeats)


def _filters(browser: "Browser", address: str, repeats: int) -> None:
    """Tick one option of each filter, in each tab, from the whole."""
    page = _open(browser, address)
    for tab in ("Overview", "Trials"):
        page.get_by_role("tab", name=tab).click()
        taken: list[float] = []
        for _ in range(repeats):
            for label, option in _FILTERS:
                taken.append(_tick(page, label, option, tab))
                page.get_by_role("button", name="Clear filters").click()
                page.wait_for_function("() => !document.querySelector('.tile').innerText.includes('of ')")
                time.sleep(1)  # the table follows the numbers
        _say(f"a filter, {tab.lower()}", taken)
    for label, option in (*_FILTERS[:3], ("seed", "1 ")):
        _tick(page, label, option, "Overview")
    begin = time.monotonic()
    page.get_by_role("tab", name="Figures").click()
    page.locator("img[alt]").wait_for()
    _say(f"a figure of {page.evaluate(_TILE)} trials", [time.monotonic() - begin])
    page.context.close()


def _tick(page: "Page", label: str, option: str, tab: str) -> float:
    """Seconds from the click on an option to the new numbers, and to the new table."""
    before = page.evaluate(_TILE)
    page.locator("marimo-multiselect", has_text=label).get_by_role("button").first.click()
    choice = page.get_by_role("option", name=option).first
    choice.wait_for()
    begin = time.monotonic()
    choice.click()
    page.wait_for_function(f"() => document.querySelector('.tile b').innerText !== '{before}'")
    if tab == "Trials":
        now = page.evaluate(_TILE)
        page.get_by_text(f"CSV, {now} trials").wait_for()
    taken = time.monotonic() - begin
    page.keyboard.press("Escape")
    return taken


def _first_views(what: str, browser: "Browser", address: str, repeats: int) -> None:
    first: list[float] = []
    again: list[float] = []
    for _ in range(repeats):
        begin = time.monotonic()
        page = _open(browser, address)
        first.append(time.monotonic() - begin)
        begin = time.monotonic()
        page.goto(address)
        page.get_by_text("By arm").wait_for()
        again.append(time.monotonic() - begin)
        page.context.close()
    _say(f"{what}: first view", first)
    _say(f"{what}: opened again", again)


def _open(browser: "Browser", address: str) -> "Page":
    """The page in a browser that has nothing of it yet."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.goto(address)
    page.get_by_text("By arm").wait_for()
    return page


@contextmanager
def _serving(command: list[str], cache: Path, address: str = "") -> Iterator[str]:
    """The address that a server prints, or the one that it is known to have, while it runs."""
    environment = {**os.environ, "RAYPOL_CACHE": str(cache)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, text=True, env=environment, **pipes)  # type: ignore[call-overload]  # noqa: S603
    try:
        yield address or next(line.strip() for line in process.stdout if line.startswith("http://"))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def _chromium() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])


def _seconds(work: Callable[[], object]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def _say(what: str, taken: list[float]) -> None:
    load = os.getloadavg()[0]
    middle, low, high = statistics.median(taken), min(taken), max(taken)
    print(f"{what:36} {middle:8.2f} s   {low:6.2f} .. {high:6.2f}   n={len(taken):<3} load {load:.1f}", flush=True)


if __name__ == "__main__":
    main()
