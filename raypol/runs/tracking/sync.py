"""Log the rows of a results folder that MLflow lacks, and the summaries of finished sweeps."""

import hashlib
import json
import urllib.parse
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from raypol.core.errors import first_line
from raypol.core.progress import Progress, no_progress
from raypol.runs.tracking.sweep_runs import Summary, SweepRuns
from raypol.runs.tracking.views import table_address
from raypol.runs.trials.environment import commit, versions_text
from raypol.store.escaping import harmless_markdown, without_secrets
from raypol.store.location import Location, atomic_output, leads_out, open_location, read_bounded
from raypol.store.locks import lock
from raypol.store.results.files import read_trial, warn_left_out
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder

_MAX_BYTES: Final = 64 << 20
"""Of a summary and of each figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Synced:
    """Outcome of a sync of one sweep."""

    logged: int
    present: int
    """Rows that were there already."""
    table: str = field(default="", compare=False)
    """Address of the experiment's run table for a browser."""


def sync_sweep(
    results: Location,
    experiment: str,
    sweep_id: str,
    rows: Sequence[TrialRow],
    *,
    uri: str,
    on_progress: Progress = no_progress,
) -> Synced:
    """Log the rows and the summary of a sweep that MLflow lacks. A second call logs nothing.

    Args:
        results: the results folder.
        experiment: its name in MLflow.
        sweep_id: which sweep.
        rows: all of its rows.
        uri: of the store.
        on_progress: called as rows are written.

    Raises:
        BusyError: another process writes the runs of this sweep.
        Exception: MLflow's own, of many kinds: it cannot be reached or refuses.
    """
    with only_writer(results, sweep_id):
        on_progress(f"opening {experiment}", 0, len(rows))
        runs = SweepRuns(results, experiment, sweep_id, uri)
        logged = put_rows(runs, results, rows, on_progress=on_progress)
        summary = kept_summary(results, sweep_id)
        if summary is not None:
            runs.put_summary(summary)
    return Synced(logged=logged, present=len(rows) - logged, table=table_address(uri, runs.experiment_id))


def put_rows(
    runs: SweepRuns, results: Location, rows: Sequence[TrialRow], *, on_progress: Progress = no_progress
) -> int:
    """Log the rows that are not there; returns their number."""

    def put(row: TrialRow) -> bool:
        def intervals() -> list[IntervalRow]:
            found = read_trial(results, row.trial_id)
            return [] if found is None else found[1]

        return runs.put(row, intervals)

    logged = 0
    for number, row in enumerate(rows, start=1):
        logged += put(row)
        on_progress(f"{row.sweep_id} to MLflow", number, len(rows))
    return logged


def only_writer(results: Location, sweep_id: str, *, patience_s: float = 0.0) -> AbstractContextManager[None]:
    """Keep other processes and threads from writing this sweep's runs inside the block (local folders).

    Raises:
        BusyError: another one writes them, also after `patience_s`.
    """
    place = ResultsFolder(results).locks / f"mlflow-{urllib.parse.quote(sweep_id, safe='')}.lock"
    return lock(place, busy=f"another process is writing the runs of sweep {sweep_id!r}", patience_s=patience_s)


def keep_summary(results: Location, sweep_id: str, summary: Summary, rows: Sequence[TrialRow] = ()) -> None:
    """Write the summary to RESULTS/sweeps/<sweep_id>/summary.json for later syncs, under whatever name RESULTS has then.

    Args:
        results: the results folder.
        sweep_id: of the sweep.
        summary: what to keep.
        rows: that it is of, by which its figures are known to be those of the same rows later.
    """
    root = Path(results.path)
    figures = {
        str(path.relative_to(root) if path.is_relative_to(root) else path): _sha256(path)
        for path in (figure.absolute() for figure in summary.figures)
    }
    folder = ResultsFolder(results).sweep(sweep_id)
    folder.make_folder()
    with atomic_output(folder / "summary.json") as stream:
        kept = {"answer": without_secrets(summary.answer), "figures": figures, "rows": _rows_sha256(rows)}
        stream.write(json.dumps(kept, indent=1).encode())


def kept_figures(results: Location, sweep_id: str, rows: Sequence[TrialRow]) -> tuple[Path, ...]:
    """The figures that an earlier run drew of these very rows, all of them as it drew them; none otherwise."""
    place = ResultsFolder(results).sweep(sweep_id) / "summary.json"
    if not results.is_local or not place.exists():
        return ()
    try:
        found = json.loads(read_bounded(place, max_bytes=_MAX_BYTES, folder=results))
        named, is_same = len(found["figures"]), bool(found["rows"]) and found["rows"] == _rows_sha256(rows)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ()
    kept = kept_summary(results, sweep_id) if is_same and named else None
    return kept.figures if kept is not None and len(kept.figures) == named else ()


def _rows_sha256(rows: Sequence[TrialRow]) -> str:
    """Digest of which rows there are, and of the code; empty where that is being changed."""
    code = commit()
    if code.endswith("-dirty"):
        return ""
    told = sorted(f"{row.trial_id} {row.status} {row.started_at}" for row in rows)
    return hashlib.sha256("\n".join([code, versions_text(), *told]).encode()).hexdigest()


def kept_summary(results: Location, sweep_id: str) -> Summary | None:
    """Read what `keep_summary` wrote, without figures that were replaced since; None if there is nothing that can be read."""
    place = ResultsFolder(results).sweep(sweep_id) / "summary.json"
    if not place.exists():
        return None
    try:
        found = json.loads(read_bounded(place, max_bytes=_MAX_BYTES, folder=results))
        answer, figures = (
            str(found["answer"]),
            [(_figure(results, path), sha) for path, sha in found["figures"].items()],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as err:
        warn_left_out([f"{place} is not what raypol wrote there ({first_line(err)})"])
        return None
    return Summary(
        answer=harmless_markdown(answer),
        figures=tuple(path for path, sha in figures if _is_own(path, results) and _sha256(path) == sha),
    )


def _is_own(figure: Path, results: Location) -> bool:
    """A folder that came from elsewhere may name any file of this machine."""
    return (
        results.is_local
        and figure.is_file()
        and figure.stat().st_size <= _MAX_BYTES
        and not leads_out(open_location(figure), results)
    )


def _figure(results: Location, kept: str) -> Path:
    """A figure of a summary; older ones were kept by their absolute paths, also those in a folder that was moved since."""
    path = Path(results.path) / kept
    if path.exists() or "figures" not in path.parts:
        return path
    last = len(path.parts) - path.parts[::-1].index("figures")
    return Path(ResultsFolder(results).figures.path, *path.parts[last:])


def one_line(err: BaseException) -> str:
    """First line of an exception that gives a reason; SQLAlchemy begins with when it happened."""
    lines = (line for line in str(err).splitlines() if not line.startswith("(raised as a result of"))
    return without_secrets(f"{type(err).__name__}: {next(lines, '')}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
