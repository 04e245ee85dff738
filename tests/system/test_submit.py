"""`ray up`, `ray submit`, `ray job submit` and `ray down` for real: to this machine, by a file derived from cluster.yaml."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest

from tests.system.loopback import Loopback, loopback, missing_packages
from tests.system.private_ray import is_ray, processes_of

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SWEEP = "sweeps/quickstart.py"
_SWEEP_S = 600.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Loopback]:
    """A running cluster; taken down by its test, or with its folder."""
    missing = missing_packages()
    assert not missing, f"this test needs Debian's packages: apt-get install -y {' '.join(missing)}"
    with loopback(ROOT / "cluster.yaml") as made:
        up = made.ray("up", "-y", str(made.config), timeout_s=300)
        assert up.returncode == 0, up.stdout
        yield made


def test_ray_up_brings_this_project_to_the_node(cluster: Loopback) -> None:
    project = cluster.folder / "home" / "raypol"
    assert (project / "pyproject.toml").is_file()
    assert (project / "raypol" / "__init__.py").is_file()
    assert not list(project.rglob("__pycache__"))
    assert commit_of(project) == commit_of(ROOT)


def test_ray_submit_runs_the_sweep_where_the_cluster_file_says(cluster: Loopback) -> None:
    done = cluster.ray("submit", str(cluster.config), str(ROOT / SWEEP), "--size", "smoke", timeout_s=_SWEEP_S)
    assert done.returncode == 0, done.stdout
    rows = rows_in(cluster.results)
    assert rows, f"no row in RAYPOL_RESULTS; the driver said:\n{done.stdout}"
    check(rows, cluster.mlflow)
    assert {row["commit"].removesuffix("-dirty") for row in rows} == {commit_of(cluster.folder / "home" / "raypol")}


def test_ray_job_submit_does_too(cluster: Loopback) -> None:
    results = cluster.folder / "job_results"
    words = ["job", "submit", "--address", cluster.dashboard, "--working-dir", ".", "--", "python", SWEEP]
    done = cluster.ray(*words, "--size", "smoke", "--name", "job", "--results", str(results), timeout_s=_SWEEP_S)
    assert done.returncode == 0, done.stdout
    rows = rows_in(results)
    assert rows, f"no row in {results}; the driver said:\n{done.stdout}"
    check(rows, cluster.mlflow)


def test_a_driver_that_fails_fails_ray_submit(cluster: Loopback) -> None:
    done = cluster.ray("submit", str(cluster.config), str(ROOT / SWEEP), "--size", "enormous", timeout_s=120)
    assert done.returncode != 0
    assert "enormous" in done.stdout


def test_ray_down_leaves_no_ray_behind(cluster: Loopback) -> None:
    assert any(is_ray(process) for process in processes_of(cluster.folder))
    down = cluster.ray("down", "-y", str(cluster.config), timeout_s=120)
    assert down.returncode == 0, down.stdout
    assert not [process for process in processes_of(cluster.folder) if is_ray(process)]


def commit_of(checkout: Path) -> str:
    """Its HEAD; empty if it is no clone."""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def rows_in(results: Path) -> list[dict[str, Any]]:
    """All rows of the trials table."""
    files = sorted((results / "trials").glob("*.parquet"))
    rows: list[dict[str, Any]] = pyarrow.dataset.dataset(files).to_table().to_pylist() if files else []
    return rows


def check(rows: list[dict[str, Any]], mlflow: str) -> None:
    """Every trial is there once, went well, and is a run on the head's MLflow server too."""
    from mlflow import MlflowClient

    trials = [row["trial_id"] for row in rows]
    assert len(trials) == len(set(trials))
    assert not [row["message"] for row in rows if row["status"] != "ok"]
    (sweep,) = {row["sweep_id"] for row in rows}
    client = MlflowClient(tracking_uri=mlflow)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, filter_string=f"tags.`raypol.sweep_id` = '{sweep}'")
    logged = [run.data.tags["trial_id"] for run in runs if "trial_id" in run.data.tags]
    assert sorted(logged) == sorted(trials)
    assert {run.info.status for run in runs} == {"FINISHED"}
