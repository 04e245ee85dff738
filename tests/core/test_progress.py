"""The time that tasks of unequal work still take."""

import time

import pytest

from raypol.core.progress import TimeLeft


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed, to be set."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: 5000.0 + now[0])
    return now


def expecting(**works: float) -> TimeLeft:
    """Tasks by name, of the kind that the first letter names."""
    left = TimeLeft("trial")
    for name, work in works.items():
        left.expect(name, name[0], work)
    return left


def run(left: TimeLeft, clock: list[float], name: str, seconds: float) -> None:
    left.start(name, name[0], 1.0)
    clock[0] += seconds
    left.end(name)


def test_nothing_is_known_before_a_task_has_ended(clock: list[float]) -> None:
    left = expecting(a1=1.0, a2=1.0)
    assert left.seconds() is None
    left.start("a1", "a", 1.0)
    clock[0] = 100.0
    assert left.seconds() is None
    left.stop("a1")  # lost, which is no end
    assert left.seconds() is None
    left.end("a2", tells=False)  # found done
    assert left.seconds() is None


def test_work_is_what_counts_and_not_the_number(clock: list[float]) -> None:
    left = expecting(a1=1.0, a2=30.0)
    run(left, clock, "a1", 2.0)
    assert left.seconds() == pytest.approx(60.0)
    left.start("a2", "a", 30.0)
    for passed, remaining in [(0.0, 60.0), (50.0, 10.0), (59.0, 5.9), (100.0, 10.0), (1000.0, 100.0)]:
        clock[0] = 2.0 + passed
        assert left.seconds() == pytest.approx(remaining), passed


def test_a_kind_has_its_own_pace_once_one_of_it_has_ended(clock: list[float]) -> None:
    left = expecting(a1=1.0, b1=1.0, b2=10.0)
    run(left, clock, "a1", 1.0)
    assert left.seconds() == pytest.approx(1.0 + 10.0)
    run(left, clock, "b1", 4.0)
    assert left.seconds() == pytest.approx(40.0)


def test_tasks_side_by_side(clock: list[float]) -> None:
    """Two at once, in order: the long one begins last and is waited for."""
    left = expecting(a1=1.0, a2=1.0, a3=1.0, a4=1.0, a5=10.0)
    left.start("a1", "a", 1.0)
    left.start("a2", "a", 1.0)
    clock[0] = 1.0
    left.end("a1")
    left.end("a2")
    assert left.seconds() == pytest.approx(1.0 + 10.0)
    left.start("a3", "a", 1.0)
    left.start("a4", "a", 1.0)
    clock[0] = 1.5
    left.stop("a4")  # lost: it begins anew
    assert left.seconds() == pytest.approx(max(0.5 + 10.0, 1.0))


def test_tasks_that_nobody_named(clock: list[float]) -> None:
    """A search does not know its trials before it proposes them: each is like the others."""
    left = TimeLeft("trial")
    left.expect_in_all(4)
    run(left, clock, "a1", 5.0)
    assert left.seconds() == pytest.approx(3 * 5.0)
    left.start("a2", "a", 1.0)
    assert left.seconds() == pytest.approx(3 * 5.0)
