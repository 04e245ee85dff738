"""MLflow: flat runs under one experiment per sweep, one summary run that carries the answer; written by the driver in batches.

Runs are flat because the UI collapses nested ones and hides their charts. Everything one might compare is a param or a metric.
If MLflow cannot be reached, the run goes on: the rows are in Parquet, which is the record.
"""

import json
import logging
import math
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from raypol.store.location import Location
from raypol.store.results import IntervalRow, TrialRow

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)

PARAMS: Final = (
    "attack", "arm", "steps", "interval", "objective", "crafting", "alpha", "linf_limit", "iterations", "trajectory", "noise",
    "hyperparameters", "carry", "dataset", "model", "batch_size", "seed", "device", "device_name", "replay", "thresholds",
)  # fmt: skip
"""Columns of a trial that are what was asked; the rest of its numbers are metrics."""
_BATCH: Final = 1000  # the most metrics that MLflow takes in one call


class Tracker:
    """Writes outcomes to MLflow as they come. One process writes; the schema is made before anything else touches it."""

    def __init__(self, results: Location, experiment: str, sweep_id: str) -> None:
        self._results, self._sweep_id = results, sweep_id
        self.uri = tracking_uri(results)
        self.problem = ""
        self._runs: list[str] = []
        self._experiment_id = ""
        self._client: MlflowClient | None = None
        with self._survive("open the tracking store"):
            self._client = self._open(experiment)

    def log(self, row: TrialRow, intervals: Sequence[IntervalRow]) -> None:
        """One flat run per trial: params, metrics, one metric point per interval, where its files lie."""
        if self._client is None:
            return
        with self._survive("log a trial"):
            self._log(self._client, row, intervals)

    def finish(self, answer: str, figures: Sequence[Path]) -> None:
        """The summary run: the answer as its description, the figures, the link to the compare page."""
        if self._client is None:
            return
        with self._survive("log the summary"):
            link = self.compare_link
            tags = {
                "raypol.sweep_id": self._sweep_id,
                "raypol.summary": "true",
                "mlflow.note.content": f"{answer}\n\n[Compare all arms]({link})" if link else answer,
            }
            run = self._client.create_run(self._experiment_id, run_name=f"summary {self._sweep_id}", tags=tags)
            run_id = run.info.run_id
            self._client.log_text(run_id, answer + "\n", "answer.md")
            self._client.log_dict(run_id, _places(self._results, self._sweep_id), "parquet.json")
            for figure in figures:
                self._client.log_artifact(run_id, str(figure), "figures")
            self._client.set_terminated(run_id)

    def close(self) -> None:
        """Nothing more will be logged."""

    @property
    def compare_link(self) -> str:
        """Path in the MLflow UI that compares all runs of this sweep, with parallel coordinates."""
        if not self._runs:
            return ""
        runs = urllib.parse.quote(json.dumps(self._runs))
        experiments = urllib.parse.quote(json.dumps([self._experiment_id]))
        return f"#/compare-runs?runs={runs}&experiments={experiments}"

    @property
    def ui_command(self) -> str:
        """What to type to see it."""
        if self.uri.startswith("http"):
            return f"open {self.uri}"
        return f"mlflow ui --backend-store-uri {self.uri}"

    def _open(self, experiment: str) -> "MlflowClient":
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # MLflow's own patience with a server that is away is 4 minutes a call if it refuses, 16 if it is silent.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient  # 1 to 2 s of import, and only the driver needs it

        for noisy in ("mlflow", "alembic"):  # after the import, which sets its own levels
            logging.getLogger(noisy).setLevel(logging.WARNING)

        with _one_creator(self.uri):
            client = MlflowClient(tracking_uri=self.uri)
            found = client.get_experiment_by_name(experiment)
            if found is not None:
                self._experiment_id = found.experiment_id
            elif self.uri.startswith("sqlite"):
                artifacts = _database(self.uri).parent / "mlartifacts" / experiment
                self._experiment_id = client.create_experiment(experiment, artifact_location=artifacts.as_uri())
            else:
                self._experiment_id = client.create_experiment(experiment)
        return client

    def _log(self, client: "MlflowClient", trial: TrialRow, intervals: Sequence[IntervalRow]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        row = asdict(trial)
        name = f"{trial.arm} T'={trial.steps} k={trial.interval}"
        run = client.create_run(self._experiment_id, run_name=name, tags={"raypol.sweep_id": self._sweep_id})
        run_id = run.info.run_id
        now = int(time.time() * 1000)
        params = [Param(key, str(row[key])) for key in PARAMS if row[key] is not None]
        params.append(Param("kind", "proof" if trial.arm == "honest" else "spoof"))
        numbers = {key: float(value) for key, value in row.items() if key not in PARAMS and _is_number(value)}
        points = [Metric(key, value, now, 0) for key, value in numbers.items()]
        accuracies = {interval.step_to: interval.accuracy for interval in intervals}
        points += [
            Metric(f"eps_repr_{i.metric}", i.normalised, now, i.step_to)
            for i in intervals
            if math.isfinite(i.normalised)
        ]
        points += [Metric("accuracy", value, now, step) for step, value in accuracies.items() if math.isfinite(value)]
        tags = {key: str(row[key]) for key in ("trial_id", "proof_id", "status", "rejected_by", "bound_by", "commit")}
        tags |= {
            "mlflow.source.name": "raypol",
            "mlflow.source.git.commit": trial.commit,
            "success": str(bool(row["success"])).lower(),
            "success_strict": str(bool(row["success_strict"])).lower(),
            "simulated": str(row["simulated"]).lower(),
            "estimated": str(row["estimated"]).lower(),
        }
        for start in range(0, max(len(points), 1), _BATCH):
            first = start == 0
            client.log_batch(
                run_id,
                metrics=points[start : start + _BATCH],
                params=params if first else (),
                tags=[RunTag(key, value[:5000]) for key, value in tags.items()] if first else (),
            )
        places = _places(self._results, self._sweep_id) | {"proof": str(self._results / "proofs" / trial.proof_id)}
        client.log_dict(run_id, places, "parquet.json")
        self._log_inputs(client, run_id, trial)
        if trial.message:
            client.log_text(run_id, trial.message, "message.txt")
        client.set_terminated(run_id, "FINISHED" if trial.status == "ok" else "FAILED")
        self._runs.append(run_id)

    def _log_inputs(self, client: "MlflowClient", run_id: str, trial: TrialRow) -> None:
        """The dataset as a run input, the final model as a logged model that points into the proof (no pickle)."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=trial.dataset,
            digest=trial.dataset_sha256[:12],
            source_type="raypol",
            source=json.dumps({"name": trial.dataset}),
        )
        client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        if trial.status != "ok":
            return
        weights = self._results / "proofs" / trial.proof_id / "weights" / f"step={trial.steps}.parquet"
        model = client.create_logged_model(
            self._experiment_id,
            name=f"{trial.model}-{trial.arm}",
            source_run_id=run_id,
            tags={"weights": str(weights)},
            params={"steps": str(trial.steps), "arm": trial.arm},
            model_type="weights in Parquet",
        )
        client.finalize_logged_model(model.model_id, "READY")
        if weights.is_local and weights.exists():
            client.log_artifact(run_id, weights.path, "model")

    @contextmanager
    def _survive(self, what: str) -> Iterator[None]:
        """Tracking must never cost a result: a failure is told once, then tracking is off for this run."""
        try:
            yield
        except Exception as err:
            self._client = None
            reason = next(iter(str(err).splitlines()), "")
            self.problem = f"MLflow at {self.uri} could not {what} ({type(err).__name__}: {reason})"
            _log.warning("%s; the results are in Parquet and complete", self.problem)


def tracking_uri(results: Location) -> str:
    """MLFLOW_TRACKING_URI if set, else SQLite next to the results (in the current folder if those are remote)."""
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return configured
    folder = Path(results.path) if results.is_local else Path.cwd()
    path = str(folder.absolute()).replace("%", "%25").replace("?", "%3F")  # they mean something in a URI
    return f"sqlite:///{path}/mlflow.db"


def _database(uri: str) -> Path:
    return Path(urllib.parse.unquote(uri.removeprefix("sqlite:///").partition("?")[0])).absolute()


@contextmanager
def _one_creator(uri: str) -> Iterator[None]:
    """Two processes that create one SQLite schema at once break it: the second waits for the first."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    database = _database(uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")  # fails at once where MLflow would try for 100 s
        yield


def _places(results: Location, sweep_id: str) -> dict[str, str]:
    return {
        "trials": str(results / "trials" / "*.parquet"),
        "intervals": str(results / "intervals" / "*.parquet"),
        "sweep_id": sweep_id,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value))
