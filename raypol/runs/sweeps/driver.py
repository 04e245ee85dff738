"""The driver of a sweep: the baselines first, then every trial under Ray Tune, each in a reservation of its own.

A trial is named by a digest of its content, so nothing is lost and nothing is done twice: a process that is to run it looks first
for its row, then for what an interrupted try finished. A killed driver is resumed by running the same sweep again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from raypol.cluster.connection import connect
from raypol.cluster.inventory import check_group, gpu_models, groups_at_once, resolve
from raypol.cluster.placement import DeviceRequest
from raypol.cluster.scaling import ClusterView, view_cluster
from raypol.cluster.shared_folder import check_visible
from raypol.core.progress import Progress, TimeLeft, no_progress
from raypol.runs.designs.points import controls_beside, searchable
from raypol.runs.sweeps.baselines import Baseline, BaselineMaker, honest_trial_id
from raypol.runs.sweeps.failed_trials import unworked_row
from raypol.runs.sweeps.forecast import trial_seconds
from raypol.runs.sweeps.live_status import LiveStatus
from raypol.runs.sweeps.plan import SweepPlan, trial_group
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.sweeps.success_ranges import Ranges
from raypol.runs.trials.honest_proof import proof_at
from raypol.runs.trials.study import Trial
from raypol.store.location import Location
from raypol.store.results.files import write_trial
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import FINISHED, TrialRow
from raypol.store.retries import storage_retries

if TYPE_CHECKING:  # Ray Tune takes a second to import, which no other command line should wait for
    from raypol.runs.sweeps.adaptive import AdaptiveSearches
    from raypol.runs.sweeps.tune_trials import Shared, Watcher


_MOST_WAITING: Final = 64
"""Trials that wait for a place in Tune's queue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Events:
    """Callbacks, all from the driver's thread."""

    on_progress: Progress = no_progress
    on_row: Callable[[TrialRow, Sequence[IntervalRow]], None] = lambda _row, _intervals: None
    """Called with each row as it is finished, and its intervals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRun:
    """The rows of a sweep."""

    plan: SweepPlan
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


def drive_sweep(
    plan: SweepPlan,
    results: Location,
    *,
    address: str | None = None,
    events: Events | None = None,
    command: str = "",
) -> SweepRun:
    """Run the unfinished trials of a plan.

    Args:
        plan: see `plan_sweep`.
        results: a folder that can be written, and that every node sees.
        address: of a running cluster; None starts Ray on this machine for as long as this call lasts.
        events: callbacks.
        command: the command line, for the report.

    Raises:
        InputError: another sweep lies under this name, a device that the cluster neither has nor can scale to, a node that does
            not see the results folder.
        BusyError: another process runs this sweep.
    """
    import ray

    events = events or Events()
    record = SweepRecord(results, plan.sweep_id)
    record.require_same(plan.asked, must_exist=plan.options.resume == "must")
    if (ended := _ended_before(plan, record)) is not None:
        return ended
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
        with record.only_driver():
            record.write_asked(plan.asked)
            record.write_about(
                About(question=plan.question, num_trials=plan.num_trials, search=plan.options.search, command=command)
            )
            return _Driver(plan, record, view, {request for group in groups for request in group}, events).run()
    finally:
        if started:
            ray.shutdown()


def most_waiting(groups: Iterable[Sequence[DeviceRequest]], view: ClusterView) -> int:
    """The most proposed trials that may wait for a place where they are proposed in an order: as many as there are places,
    because what is proposed later may be more urgent and Tune's queue keeps no order. An autoscaler sees only what waits: it gets
    more.

    Args:
        groups: the distinct sets of devices that a trial reserves.
        view: of the cluster.
    """
    if view.scalable.types:
        return _MOST_WAITING
    places = sum(groups_at_once(group, view.nodes, most=_MOST_WAITING) for group in groups)
    return max(1, min(places, _MOST_WAITING))


def _ended_before(plan: SweepPlan, record: SweepRecord) -> SweepRun | None:
    """The whole of a sweep of which nothing is left to run, so that no Ray is needed; None if something is, or if only a searcher
    knows.

    Who goes on opens the searches again under the lock: another process may have run trials meanwhile.
    """
    if not (rows := record.rows()):
        return None
    earlier = _finished(rows)
    finished = {row.trial_id for row in earlier}
    if plan.options.search == "adaptive":
        from raypol.runs.sweeps.adaptive import open_searches

        judged = {row.trial_id for row in rows if row.is_honest and row.is_ok}
        searches = open_searches(plan, record)
        wanted = {honest_trial_id(plan.sweep_id, trial.honest_key()) for trial in plan.examples()}
        if not wanted <= judged or searches.proposals():
            return None
        plan = replace(plan, num_trials=searches.likely)
    elif not plan.trials or not finished.issuperset(trial.trial_id(plan.sweep_id) for trial in plan.trials):
        return None
    live = LiveStatus(record.results, plan.sweep_id)
    live.set_num_trials(plan.num_trials)
    live.add_resumed(earlier)
    live.publish_end()  # its driver may have been killed after the last row
    return _sweep_run(plan, rows, resumed=len(finished))


def _finished(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Rows of trials that are not run again."""
    return [row for row in rows if row.status in FINISHED and not row.is_honest]


def _sweep_run(plan: SweepPlan, rows: Sequence[TrialRow], *, resumed: int, stopped: str = "") -> SweepRun:
    rows = sorted(rows, key=lambda row: (not row.is_honest, row.started_at, row.trial_id))
    return SweepRun(plan=plan, rows=tuple(rows), resumed=resumed, stopped=stopped)


class _Driver:
    def __init__(
        self, plan: SweepPlan, record: SweepRecord, view: ClusterView, devices: set[DeviceRequest], events: Events
    ) -> None:
        self._plan, self._record, self._view, self._events = plan, record, view, events
        self._done, self._total = 0, plan.num_trials
        self._live = LiveStatus(record.results, plan.sweep_id)
        self._failed: dict[str, Exception] = {}
        self._searches: AdaptiveSearches | None = None
        offers = [*view.nodes, *view.scalable.types]
        self._requests = {str(request): resolve(self._one_model(request), offers) for request in devices}

    def _one_model(self, request: DeviceRequest) -> DeviceRequest:
        """The request with the one GPU model that `gpu` means throughout a sweep, so that times compare."""
        if request.kind != "gpu" or request.accelerator:
            return request
        models = gpu_models(self._view.nodes, self._view.scalable)
        if len(models) < 2:
            return request
        kept = self._record.read_note("devices", "gpu", "model") or {"model": models[0]}
        self._record.write_note("devices", "gpu", kept)
        self._show(f"gpu is taken as {kept['model']} throughout; the cluster has {', '.join(models)}")
        return replace(request, accelerator=kept["model"])

    def run(self) -> SweepRun:
        plan = self._plan
        earlier = _finished(self._record.rows())
        finished = {row.trial_id for row in earlier}
        self._done = len(finished)
        self._live.set_num_trials(self._total)
        self._live.add_resumed(earlier)
        run = {"optuna": self._search, "range": self._search_ranges, "adaptive": self._search_adaptively}.get(
            plan.options.search, self._enumerate
        )
        with self._live.publishing():
            stopped = run(finished)
            self._live.set_num_trials(self._total)
            self._live.set_stop_reason(stopped)
        plan = replace(plan, num_trials=self._total)
        return _sweep_run(plan, self._record.rows(), resumed=len(finished), stopped=stopped)

    def _enumerate(self, finished: set[str]) -> str:
        left = self._unfinished(self._plan.trials, finished)
        if len(left) > 1:
            self._show("counting the work of the trials")
            self._live.expect(left, trial_seconds(left, self._plan.options.estimate))
        return self._run(self._baselines(left), left)

    def _search(self, finished: set[str]) -> str:
        """Let the searcher propose, then run the controls at the points it visited."""
        from raypol.runs.sweeps.searchers import optuna_search
        from raypol.runs.sweeps.tune_trials import run_search

        plan = self._plan
        baselines = self._baselines(plan.examples())
        known = [found["point"] for found in self._record.read_notes("points", "point")]
        self._done = 0  # what is finished passes by again, for the searcher to know it
        stopped = run_search(
            self._shared(baselines),
            optuna_search(plan.design, known, seed=plan.options.search_seed),
            space=searchable(plan.design),
            samples=plan.options.samples,
            watcher=self._watcher(),
        )
        visited = [found["point"] for found in self._record.read_notes("points", "point")]
        controls = controls_beside(plan.design, visited)
        self._total = len(visited) + len(controls)
        self._live.set_num_trials(self._total)
        left = self._unfinished(controls, finished)
        self._done = self._total - len(left)
        return stopped or self._run(baselines, left)

    def _search_ranges(self, finished: set[str]) -> str:
        """Search the ends of every arm's success range, going on from the rows that are there."""
        from raypol.runs.sweeps.searchers import ProposingSearcher
        from raypol.runs.sweeps.tune_trials import run_search

        plan = self._plan
        ranges = Ranges(plan.design, plan.sweep_id, plan.options.policy, plan.options.scan_factor)
        ranges.take(self._record.rows(), failed=False)
        self._done, stopped = len(finished), ""
        if ranges.proposals():
            stopped = run_search(
                self._shared(self._baselines(plan.examples())),
                ProposingSearcher(ranges),
                space={},
                samples=ranges.num_grid,
                watcher=self._watcher(),
                waiting=_MOST_WAITING,
            )
        self._total = ranges.num_trials + len(ranges.proposals())
        return stopped

    def _search_adaptively(self, finished: set[str]) -> str:
        """Search every arm's cheapest accepted spoof, going on from the rows that are there."""
        from raypol.runs.sweeps.adaptive import ReportedSearches, open_searches
        from raypol.runs.sweeps.searchers import ProposingSearcher
        from raypol.runs.sweeps.tune_trials import run_search

        plan, results = self._plan, self._record.results
        searches = self._searches = open_searches(plan, self._record)
        self._done, stopped = len(finished), ""
        baselines = self._baselines(plan.examples())
        if searches.proposals():
            self._show("counting the work of the arms")
            searches.count_work(plan.options.estimate)
            self._total = max(searches.likely, self._done)
            stopped = run_search(
                self._shared(baselines),
                ProposingSearcher(ReportedSearches(searches, results)),
                space={},
                samples=searches.most,
                watcher=self._watcher(),
                waiting=most_waiting(
                    {trial_group(trial, plan.options.workers) for trial in plan.examples()}, self._view
                ),
            )
        self._total = searches.likely
        return stopped

    def _run(self, baselines: dict[str, Baseline], left: Sequence[Trial]) -> str:
        from raypol.runs.sweeps.tune_trials import run_trials

        comparable = []
        for trial in left:
            reason = self._failed.get(trial.honest_key())
            if reason is None:
                comparable.append(trial)
            else:
                row = unworked_row(self._plan.sweep_id, trial, f"its honest proof failed: {reason}")
                storage_retries(write_trial, self._record.results, row, ())
                self._finished(trial, row, ())
        return run_trials(self._shared(baselines), comparable, self._watcher()) if comparable else ""

    def _watcher(self) -> "Watcher":
        """The callbacks for trials, which can run from now on."""
        from raypol.runs.sweeps.tune_trials import Watcher

        self._live.trials_can_start()
        self._show("running trials")
        return Watcher(
            on_finished=self._finished,
            on_wait=self._show,
            on_started=self._live.trial_started,
            on_lost=self._live.trial_lost,
        )

    def _shared(self, baselines: dict[str, Baseline]) -> "Shared":
        from raypol.runs.sweeps.tune_trials import Shared

        return Shared(
            record=self._record,
            options=self._plan.options,
            baselines=baselines,
            requests=self._requests,
            simulated_devices=frozenset(
                name
                for name, request in self._requests.items()
                if request.kind == "gpu" and any(node.simulated and node.fits(request) for node in self._view.nodes)
            ),
        )

    def _unfinished(self, trials: Sequence[Trial], finished: set[str]) -> list[Trial]:
        return [trial for trial in trials if trial.trial_id(self._plan.sweep_id) not in finished]

    def _baselines(self, trials: Sequence[Trial]) -> dict[str, Baseline]:
        """Baselines by `Trial.honest_key`; trials whose baseline failed get their row in `_run`.

        Raises:
            Exception: the first error, if no baseline could be made.
        """
        found, self._failed = BaselineMaker(
            record=self._record,
            options=self._plan.options,
            view=self._view,
            requests=self._requests,
            own=proof_at(self._plan.design.proof) if self._plan.design.proof else None,
            on_progress=self._show_count,
            on_outcome=lambda outcome: self._events.on_row(outcome.row, outcome.intervals),
        ).baselines(trials)
        if self._failed and not found:
            raise next(iter(self._failed.values()))
        return found

    def _finished(self, trial: Trial, row: TrialRow, intervals: Sequence[IntervalRow]) -> None:
        self._done += 1
        if self._searches is not None:
            self._total = max(self._searches.likely, self._done)
            self._live.set_num_trials(self._total)
        self._live.trial_finished(row)
        self._show(str(trial))
        self._events.on_row(row, intervals)

    def _show(self, what: str) -> None:
        self._show_count(what, self._done, self._total, self._live.left)

    def _show_count(self, what: str, done: int, of: int, left: TimeLeft | None = None) -> None:
        self._live.set_activity(f"{what}: {done}/{of}" if of and left is None else what)
        self._events.on_progress(what, done, of, left)
