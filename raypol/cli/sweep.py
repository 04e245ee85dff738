"""The command line of every file in sweeps/: `python sweeps/x.py`, `ray submit cluster.yaml sweeps/x.py`, `ray job submit`.

Exit codes: 0 every trial ran (to the end, or was stopped early on purpose), 1 some trials failed: their rows say why, 2 bad
input, 3 failed for another reason, 4 ended before all trials were run, 130 interrupted.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from raypol.cli.cluster_tables import needs_table, view_of
from raypol.cli.console import ERR, print_tables, say, warn
from raypol.cli.exit_codes import guarded, parse
from raypol.cli.progress import progress
from raypol.cli.sweep_options import AdaptiveSweepCommand, RangeSweepCommand, SweepCommand
from raypol.core.errors import InputError, local_path
from raypol.figures.draw_sweep import Drawn, drawn_figures
from raypol.report.arena.board import board_of
from raypol.report.arena.conclusions import conclude_arena
from raypol.report.arena.page import arena_html
from raypol.report.conclusions import Conclusions, conclude
from raypol.report.range_summary import conclude_ranges
from raypol.report.trial_tables import choices_table, points_table
from raypol.runs.arena.cells import cells_of
from raypol.runs.designs.design import SizeName, Sweep
from raypol.runs.sweeps.adaptive import open_searches
from raypol.runs.sweeps.calibrated import calibrated_design
from raypol.runs.sweeps.driver import Events, SweepRun, drive_sweep
from raypol.runs.sweeps.plan import SweepOptions, SweepPlan, plan_sweep
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.sweeps.success_ranges import Ranges, range_rows
from raypol.runs.tracking.store import ui_command
from raypol.runs.tracking.sync import kept_figures
from raypol.runs.tracking.tracker import Tracker
from raypol.store.location import Location, atomic_output, writable_folder
from raypol.store.quoting import command_line
from raypol.store.results.cell_rows import write_cells
from raypol.store.results.files import read_verdicts
from raypol.store.results.range_rows import write_ranges
from raypol.store.results_folder import ResultsFolder

SOME_FAILED: Final = 1
UNFINISHED: Final = 4
ARENA_PAGE: Final = "arena.html"
"""In the folder of a sweep's report."""


def run_sweep(
    sweep: Sweep, arguments: Sequence[str] | None = None, *, search: Literal["grid", "range", "adaptive"] = "grid"
) -> None:
    """Run a sweep file's command line and exit; the last lines of every file in sweeps/ are a call of this.

    Args:
        sweep: what to run.
        arguments: of the command line; None = this process's.
        search: what `--search` is by default. `range` adds the options of a range search, such as `--low`; `adaptive` looks for
            the cheapest spoof that each policy accepts.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    program = Path(sys.argv[0]).name or sweep.name
    typed = command_line("python", sys.argv[0], *arguments)
    kind = {"range": RangeSweepCommand, "adaptive": AdaptiveSweepCommand}.get(search, SweepCommand)
    command = parse(kind, program, f"{sweep.question} ({sweep.name})", arguments)
    sys.exit(guarded(lambda: run_command(sweep, command, typed=typed), debug=command.debug))


def run_command(sweep: Sweep, command: SweepCommand, *, typed: str = "") -> int:
    """Plan a sweep, run it and print what was found; `typed` is the command line, for a report to come."""
    plan = command.plan(sweep)
    if plan.design.calibrate_on and not command.dry_run:
        plan = _with_calibrated(sweep, plan, command)
    if command.dry_run:
        return _show_plan(sweep, plan, command)
    plan.check()  # a missing dataset or a bad model ends here, before anything is started
    results = writable_folder(command.results)
    tracker = Tracker(results, f"raypol-{sweep.name}", plan.sweep_id)
    with (
        _on_signal("SIGHUP", lambda: _outlive_the_terminal(results, plan.sweep_id)),
        _on_signal("SIGTERM", _interrupt),  # `ray job stop` and a machine that shuts down send it
        progress(ERR) as update,
    ):
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
    _show(sweep, run, tracker, results, command, typed)
    if run.stopped or run.missing:
        return UNFINISHED
    return SOME_FAILED if any(row.status == "error" for row in run.trials) else 0


def _with_calibrated(sweep: Sweep, plan: SweepPlan, command: SweepCommand) -> SweepPlan:
    """The plan with the policies that its sweep wants to be made of honest runs."""
    plan.check()
    results = writable_folder(command.results)
    with progress(ERR) as update:
        design = calibrated_design(plan.design, results, command.cluster_address(), on_progress=update)
    return plan_sweep(sweep, command.size, design, plan.options)


def _show_plan(sweep: Sweep, plan: SweepPlan, command: SweepCommand) -> int:
    view = view_of(command.cluster_address())
    say(sweep.question, f"{plan.sweep_id}: at most {plan.num_trials} trials, {plan.options.search} search", "")
    print_tables(needs_table(plan.groups(), plan.num_trials, view.nodes, view.scalable))
    return 0


def _show(sweep: Sweep, run: SweepRun, tracker: Tracker, results: Location, command: SweepCommand, typed: str) -> None:
    found = _conclusions(run, results, typed)
    points = [points_table(run.trials)] if run.plan.options.search not in ("range", "adaptive") else []
    print_tables(*points, *found.tables)
    say("", sweep.question, *found.summary, *found.remarks, "", is_prose=True)
    with _figures(run, results, command) as (drawn, problem):
        tracker.finish(found.markdown(sweep.question), drawn)
    say(f"results:  {results}/trials, {results}/intervals, {results}/proofs; sweep {run.plan.sweep_id}")
    if run.plan.options.search == "adaptive":
        say(f"page:     {ResultsFolder(results).report(run.plan.sweep_id) / ARENA_PAGE}")
    if drawn:
        say(f"figures:  {ResultsFolder(results).figures_of(run.plan.sweep_id)} ({len(drawn)} files)")
    say(f"MLflow:   {ui_command(tracker.uri)}", *([f"          {tracker.table}"] if tracker.table else []))
    if problem:
        warn(f"warning: {problem}")
    if tracker.problem:
        warn(
            f"warning: {tracker.problem}; the rows are complete in Parquet, "
            f"`{command_line('raypol', 'sync', results)}` brings them to MLflow"
        )
    if run.stopped:
        warn(f"ended early: {run.stopped}; run the same command again to go on")


def _figures(run: SweepRun, results: Location, command: SweepCommand) -> AbstractContextManager[Drawn]:
    """Drawn, but where nothing was run those of before."""
    if not command.figures:
        return nullcontext(([], ""))
    if run.resumed == len(run.trials) and (kept := kept_figures(results, run.plan.sweep_id, run.rows)):
        return nullcontext((list(kept), ""))
    return drawn_figures(results, run.plan.sweep_id, command.data_dir)


def _arena(run: SweepRun, results: Location, command: str) -> Conclusions:
    """Conclusions of an adaptive search, whose cells are recorded."""
    plan, record = run.plan, SweepRecord(results, run.plan.sweep_id)
    searches, verdicts = open_searches(plan, record, failed=True), read_verdicts(results, sweep_id=plan.sweep_id)
    cells = cells_of(searches, plan.design, run.rows, verdicts, sweep_id=plan.sweep_id, command=command)
    write_cells(results, plan.sweep_id, cells)
    report = ResultsFolder(results).report(plan.sweep_id)
    report.make_folder()
    with atomic_output(report / ARENA_PAGE) as stream:
        stream.write(arena_html(board_of(cells)).encode())
    return conclude_arena(cells, run.rows, planned=plan.num_trials, resumed=run.resumed, stopped=run.stopped)


def _conclusions(run: SweepRun, results: Location, command: str) -> Conclusions:
    """Conclusions from the rows; the ranges that a range search found are recorded too."""
    if run.plan.options.search == "adaptive":
        return _arena(run, results, command)
    if run.plan.options.search != "range":
        verdicts = read_verdicts(results, sweep_id=run.plan.sweep_id)
        found = conclude(run.rows, verdicts, planned=run.plan.num_trials, resumed=run.resumed, stopped=run.stopped)
        return replace(found, tables=list(filter(None, (*found.tables, choices_table(run.trials)))))
    options, sweep_id = run.plan.options, run.plan.sweep_id
    ranges = Ranges(run.plan.design, sweep_id, options.policy, options.scan_factor)
    ranges.take(run.rows, failed=True)
    estimates = ranges.estimates()
    write_ranges(results, sweep_id, options.policy, range_rows(estimates, ranges.grid, sweep_id, options.policy))
    return conclude_ranges(run, estimates, ranges.grid, options.policy)


@contextmanager
def _on_signal(name: str, act: Callable[[], None]) -> Iterator[None]:
    """Inside, a signal calls a function, on a system that has this signal."""
    number = getattr(signal, name, None)
    if number is None:
        yield
        return
    before = signal.signal(number, lambda _number, _frame: act())
    try:
        yield
    finally:
        signal.signal(number, before)


def _interrupt() -> None:
    """Act as on Ctrl-C."""
    raise KeyboardInterrupt


def _outlive_the_terminal(results: Location, sweep_id: str) -> None:
    """Go on after a lost ssh connection, with a log for the output."""
    folder = Path(ResultsFolder(results).sweep(sweep_id).path) if results.is_local else Path.home()
    folder.mkdir(parents=True, exist_ok=True)
    target = os.open(folder / f"{sweep_id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.write(target, b"the terminal is gone; the sweep goes on\n")


def plan_of_file(path: str, size: SizeName, *, estimate: int = 0, dataset: str = "") -> SweepPlan:
    """The plan of a sweep file at one size. The file is run as Python, without its command line.

    Raises:
        InputError: there is no such file, or it declares no sweep.
    """
    if not local_path(path).is_file():
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
