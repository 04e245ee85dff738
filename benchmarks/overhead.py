"""What Tune, actors, Parquet and MLflow add to a trial: `python -m benchmarks.overhead [--trials 50]`.

Trivial trials (null and infinitesimal on digits, one interval of ten steps) are run twice, one at a time: as a sweep under Tune
with MLflow, and in this process with nothing but their rows in Parquet. The difference, per trial, is the overhead. Also
reported: the driver's own CPU time and memory, and how long DuckDB takes to query the rows.
"""

import os
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import tyro
from ray import tune

from raypol.cluster.placement import parse_device
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.runs.designs.design import Design, Sweep
from raypol.runs.designs.points import expand
from raypol.runs.sweeps.driver import Events, drive_sweep
from raypol.runs.sweeps.plan import SweepOptions, plan_sweep
from raypol.runs.tracking.tracker import Tracker
from raypol.runs.trials.trial import prepare_study, run_honest, run_trial
from raypol.store.location import Location, open_location
from raypol.store.quoting import sql_rows
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow

QUERY = "SELECT arm, steps, count(*), median(error_l2), avg(success::int), max(device_s) FROM {} GROUP BY ALL"


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """Measure it."""

    trials: int = 50
    """An even number: each seed is a null and an infinitesimal trial."""
    baseline: int = 50
    """The number of them, at most, that are also run in this process, for comparison."""


def main() -> None:
    """Entry point."""
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    asked = tyro.cli(Overhead, description=__doc__)
    design = Design(
        train=TrainConfig(steps=40, interval=10, batch_size=32),
        arms={},
        space={"spoof.seed": tune.grid_search(list(range(asked.trials // 2)))},
        spoof=SpoofConfig(steps=10, interval=10),
    )
    with tempfile.TemporaryDirectory() as folder:
        results = open_location(Path(folder) / "sweep")
        results.make_folder()
        whole_s, first_s, cpu_s, rows = as_sweep(design, results)
        started = time.perf_counter()
        duckdb.connect().execute(QUERY.format(sql_rows(results.path))).fetchall()
        query_s = time.perf_counter() - started
        memory = (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        )  # before the baseline, which is no driver's work
        own_s = in_process(design, open_location(Path(folder) / "local"), asked.baseline)
    n = len(rows)
    each_s = (whole_s - first_s) / max(n - 1, 1)
    print(f"{n} trivial trials, {sum(row.status == 'ok' for row in rows)} ok")
    print(f"in this process, rows in Parquet          {own_s:8.3f} s per trial")
    print(f"as a sweep, from the first row to the last {each_s:7.3f} s per trial; {first_s:.1f} s to the first row")
    print(f"overhead                                  {each_s - own_s:8.3f} s per trial   <= 0.5")
    print(f"driver's CPU time                         {cpu_s / n:8.3f} s per trial   <= 0.5")
    print(f"query over all rows (DuckDB)              {query_s:8.3f} s             <  1")
    print(f"driver's memory at most                   {memory:8.2f} GB            <  1.5")


def as_sweep(design: Design, results: Location) -> tuple[float, float, float, list[TrialRow]]:
    """(wall s in all, wall s to the first trial's row, driver CPU s from then on, rows) of the sweep with MLflow."""
    sweep = Sweep(name="overhead", question="What does a trial cost beyond its work?", paper=design, smoke=design)
    plan = plan_sweep(sweep, "smoke", design, SweepOptions(name="overhead", max_concurrent=1))
    tracker = Tracker(results, "raypol-overhead", "overhead")
    started, seen = time.perf_counter(), list[tuple[float, float]]()

    def outcome(row: TrialRow, intervals: Sequence[IntervalRow]) -> None:
        tracker.log(row, intervals)
        if row.arm != "honest":
            seen.append((time.perf_counter(), time.process_time()))

    run = drive_sweep(plan, results, events=Events(on_row=outcome))
    tracker.finish("measured", [])
    cpu_s = time.process_time() - seen[0][1]
    return seen[-1][0] - started, seen[0][0] - started, cpu_s, list(run.trials)


def in_process(design: Design, results: Location, most: int) -> float:
    """Seconds per trial of the same trials without Ray and MLflow."""
    trials = expand(design, "grid", samples=1, seed=0)[:most]
    with LocalRunner(dict.fromkeys(ROLES, parse_device("cpu"))) as runner:
        study = prepare_study(runner, results, design.train, "local")
        honest = run_honest(runner, study, trials[0]).row
        run_trial(runner, replace(study, sweep_id="warm-up"), trials[0], honest)
        started = time.perf_counter()
        for trial in trials:
            run_trial(runner, study, trial, honest)
        return (time.perf_counter() - started) / len(trials)


if __name__ == "__main__":
    main()
