"""A sweep: the honest side first, then every trial under Ray Tune, each in a reservation of its own.

Nothing is lost and nothing is done twice because a trial is named by its content: whoever runs it looks first whether its row is
there, then for what an interrupted try finished of it. A killed driver is resumed by running the same sweep again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from raypol.cluster.connection import connect
from raypol.cluster.inventory import check_group, gpu_models, resolve
from raypol.cluster.placement import DeviceRequest
from raypol.cluster.scaling import ClusterView, view_cluster
from raypol.cluster.shared_folder import check_visible
from raypol.core.progress import Progress, no_progress
from raypol.runs.sweeps.baselines import HonestSide, Standing
from raypol.runs.sweeps.design import Point, Setup, controls_beside, searchable
from raypol.runs.sweeps.failed_trials import unworked_row
from raypol.runs.sweeps.live_status import Live
from raypol.runs.sweeps.plan import Plan
from raypol.runs.sweeps.record import About, Ledger
from raypol.runs.sweeps.success_ranges import Ranges
from raypol.store.location import Location
from raypol.store.results.files import write_trial
from raypol.store.results.rows import IntervalRow, TrialRow
from raypol.store.retries import storage_retries

if TYPE_CHECKING:  # Ray Tune takes a second to import, which no other command line should wait for
    from raypol.runs.sweeps.tune_trials import Shared, Watcher


@dataclass(frozen=True, kw_only=True, slots=True)
class Events:
    """Whom to tell; all are called from the driver's thread."""

    on_progress: Progress = no_progress
    on_row: Callable[[TrialRow, Sequence[IntervalRow]], None] = lambda _row, _intervals: None
    """Each row as it is finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRun:
    """What a sweep found."""

    plan: Plan
    rows: tuple[TrialRow, ...]
    """Honest rows first, then trials; those of earlier runs too."""
    resumed: int
    """Trials that an earlier run had finished."""
    stopped: str = ""
    """Why the sweep ended before all trials were run; empty if it did not."""

    @property
    def missing(self) -> int:
        """Trials without a row."""
        return max(self.plan.num_trials - len(self.trials), 0)

    @property
    def trials(self) -> tuple[TrialRow, ...]:
        """The rows without the honest ones."""
        return tuple(row for row in self.rows if not row.is_honest)


def run_sweep(
    plan: Plan,
    results: Location,
    *,
    address: str | None = None,
    events: Events | None = None,
    command: str = "",
) -> SweepRun:
    """Run what of a plan is not finished yet.

    Args:
        plan: see `plan_sweep`.
        results: a folder that takes files, and that every node sees.
        address: of a running cluster; None starts Ray on this machine for as long as this call lasts.
        events: whom to tell.
        command: what was typed to run it, for a report to come.

    Raises:
        InputError: another sweep lies under this name, a device that the cluster neither has nor can scale to, a node that does
            not see the results folder.
    """
    import ray

    events = events or Events()
    ledger = Ledger(results, plan.sweep_id)
    ledger.check(plan.asked, must_exist=plan.options.resume == "must")
    started = not ray.is_initialized()
    if started:
        where = "starting Ray on this machine" if address is None else f"connecting to the cluster at {address}"
        events.on_progress(where, 0, plan.num_trials)
        connect(address)
    try:
        view, groups = view_cluster(), plan.groups()
        for group in groups:
            check_group(group, view.nodes, view.scalable)
        check_visible(results)
        with ledger.only_driver():
            ledger.open(plan.asked)
            ledger.describe(
                About(question=plan.question, num_trials=plan.num_trials, search=plan.options.search, command=command)
            )
            return _Driver(plan, ledger, view, {request for group in groups for request in group}, events).run()
    finally:
        if started:
            ray.shutdown()


class _Driver:
    def __init__(
        self, plan: Plan, ledger: Ledger, view: ClusterView, devices: set[DeviceRequest], events: Events
    ) -> None:
        self._plan, self._ledger, self._view, self._events = plan, ledger, view, events
        self._done, self._total = 0, plan.num_trials
        self._live = Live(ledger.results, plan.sweep_id)
        self._failed: dict[str, Exception] = {}
        offers = [*view.nodes, *view.scalable.types]
        self._requests = {str(request): resolve(self._one_model(request), offers) for request in devices}

    def _one_model(self, request: DeviceRequest) -> DeviceRequest:
        """Where a cluster has several GPU models, `gpu` means one of them for a whole sweep: times would not compare else."""
        if request.kind != "gpu" or request.accelerator:
            return request
        models = gpu_models(self._view.nodes, self._view.scalable)
        if len(models) < 2:
            return request
        kept = self._ledger.recall("devices", "gpu") or {"model": models[0]}
        self._ledger.remember("devices", "gpu", kept)
        self._wait(f"gpu is taken as {kept['model']} throughout; the cluster has {', '.join(models)}")
        return replace(request, accelerator=kept["model"])

    def run(self) -> SweepRun:
        from raypol.runs.sweeps.tune_trials import FINISHED

        plan = self._plan
        standing = [row for row in self._ledger.rows() if row.status in FINISHED and not row.is_honest]
        finished = {row.trial_id for row in standing}
        self._done = len(finished)
        self._live.expects(self._total)
        self._live.found(standing)
        ways = {"optuna": self._search, "range": self._ranges}
        with self._live.told():
            stopped = ways.get(plan.options.search, self._enumerate)(finished)
            self._live.expects(self._total)
            self._live.stops(stopped)
        rows = sorted(self._ledger.rows(), key=lambda row: (not row.is_honest, row.started_at, row.trial_id))
        plan = replace(plan, num_trials=self._total)
        return SweepRun(plan=plan, rows=tuple(rows), resumed=len(finished), stopped=stopped)

    def _enumerate(self, finished: set[str]) -> str:
        left = self._unfinished(self._plan.trials, finished)
        standings = self._honest([setup for _, setup in left])
        return self._run(standings, left)

    def _search(self, finished: set[str]) -> str:
        """Let the searcher propose, then run the controls at the points it visited."""
        from raypol.runs.sweeps.searchers import optuna_search
        from raypol.runs.sweeps.tune_trials import run_search

        plan = self._plan
        standings = self._honest(list(plan.setups()))
        space = searchable(plan.design)
        known = [found["point"] for found in self._ledger.recall_all("points")]
        self._done = 0  # what is finished passes by again, for the searcher to know it
        stopped = run_search(
            self._shared(standings),
            optuna_search(space, known, seed=plan.options.search_seed),
            space=space,
            samples=plan.options.samples,
            watcher=self._watcher(),
        )
        visited = [found["point"] for found in self._ledger.recall_all("points")]
        controls = controls_beside(plan.design, visited)
        self._total = len(visited) + len(controls)
        self._live.expects(self._total)
        left = self._unfinished(controls, finished)
        self._done = self._total - len(left)
        return stopped or self._run(standings, left)

    def _ranges(self, finished: set[str]) -> str:
        """Search the ends of every arm's success range, going on from the rows that are there."""
        from raypol.runs.sweeps.searchers import RangeSearcher
        from raypol.runs.sweeps.tune_trials import run_search

        plan = self._plan
        ranges = Ranges(plan.design, plan.sweep_id, plan.options.policy, plan.options.scan_factor)
        ranges.recall(self._ledger.rows(), failed=False)
        self._done, stopped = len(finished), ""
        if ranges.proposals():
            stopped = run_search(
                self._shared(self._honest(list(plan.setups()))),
                RangeSearcher(ranges),
                space={},
                samples=ranges.num_grid,
                watcher=self._watcher(),
            )
        self._total = ranges.num_trials + len(ranges.proposals())
        return stopped

    def _run(self, standings: dict[str, Standing], left: Sequence[tuple[Point, Setup]]) -> str:
        from raypol.runs.sweeps.tune_trials import run_points

        points = []
        for point, setup in left:
            reason = self._failed.get(setup.honest_key())
            if reason is None:
                points.append(point)
            else:
                row = unworked_row(self._plan.sweep_id, setup, f"its honest proof failed: {reason}")
                storage_retries(write_trial, self._ledger.results, row, ())
                self._finished(setup, row, ())
        if not points:
            return ""
        return run_points(self._shared(standings), points, self._watcher())

    def _watcher(self) -> "Watcher":
        """For trials, which can be run from now on."""
        from raypol.runs.sweeps.tune_trials import Watcher

        self._live.begins()
        self._wait("running trials")
        return Watcher(
            on_finished=self._finished, on_wait=self._wait, on_begun=self._live.began, on_lost=self._live.lost
        )

    def _shared(self, standings: dict[str, Standing]) -> "Shared":
        from raypol.runs.sweeps.tune_trials import Shared

        return Shared(
            ledger=self._ledger,
            design=self._plan.design,
            options=self._plan.options,
            standings=standings,
            requests=self._requests,
            simulated_devices=frozenset(
                name
                for name, request in self._requests.items()
                if request.kind == "gpu" and any(node.simulated and node.fits(request) for node in self._view.nodes)
            ),
        )

    def _unfinished(self, trials: Sequence[tuple[Point, Setup]], finished: set[str]) -> list[tuple[Point, Setup]]:
        return [(point, setup) for point, setup in trials if setup.trial_id(self._plan.sweep_id) not in finished]

    def _honest(self, setups: Sequence[Setup]) -> dict[str, Standing]:
        """What trials are compared with; those that cannot be compared get their row in `_run`.

        Raises:
            Exception: why no honest proof could be made at all.
        """
        found, self._failed = HonestSide(
            ledger=self._ledger,
            options=self._plan.options,
            view=self._view,
            requests=self._requests,
            on_progress=self._say,
            on_outcome=lambda outcome: self._events.on_row(outcome.row, outcome.intervals),
        ).standings(setups)
        if self._failed and not found:
            raise next(iter(self._failed.values()))
        return found

    def _finished(self, setup: Setup, row: TrialRow, intervals: Sequence[IntervalRow]) -> None:
        self._done += 1
        self._live.finished(row)
        self._wait(f"{row.arm}, T' = {setup.spoof.steps}, k = {setup.spoof.interval}")
        self._events.on_row(row, intervals)

    def _wait(self, what: str) -> None:
        self._say(what, self._done, self._total)

    def _say(self, what: str, done: int, of: int) -> None:
        self._live.says(what if (done, of) == (self._done, self._total) else f"{what}: {done}/{of}")
        self._events.on_progress(what, done, of)
