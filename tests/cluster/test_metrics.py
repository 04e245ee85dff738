"""raypol's metrics: nothing without Ray, never an error, and each counted where it is made."""

import subprocess
import sys
import threading
import time
from types import ModuleType
from typing import Any

import pytest

from raypol.cluster import metrics
from raypol.cluster.metrics import (
    DEVICE_SECONDS,
    EXPORTED_METRICS,
    INTERVALS,
    STORE_BYTES,
    TRIALS,
    MetricSpec,
    add,
    exported_gauges,
    start_series,
)
from raypol.cluster.placement import parse_device
from raypol.cluster.work_metrics import (
    accelerator_of,
    add_bytes,
    add_interval,
    count_intervals,
    counting_bytes,
    counting_job,
)
from raypol.core.attacks import find_attack

CPU = parse_device("cpu")


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, ...], float]:
    """What reaches the border to Ray: amounts by metric and tags. Ray's side is tested in tests/system/test_prometheus.py."""
    seen: dict[tuple[str, ...], float] = {}
    lock = threading.Lock()

    def record(spec: MetricSpec, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(spec.tags), spec.name
        key = (spec.name, *(tags[tag] for tag in spec.tags))
        with lock:
            seen[key] = seen.get(key, 0.0) + value if spec.kind == "counter" else value

    monkeypatch.setattr(metrics, "_record", record)
    monkeypatch.setattr("raypol.cluster.work_metrics.exporting", lambda: True)
    return seen


class Errand:
    """A spoofer's job, as far as counting looks at it."""

    attack: Any = find_attack("iii")


def test_without_ray_nothing_is_counted_and_ray_is_not_imported() -> None:
    code = (
        "import sys; from raypol.cluster.work_metrics import *; from raypol.cluster.metrics import *\n"
        "from raypol.cluster.placement import parse_device\n"
        "with counting_job(parse_device('cpu'), 'spoofer', object()), exported_gauges({TRIALS: lambda: {('s', 'ok'): 1.0}}):\n"
        "    assert list(count_intervals('crafted', range(3))) == [0, 1, 2]\n"
        "    add_bytes(lambda: 1 / 0); add(STORE_BYTES, 1, role='x')\n"
        "print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_names_are_distinct_and_described() -> None:
    assert len({spec.name for spec in EXPORTED_METRICS}) == len(EXPORTED_METRICS)
    for spec in EXPORTED_METRICS:
        assert spec.name.startswith("raypol_")
        assert spec.about.endswith(".")
        assert spec.exported.startswith("ray_raypol_")
        assert spec.exported.endswith("_total") == (spec.kind == "counter")


def test_what_ray_refuses_is_dropped(ray_session: ModuleType) -> None:
    assert ray_session.is_initialized()
    wrong = MetricSpec("raypol_wrong", "counter", ("sweep",), "Takes a tag.")
    add(wrong, 1.0)  # the tag is missing
    add(wrong, 1.0, other="x")
    add(wrong, float("nan"), sweep="s")
    add(wrong, -1.0, sweep="s")
    start_series(wrong, sweep="s")


def test_counting_costs_next_to_nothing(ray_session: ModuleType) -> None:
    """A microsecond or two each; what it is counted of takes milliseconds. The bound is loose, and in CPU time."""
    assert ray_session.is_initialized()
    add(STORE_BYTES, 1, role="spoofer")
    started = time.process_time()
    for _ in range(1000):
        add(STORE_BYTES, 1, role="spoofer")
    assert (time.process_time() - started) / 1000 < 1e-3


def test_a_job_counts_its_seconds_intervals_and_bytes(ledger: dict[tuple[str, ...], float]) -> None:
    started = time.monotonic()
    with counting_job(parse_device("T4:0.5"), "spoofer", Errand()):
        assert list(count_intervals("crafted", "abc")) == ["a", "b", "c"]
        add_interval("crafted")
        add_bytes(lambda: 70)
        time.sleep(0.05)
    passed = time.monotonic() - started
    assert ledger[INTERVALS.name, "crafted", "T4", "iii"] == pytest.approx(4.0)
    assert ledger[STORE_BYTES.name, "spoofer"] == pytest.approx(70.0)
    assert 0.02 < ledger[DEVICE_SECONDS.name, "spoofer", "T4", "iii"] <= passed / 2
    add_interval("crafted")  # the job is over
    add_bytes(lambda: 70)
    assert ledger[INTERVALS.name, "crafted", "T4", "iii"] == pytest.approx(4.0)


def test_a_job_that_fails_is_counted_and_the_next_one_starts_anew(ledger: dict[tuple[str, ...], float]) -> None:
    with pytest.raises(ValueError, match="inside"), counting_job(CPU, "spoofer", Errand()):
        raise ValueError("inside")
    assert ledger[DEVICE_SECONDS.name, "spoofer", "cpu", "iii"] > 0.0
    with counting_job(CPU, "verifier", object()):
        add_interval("replayed")
    assert ledger[INTERVALS.name, "replayed", "cpu", "none"] == pytest.approx(1.0)


def test_bytes_are_counted_as_they_grow(ledger: dict[tuple[str, ...], float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_EVERY_S", 0.02)
    monkeypatch.setattr(metrics, "_sampler", metrics._Sampler())
    size = [0]
    key = (STORE_BYTES.name, "prover")
    with counting_job(CPU, "prover", object()), counting_bytes(lambda: size[0]):
        size[0] = 1000
        limit = time.monotonic() + 60.0
        while ledger.get(key, 0.0) < 999.0 and time.monotonic() < limit:
            time.sleep(0.01)
        assert ledger[key] == pytest.approx(1000.0), "not only at the end"
        size[0] = 1500
    assert ledger[key] == pytest.approx(1500.0)


def test_bytes_that_were_there_already_are_not_counted(ledger: dict[tuple[str, ...], float]) -> None:
    size = [800]
    with counting_job(CPU, "prover", object()), counting_bytes(lambda: size[0], already=800):
        size[0] = 1000
    assert ledger[STORE_BYTES.name, "prover"] == pytest.approx(200.0)


def test_a_size_that_cannot_be_seen_costs_no_trial(ledger: dict[tuple[str, ...], float]) -> None:
    def away() -> int:
        raise OSError("the storage is away")

    with counting_job(CPU, "spoofer", Errand()), counting_bytes(away):
        add_bytes(away)
    assert ledger[STORE_BYTES.name, "spoofer"] < 1.0


def test_gauges_are_set_again_and_again(ledger: dict[tuple[str, ...], float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray forgets a gauge that nobody sets."""
    monkeypatch.setattr(metrics, "_EVERY_S", 0.02)
    monkeypatch.setattr(metrics, "_sampler", metrics._Sampler())
    asked = [0.0]

    def trials() -> dict[tuple[str, ...], float]:
        asked[0] += 1
        return {("s", "running"): asked[0]}

    with exported_gauges({TRIALS: trials}):
        limit = time.monotonic() + 60.0
        while asked[0] < 4 and time.monotonic() < limit:
            time.sleep(0.01)
    assert asked[0] >= 4
    last = asked[0]
    time.sleep(0.1)
    assert asked[0] == last, "not after the end"
    assert ledger[TRIALS.name, "s", "running"] == last


@pytest.mark.parametrize(
    ("asked", "name"),
    [("cpu", "cpu"), ("cpu:2", "cpu"), ("T4:0.5", "T4"), ("V100", "V100"), ("RTX2080Ti", "RTX-2080-Ti")],
)
def test_accelerators_have_one_name(asked: str, name: str) -> None:
    assert accelerator_of(parse_device(asked)) == name
