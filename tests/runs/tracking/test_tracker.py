"""MLflow, a real SQLite store: what one sees there, that a row is there once, and that its absence costs nothing."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from raypol.core.distances import METRICS
from raypol.core.locks import BusyError
from raypol.runs.tracking import sweep_runs
from raypol.runs.tracking.row_fields import row_digest
from raypol.runs.tracking.store import open_experiment, tracking_uri, ui_command
from raypol.runs.tracking.sync import Synced, one_line, only_writer, sync_sweep
from raypol.runs.tracking.tracker import Tracker
from raypol.runs.tracking.views import KEY, charts_link, put_views, table_link
from raypol.runs.trials.study import TrialOutcome
from raypol.store.location import open_location
from raypol.store.results.columns import columns_of
from raypol.store.results.files import read_trials, write_trial
from raypol.store.results.rows import TrialRow
from tests.rows import made_intervals, made_row, rewrite, write_rows
from tests.runs.conftest import Recorded
from tests.studies import QUICK_ARMS

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
def failed(recorded: Recorded) -> TrialOutcome:
    row = replace(
        recorded.spoofs["II"].row, arm="mine", status="error", message="ValueError: no\nTraceback", error_l2=None,
        error_l1=float("nan"), success=None, success_strict=None, proof_id="", trial_id="mine",
    )  # fmt: skip
    return TrialOutcome(row=row)


@pytest.fixture(scope="module")
def seen(recorded: Recorded, failed: TrialOutcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """The honest proof, two spoofs and a failure, logged; then summed up, which brings the other rows of the folder too."""
    folder = tmp_path_factory.mktemp("a space, 100%41 and # or ?")
    shutil.copytree(recorded.folder, folder, dirs_exist_ok=True)
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
        experiment = client.get_experiment_by_name("test experiment")
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        (summary,) = [run for run in found if "raypol.summary" in run.data.tags]
        runs = {run.data.params["arm"]: run for run in found if run is not summary}
        yield Seen(folder=folder, tracker=tracker, client=client, runs=runs, summary=summary, answer=answer)


def test_runs_are_flat_and_share_the_sweep(seen: Seen) -> None:
    assert set(seen.runs) == {"honest", "mine", *QUICK_ARMS}
    for run in (*seen.runs.values(), seen.summary):
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.data.tags["raypol.sweep_id"] == "recorded"


@pytest.mark.parametrize("arm", ["honest", "null", "III-loss"])
def test_everything_one_might_compare_is_a_param_or_a_metric(seen: Seen, recorded: Recorded, arm: str) -> None:
    outcome = recorded.honest if arm == "honest" else recorded.spoofs[arm]
    run, row = seen.runs[arm], outcome.row
    params = [column.name for column in columns_of(TrialRow, "param")]
    asked = {name: str(getattr(row, name)) for name in params if getattr(row, name) not in (None, "")}
    assert run.data.params == {**asked, "kind": "proof" if arm == "honest" else "spoof"}
    assert {"attack", "arm", "dataset", "model", "steps", "interval", "device", "seed", "precision"} <= asked.keys()
    assert not set(params) & run.data.metrics.keys(), "what was asked is no measurement"
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


def test_the_places_in_parquet_are_an_artifact(seen: Seen) -> None:
    run = seen.runs["null"]
    assert {entry.path for entry in seen.client.list_artifacts(run.info.run_id)} == {"parquet.json"}
    places = json.loads(Path(seen.client.download_artifacts(run.info.run_id, "parquet.json")).read_text())
    assert places["sweep_id"] == "recorded"
    assert places["results"] == str(seen.folder)
    assert (seen.folder / places["proof"] / "manifest.json").exists()
    assert list(seen.folder.glob(places["trials"]))


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
    assert (seen.folder / model.tags["weights"]).exists()


def test_the_summary_carries_the_answer_the_figures_and_the_compare_link(seen: Seen) -> None:
    note = seen.summary.data.tags["mlflow.note.content"]
    assert note.startswith(seen.answer)
    assert seen.tracker.compare_link in note
    link = unquote(seen.tracker.compare_link)
    assert link.startswith("#/compare-runs?runs=[")
    assert all(run.info.run_id in link for run in seen.runs.values())
    assert f'experiments=["{seen.summary.info.experiment_id}"]' in link
    assert f"http://127.0.0.1:5000/#/experiments/{seen.summary.info.experiment_id}/runs?" in seen.tracker.table
    run_id = seen.summary.info.run_id
    assert Path(seen.client.download_artifacts(run_id, "answer.md")).read_text() == seen.answer + "\n"
    assert Path(seen.client.download_artifacts(run_id, "figures/panels.png")).read_bytes() == b"a picture"
    assert seen.summary.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("asked", "arms"),
    [
        ("tags.success = 'true' and params.attack = 'iii'", lambda row: row.success and row.attack == "iii"),
        ("tags.success = 'false' and params.attack = 'iii'", lambda row: not row.success and row.attack == "iii"),
        ("params.attack = 'null' and metrics.ratio_time < 1000", lambda row: row.attack == "null"),
        ("tags.status = 'error'", lambda row: row.status == "error"),
    ],
)
def test_filters_find_trials(seen: Seen, asked: str, arms: Callable[[TrialRow], bool]) -> None:
    rows = read_trials(open_location(seen.folder), sweep_id="recorded")
    meant = {row.arm for row in rows if arms(row)} | ({"mine"} if "error" in asked else set())
    mine = f"{asked} and tags.`raypol.sweep_id` = 'recorded'"
    found = seen.client.search_runs([seen.summary.info.experiment_id], mine)
    assert {run.data.params["arm"] for run in found} == meant


def test_the_experiment_has_a_view_that_the_summary_links(seen: Seen) -> None:
    experiment = seen.client.get_experiment(seen.summary.info.experiment_id)
    state = experiment.tags[f"mlflow.sharedViewState.{KEY}"]
    assert len(state) < 5000, "MLflow's limit of a tag"
    view = json.loads(state)
    logged = {
        f"{kind}.`{key}`"
        for run in seen.runs.values()
        for kind in ("params", "metrics", "tags")
        for key in getattr(run.data, kind)
    }
    strengths = {f"params.`{column.name}`" for column in columns_of(TrialRow, "strength")}
    assert strengths < set(view["selectedColumns"]) <= logged | strengths
    charts = {chart["uuid"]: chart for chart in view["compareRunCharts"]}
    drawn = [run for run in seen.runs.values() if {"steps", "interval"} <= run.data.params.keys()]
    complete = [run for run in drawn if set(charts["raypol-asked"]["selectedMetrics"]) <= run.data.metrics.keys()]
    assert {run.data.params["arm"] for run in complete} == set(QUICK_ARMS), "a run that lacks a value has no line"
    assert {chart["metricSectionId"] for chart in charts.values()} == {
        part["uuid"] for part in view["compareRunSections"]
    }
    for link in (table_link(experiment.experiment_id), charts_link(experiment.experiment_id)):
        assert link in seen.summary.data.tags["mlflow.note.content"]
        assert link in experiment.tags["mlflow.note.content"]


def test_views_are_written_once_and_leave_the_users_words(seen: Seen) -> None:
    client, experiment = seen.client, seen.client.create_experiment("own")
    client.set_experiment_tag(experiment, "mlflow.note.content", "mine")
    put_views(client, experiment)
    tags = client.get_experiment(experiment).tags
    assert tags["mlflow.note.content"] == "mine"
    assert f"mlflow.sharedViewState.{KEY}" in tags
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MlflowClient, "set_experiment_tag", None)
        put_views(client, experiment)
    assert client.get_experiment(experiment).tags == tags


def test_a_run_without_a_proof_points_to_none(folder: Path) -> None:
    rows = write_rows(folder, 2)
    rewrite(folder, rows[0], proof_id="", estimated=True)
    sync(folder)  # the proof of the other was not kept
    client = MlflowClient(tracking_uri=tracking_uri(open_location(folder)))
    for run in trials_in(folder).values():
        places = json.loads(Path(client.download_artifacts(run.info.run_id, "parquet.json")).read_text())
        assert places.keys() == {"results", "trials", "intervals", "sweep_id"}
        assert client.search_logged_models([run.info.experiment_id]) == []


def test_a_second_run_goes_into_the_same_experiment(seen: Seen, recorded: Recorded) -> None:
    again = Tracker(open_location(seen.folder), "test experiment", "another")
    again.log(recorded.honest.row, recorded.honest.intervals)
    again.finish("answer", [])
    assert again.problem == ""
    found = seen.client.search_runs([seen.summary.info.experiment_id], "tags.`raypol.sweep_id` = 'another'")
    assert len(found) == 2  # the trial and the summary


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
    tracker.finish("answer", [])
    assert tracker.problem == ""
    assert (tmp_path / "own.db").exists()
    assert list((tmp_path / "mlartifacts" / "x").rglob("parquet.json"))


# --- once ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs: making one takes seconds."""
    folder = tmp_path_factory.mktemp("schema")
    open_experiment(tracking_uri(open_location(folder)), "none")
    return folder / "mlflow.db"


@pytest.fixture
def folder(tmp_path: Path, schema: Path) -> Path:
    """A results folder with a store."""
    shutil.copy(schema, tmp_path / "mlflow.db")
    return tmp_path


def sync(folder: Path, sweep_id: str = "made") -> Synced:
    results = open_location(folder)
    rows = read_trials(results, sweep_id=sweep_id)
    return sync_sweep(results, "x", sweep_id, rows, uri=tracking_uri(results))


def settle(tracker: Tracker) -> None:
    """Wait until all that was logged is written, as a long run does."""
    written = threading.Event()
    tracker._submit(written.set)
    assert written.wait(60)
    tracker.close()


def runs_in(folder: Path, *, name: str = "x") -> list[Run]:
    client = MlflowClient(tracking_uri=tracking_uri(open_location(folder)))
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    found: list[Run] = client.search_runs([experiment.experiment_id], max_results=1000)
    return found


def trials_in(folder: Path) -> dict[str, Run]:
    """By trial; complete, and each once."""
    found = [run for run in runs_in(folder) if "raypol.summary" not in run.data.tags]
    assert {run.info.status for run in found} <= {"FINISHED", "FAILED"}
    trials = {run.data.tags["raypol.trial_id"]: run for run in found}
    assert len(trials) == len(found)
    return trials


def summary_in(folder: Path) -> Run:
    (summary,) = [run for run in runs_in(folder) if "raypol.summary" in run.data.tags]
    return summary


def test_a_sync_brings_what_is_missing_and_a_second_one_nothing(folder: Path) -> None:
    rows = write_rows(folder, 3)
    tracker = Tracker(open_location(folder), "x", "made")
    tracker.log(rows[1], made_intervals(rows[1]))
    settle(tracker)
    (before,) = trials_in(folder).values()
    assert sync(folder) == Synced(logged=2, present=1)
    assert sync(folder) == Synced(logged=0, present=3)
    after = trials_in(folder)
    assert after.keys() == {row.trial_id for row in rows}
    assert after[rows[1].trial_id].info.run_id == before.info.run_id
    logged, synced = (after[row.trial_id].data for row in rows[1:])
    assert logged.params.keys() == synced.params.keys()
    assert logged.metrics.keys() == synced.metrics.keys() >= {"eps_repr_l2", "accuracy", "error_l2"}


def test_recorded_rows_are_the_same_in_memory_and_in_parquet(folder: Path, recorded: Recorded) -> None:
    shutil.copytree(recorded.folder / "trials", folder / "trials")
    shutil.copytree(recorded.folder / "intervals", folder / "intervals")
    tracker = Tracker(open_location(folder), "x", "recorded")
    outcomes = [recorded.honest, recorded.spoofs["null"]]
    for outcome in outcomes:
        tracker.log(outcome.row, outcome.intervals)
    settle(tracker)
    before = {run.info.run_id for run in trials_in(folder).values()}
    again = Tracker(open_location(folder), "x", "recorded")
    again.finish("answer", [])
    assert again.problem == ""
    after = trials_in(folder)
    assert len(after) == 1 + len(recorded.spoofs)
    assert before <= {run.info.run_id for run in after.values()}


@pytest.mark.parametrize("by", ["log", "sync"])
def test_a_row_that_was_replaced_replaces_its_run(folder: Path, by: str) -> None:
    (row,) = write_rows(folder, 1)
    rewrite(folder, row, status="error", message="ValueError: no", error_l2=None)
    sync(folder)
    (stale,) = trials_in(folder).values()
    assert stale.info.status == "FAILED"
    row = rewrite(folder, row, started_at="2026-01-02T04:00:00+00:00")
    if by == "sync":
        assert sync(folder) == Synced(logged=1, present=0)
    else:
        tracker = Tracker(open_location(folder), "x", "made")
        tracker.log(row, made_intervals(row))
        settle(tracker)
    (run,) = trials_in(folder).values()
    assert (run.info.status, run.data.metrics["error_l2"]) == ("FINISHED", 0.5)
    client = MlflowClient(tracking_uri=tracking_uri(open_location(folder)))
    assert client.get_run(stale.info.run_id).info.lifecycle_stage == "deleted"


def test_half_runs_and_second_runs_go(folder: Path) -> None:
    """A driver was killed after `create_run`; a request was repeated; both left a run of the same trial."""
    rows = write_rows(folder, 2)
    for row in rows:
        proof = folder / "proofs" / row.proof_id
        proof.mkdir(parents=True)
        (proof / "manifest.json").write_text("{}")
    sync(folder)
    first, second = (trials_in(folder)[row.trial_id] for row in rows)
    client = MlflowClient(tracking_uri=tracking_uri(open_location(folder)))
    for run in (first, second):
        client.create_run(run.info.experiment_id, tags=run.data.tags)
    repeated = client.create_run(second.info.experiment_id, tags=second.data.tags)
    client.set_terminated(repeated.info.run_id)
    client.update_run(first.info.run_id, status="RUNNING")
    client.create_logged_model(first.info.experiment_id, name="half", source_run_id=first.info.run_id)
    assert len(runs_in(folder)) == 5
    assert sync(folder) == Synced(logged=1, present=1)
    assert trials_in(folder).keys() == {row.trial_id for row in rows}
    models = client.search_logged_models([first.info.experiment_id])
    assert {model.source_run_id for model in models} == {run.info.run_id for run in trials_in(folder).values()}


def test_a_later_summary_replaces_the_former(folder: Path) -> None:
    rows = write_rows(folder, 2)
    results = open_location(folder)
    picture = folder / "panels.png"
    picture.write_bytes(b"first")
    for answer in ("one", "two"):
        tracker = Tracker(results, "x", "made")
        tracker.finish(answer, [picture])
        assert tracker.problem == ""
    assert len(trials_in(folder)) == 2
    summary = summary_in(folder)
    assert summary.data.tags["mlflow.note.content"].startswith("two")
    sync(folder)
    assert summary_in(folder).info.run_id == summary.info.run_id, "nothing changed"

    rewrite(folder, rows[0], error_l2=7.0)
    sync(folder)
    renewed = summary_in(folder)
    assert renewed.info.run_id != summary.info.run_id, "its link named a run that is gone"
    assert all(run.info.run_id in renewed.data.tags["mlflow.note.content"] for run in trials_in(folder).values())

    client = MlflowClient(tracking_uri=tracking_uri(results))
    assert [entry.path for entry in client.list_artifacts(renewed.info.run_id, "figures")] == ["figures/panels.png"]
    picture.write_bytes(b"of another run")
    sync(folder)
    assert client.list_artifacts(summary_in(folder).info.run_id, "figures") == []


def test_a_summary_comes_with_a_sync_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(folder, 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
    Tracker(open_location(folder), "x", "made").finish("what was found " + "x" * 9000, [])
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(folder) == Synced(logged=1, present=0)
    note = summary_in(folder).data.tags["mlflow.note.content"]
    assert note.startswith("what was found")
    assert "(answer.md)" in note
    assert "[Compare all arms](#/compare-runs" in note


def test_only_one_writes_the_runs_of_a_sweep(folder: Path) -> None:
    write_rows(folder, 1)
    with only_writer(open_location(folder), "made"), pytest.raises(BusyError, match="another process is writing"):
        sync(folder)
    assert sync(folder) == Synced(logged=1, present=0)


@pytest.mark.parametrize(
    "changed",
    [{"message": "a\udce9b"}, {"error_l2": 1}, {"error_cos": float("nan")}, {"success": None}, {"ratio_time": 1e300}],
)
def test_a_row_keeps_its_digest_in_parquet(tmp_path: Path, changed: dict[str, object]) -> None:
    row = rewrite(tmp_path, made_row(0), **changed)
    (read,) = read_trials(open_location(tmp_path))
    assert row_digest(read) == row_digest(row)


def test_a_digest_tells_rows_apart() -> None:
    row = made_row(0)
    others: list[dict[str, object]] = [
        {"error_l2": 0.6}, {"success": False}, {"success": None}, {"status": "error"}, {"started_at": ""}, {"error_cos": 0.0},
        {"estimated": True},
    ]  # fmt: skip
    digests = {row_digest(row), *(row_digest(replace(row, **other)) for other in others)}  # type: ignore[arg-type]
    assert len(digests) == 1 + len(others)


def test_very_many_intervals_are_points_too(folder: Path) -> None:
    (row,) = write_rows(folder, 1)
    write_trial(open_location(folder), row, made_intervals(row, 800))
    sync(folder)
    (run,) = trials_in(folder).values()
    client = MlflowClient(tracking_uri=tracking_uri(open_location(folder)))
    for name in ("eps_repr_l1", "eps_repr_cos", "accuracy"):
        assert sorted(m.step for m in client.get_metric_history(run.info.run_id, name)) == list(range(1, 801))


def test_a_run_lasts_as_long_as_the_work(folder: Path) -> None:
    write_rows(folder, 1)
    sync(folder)
    (run,) = trials_in(folder).values()
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp() * 1000
    assert (run.info.start_time, run.info.end_time) == (started, started + 3000)


def test_the_link_to_many_runs_asks_for_the_sweep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_runs, "_LINKED", 2)
    write_rows(folder, 3)
    tracker = Tracker(open_location(folder), "x", "made")
    tracker.finish("answer", [])
    assert tracker.compare_link in summary_in(folder).data.tags["mlflow.note.content"]
    link = unquote(tracker.compare_link)
    assert link.startswith("#/experiments/")
    assert "searchFilter=tags.`raypol.sweep_id` = 'made'" in link


# --- away ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """It takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


def address(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "sqlite:////proc/no/such.db", "file:///tmp/no-files", "nonsense://x"]
)
def test_a_store_that_cannot_be_reached_is_a_problem_and_no_error(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # what the user says is heeded
    (row,) = write_rows(tmp_path, 1)
    tracker = Tracker(open_location(tmp_path), "x", "made")
    tracker.log(row, made_intervals(row))
    started = time.monotonic()
    tracker.finish("answer", [])
    assert time.monotonic() - started < 120, "MLflow's own patience is four minutes"
    assert tracker.problem.startswith(f"MLflow at {uri} could not open the tracking store (")
    assert "\n" not in tracker.problem
    assert (tracker.compare_link, tracker.table) == ("", "")
    assert ui_command(tracker.uri)


def test_the_reason_is_what_is_said_of_an_error() -> None:
    early = "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block)"
    full = "(sqlite3.OperationalError) database or disk is full"
    assert one_line(ValueError(f"{early}\n{full}\n[SQL: INSERT]")) == f"ValueError: {full}"
    assert one_line(ValueError()) == "ValueError: "


def test_nobody_waits_for_a_silent_server(
    tmp_path: Path, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address(silent))
    monkeypatch.setattr("raypol.runs.tracking.tracker.SILENCE_S", 1.0)
    tracker = Tracker(open_location(tmp_path), "x", "made")
    row = made_row(0)
    started = time.monotonic()
    for _ in range(100):
        tracker.log(row, made_intervals(row))
    assert time.monotonic() - started < 50, "a second of silence for each of 100 rows"
    silent.accept()  # now the thread hangs in a call
    started = time.monotonic()
    tracker.finish("answer", [])
    assert time.monotonic() - started < 120, "MLflow's own patience is four minutes"
    assert tracker.problem == f"MLflow at {address(silent)} gave no answer for 1 s"


def test_an_interrupted_run_does_not_wait_for_a_silent_server(
    tmp_path: Path, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address(silent))
    tracker = Tracker(open_location(tmp_path), "x", "made")
    tracker.log(made_row(0), [])
    silent.accept()
    started = time.monotonic()
    tracker.close()
    assert time.monotonic() - started < 120, "MLflow's own patience is four minutes"


def test_finish_tries_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_rows(folder, 3)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/later/own.db")
    (folder / "later").write_text("in the way")
    tracker = Tracker(open_location(folder), "x", "made")
    for row in rows[:2]:
        tracker.log(row, made_intervals(row))
    until(lambda: tracker.problem != "")
    assert "could not open the tracking store" in tracker.problem
    (folder / "later").unlink()
    (folder / "later").mkdir()
    shutil.copy(folder / "mlflow.db", folder / "later" / "own.db")
    tracker.log(rows[2], made_intervals(rows[2]))
    tracker.finish("answer", [])
    assert tracker.problem == ""
    assert trials_in(folder).keys() == {row.trial_id for row in rows}


def test_a_store_that_goes_away_in_between_is_brought_the_rest_later(folder: Path) -> None:
    rows = write_rows(folder, 3)
    tracker = Tracker(open_location(folder), "x", "made")
    tracker.log(rows[0], made_intervals(rows[0]))
    until(lambda: (folder / "mlartifacts").exists() and [run.info.status for run in runs_in(folder)] == ["FINISHED"])
    assert len(trials_in(folder)) == 1
    client = MlflowClient(tracking_uri=tracker.uri)
    experiment = client.get_experiment_by_name("x").experiment_id
    client.delete_experiment(experiment)
    tracker.log(rows[1], made_intervals(rows[1]))
    until(lambda: tracker.problem != "")
    assert "could not log a trial" in tracker.problem
    tracker.finish("answer", [])
    assert f"'x' was deleted there; `mlflow experiments restore -x {experiment}`" in tracker.problem
    client.restore_experiment(experiment)
    assert sync(folder) == Synced(logged=2, present=1)
    assert len(trials_in(folder)) == 3
    assert summary_in(folder).data.tags["mlflow.note.content"].startswith("answer")


def test_an_error_without_words_is_survived_too(tmp_path: Path) -> None:
    tracker = Tracker(open_location(tmp_path), "x", "s")

    def fail() -> None:
        raise AssertionError

    with tracker._tolerating("say anything"):
        fail()
    assert tracker.problem.endswith("could not say anything (AssertionError: )")


def until(what: Callable[[], bool], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- other processes -------------------------------------------------------------------------------------------------

_DRIVER = """
import sys, time
from raypol.runs.tracking.tracker import Tracker
from raypol.store.location import open_location
from raypol.store.results.columns import columns_of
from tests.rows import made_intervals, made_row

folder, sweep_id, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
tracker = Tracker(open_location(folder), "x", sweep_id)
for i in range(number):
    row = made_row(i, sweep_id=sweep_id)
    tracker.log(row, made_intervals(row))
try:
    if len(sys.argv) > 4:
        time.sleep(600)
    tracker.finish("answer", [])
    sys.exit(tracker.problem or 0)
except KeyboardInterrupt:
    tracker.close()
    sys.exit(130)
"""


def drive(folder: Path, sweep_id: str, number: int, *more: str, uri: str = "") -> "subprocess.Popen[str]":
    """A driver in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"MLFLOW_TRACKING_URI": uri} if uri else {})}
    words = [sys.executable, "-c", _DRIVER, str(folder), sweep_id, str(number), *more]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_four_drivers_may_write_to_one_fresh_store_at_once(tmp_path: Path) -> None:
    number = 50
    for sweep_id in "abcd":
        write_rows(tmp_path, number, sweep_id=sweep_id)
    drivers = [drive(tmp_path, sweep_id, number) for sweep_id in "abcd"]
    said = [driver.communicate(timeout=250)[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0] * 4, said
    assert "locked" not in "".join(said)
    assert trials_in(tmp_path).keys() == {f"{sweep_id}-{i}" for sweep_id in "abcd" for i in range(number)}
    assert len(runs_in(tmp_path)) == 4 * number + 4  # and the summaries
    assert sync(tmp_path, "c") == Synced(logged=0, present=number)


def test_a_killed_driver_costs_no_row(folder: Path) -> None:
    rows = write_rows(folder, 30)
    driver = drive(folder, "made", 30, "wait")
    until(lambda: (folder / "mlartifacts").exists() and len(runs_in(folder)) >= 3)
    driver.kill()
    driver.communicate()
    assert len(runs_in(folder)) < 30
    sync(folder)
    assert trials_in(folder).keys() == {row.trial_id for row in rows}


def test_ctrl_c_ends_a_driver_whose_server_is_silent(tmp_path: Path, silent: socket.socket) -> None:
    silent.settimeout(60)
    driver = drive(tmp_path, "made", 5, "wait", uri=address(silent))
    silent.accept()  # its thread waits for the answer
    driver.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, said = driver.communicate(timeout=240)
    assert driver.returncode == 130, said
    assert time.monotonic() - started < 120, "MLflow's own patience is four minutes"
