"""The saved dashboard: Grafana can read it, each panel says what it shows in which unit, and names only metrics that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import ray
import yaml

from raypol.cluster.metrics import EXPORTED_METRICS
from tests.dashboard import NEEDS_GPU, PROMETHEUS, dashboard, metrics_of, panels, queries

OWN = {spec.exported: spec for spec in EXPORTED_METRICS}
VARIABLES = {"datasource", "session", "sweep", "__rate_interval"}


def ray_source() -> str:
    """Where Ray names the metrics of its nodes, and where its own dashboards use those of its core."""
    folder = Path(ray.__file__).parent / "dashboard" / "modules"
    files = ("reporter/reporter_agent.py", "metrics/dashboards/default_dashboard_panels.py")
    return "\n".join((folder / file).read_text() for file in files)


def test_every_panel_has_a_title_a_description_a_unit_and_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    found = dashboard()
    assert found["schemaVersion"] >= 36  # Grafana 9
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    assert len({panel["title"] for panel in panels()}) == len(panels())
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_queries_name_only_metrics_that_raypol_or_ray_exports_and_tags_that_they_have() -> None:
    known = ray_source()
    used: set[str] = set()
    for query in queries():
        names = metrics_of(query.expression)
        assert names, query
        used |= names
        for name in names - set(OWN):
            assert re.search(rf"\b(ray_)?{name.removeprefix('ray_')}\b", known), f"{query.panel}: Ray has no {name}"
        for name in names & set(OWN):
            tags = {tag for group in re.findall(r" by \(([^)]*)\)", query.expression) for tag in group.split(", ")}
            assert tags <= {*OWN[name].tags}, query
    assert set(OWN) <= used, "a metric that no panel shows"
    assert set(NEEDS_GPU) <= {query.panel for query in queries()}


def test_variables_are_declared() -> None:
    found = dashboard()
    assert {one["name"] for one in found["templating"]["list"]} | {"__rate_interval"} == VARIABLES
    used = set(re.findall(r"\$\{?(\w+)", str(found["panels"])))
    assert used == VARIABLES


def test_counters_are_aggregated_over_workers() -> None:
    """Those of finished workers stay: a query that shows each worker's own series would grow without end."""
    for query in queries():
        assert re.match(r"(sum|max|count)\b", query.expression), query


def test_prometheus_finds_the_nodes_where_ray_lists_them() -> None:
    (job,) = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    (found,) = job["file_sd_configs"]
    assert found["files"] == [f"/tmp/ray/{ray._private.ray_constants.PROMETHEUS_SERVICE_DISCOVERY_FILE}"]  # noqa: S108


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's package: apt-get install -y prometheus")
def test_queries_are_promql(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{i}", "expr": query.expression} for i, query in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "raypol", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = subprocess.run(["promtool", "check", "config", PROMETHEUS], capture_output=True, text=True, check=False)
    assert config.returncode == 0, config.stdout + config.stderr
