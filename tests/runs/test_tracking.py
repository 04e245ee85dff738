"""MLflow, a real SQLite store: what one sees there, and that its absence costs nothing."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from raypol.core.distances import METRICS
from raypol.runs.tracking import PARAMS, Tracker, tracking_uri
from raypol.runs.trial import Outcome, Study
from raypol.store.location import open_location
from tests.runs.conftest import Recorded

_SETTINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _SETTINGS:
        monkeypatch.setenv(name, "")  # so that what the tracker sets is taken back too
        monkeypatch.delenv(name)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is in the store afterwards."""

    folder: Path
    tracker: Tracker
    client: MlflowClient
    runs: dict[str, Run]
    summary: Run
    answer: str


@pytest.fixture(scope="module")
def failed(recorded: Recorded) -> Outcome:
    row = replace(
        recorded.spoofs["II"].row, arm="mine", status="error", message="ValueError: no\nTraceback", error_l2=None,
        error_l1=float("nan"), success=None, success_strict=None, proof_id="",
    )  # fmt: skip
    return Outcome(row=row)


@pytest.fixture(scope="module")
def seen(recorded: Recorded, failed: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """The honest proof, two spoofs and a failure, logged and summed up."""
    folder = tmp_path_factory.mktemp("a space, 100%41 and # or ?")
    figure = folder / "panels.png"
    figure.write_bytes(b"a picture")
    with pytest.MonkeyPatch.context() as patched:
        for name in _SETTINGS:
            patched.setenv(name, "")
            patched.delenv(name)
        tracker = Tracker(open_location(folder), "test experiment", recorded.study.sweep_id)
        for outcome in (recorded.honest, recorded.spoofs["null"], recorded.spoofs["III-loss"], failed):
            tracker.log(outcome.row, outcome.intervals)
        answer = "Nothing **succeeds**.\n\nReally."
        tracker.finish(answer, [figure])
        assert tracker.problem == ""
        assert (folder / "mlflow.db").exists()
        client = MlflowClient(tracking_uri=tracker.uri)
        experiment = client.get_experiment_by_name("test experiment", recorded.study.sweep_id)
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        (summary,) = [run for run in found if "raypol.summary" in run.data.tags]
        runs = {run.data.params["arm"]: run for run in found if run is not summary}
        yield Seen(folder=folder, tracker=tracker, client=client, runs=runs, summary=summary, answer=answer)


def test_runs_are_flat_and_share_the_sweep(seen: Seen) -> None:
    assert set(seen.runs) == {"honest", "null", "III-loss", "mine"}
    for run in (*seen.runs.values(), seen.summary):
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.data.tags["raypol.sweep_id"] == "recorded"


@pytest.mark.parametrize("arm", ["honest", "null", "III-loss"])
def test_everything_one_might_compare_is_a_param_or_a_metric(seen: Seen, recorded: Recorded, arm: str) -> None:
    outcome = recorded.honest if arm == "honest" else recorded.spoofs[arm]
    run, row = seen.runs[arm], outcome.row
    asked = {name: str(getattr(row, name)) for name in PARAMS if getattr(row, name) is not None}
    assert run.data.params == {**asked, "kind": "proof" if arm == "honest" else "spoof"}
    assert {"attack", "arm", "dataset", "model", "steps", "interval", "device", "seed"} <= asked.keys()
    for name in ("error_l1", "mean_error_cos", "device_s", "size_bytes", "gradient_evals", "ratio_time", "ratio_size"):
        assert run.data.metrics[name] == pytest.approx(getattr(row, name))
    if arm != "honest":
        assert run.data.metrics["success"] == float(bool(row.success))
        assert run.data.tags["success"] == str(bool(row.success)).lower()
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "ok")
    assert run.info.run_name == f"{arm} T'={row.steps} k={row.interval}"


@pytest.mark.parametrize("arm", ["honest", "III-loss"])
def test_intervals_are_points_over_steps(seen: Seen, recorded: Recorded, arm: str) -> None:
    outcome = recorded.honest if arm == "honest" else recorded.spoofs[arm]
    run_id = seen.runs[arm].info.run_id
    for metric in METRICS:
        points = {m.step: m.value for m in seen.client.get_metric_history(run_id, f"eps_repr_{metric}")}
        assert points == {i.step_to: pytest.approx(i.normalised) for i in outcome.intervals if i.metric == metric}
    accuracies = {m.step: m.value for m in seen.client.get_metric_history(run_id, "accuracy")}
    assert accuracies == {i.step_to: pytest.approx(i.accuracy) for i in outcome.intervals}


def test_a_failed_trial_is_a_failed_run_with_its_message(seen: Seen) -> None:
    run = seen.runs["mine"]
    assert (run.info.status, run.data.tags["status"]) == ("FAILED", "error")
    assert "error_l1" not in run.data.metrics
    assert "error_l2" not in run.data.metrics
    message = seen.client.download_artifacts(run.info.run_id, "message.txt")
    assert Path(message).read_text() == "ValueError: no\nTraceback"


def test_the_places_in_parquet_are_an_artifact(seen: Seen, recorded: Recorded) -> None:
    run = seen.runs["null"]
    assert {entry.path for entry in seen.client.list_artifacts(run.info.run_id)} >= {"parquet.json", "model"}
    places = json.loads(Path(seen.client.download_artifacts(run.info.run_id, "parquet.json")).read_text())
    assert places["sweep_id"] == "recorded"
    assert Path(places["proof"], "manifest.json").exists()
    assert list(Path("/").glob(places["trials"].lstrip("/")))
    assert places["proof"].startswith(str(recorded.folder))


def test_dataset_and_final_model_are_logged(seen: Seen, recorded: Recorded) -> None:
    run = seen.runs["III-loss"]
    (logged,) = run.inputs.dataset_inputs
    recipe = recorded.study.proof.manifest.recipe
    assert logged.dataset.name == "digits"
    assert len(logged.dataset.digest) >= 8
    assert recipe.dataset_sha256.startswith(logged.dataset.digest)
    assert [(tag.key, tag.value) for tag in logged.tags] == [("mlflow.data.context", "training")]
    models = seen.client.search_logged_models(experiment_ids=[run.info.experiment_id])
    (model,) = [m for m in models if m.source_run_id == run.info.run_id]
    assert (model.name, str(model.status)) == ("resnet8-III-loss", "READY")
    assert Path(model.tags["weights"]).name == "step=10.parquet"
    assert Path(model.tags["weights"]).exists()


def test_the_summary_carries_the_answer_the_figures_and_the_compare_link(seen: Seen) -> None:
    note = seen.summary.data.tags["mlflow.note.content"]
    assert note.startswith(seen.answer)
    assert seen.tracker.compare_link in note
    link = unquote(seen.tracker.compare_link)
    assert link.startswith("#/compare-runs?runs=[")
    assert all(run.info.run_id in link for run in seen.runs.values())
    assert f'experiments=["{seen.summary.info.experiment_id}"]' in link
    run_id = seen.summary.info.run_id
    assert Path(seen.client.download_artifacts(run_id, "answer.md")).read_text() == seen.answer + "\n"
    assert Path(seen.client.download_artifacts(run_id, "figures/panels.png")).read_bytes() == b"a picture"
    assert seen.summary.info.status == "FINISHED"


def test_a_second_run_goes_into_the_same_experiment(seen: Seen, recorded: Recorded) -> None:
    again = Tracker(open_location(seen.folder), "test experiment", "another")
    again.log(recorded.honest.row, recorded.honest.intervals)
    assert again.problem == ""
    found = seen.client.search_runs([seen.summary.info.experiment_id], "tags.`raypol.sweep_id` = 'another'")
    assert len(found) == 1


# --- where -----------------------------------------------------------------------------------------------------------


def test_the_store_lies_next_to_local_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri(open_location(tmp_path)) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(open_location("results")) == f"sqlite:///{tmp_path}/results/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri(open_location(tmp_path)) == "http://tracking:5000"


def test_mlflows_own_spelling_of_a_relative_database_works(
    tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    tracker = Tracker(open_location(tmp_path / "results"), "x", "s")
    tracker.log(recorded.honest.row, recorded.honest.intervals)
    assert tracker.problem == ""
    assert (tmp_path / "own.db").exists()
    assert list((tmp_path / "mlartifacts" / "x").rglob("parquet.json"))


# --- away ------------------------------------------------------------------------------------------------------------


def assert_goes_on_without(tracker: Tracker, recorded: Recorded) -> None:
    assert "\n" not in tracker.problem
    before = tracker.problem
    started = time.monotonic()
    tracker.log(recorded.honest.row, recorded.honest.intervals)
    tracker.finish("answer", [])
    assert time.monotonic() - started < 1, "off is off"
    assert tracker.problem == before
    assert tracker.compare_link == ""
    assert tracker.ui_command


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:9",
        "sqlite:////proc/no/such.db",
        "file:///tmp/no-files",
        "nonsense://x",
    ],
)
def test_a_store_that_cannot_be_reached_is_a_problem_and_no_error(
    uri: str, tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    started = time.monotonic()
    tracker = Tracker(open_location(tmp_path), "x", "s")
    assert time.monotonic() - started < 30, "MLflow's own patience is four minutes"
    assert tracker.problem.startswith(f"MLflow at {uri} could not open the tracking store (")
    assert_goes_on_without(tracker, recorded)


def test_a_silent_server_is_not_waited_for(tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # what the user says is heeded
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        tracker = Tracker(open_location(tmp_path), "x", "s")
        assert time.monotonic() - started < 20
        assert tracker.problem
        assert_goes_on_without(tracker, recorded)


def test_a_store_that_goes_away_in_between_turns_tracking_off(tmp_path: Path, recorded: Recorded) -> None:
    tracker = Tracker(open_location(tmp_path), "x", "s")
    client = MlflowClient(tracking_uri=tracker.uri)
    experiment = client.get_experiment_by_name("x")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    tracker.log(recorded.honest.row, recorded.honest.intervals)
    assert "could not log a trial" in tracker.problem
    assert_goes_on_without(tracker, recorded)


def test_an_error_without_words_is_survived_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
    tracker = Tracker(open_location(tmp_path), "x", "s")

    def fail() -> None:
        raise AssertionError

    with tracker._survive("say anything"):
        fail()
    assert tracker.problem.endswith("could not say anything (AssertionError: )")


# --- at once ---------------------------------------------------------------------------------------------------------

# One process pays for the imports, its four children open the store.
_OPEN = """
import os, sys
from mlflow import MlflowClient
from raypol.runs.tracking import Tracker
from raypol.store.location import open_location
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        problem = Tracker(open_location(sys.argv[1]), "at once").problem
        print(problem, file=sys.stderr)
        os._exit(bool(problem))
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_four_processes_may_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=150,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert [e.name for e in client.search_experiments()].count("at once") == 1
