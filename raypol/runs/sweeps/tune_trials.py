"""The trials of a sweep under Ray Tune: each in a placement group of its own, in processes that go from trial to trial.

Tune's configuration of a trial is `{"trial": Trial}`, with `"point"` beside it where a searcher drew one. Tune only schedules:
the results folder says which trials are finished and where an interrupted one goes on.
"""

import logging
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import ray
from ray import tune
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from raypol.cluster.placement import DeviceRequest
from raypol.cluster.ray_runner import RayRunner
from raypol.cluster.runners import Role
from raypol.runs.designs.axes import Point
from raypol.runs.sweeps.baselines import Baseline
from raypol.runs.sweeps.failed_trials import unworked_row
from raypol.runs.sweeps.plan import SweepOptions, trial_group
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.sweeps.success_ranges import reported_outcomes
from raypol.runs.trials.study import Trial
from raypol.runs.trials.trial import run_trial
from raypol.store.location import Location, write_problem
from raypol.store.locks import only_maker
from raypol.store.results.files import read_trial, write_trial
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import FINISHED, TrialRow
from raypol.store.retries import storage_retries

_log = logging.getLogger(__name__)

_MAX_FAILURES: Final = 3
"""Times that a trial whose process or worker is lost is started again; it goes on where it stood."""
_PROBE_BYTES: Final = 1 << 20
"""Storage that cannot be given this many cannot be given a trial."""
_AWAY_S: Final = 90.0
"""Time that storage may be away once a trial was lost, which has waited for it before."""
_LOOK_S: Final = 2.0
_SAY_S: Final = 20.0
"""Longer than a trial's processes take to start on an idle machine."""
_START_S: Final = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Watcher:
    """Callbacks, all from the driver's thread."""

    on_finished: Callable[[Trial, TrialRow, Sequence[IntervalRow]], None]
    """Called with every finished trial, its row and intervals."""
    on_wait: Callable[[str], None]
    """Called with the reason why no trial runs."""
    on_started: Callable[[Trial], None]
    """Called when a trial has its reservation and runs."""
    on_lost: Callable[[Trial], None]
    """Called when its process or its workers are lost, and it will be started again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What every trial of a sweep is handed, once per process."""

    record: SweepRecord
    options: SweepOptions
    baselines: Mapping[str, Baseline]
    """By `Trial.honest_key`."""
    requests: Mapping[str, DeviceRequest]
    """Device spelling -> what the nodes call it."""
    simulated_devices: frozenset[str] = frozenset()
    """Spellings whose GPUs are only declared."""

    def is_simulated(self, trial: Trial) -> bool:
        """True if a device of this trial is only declared."""
        return not self.simulated_devices.isdisjoint((trial.prover, trial.spoofer, trial.verifier))

    def devices(self, trial: Trial) -> dict[Role, DeviceRequest]:
        """Device of each of a trial's roles; nobody proves in a trial."""
        spoofer, verifier = self.requests[trial.spoofer], self.requests[trial.verifier]
        return {"prover": spoofer, "spoofer": spoofer, "verifier": verifier}


def run_trials(shared: Shared, trials: Sequence[Trial], watcher: Watcher) -> str:
    """Run these trials. Returns why it ended before all were run; empty if it did not."""
    return _fit(shared, {"trial": tune.grid_search(list(trials))}, watcher)


def run_search(
    shared: Shared,
    searcher: Any,  # noqa: ANN401 - Ray is untyped
    *,
    space: Mapping[str, Any],
    samples: int,
    watcher: Watcher,
    waiting: int = 0,
) -> str:
    """Run the trials that a searcher proposes, from a space of axes or, where that is empty, its own; see `run_trials`.

    Args:
        shared: see `run_trials`.
        searcher: of Tune.
        space: axes that Tune hands to the searcher.
        samples: trials at most.
        watcher: see `run_trials`.
        waiting: trials that may wait for a place. 0: as few as Tune lets, so that the searcher may learn first.
    """
    wanted = {"point": dict(space)} if space else {}
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
        tune.with_parameters(_run_in_process, shared=shared),
        partial(_reservation, workers=options.workers, requests=dict(shared.requests)),
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
                storage_path=(shared.record.folder / "tune").address,
                name=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}",
                failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
                callbacks=[watch],
                stop=watch.stopper,
                verbose=0,
            ),
        ).fit()
    return watch.stopper.reason


def _reservation(
    config: Mapping[str, Any], workers: int, requests: Mapping[str, DeviceRequest]
) -> tune.PlacementGroupFactory:
    """A trial's reservation: nothing for the process that leads it, then a bundle for each of its workers."""
    group = trial_group(config["trial"], workers)
    return tune.PlacementGroupFactory([{}, *(requests[str(request)].bundle() for request in group)])


def _folder_name(trial: Any) -> str:  # noqa: ANN401 - Ray is untyped
    return f"trial-{trial.trial_id}"


# --- in the trial's process --------------------------------------------------------------------------------------------

# Workers live as long as the process and its reservation: the next trial on the same devices finds them warm.
_runners: dict[object, RayRunner] = {}


def _run_in_process(config: Mapping[str, Any], *, shared: Shared) -> None:
    trial: Trial = config["trial"]
    record, trial_id = shared.record, trial.trial_id(shared.record.sweep_id)
    if storage_retries(record.read_asked) is None:
        raise RuntimeError(f"node {ray.util.get_node_ip_address()} does not see the results folder {record.results}")
    if point := config.get("point"):  # a resumed search proposes it again
        storage_retries(record.write_note, "points", trial_id, {"point": json_point(point)})
    with only_maker(record.results, [trial_id]):  # a searcher may propose a trial that another process is running
        found = storage_retries(read_trial, record.results, trial_id)
        if found is None or found[0].status not in FINISHED:
            found = _run(trial, shared)
    # Without "done" Tune asks once more what comes.
    tune.report(objectives(*found) | reported_outcomes(found[0]) | {"done": True})


def _run(trial: Trial, shared: Shared) -> tuple[TrialRow, list[IntervalRow]]:
    baseline = shared.baselines[trial.honest_key()]
    group = ray.util.get_current_placement_group()
    key = (group.id.hex() if group else "", trial.spoofer, trial.verifier)
    try:
        if key not in _runners:
            _close_runners()
            _runners[key] = RayRunner(
                shared.devices(trial), workers=shared.options.workers, patience_s=shared.options.patience_s
            )
        outcome = run_trial(_runners[key], baseline.study, trial, baseline.honest)
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
    """The quantities that a search minimises: `error`, the largest share of its threshold that any interval's distance takes, 1 =
    just accepted; and `cost`, device time over the proof's. NaN where a trial has none.
    """
    shares = [one.distance / one.threshold for one in intervals if one.threshold > 0.0]
    cost = row.ratio_time
    worst = max(shares, default=math.nan) if all(map(math.isfinite, shares)) else math.nan
    return {"error": worst, "cost": math.nan if cost is None else cost}


def json_point(point: Point) -> dict[str, Any]:
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
        """Note that a trial runs, for the first time or again."""
        self._watcher.on_started(trial.config["trial"])

    def on_trial_recover(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Note that a trial was lost; Tune will start it again, unless the storage is why."""
        results = self._shared.record.results
        if problem := _storage_problem(results):
            self.stopper.reason = f"{results} cannot be written ({problem})"
        else:
            _log.warning("%s: lost and started again (%s)", trial.config["trial"], _last_line(trial))
            self._watcher.on_lost(trial.config["trial"])

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Hand on the row of a trial that reported it."""
        asked: Trial = trial.config["trial"]
        trial_id = asked.trial_id(self._shared.record.sweep_id)
        try:
            found = read_trial(self._shared.record.results, trial_id)
        except OSError as err:
            _log.warning("the row of %s cannot be read now: %s", trial_id, err)
            return
        if found is not None:
            self._watcher.on_finished(asked, *found)

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Write the row of a trial whose process or workers were lost too often."""
        asked: Trial = trial.config["trial"]
        shared, record = self._shared, self._shared.record
        baseline = shared.baselines.get(asked.honest_key())
        found = read_trial(record.results, asked.trial_id(record.sweep_id))
        if found is not None and found[0].status in FINISHED:  # its process died after its work was done
            self._watcher.on_finished(asked, *found)
            return
        reason = f"lost in each of {_MAX_FAILURES + 1} tries: {_last_line(trial)}"
        row = unworked_row(
            record.sweep_id,
            asked,
            reason if baseline else "its honest proof failed",
            simulated=shared.is_simulated(asked),
            study=baseline.study if baseline else None,
        )
        try:
            storage_retries(write_trial, record.results, row, ())
        except OSError as err:
            self.stopper.reason = f"{record.results} cannot be written ({err})"
            return
        self._watcher.on_finished(asked, row, ())

    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:  # noqa: ANN401
        """If nothing runs, show what is waited for; end the run if that lasts too long."""
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
        asked: list[Trial] = [trial.config["trial"] for trial in waiting]
        devices = sorted({name for trial in asked for name in (trial.spoofer, trial.verifier)})
        wait = f"{len(waiting)} trials wait for {', '.join(devices)}"
        if num_reserved() > 0:  # a busy machine takes its time to start processes
            self._watcher.on_wait("starting workers")
            patience_s += _START_S
        else:
            self._watcher.on_wait(wait)
        if idle_s > patience_s:
            self.stopper.reason = f"{wait}, and none could start for {patience_s:g} s"


def _storage_problem(results: Location) -> str:
    """Why no trial can be written; empty if one can, or can again after a while."""
    tries = Retrying(
        retry=retry_if_result(bool),
        wait=wait_fixed(2.0),
        stop=stop_after_delay(_AWAY_S),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else "",
    )
    return tries(write_problem, results, _PROBE_BYTES)


def num_reserved() -> int:
    """The number of placement groups that this driver holds; a group's id ends with its job's."""
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
    """Keep Tune's own tables, loggers and Ctrl-C handling out of the way: the rows are the record, the terminal is ours.

    Args:
        waiting: number of trials that Tune may queue; 0 = as it thinks best.
    """
    wanted = {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # we resume from rows: its state of the run is for nobody
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
