"""A real Prometheus scrapes a real, small sweep by dashboards/prometheus.yml, and every panel of the dashboard has data."""

import json
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from raypol.cli.sweep_status import read_status
from raypol.store.location import open_location
from raypol.store.results.files import read_trials
from tests.dashboard import NEEDS_GPU, PROMETHEUS, queries
from tests.system.private_ray import eventually, free_port, processes_of, short_folder, start_head
from tests.tiny_sweep import environment, tiny_sweep

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

RAY_FOLDER = "/tmp/ray/"  # noqa: S108 - Ray's own
SWEEP_S = 300.0
AFTER_S = 15.0
"""What the last moments counted is scraped after the end."""


class Server:
    """A Prometheus that answers."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Series of an instant query."""
        answer = self._get("query", query=expression)
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def targets(self) -> list[str]:
        """Health of each."""
        return [target["health"] for target in self._get("targets")["data"]["activeTargets"]]

    def is_ready(self) -> bool:
        try:
            return bool(self._get("query", query="1")["status"] == "success")
        except OSError:
            return False

    def _get(self, what: str, **words: str) -> dict[str, Any]:
        address = f"{self._address}/{what}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(address, timeout=10) as stream:  # noqa: S310 - http, see above
            read: dict[str, Any] = json.load(stream)
            return read


@contextmanager
def prometheus(folder: Path) -> Iterator[Server]:
    """With the project's own file, for a head whose files lie in this folder."""
    config, port = folder / "prometheus.yml", free_port()
    text = PROMETHEUS.read_text()
    assert text.count(RAY_FOLDER) == 1
    config.write_text(text.replace(RAY_FOLDER, f"{folder}/").replace("10s", "2s"))
    checked = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]
    with (
        (folder / "prometheus.log").open("w") as log,
        subprocess.Popen(["prometheus", *words], stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            server = Server(port)
            assert eventually(server.is_ready, 60) is not None, (folder / "prometheus.log").read_text()
            yield server
        finally:
            process.terminate()


class Watched:
    """What was seen of a sweep while it ran; its first worker is killed on the way."""

    def __init__(self, server: Server, folder: Path, sweep: subprocess.Popen[str]) -> None:
        self._server, self._folder, self._sweep = server, folder, sweep
        self.left = [query for query in queries() if query.panel not in NEEDS_GPU]
        self.killed = False
        self.crafted = self.lost = 0.0

    def is_over(self) -> bool:
        """Look once more; true when the sweep has ended."""
        if not self.killed:
            self.killed = self._kill_worker()
        self.left = [query for query in self.left if not self._server.ask(query.expression)]
        self.crafted = max(self.crafted, self._number('sum(ray_raypol_intervals_total{work="crafted"})'))
        self.lost = max(self.lost, self._number('sum(ray_raypol_lost_total{what="worker"})'))
        return self._sweep.poll() is not None

    def _number(self, expression: str) -> float:
        return max((float(series["value"][1]) for series in self._server.ask(expression)), default=0.0)

    def _kill_worker(self) -> bool:
        """A worker's process has another title than command, and no environment that could be read."""
        for raylet in processes_of(self._folder):
            with suppress(psutil.Error):
                for process in raylet.children(recursive=True):
                    if " ".join(process.cmdline()).startswith("ray::Party.run"):
                        process.kill()
                        return True
        return False


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's package: apt-get install -y prometheus")
def test_every_panel_has_data_of_a_real_sweep(tmp_path: Path) -> None:
    results = tmp_path / "results"
    # Ray exports every 10 s; what a killed worker counted since is lost, and here a whole trial takes less.
    quick = environment() | {"RAY_metrics_report_interval_ms": "1000"}
    with short_folder() as folder:
        more = ("--num-cpus=2", "--include-dashboard=true", f"--dashboard-port={free_port()}")
        address = start_head(folder, quick, free_port(), *more)
        with prometheus(folder) as server:
            assert eventually(lambda: "up" in server.targets(), 60) is not None
            words = [sys.executable, str(tiny_sweep(tmp_path)), "--results", str(results), "--address", address]
            with (tmp_path / "said").open("w") as said:
                sweep = subprocess.Popen(words, env=quick, stdout=said, stderr=subprocess.STDOUT, text=True)
                watched = Watched(server, folder, sweep)
                try:
                    eventually(watched.is_over, SWEEP_S)
                    eventually(lambda: watched.is_over() and not watched.left, AFTER_S)
                finally:
                    if sweep.poll() is None:
                        sweep.kill()
                    sweep.wait()
    assert sweep.returncode == 0, (tmp_path / "said").read_text()
    assert not watched.left, "queries without data"
    rows = [row for row in read_trials(open_location(results)) if row.arm != "honest"]
    assert {row.status for row in rows} == {"ok"}
    glance = read_status(open_location(results))
    assert glance.pulse is not None
    assert (glance.pulse.ended, glance.states["ok"], glance.num_trials) == ("finished", len(rows), len(rows))
    assert glance.rates() is not None
    assert 0.0 < watched.crafted <= sum(row.num_intervals for row in rows) + 0.5
    assert watched.killed
    assert watched.lost == pytest.approx(1.0, abs=0.1)
