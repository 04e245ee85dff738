"""The command line of every file in sweeps/: `python sweeps/x.py`, `ray submit cluster.yaml sweeps/x.py`, `ray job submit`.

Exit codes: 0 every trial ran (to the end, or was stopped early on purpose), 1 some trials failed: their rows say why, 2 bad
input, 3 failed for another reason, 4 ended before all trials were run, 130 interrupted.
"""

import os
import re
import runpy
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import tyro
from rich.console import Console, Group

from raypol.cli.cluster_tables import look, needs_table
from raypol.cli.console import ERR, OUT
from raypol.cli.exit_codes import guarded, parse
from raypol.cli.progress import progress
from raypol.cluster.connection import running_cluster
from raypol.cluster.placement import parse_devices
from raypol.cluster.runners import PATIENCE_S
from raypol.core.errors import InputError
from raypol.figures.draw_sweep import Drawn, drawn_figures
from raypol.report.conclusions import Conclusions, conclude
from raypol.report.range_summary import conclude_ranges
from raypol.report.tables import terminal_text, to_terminal
from raypol.report.trial_tables import choices_table, points_table
from raypol.runs.sweeps.design import Design, Search, SizeName, Sweep
from raypol.runs.sweeps.driver import Events, SweepRun
from raypol.runs.sweeps.driver import run_sweep as drive_sweep
from raypol.runs.sweeps.plan import Plan, SweepOptions, plan_sweep
from raypol.runs.sweeps.success_ranges import Ranges, range_rows
from raypol.runs.tracking.tracker import Tracker
from raypol.runs.trials.study import Keep
from raypol.store.location import Location, writable_folder
from raypol.store.results.range_rows import write_ranges
from raypol.store.results_folder import ResultsFolder

SOME_FAILED: Final = 1
UNFINISHED: Final = 4
_LOG_WIDTH: Final = 180
"""Of the table where there is no terminal to ask."""


def _default_results() -> str:
    return os.environ.get("RAYPOL_RESULTS") or "results"


@dataclass(frozen=True, kw_only=True)
class Devices:
    """What each party computes on: cpu, cpu:2, gpu, gpu:0.5 (a share), or a GPU model by any of its names: V100, RTX2080Ti.
    Several, separated by commas, are swept. Empty = as the sweep declares.
    """

    prover: str = ""
    """Of the honest proofs."""
    spoofer: str = ""
    """Of the spoofs."""
    verifier: str = ""
    """Of replaying both."""

    def of(self, design: Design) -> Design:
        """The design on these devices."""
        return design.with_devices(
            **{role: _spellings(getattr(self, role)) for role in ("prover", "spoofer", "verifier")}
        )


def _spellings(text: str) -> list[str]:
    return [str(request) for request in parse_devices(text)] if text else []


@dataclass(frozen=True, kw_only=True)
class SweepCommand:
    """How to run the sweep. Run the same command again to go on after an interruption: finished trials are not run again."""

    size: SizeName = "paper"
    """paper: the published numbers; smoke: two CPU cores, about a minute."""
    results: str = field(default_factory=_default_results)
    """Results folder that every node sees: a local path, s3://... or gs://... Default: $RAYPOL_RESULTS, else results."""
    name: str = ""
    """Name of the sweep in the results folder; empty = the experiment's name and the size."""
    resume: bool = False
    """Insist that there is something to resume. Without it a sweep of this name is resumed if it is there."""
    address: str = "auto"
    """Ray cluster: auto = $RAY_ADDRESS, else the one started on this machine by `ray start`, else this machine alone; local =
    this machine alone; or host:port."""
    devices: tyro.conf.OmitArgPrefixes[Devices] = field(default_factory=Devices)
    """What each party computes on."""
    search: Search = "grid"
    """grid: every combination; random: drawn points; optuna: points proposed by multi-objective search, error against cost;
    range: the ends of the T' between which each arm succeeds, by bisection."""
    samples: int = 0
    """random, optuna: number of points; 0 = as the sweep declares."""
    search_seed: int = 0
    """random, optuna: seed of the draw."""
    max_concurrent: int = 0
    """Trials at once; 0 = as many as fit."""
    workers: int = 1
    """Actors per device and trial; the intervals of a spoof are shared among them."""
    early_stop: bool = False
    """Stop a trial as soon as its first intervals rule success out; its row says so."""
    estimate: int = 0
    """Craft and replay only so many intervals of each spoof, drawn by seed: errors are those of the sample, with a stated
    confidence, times and sizes are extrapolated, and every such row is marked estimated. 0 = all intervals."""
    keep: Keep = "all"
    """Which spoofs stay in the results folder once they are judged; rows stay in any case."""
    patience_s: float = PATIENCE_S
    """Seconds to wait for a device that no node has free, or whose node was lost."""
    dataset: str = ""
    """Run on this dataset instead, as on a stand-in where the declared one cannot be had: fashion_mnist_32x32x3 for CIFAR.
    Halves stay halves; every row names what was used. Empty = as declared."""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place. Every node needs it there."""
    figures: bool = True
    """Draw the figures at the end, into RESULTS/figures/<name>; `raypol report` draws them at any time."""
    dry_run: bool = False
    """Show the trials and what they need of the cluster, and run nothing."""
    yes: bool = False
    """Run even if there are suspiciously many trials."""
    debug: bool = False
    """Show the traceback of an error."""

    def options(self, sweep: Sweep) -> SweepOptions:
        """As the runs layer takes them."""
        for name, least in (("samples", 0), ("max_concurrent", 0), ("workers", 1), ("patience_s", 1)):
            if getattr(self, name) < least:
                raise InputError(f"expected --{name.replace('_', '-')} >= {least}, got {getattr(self, name)}")
        return SweepOptions(
            name=checked_name(self.name or "-".join(filter(None, (sweep.name, self.size, _as_name(self.dataset))))),
            search=self.search,
            samples=self.samples,
            search_seed=self.search_seed,
            resume="must" if self.resume else "if there",
            confirmed=self.yes,
            max_concurrent=self.max_concurrent,
            workers=self.workers,
            early_stop=self.early_stop,
            estimate=self.estimate,
            keep=self.keep,
            patience_s=self.patience_s,
        )

    def cluster_address(self) -> str | None:
        """None for this machine alone."""
        return running_cluster() if self.address == "auto" else None if self.address == "local" else self.address

    def design(self, sweep: Sweep) -> Design:
        """The sweep's at this size, on these devices."""
        design = self.devices.of(sweep.at(self.size))
        if self.dataset:
            design = design.on_dataset(self.dataset)
        return design if self.data_dir is None else replace(design, train=replace(design.train, data_dir=self.data_dir))

    def plan(self, sweep: Sweep) -> Plan:
        """The sweep as these options want it."""
        return plan_sweep(sweep, self.size, self.design(sweep), self.options(sweep))


def _as_name(dataset: str) -> str:
    """What of a dataset's name can be part of a folder's."""
    return re.sub(r"[^\w.-]", "_", dataset)


def run_sweep(sweep: Sweep, arguments: Sequence[str] | None = None, *, kind: type[SweepCommand] = SweepCommand) -> None:
    """Entry point of a sweep file; `kind` holds its options."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    program = Path(sys.argv[0]).name or sweep.name
    typed = shlex.join(["python", sys.argv[0], *arguments])
    command = parse(kind, program, f"{sweep.question} ({sweep.name})", arguments)
    sys.exit(guarded(lambda: run_command(sweep, command, typed=typed), debug=command.debug))


def run_command(sweep: Sweep, command: SweepCommand, *, typed: str = "") -> int:
    """Plan, run, and say what was found; `typed` is the command line, for a report to come."""
    plan = command.plan(sweep)
    if command.dry_run:
        return _show_plan(sweep, plan, command)
    plan.load_data()  # a missing dataset ends here, before anything is started
    results = writable_folder(command.results)
    tracker = Tracker(results, f"raypol-{sweep.name}", plan.sweep_id)
    with _outliving_the_terminal(results, plan.sweep_id), _terminated_as_interrupted(), progress(ERR) as update:
        try:
            run = drive_sweep(
                plan,
                results,
                address=command.cluster_address(),
                events=Events(on_progress=update, on_row=tracker.log),
                command=typed,
            )
        except BaseException:
            tracker.close()
            raise
    _show(sweep, run, tracker, results, command)
    if run.stopped or run.missing:
        return UNFINISHED
    return SOME_FAILED if any(row.status == "error" for row in run.trials) else 0


def checked_name(name: str) -> str:
    """A name that is a folder's.

    Raises:
        InputError: it has other characters.
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise InputError(f"expected --name of letters, digits, - _ and ., got {name!r}")
    return name


def _show_plan(sweep: Sweep, plan: Plan, command: SweepCommand) -> int:
    view = look(command.cluster_address())
    OUT.print(f"{sweep.question}\n{plan.sweep_id}: at most {plan.num_trials} trials, {plan.options.search} search")
    OUT.print(needs_table(plan.groups(), plan.num_trials, view.nodes, view.scalable))
    return 0


def _show(sweep: Sweep, run: SweepRun, tracker: Tracker, results: Location, command: SweepCommand) -> None:
    out = OUT if OUT.is_terminal else Console(highlight=False, markup=False, width=_LOG_WIDTH)
    found = _conclusions(run, results)
    points = [points_table(run.rows)] if run.plan.options.search != "range" else []
    for table in (*points, *found.tables):
        out.print(to_terminal(table), "")
    out.print(Group(terminal_text(sweep.question), found.text, ""))
    none: AbstractContextManager[Drawn] = nullcontext(([], ""))
    with drawn_figures(results, run.plan.sweep_id, command.data_dir) if command.figures else none as (drawn, problem):
        tracker.finish(found.markdown(sweep.question), drawn)
    out.print(
        f"results:  {results}/trials, {results}/intervals, {results}/proofs; sweep {run.plan.sweep_id}", soft_wrap=True
    )
    if drawn:
        out.print(
            f"figures:  {ResultsFolder(results).figures / run.plan.sweep_id} ({len(drawn)} files)", soft_wrap=True
        )
    if problem:
        ERR.print(f"warning: {problem}", style="yellow", soft_wrap=True)
    out.print(f"MLflow:   {tracker.ui_command}", soft_wrap=True)
    if tracker.table:
        out.print(f"          {tracker.table}", soft_wrap=True)
    if tracker.problem:
        ERR.print(
            f"warning: {tracker.problem}; the rows are complete in Parquet, `raypol sync {results}` brings them there",
            style="yellow",
            soft_wrap=True,
        )
    if run.stopped:
        ERR.print(f"ended early: {run.stopped}; run the same command again to go on", style="yellow", soft_wrap=True)


def _conclusions(run: SweepRun, results: Location) -> Conclusions:
    """What the rows show; what a range search found is recorded too."""
    if run.plan.options.search != "range":
        found = conclude(run.rows, planned=run.plan.num_trials, resumed=run.resumed, stopped=run.stopped)
        choices = choices_table(run.rows)
        return replace(found, tables=[*found.tables, *([choices] if choices else [])])
    options, sweep_id = run.plan.options, run.plan.sweep_id
    ranges = Ranges(run.plan.design, sweep_id, options.policy, options.scan_factor)
    ranges.recall(run.rows, failed=True)
    estimates = ranges.estimates()
    write_ranges(results, sweep_id, options.policy, range_rows(estimates, ranges.span, sweep_id, options.policy))
    return conclude_ranges(run, estimates, ranges.span, options.policy)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """`ray job stop` and a machine that shuts down send SIGTERM: treated as Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _outliving_the_terminal(results: Location, sweep_id: str) -> Iterator[None]:
    """A lost ssh connection takes the terminal away, not the sweep: what it says goes to a log from then on."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    folder = Path(ResultsFolder(results).sweep(sweep_id).path) if results.is_local else Path.home()
    log = folder / f"{sweep_id}.log"

    def go_on(_number: int, _frame: FrameType | None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (1, 2):
            os.dup2(target, stream)
        os.write(target, b"the terminal is gone; the sweep goes on\n")

    before: Any = signal.signal(signal.SIGHUP, go_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def plan_of_file(path: str, size: SizeName, *, estimate: int = 0, dataset: str = "") -> Plan:
    """The plan of a sweep file at one size. The file is run as Python, without its command line.

    Raises:
        InputError: there is no such file, or it declares no sweep.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no sweep file {path!r}")
    try:
        found = runpy.run_path(path).get("SWEEP")
    except (ImportError, SyntaxError) as err:
        raise InputError(f"{path} cannot be run: {type(err).__name__}: {err}") from err
    if not isinstance(found, Sweep):
        raise InputError(f"{path} declares no sweep: expected SWEEP = Sweep(...)")
    options = SweepOptions(name=f"{found.name}-{size}", confirmed=True, estimate=estimate)
    design = found.at(size).on_dataset(dataset) if dataset else found.at(size)
    return plan_sweep(found, size, design, options)
