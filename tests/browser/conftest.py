"""Headless Chromium: a page whose every console error fails the test, and a folder for screenshots."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

ARTIFACTS: Final = Path(__file__).parent / "artifacts"
ALLOWED: Final = {
    "[handleFillUpdated] component was expected to be defined": "marimo 0.25 says this when a table takes the place of another: "
    "the slot of its side panel hears of an update after it left. Nothing shows on the page.",
    "ResizeObserver loop completed with undelivered notifications": "Chromium says this when a page of MLflow's sizes its charts "
    "over more than one frame; the rest is delivered in the next.",
}
"""Errors on the console that are no fault of ours, and why."""
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """The machine's own Chromium; nothing is downloaded."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is installed (Debian: apt install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def forgiven() -> tuple[str, ...]:
    """Addresses whose failure to load is no fault of ours, as parts of the URL; a module that needs some overrides this."""
    return ()


@pytest.fixture
def page(browser: "Browser", forgiven: tuple[str, ...]) -> Iterator["Page"]:
    """A fresh page. Errors on its console, uncaught exceptions and requests to other machines fail the test at its end."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(60_000)
    amiss: list[str] = []
    opened = context.new_page()

    def hear(said: "ConsoleMessage") -> None:
        where = said.location.get("url", "")
        allowed = any(part in where for part in forgiven) or any(text in said.text for text in ALLOWED)
        if said.type == "error" and not allowed:
            amiss.append(f"console: {said.text} ({where})")

    opened.on("console", hear)
    opened.on("pageerror", lambda error: amiss.append(f"uncaught: {error}"))
    opened.on("request", lambda asked: None if _is_here(asked.url) else amiss.append(f"asked for {asked.url}"))
    yield opened
    context.close()
    assert not amiss, "\n".join(amiss)


def shoot(page: "Page", name: str) -> Path:
    """A screenshot, kept as tests/browser/artifacts/<name>.png."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    page.screenshot(path=path)
    return path


def _is_here(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "http://localhost:", "file:", "data:", "blob:", "about:"))
