"""The MLflow runs of one sweep: a flat run per trial, and one summary run that carries the answer.

Runs are flat because the UI collapses nested ones and hides their charts. Everything one might compare is a param or a metric.
Tags of a run name its row (`raypol.trial_id`, `raypol.sweep_id`) and the digest of that row (`raypol.digest`); a run is complete
once it is terminated. So a row is logged once, and a stale or half-written run is replaced.
"""

import hashlib
import json
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from raypol.runs.tracking.row_fields import (
    LONGEST_TAG,
    digest_of,
    plain,
    row_digest,
    trial_metrics,
    trial_params,
    trial_tags,
    trial_times,
)
from raypol.runs.tracking.store import open_experiment
from raypol.runs.tracking.views import charts_link, put_views, table_link
from raypol.store.location import Location
from raypol.store.proofs.format import weights_file
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder

if TYPE_CHECKING:
    from mlflow.entities import Run

_BATCH: Final = 1000  # the most entities that MLflow takes in one call
_LINKED: Final = 60
"""Runs whose ids fit into a link in a tag; beyond that the link asks for the sweep by name."""
_PAGE: Final = 200
_NOTE_FORM: Final = "2"
"""Version of the form of a summary run: a summary of another form is replaced."""
_COMPLETE: Final = ("FINISHED", "FAILED")


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Content of the summary run."""

    answer: str
    """Markdown."""
    figures: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    run_id: str
    digest: str
    """Empty if the run is not complete."""


class SweepRuns:
    """The runs of a sweep that MLflow holds. One process at a time may write them."""

    def __init__(
        self,
        results: Location,
        experiment: str,
        sweep_id: str,
        uri: str,
        *,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the store, which takes seconds.

        Args:
            results: the results folder.
            experiment: its name in MLflow.
            sweep_id: of the runs.
            uri: of the store.
            on_answer: called whenever MLflow has answered.
        """
        self._results, self._sweep_id, self._on_answer = results, sweep_id, on_answer
        self._client, self.experiment_id = open_experiment(uri, experiment)
        put_views(self._client, self.experiment_id)
        on_answer()
        self.refresh()

    def refresh(self) -> None:
        """Read the runs that are there."""
        self._trials: dict[str, list[_Known]] = {}
        self._summaries: list[_Known] = []
        for run in self._search():
            complete = run.info.status in _COMPLETE
            known = _Known(run.info.run_id, run.data.tags.get("raypol.digest", "") if complete else "")
            if "raypol.summary" in run.data.tags:
                self._summaries.append(known)
            else:
                self._trials.setdefault(run.data.tags.get("raypol.trial_id", ""), []).append(known)

    def put(self, row: TrialRow, intervals: Callable[[], Sequence[IntervalRow]]) -> bool:
        """Make the run of this row the only one of its trial; False if it was there already.

        Args:
            row: as it is in the results.
            intervals: gives the row's; called only if they are needed.
        """
        known, digest = self._trials.setdefault(row.trial_id, []), row_digest(row)
        return self._replace(known, digest, lambda: self._log_trial(row, intervals(), known, digest))

    def put_summary(self, summary: Summary) -> bool:
        """Make this the only summary run of the sweep; False if it was there already."""
        pictures = [hashlib.sha256(path.read_bytes()).hexdigest() for path in summary.figures]
        digest = digest_of([_NOTE_FORM, summary.answer, *pictures, *sorted(self.run_ids)])
        return self._replace(self._summaries, digest, lambda: self._log_summary(summary, digest))

    @property
    def run_ids(self) -> list[str]:
        """Ids of all complete trials' runs."""
        return [known.run_id for found in self._trials.values() for known in found if known.digest]

    @property
    def compare_link(self) -> str:
        """Path in the MLflow UI that compares all runs of this sweep; empty if there are none."""
        runs = self.run_ids
        if not runs:
            return ""
        if len(runs) > _LINKED:
            wanted = urllib.parse.quote(self._filter())
            return f"#/experiments/{self.experiment_id}/runs?searchFilter={wanted}&compareRunsMode=CHART"
        chosen, experiments = (urllib.parse.quote(json.dumps(ids)) for ids in (runs, [self.experiment_id]))
        return f"#/compare-runs?runs={chosen}&experiments={experiments}"

    def _replace(self, known: list[_Known], digest: str, log: Callable[[], None]) -> bool:
        """Log unless the digest is there; then every other run in `known` goes."""

        def attempt() -> bool:
            missing = not any(run.digest == digest for run in known)
            if missing:
                log()
            kept = next(run for run in known if run.digest == digest)
            for run in [run for run in known if run is not kept]:
                self._discard(run.run_id)
                known.remove(run)
            return missing

        busy = retry_if_exception(lambda err: getattr(err, "error_code", "") == "TEMPORARILY_UNAVAILABLE")
        waits = wait_random_exponential(multiplier=0.2, max=3)
        return bool(Retrying(retry=busy, stop=stop_after_attempt(3), wait=waits, reraise=True)(attempt))

    def _log_trial(self, row: TrialRow, intervals: Sequence[IntervalRow], known: list[_Known], digest: str) -> None:
        from mlflow.entities import Param

        client, started, ended = self._client, *trial_times(row)
        run = client.create_run(
            self.experiment_id,
            start_time=started,
            run_name=f"{row.arm} T'={row.steps} k={row.interval}",
            tags=trial_tags(row) | self._tags(digest),
        )
        run_id = run.info.run_id
        known.append(_Known(run_id, ""))
        params = [Param(key, value) for key, value in trial_params(row).items()]
        points = trial_metrics(row, intervals, timestamp=ended)
        first = _BATCH - len(params)
        client.log_batch(run_id, metrics=points[:first], params=params)
        for start in range(first, len(points), _BATCH):
            client.log_batch(run_id, metrics=points[start : start + _BATCH])
            self._on_answer()
        self._log_inputs(run_id, row)
        places = _places(self._results, self._sweep_id)
        if self._has_proof(row):
            places["proof"] = _inside(self._results, ResultsFolder(self._results).proof(row.proof_id))
        client.log_dict(run_id, places, "parquet.json")
        if row.message:
            client.log_text(run_id, plain(row.message), "message.txt")
        client.set_terminated(run_id, "FINISHED" if row.is_ok else "FAILED", end_time=ended)
        known[-1] = _Known(run_id, digest)
        self._on_answer()

    def _log_inputs(self, run_id: str, row: TrialRow) -> None:
        """The dataset as a run input, the final model as a logged model that points into the proof: no pickle, no copy."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=row.dataset,
            digest=row.dataset_sha256[:12],
            source_type="raypol",
            source=json.dumps({"name": row.dataset}),
        )
        self._client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        if not row.is_ok or not self._has_proof(row):
            return
        weights = ResultsFolder(self._results).proof(row.proof_id) / weights_file(row.steps)
        model = self._client.create_logged_model(
            self.experiment_id,
            name=f"{row.model}-{row.arm}",
            source_run_id=run_id,
            tags={"weights": _inside(self._results, weights)},
            params={"steps": str(row.steps), "arm": row.arm},
            model_type="weights in Parquet",
        )
        self._client.finalize_logged_model(model.model_id, "READY")

    def _has_proof(self, row: TrialRow) -> bool:
        """An estimated trial never has one; that of another may not have been kept."""
        return bool(row.proof_id) and ResultsFolder(self._results).has_proof(row.proof_id)

    def _log_summary(self, summary: Summary, digest: str) -> None:
        client, link = self._client, self.compare_link
        table, charts = table_link(self.experiment_id), charts_link(self.experiment_id)
        more = f"\n\n[Compare all arms]({link}) | " if link else "\n\n"
        more += f"[Table of trials]({table}) | [Parallel coordinates and cost]({charts})"
        room = LONGEST_TAG - len(more)
        note = summary.answer if len(summary.answer) <= room else f"{summary.answer[: room - 20]} ... (answer.md)"
        run = client.create_run(
            self.experiment_id,
            run_name=f"summary {self._sweep_id}",
            tags=self._tags(digest) | {"raypol.summary": "true", "mlflow.note.content": note + more},
        )
        run_id = run.info.run_id
        self._summaries.append(_Known(run_id, ""))
        client.log_text(run_id, summary.answer + "\n", "answer.md")
        client.log_dict(run_id, _places(self._results, self._sweep_id), "parquet.json")
        for figure in summary.figures:
            client.log_artifact(run_id, str(figure), "figures")
        client.set_terminated(run_id)
        self._summaries[-1] = _Known(run_id, digest)
        self._on_answer()

    def _discard(self, run_id: str) -> None:
        models = self._client.search_logged_models([self.experiment_id], filter_string=f"source_run_id = '{run_id}'")
        for model in models:
            self._client.delete_logged_model(model.model_id)
        self._client.delete_run(run_id)
        self._on_answer()

    def _search(self) -> "Iterator[Run]":
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], self._filter(), max_results=_PAGE, page_token=token, order_by=["start_time ASC"]
            )
            self._on_answer()
            yield from page
            token = page.token
            if not token:
                return

    def _filter(self) -> str:
        quote = '"' if "'" in self._sweep_id else "'"
        return f"tags.`raypol.sweep_id` = {quote}{self._sweep_id}{quote}"

    def _tags(self, digest: str) -> dict[str, str]:
        return {"raypol.sweep_id": self._sweep_id, "raypol.digest": digest, "mlflow.source.name": "raypol"}


def _places(results: Location, sweep_id: str) -> dict[str, str]:
    """Where rows lie in the results folder, and where that was when they were logged."""
    return {
        "results": results.path if results.is_local else str(results),
        "trials": _inside(results, ResultsFolder(results).trials / "*.parquet"),
        "intervals": _inside(results, ResultsFolder(results).intervals / "*.parquet"),
        "sweep_id": sweep_id,
    }


def _inside(results: Location, place: Location) -> str:
    """A place relative to the results folder, which may be moved."""
    return place.path.removeprefix(f"{results.path.rstrip('/')}/")
