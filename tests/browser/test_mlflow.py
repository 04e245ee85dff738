"""MLflow's own pages on what raypol logged: the run table, a filter, parallel coordinates, a trial, the summary."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
from mlflow.entities import Run

from raypol.runs.tracking.store import open_experiment
from raypol.runs.tracking.sync import sync_sweep
from raypol.runs.tracking.views import charts_link, table_link
from raypol.store.location import open_location
from raypol.store.results.files import read_trials
from tests.browser.conftest import shoot
from tests.conftest import Shown

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

_START_S: Final = 120.0
_GREETED: Final = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
"""As if the UI had been opened before: the first time it unfolds a chat panel over a third of the window."""


@pytest.fixture
def forgiven() -> tuple[str, ...]:
    """MLflow asks who is logged in; a server without accounts has no such address."""
    return ("/ajax-api/2.0/mlflow/users/current",)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running `mlflow ui`."""

    address: str
    experiment_id: str
    trials: list[Run]
    summary: Run


@pytest.fixture(scope="module")
def served(shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The UI on a store to which both of the demo's sweeps were brought."""
    results = open_location(shown.folder)
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    rows = read_trials(results)
    for sweep_id in sorted({row.sweep_id for row in rows}):
        sync_sweep(results, "raypol-demo", sweep_id, [row for row in rows if row.sweep_id == sweep_id], uri=uri)
    client, experiment_id = open_experiment(uri, "raypol-demo")
    found: list[Run] = client.search_runs([experiment_id])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server)
        yield Served(
            address=f"http://127.0.0.1:{port}/",
            experiment_id=experiment_id,
            trials=[run for run in found if "raypol.summary" not in run.data.tags],
            summary=next(run for run in found if "raypol.summary" in run.data.tags),  # the first sweep had no tracker
        )
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # it has workers, all in the session that was made for it
        server.wait(30)


def _wait(address: str, server: "subprocess.Popen[bytes]") -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        assert server.poll() is None, "the server ended"
        with suppress(OSError), direct.open(address, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise AssertionError(f"no answer from {address} in {_START_S:g} s")


def see(page: "Page", served: Served, path: str) -> None:
    page.add_init_script(_GREETED)
    page.set_viewport_size({"width": 1700, "height": 1000})
    page.goto(served.address + path)


def test_the_table_has_the_useful_columns_first_and_filters(page: "Page", served: Served) -> None:
    see(page, served, table_link(served.experiment_id))
    page.get_by_text(f"{len(served.trials) + 1} matching runs").wait_for()
    page.locator(".ag-header-cell", has_text="ratio_time").first.wait_for()
    heads = page.locator(".ag-header-cell").evaluate_all(
        "cells => cells.map(c => [c.getBoundingClientRect().x, c.innerText.trim()]).sort((a, b) => a[0] - b[0])"
    )
    names = [name for _, name in heads if name]
    wanted = ["attack", "device", "steps", "interval", "alpha", "success", "ratio_time", "ratio_size", "ratio_error_l2"]
    assert [name for name in names if name in wanted] == wanted
    page.wait_for_timeout(500)
    shoot(page, "mlflow-table")

    box = page.get_by_placeholder(re.compile("metrics.rmse"))
    box.fill("params.attack = 'null'")
    box.press("Enter")
    left = [run for run in served.trials if run.data.params["attack"] == "null"]
    page.get_by_text(f"{len(left)} matching run").wait_for()
    assert 0 < len(left) < len(served.trials)
    shoot(page, "mlflow-filter")


def test_parallel_coordinates_draw_at_once(page: "Page", served: Served) -> None:
    see(page, served, charts_link(served.experiment_id))
    page.get_by_text("Error and cost over T'").wait_for()
    charts = page.locator(".parcoords")
    charts.first.wait_for()
    axes = page.locator(".parcoords .axis-title, .parcoords text.label").first
    axes.wait_for()
    told = page.locator(".parcoords").first.inner_text()
    for name in ("steps", "interval", "error_l2", "ratio_time", "success"):
        assert name in told
    page.wait_for_timeout(1000)
    shoot(page, "mlflow-charts")


def test_the_compare_page_of_the_summary_draws(page: "Page", served: Served) -> None:
    (link,) = re.findall(r"\[Compare all arms\]\(([^)]+)\)", served.summary.data.tags["mlflow.note.content"])
    see(page, served, link)
    page.get_by_text(re.compile(r"Comparing \d+ Runs")).wait_for()
    page.locator(".parcoords").first.wait_for()
    page.wait_for_timeout(1000)
    shoot(page, "mlflow-compare")


def test_a_trial_shows_what_was_asked_and_found(page: "Page", served: Served) -> None:
    trial = next(run for run in served.trials if run.data.params["arm"] == "III-loss")
    run_page = f"#/experiments/{served.experiment_id}/runs/{trial.info.run_id}"
    see(page, served, run_page)
    page.get_by_text(re.compile(r"Metrics \(\d+\)")).wait_for()
    page.get_by_text(re.compile(r"Parameters \(\d+\)")).wait_for()
    page.get_by_role("link", name="error_l2", exact=True).first.wait_for()
    page.get_by_text("steps", exact=True).first.wait_for()
    page.wait_for_timeout(500)
    shoot(page, "mlflow-trial")
    page.goto(f"{served.address}{run_page}/model-metrics")
    page.get_by_placeholder("Search metric charts").fill("eps_repr_l2")
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length === 1")
    page.locator(".js-plotly-plot .scatterlayer path.js-line").first.wait_for()
    page.wait_for_timeout(500)
    shoot(page, "mlflow-steps")
    page.goto(f"{served.address}{run_page}/artifacts")
    page.get_by_text("parquet.json").click()
    page.get_by_text(re.compile(r"intervals/\*\.parquet")).first.wait_for()
    shoot(page, "mlflow-artifacts")


def test_the_summary_answers(page: "Page", served: Served) -> None:
    run_page = f"#/experiments/{served.experiment_id}/runs/{served.summary.info.run_id}"
    see(page, served, run_page)
    page.get_by_text("Show more").click()
    page.get_by_role("link", name="Parallel coordinates and cost").wait_for()
    shoot(page, "mlflow-summary")
    page.goto(f"{served.address}{run_page}/artifacts")
    page.get_by_text("figures", exact=True).click()
    page.get_by_text(re.compile(r"\.png$")).first.click()
    page.locator("img[src*='artifact'], img[src^='blob:'], .image-outer-container img").first.wait_for()
    page.wait_for_timeout(1000)
    shoot(page, "mlflow-figures")
