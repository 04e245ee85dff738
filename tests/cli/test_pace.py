"""Rates and time left."""

import pytest

from raypol.cli.pace import Pace, rate_words, time_words


def test_a_steady_count() -> None:
    pace = Pace(began=100.0)
    pace.update(0, 50, 100.0)
    assert pace.words(105.0) == "", "nothing is known before the first"
    for second in range(1, 11):
        pace.update(second, 50, 100.0 + 2 * second)
    assert pace.period_s(120.0) == pytest.approx(2.0)
    assert pace.left_s(120.0) == pytest.approx(80.0)
    assert pace.left_s(121.0) == pytest.approx(79.0), "it goes on while nothing new is told"
    assert pace.words(120.0) == "30/min, 1 min 20 s left"


def test_an_overdue_one_makes_it_slower_without_a_jump() -> None:
    pace = Pace(began=0.0)
    pace.update(0, 10, 0.0)
    pace.update(2, 10, 20.0)
    left = [pace.left_s(now) for now in (20.0, 29.9, 30.1, 60.0)]
    assert left[:1] == [pytest.approx(80.0)]
    assert left[1:3] == [pytest.approx(70.1), pytest.approx(70.0, abs=0.5)]
    assert left[3] == pytest.approx(120.0), "third one still missing: 20 s each"


def test_what_was_done_before_is_not_of_this_pace() -> None:
    pace = Pace(began=0.0)
    pace.update(90, 100, 0.0)
    pace.update(91, 100, 60.0)
    assert pace.left_s(60.0) == pytest.approx(540.0)


@pytest.mark.parametrize(("done", "of"), [(0, 10), (3, 20), (0, 0)])
def test_another_count_begins_anew(done: int, of: int) -> None:
    pace = Pace(began=0.0)
    pace.update(0, 10, 0.0)
    pace.update(9, 10, 1.0)
    pace.update(done, of, 2.0)
    assert pace.words(3.0) == ""


def test_the_end_has_a_rate_and_nothing_left() -> None:
    pace = Pace(began=0.0)
    pace.update(0, 4, 0.0)
    pace.update(4, 4, 2.0)
    assert pace.left_s(2.0) is None
    assert pace.words(2.0) == "2.0/s"


@pytest.mark.parametrize(
    ("per_s", "said"),
    [(123.4, "123/s"), (9.96, "10/s"), (1.0, "1.0/s"), (0.5, "30/min"), (0.001, "3.6/h"), (1e-5, "0.0/h")],
)
def test_rates(per_s: float, said: str) -> None:
    assert rate_words(per_s) == said
    assert rate_words(per_s, "trials") == said.replace("/", " trials/")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (59.6, "1 min 00 s"), (185.0, "3 min 05 s"), (7800.0, "2 h 10 min"), (100_800.0, "1 d 4 h")],
)
def test_times(seconds: float, said: str) -> None:
    assert time_words(seconds) == said
