"""`raypol demo`: run it, then show the table, the paragraph, the figures, and where everything lies."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from raypol.cli.console import ERR, OUT, print_tables, say, warn
from raypol.cli.options import RunnerOptions
from raypol.cli.progress import progress
from raypol.cluster.runners import Runner
from raypol.core.errors import InputError
from raypol.core.training.train_config import TrainConfig
from raypol.figures.catalogue import draw_all, read_material
from raypol.report.conclusions import conclude
from raypol.report.trial_tables import demo_table
from raypol.runs.sweeps.demo import ARMS, CALIBRATED_ON, LONG, POINTS, SHARE, DemoRun, new_sweep_id, run_demo
from raypol.runs.tracking.store import sqlite_uri, ui_command
from raypol.runs.tracking.tracker import Tracker
from raypol.store.location import Location, writable_folder
from raypol.store.quoting import command_line, sql_rows
from raypol.store.results_folder import ResultsFolder


@dataclass(frozen=True, kw_only=True)
class DemoCommand(RunnerOptions):
    """The whole loop on real data: an honest proof, eight kinds of spoofs, five policies, tables, figures. About 2 minutes."""

    results: str = "results/demo"
    """Results folder: a local path."""
    runner: Literal["local", "ray"] = "ray"
    """local: in this process; ray: one actor per device slot."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> int:
        """Run it."""
        # A bad seed ends here. The share stands for the verifier's, who draws one for each training.
        train = TrainConfig(seed=self.seed, share=SHARE)
        results = writable_folder(self.results)
        command = command_line("raypol", "demo", "--results", results, "--seed", str(self.seed))
        with self.open_runner() as runner:
            show_demo(
                runner,
                results,
                train,
                out=OUT,
                err=ERR,
                long=LONG,
                calibrate_on=CALIBRATED_ON,
                command=command,
            )
        return 0


def show_demo(
    runner: Runner,
    results: Location,
    train: TrainConfig,
    *,
    out: Console,
    err: Console,
    points: Sequence[tuple[int, int]] = POINTS,
    arms: Mapping[str, Any] = ARMS,
    long: Collection[str] = (),
    calibrate_on: int = 0,
    command: str = "",
) -> DemoRun:
    """Run the demo and print what it found; see `run_demo` for the arguments."""
    if not results.is_local:
        raise InputError(f"the demo draws its figures into a local folder, got {results}")
    sweep_id = new_sweep_id()
    tracker = Tracker(results, "raypol-demo", sweep_id)
    with progress(err) as update:
        run = run_demo(
            runner,
            results,
            train,
            points=points,
            arms=arms,
            long=long,
            calibrate_on=calibrate_on,
            on_progress=update,
            on_outcome=tracker.log,
            sweep_id=sweep_id,
            command=command,
        )
    rows = [outcome.row for outcome in run.outcomes]
    found = conclude(rows, [verdict for outcome in run.outcomes for verdict in outcome.judged])
    print_tables(demo_table(rows), *found.tables, console=out)
    say("", *found.summary, *found.remarks, "", console=out, is_prose=True)
    # The demo has just loaded this dataset itself, code of the user's or not.
    material = read_material(results, sweep_id, data_dir=train.data_dir, own_code=True)
    drawn = draw_all(material, Path(ResultsFolder(results).figures.path))
    tracker.finish(found.markdown(), drawn)
    say(*closing_lines(run, drawn, tracker, Path(results.path)), console=out)
    if tracker.problem:
        warn(f"warning: {tracker.problem}; the results in Parquet are complete", err)
    return run


def closing_lines(run: DemoRun, drawn: list[Path], tracker: Tracker, folder: Path) -> list[str]:
    """Where the results lie, a DuckDB query to copy, the MLflow command to copy."""
    python, place = _short(Path(sys.executable)), _short(folder)
    drawn = [path for path in drawn if path.suffix == ".png"]
    pictures = ", ".join(_short(path) for path in drawn[:1]) + (f" and {len(drawn) - 1} more" if len(drawn) > 1 else "")
    query = (
        "SELECT arm, steps, interval, round(error_l2, 4) AS error_l2, round(device_s, 2) AS device_s, success, success_strict, "
        f"rejected_by FROM {sql_rows(place)} WHERE sweep_id = '{run.study.sweep_id}' ORDER BY steps, error_l2"
    )
    code = f"import duckdb; print(duckdb.sql({json.dumps(query, ensure_ascii=False)}))"
    own, short = (sqlite_uri(Path(path) / "mlflow.db") for path in (folder, place))
    ui = ui_command(short if tracker.uri == own else tracker.uri, f"{_short(Path(sys.executable).parent)}/mlflow")
    return [
        f"results:  {place} (trials/ and intervals/ in Parquet, proofs/ as folders, {pictures})",
        f"query:    {command_line(python, '-c', code)}",
        f"MLflow:   {ui}",
        *([f"          {tracker.table}"] if tracker.table else []),
    ]


def _short(path: Path) -> str:
    """Relative to the current folder if it lies below."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
