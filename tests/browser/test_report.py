"""The report as a person opens it: from the disk, without a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raypol.cli.commands.report import write_report
from raypol.report.content import make_report
from raypol.store.location import open_location
from tests.browser.conftest import shoot
from tests.conftest import Shown

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """index.html of a demo with all arms."""
    sweep_id = shown.second.study.sweep_id
    html, _ = write_report(make_report(open_location(shown.folder), sweep_id), tmp_path_factory.mktemp("a report #1"))
    return html


@pytest.mark.parametrize("width", [1250, 700])
def test_a_report_opens_from_the_disk(page: "Page", report: Path, width: int) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(report.as_uri())
    pictures = page.locator("figure img")
    assert pictures.count() >= 3
    for i in range(pictures.count()):
        wide, shown_as = pictures.nth(i).evaluate("image => [image.naturalWidth, image.getBoundingClientRect().width]")
        assert wide > 600
        assert 0 < shown_as <= width
    assert all(url.startswith(("file:", "data:")) for url in asked)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, "a wide table scrolls in its own box"
    shoot(page, f"report-top-{width}")


def test_links_lead_to_sections_and_folded_tables_open(page: "Page", report: Path) -> None:
    page.set_viewport_size({"width": 1250, "height": 1000})
    page.goto(report.as_uri())
    for link in page.locator("nav a").all():
        target = link.get_attribute("href")
        assert target is not None
        link.click()
        assert page.locator(target).count() == 1
        assert page.locator(target).is_visible()
    folded = page.locator("details").first
    cell = folded.locator("td").first
    assert not cell.is_visible()
    folded.locator("summary").click()
    assert cell.is_visible()
    folded.scroll_into_view_if_needed()
    shoot(page, "report-table")
    page.screenshot(path=shoot(page, "report-whole"), full_page=True)
