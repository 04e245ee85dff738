"""The trials of a sweep under Ray Tune: each in a placement group of its own, in processes that go from trial to trial.

Tune schedules; what a trial is, whether it is finished, and where it goes on, is in the results folder.
"""

import logging
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import ray
from ray import tune
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from raypol.cluster.placement import DeviceRequest
from raypol.cluster.ray_runner import RayRunner
from raypol.cluster.runners import Role
from raypol.runs.sweeps.baselines import Standing
from raypol.runs.sweeps.design import Design, Point, Setup, setup_of
from raypol.runs.sweeps.failed_trials import unworked_row
from raypol.runs.sweeps.plan import SweepOptions, trial_group
from raypol.runs.sweeps.record import Ledger
from raypol.runs.sweeps.success_ranges import verdicts
from raypol.runs.trials.trial import run_trial
from raypol.store.location import Location, write_problem
from raypol.store.locks import only_maker
from raypol.store.results.files import read_trial, write_trial
from raypol.store.results.rows import IntervalRow, TrialRow
from raypol.store.retries import storage_retries

_log = logging.getLogger(__name__)

FINISHED: Final = ("ok", "stopped")
"""States of a row that are not run again."""
_MAX_FAILURES: Final = 3
"""A trial whose process or worker is lost is started again, so often; it goes on where it stood."""
_PROBE_BYTES: Final = 1 << 20
"""Storage that does not take so many takes no trial."""
_AWAY_S: Final = 90.0
"""So long a lost trial's storage may be away; trials have waited for it before."""
_MOST_WAITING: Final = 64
_LOOK_S: Final = 2.0
_SAY_S: Final = 20.0
"""Longer than a trial's processes take to start on an idle machine."""
_START_S: Final = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Watcher:
    """Whom to tell; all are called from the driver's thread."""

    on_finished: Callable[[Setup, TrialRow, Sequence[IntervalRow]], None]
    """Handed every trial's row and intervals."""
    on_wait: Callable[[str], None]
    """Told what the trials that do not run wait for."""
    on_begun: Callable[[Setup], None] = lambda _setup: None
    """A trial has its reservation and is in work."""
    on_lost: Callable[[Setup], None] = lambda _setup: None
    """Its process or its workers are lost, and it will be begun again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What every trial of a sweep is handed, once per process."""

    ledger: Ledger
    design: Design
    options: SweepOptions
    standings: Mapping[str, Standing]
    """By `Setup.honest_key`."""
    requests: Mapping[str, DeviceRequest]
    """Device spelling -> what the nodes call it."""
    simulated_devices: frozenset[str] = frozenset()
    """Spellings whose GPUs are only declared."""
    searched: bool = False
    """True while a searcher proposes the points: each is written down before it is run."""

    def simulated(self, setup: Setup) -> bool:
        """True if a device of this trial is only declared."""
        return not self.simulated_devices.isdisjoint((setup.prover, setup.spoofer, setup.verifier))

    def devices(self, setup: Setup) -> dict[Role, DeviceRequest]:
        """What a trial's roles compute on; nobody proves in a trial."""
        spoofer, verifier = self.requests[setup.spoofer], self.requests[setup.verifier]
        return {"prover": spoofer, "spoofer": spoofer, "verifier": verifier}


def run_points(shared: Shared, points: Sequence[Point], watcher: Watcher) -> str:
    """Run these points. Returns why it ended before all were run; empty if it did not."""
    return _fit(shared, {"point": tune.grid_search([dict(point) for point in points])}, watcher)


def run_search(
    shared: Shared,
    searcher: Any,  # noqa: ANN401 - Ray is untyped
    *,
    space: Mapping[str, Any],
    samples: int,
    watcher: Watcher,
) -> str:
    """Run the points that a searcher proposes, of a space of axes or, where that is empty, of its own; see `run_points`."""
    wanted = {"point": dict(space)} if space else {}
    # Tune asks a searcher for the next point once the last one has its place, so that it may learn first. One with a space of its
    # own says itself when it must learn; an autoscaler sees all that waits.
    waiting = 0 if space else _MOST_WAITING
    shared = replace(shared, searched=True)
    return _fit(shared, wanted, watcher, waiting, search_alg=searcher, num_samples=samples)


def _fit(
    shared: Shared,
    space: Mapping[str, Any],
    watcher: Watcher,
    waiting: int = 0,
    **search: Any,  # noqa: ANN401 - TuneConfig's
) -> str:
    watch = _Watch(shared, watcher)
    options = shared.options
    trainable = tune.with_resources(
        tune.with_parameters(_trial, shared=shared),
        partial(_reservation, design=shared.design, workers=options.workers, requests=dict(shared.requests)),
    )
    with _quiet(waiting):
        tune.Tuner(
            trainable,
            param_space=dict(space),
            tune_config=tune.TuneConfig(
                reuse_actors=True,  # starting a process takes longer than a small trial
                max_concurrent_trials=options.max_concurrent or None,
                trial_dirname_creator=_folder_name,
                **search,
            ),
            run_config=tune.RunConfig(
                storage_path=(shared.ledger.folder / "tune").address,
                name=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}",
                failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
                callbacks=[watch],
                stop=watch.stopper,
                verbose=0,
            ),
        ).fit()
    return watch.stopper.reason


def _reservation(
    config: Mapping[str, Any], design: Design, workers: int, requests: Mapping[str, DeviceRequest]
) -> tune.PlacementGroupFactory:
    """What a trial reserves: nothing for the process that leads it, then a bundle for each of its workers."""
    group = trial_group(setup_of(design, config["point"]), workers)
    return tune.PlacementGroupFactory([{}, *(requests[str(request)].bundle() for request in group)])


def _folder_name(trial: Any) -> str:  # noqa: ANN401 - Ray is untyped
    return f"trial-{trial.trial_id}"


# --- in the trial's process --------------------------------------------------------------------------------------------

# Workers live as long as the process and its reservation: the next trial on the same devices finds them warm.
_runners: dict[object, RayRunner] = {}


def _trial(config: Mapping[str, Any], *, shared: Shared) -> None:
    point: Point = config["point"]
    setup = setup_of(shared.design, point)
    ledger, trial_id = shared.ledger, setup.trial_id(shared.ledger.sweep_id)
    if storage_retries(ledger.recall_sweep) is None:
        raise RuntimeError(f"node {ray.util.get_node_ip_address()} does not see the results folder {ledger.results}")
    if shared.searched:
        storage_retries(ledger.remember, "points", trial_id, {"point": plain(point)})
    with only_maker(ledger.results, [trial_id]):  # a searcher may propose a point that another process has in work
        found = storage_retries(read_trial, ledger.results, trial_id)
        if found is None or found[0].status not in FINISHED:
            row, intervals = _run(setup, shared)
        else:
            row, intervals = found
    tune.report(objectives(row, intervals) | verdicts(row))


def _run(setup: Setup, shared: Shared) -> tuple[TrialRow, list[IntervalRow]]:
    standing = shared.standings[setup.honest_key()]
    group = ray.util.get_current_placement_group()
    key = (group.id.hex() if group else "", setup.spoofer, setup.verifier)
    try:
        if key not in _runners:
            _close_runners()
            _runners[key] = RayRunner(
                shared.devices(setup), workers=shared.options.workers, patience_s=shared.options.patience_s
            )
        outcome = run_trial(_runners[key], standing.study, setup.trial(shared.ledger.sweep_id), standing.honest)
    except BaseException:
        _close_runners()
        raise
    if outcome.row.status == "error":  # whatever broke it may have broken the worker too
        _close_runners()
    if outcome.lost:
        raise RuntimeError(outcome.row.message.partition("\n")[0])
    return outcome.row, list(outcome.intervals)


def _close_runners() -> None:
    for runner in _runners.values():
        runner.close()
    _runners.clear()


def objectives(row: TrialRow, intervals: Sequence[IntervalRow]) -> dict[str, float]:
    """What a search minimises: `error`, the largest share of its threshold that any interval's distance takes, 1 = just
    accepted; and `cost`, device time over the proof's. NaN where a trial has none.
    """
    shares = [one.distance / one.threshold for one in intervals if one.threshold > 0.0]
    cost = row.ratio_time
    worst = max(shares, default=math.nan) if all(map(math.isfinite, shares)) else math.nan
    return {"error": worst, "cost": math.nan if cost is None else cost}


def plain(point: Point) -> dict[str, Any]:
    """The point without numpy's number types, which JSON does not know."""
    return {axis: value.item() if hasattr(value, "item") else value for axis, value in point.items()}


# --- in the driver -----------------------------------------------------------------------------------------------------


class _Stopper(tune.Stopper):  # type: ignore[misc]  # Ray is untyped
    """Ends the whole run once there is a reason."""

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """No trial is stopped by what it reports: a trial that cannot succeed ends itself."""
        return False

    def stop_all(self) -> bool:
        """True once there is a reason."""
        return bool(self.reason)


class _Watch(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """Hands finished trials on, writes the row of those whose process died, and bounds every wait."""

    def __init__(self, shared: Shared, watcher: Watcher) -> None:
        self.stopper = _Stopper()
        self._shared = shared
        self._watcher = watcher
        self._idle_since = self._looked = time.monotonic()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its callbacks to restore a run some day; we resume from rows, so nothing of this one is needed."""
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """A trial is in work, for the first time or again."""
        self._watcher.on_begun(setup_of(self._shared.design, trial.config["point"]))

    def on_trial_recover(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """It was lost, and Tune will start it again, unless the storage is why."""
        setup = setup_of(self._shared.design, trial.config["point"])
        if problem := _storage_problem(self._shared.ledger.results):
            self.stopper.reason = f"{self._shared.ledger.results} takes nothing any more ({problem})"
        else:
            spoof = setup.spoof
            what = f"{setup.arm}, T' = {spoof.steps}, k = {spoof.interval}, seed {spoof.seed}"
            _log.warning("%s: lost and started again (%s)", what, _last_line(trial))
            self._watcher.on_lost(setup)

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """A trial reported its row."""
        setup = setup_of(self._shared.design, trial.config["point"])
        trial_id = setup.trial_id(self._shared.ledger.sweep_id)
        try:
            found = read_trial(self._shared.ledger.results, trial_id)
        except OSError as err:
            _log.warning("the row of %s cannot be read now: %s", trial_id, err)
            return
        if found is not None:
            self._watcher.on_finished(setup, *found)

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """A trial's process or its workers were lost too often."""
        setup = setup_of(self._shared.design, trial.config["point"])
        shared, standing = self._shared, self._shared.standings.get(setup.honest_key())
        found = read_trial(shared.ledger.results, setup.trial_id(shared.ledger.sweep_id))
        if found is not None and found[0].status in FINISHED:  # its process died after its work was done
            self._watcher.on_finished(setup, *found)
            return
        reason = f"lost in each of {_MAX_FAILURES + 1} tries: {_last_line(trial)}"
        row = unworked_row(
            shared.ledger.sweep_id,
            setup,
            reason if standing else "its honest proof failed",
            simulated=shared.simulated(setup),
            study=standing.study if standing else None,
        )
        try:
            storage_retries(write_trial, shared.ledger.results, row, ())
        except OSError as err:
            self.stopper.reason = f"{shared.ledger.results} takes no rows any more ({err})"
            return
        self._watcher.on_finished(setup, row, ())

    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:  # noqa: ANN401
        """Tune goes round again: if nothing runs, say what for; if that lasts too long, end."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        waiting = [trial for trial in trials if trial.status == "PENDING"]
        if not waiting or any(trial.status == "RUNNING" for trial in trials):
            self._idle_since = now
            return
        idle_s, patience_s = now - self._idle_since, self._shared.options.patience_s
        if idle_s < _SAY_S:
            return
        setups = [setup_of(self._shared.design, trial.config["point"]) for trial in waiting]
        devices = sorted({name for setup in setups for name in (setup.spoofer, setup.verifier)})
        said = f"{len(waiting)} trials wait for {', '.join(devices)}"
        if num_reserved() > 0:  # a busy machine takes its time to start processes
            self._watcher.on_wait("starting workers")
            patience_s += _START_S
        else:
            self._watcher.on_wait(said)
        if idle_s > patience_s:
            self.stopper.reason = f"{said}, and none could start for {patience_s:g} s"


def _storage_problem(results: Location) -> str:
    """Why no trial can be written any more; empty if it can, or can again after a while."""
    tries = Retrying(
        retry=retry_if_result(bool),
        wait=wait_fixed(2.0),
        stop=stop_after_delay(_AWAY_S),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else "",
    )
    return tries(write_problem, results, _PROBE_BYTES)


def num_reserved() -> int:
    """How many placement groups this driver holds; the end of a group's id is its job's."""
    job = ray.get_runtime_context().get_job_id()
    groups = ray.util.placement_group_table().items()
    return sum(name.endswith(job) and about["state"] == "CREATED" for name, about in groups)


def _last_line(trial: Any) -> str:  # noqa: ANN401 - Ray is untyped
    """The last line of the trial's traceback."""
    try:
        lines = str(trial.get_error() or "").strip().splitlines()
    except Exception as err:  # Tune unpickles an error that may be of the user's own module
        return repr(err)
    return lines[-1] if lines else "its process died"


@contextmanager
def _quiet(waiting: int) -> Iterator[None]:
    """Tune's own tables, loggers and Ctrl-C handling stay out of the way: the rows are the record, the terminal is ours.

    Args:
        waiting: how many trials Tune may queue; 0 = as it thinks best.
    """
    wanted = {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "60",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    if waiting:
        wanted["TUNE_MAX_PENDING_TRIALS_PG"] = str(waiting)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:  # what they say of a lost trial is a traceback; `_Watch` says it in a line
        logger.setLevel(logging.ERROR if _log.isEnabledFor(logging.DEBUG) else logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
