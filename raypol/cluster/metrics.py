"""raypol's own metrics, which Ray exports on every node for Prometheus: `raypol_x` as `ray_raypol_x`, counters with `_total`.

They are the live view of a cluster, shown by dashboards/grafana/raypol.json; the rows in the results folder are the record.
Without Ray in this process nothing is counted. Counting never fails a job: a value that Ray refuses is dropped. A killed worker
loses counts younger than Ray's export interval (10 s).
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

_log = logging.getLogger(__name__)

What = Literal["worker", "trial process"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """Name and meaning of a metric."""

    name: str
    kind: Literal["counter", "gauge"]
    tags: tuple[str, ...]
    about: str

    @property
    def exported(self) -> str:
        """Name in Prometheus."""
        return f"ray_{self.name}" + ("_total" if self.kind == "counter" else "")


INTERVALS: Final = MetricSpec(
    "raypol_intervals",
    "counter",
    ("work", "accelerator", "attack"),
    "Intervals that workers crafted or replayed. A verifier is not told the attack: replays count under none.",
)
DEVICE_SECONDS: Final = MetricSpec(
    "raypol_device_seconds",
    "counter",
    ("role", "accelerator", "attack"),
    "Seconds that workers spent on jobs, loading and storing included; a worker on half a GPU counts half.",
)
STORE_BYTES: Final = MetricSpec("raypol_store_bytes", "counter", ("role",), "Bytes of proofs and shards written.")
LOST: Final = MetricSpec(
    "raypol_lost", "counter", ("what",), "Workers and processes of trials that died or whose node did."
)
RESTARTED: Final = MetricSpec("raypol_restarted", "counter", ("what",), "Lost workers and processes that came back.")
SHARDS_WAITING: Final = MetricSpec(
    "raypol_shards_waiting", "gauge", ("accelerator",), "Jobs of running trials that wait for a worker."
)
TRIALS: Final = MetricSpec(
    "raypol_trials", "gauge", ("sweep", "state"), "Trials by state: waiting, running, ok, error, stopped."
)
TRIALS_FINISHED: Final = MetricSpec(
    "raypol_trials_finished", "counter", ("sweep", "state", "arm"), "Trials that this driver saw finish."
)
OLDEST_TRIAL: Final = MetricSpec(
    "raypol_oldest_trial_seconds", "gauge", ("sweep",), "Age of the trial that has run longest; 0 if none runs."
)
EXPORTED_METRICS: Final = (
    INTERVALS, DEVICE_SECONDS, STORE_BYTES, LOST, RESTARTED, SHARDS_WAITING, TRIALS, TRIALS_FINISHED, OLDEST_TRIAL
)  # fmt: skip

Values = Mapping[tuple[str, ...], float]
"""Values of a gauge by its tags, in the order of its specification."""

# Ray forgets a gauge that was not set for two of its export intervals (20 s), so that gauges of dead processes vanish.
_EVERY_S: Final = 5.0
_ALMOST_ZERO: Final = 1e-9
"""Ray's counters refuse zero."""


def add(spec: MetricSpec, amount: float, **tags: str) -> None:
    """Add a positive amount to a counter; anything else is dropped, and so is everything without Ray."""
    if amount > 0:
        _record(spec, amount, tags)


def start_series(spec: MetricSpec, **tags: str) -> None:
    """Export a counter before its first count: a series that begins with its first count has no rate."""
    _record(spec, _ALMOST_ZERO, tags)


def add_lost(what: What) -> None:
    """Count a worker or trial process that died."""
    add(LOST, 1, what=what)


def add_restarted(what: What) -> None:
    """Count one that came back."""
    add(RESTARTED, 1, what=what)


@contextmanager
def exported_gauges(sources: Mapping[MetricSpec, Callable[[], Values]]) -> Iterator[None]:
    """Set the gauges from their sources every five seconds inside the block, and once more at its end."""

    def sample() -> None:
        for spec, source in sources.items():
            for tags, value in source().items():
                _record(spec, value, dict(zip(spec.tags, tags, strict=True)))

    with sampled(sample):
        yield


_ray_metrics: dict[str, Any] = {}


def exporting() -> bool:
    """True if this process runs under Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _record(spec: MetricSpec, value: float, tags: dict[str, str]) -> None:
    if not exporting():
        return
    try:
        from ray.util import metrics

        if spec.name not in _ray_metrics:
            kind = metrics.Counter if spec.kind == "counter" else metrics.Gauge
            _ray_metrics[spec.name] = kind(spec.name, description=spec.about, tag_keys=spec.tags)
        if spec.kind == "counter":
            _ray_metrics[spec.name].inc(value, tags=tags)
        else:
            _ray_metrics[spec.name].set(value, tags=tags)
    except Exception as err:  # Ray is shutting down, or is another version: no reason to lose a trial
        _log.debug("%s was not counted: %r", spec.name, err)


@contextmanager
def sampled(sample: Callable[[], None]) -> Iterator[None]:
    """Call a function every few seconds inside the block, and once at its end. Its errors are dropped."""
    _sampler.add(sample)
    try:
        yield
    finally:
        _sampler.end(sample)


class _Sampler:
    """One thread per process that calls all sampled functions; a daemon, for a process must not wait for it."""

    def __init__(self) -> None:
        self._samples: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, sample: Callable[[], None]) -> None:
        self._call(sample)
        with self._lock:
            self._samples.append(sample)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="raypol-metrics", daemon=True)
                self._thread.start()

    def end(self, sample: Callable[[], None]) -> None:
        with self._lock:
            self._samples.remove(sample)
        self._call(sample)

    def _work(self) -> None:
        while True:
            time.sleep(_EVERY_S)
            with self._lock:
                due = tuple(self._samples)
            for sample in due:
                self._call(sample)

    def _call(self, sample: Callable[[], None]) -> None:
        try:
            sample()
        except Exception as err:  # as in `_record`
            _log.debug("a sample failed: %r", err)


_sampler: Final = _Sampler()
