"""Progress on a terminal and in a log."""

import time
from io import StringIO

import pytest
from rich.console import Console

from raypol.cli.progress import left_time_words, progress, rate_words, time_words
from raypol.core.progress import TimeLeft


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed, to be set."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: 5000.0 + now[0])
    return now


def log() -> tuple[Console, StringIO]:
    out = StringIO()
    return Console(file=out, width=60), out


def test_a_log_gets_a_line_now_and_then(clock: list[float]) -> None:
    console, out = log()
    with progress(console) as update:
        for second in range(0, 32, 4):
            clock[0] = float(second)
            update("training", second, 100)
    assert out.getvalue().splitlines() == [
        "[   0.0 s] 0/100 training",
        "[  12.0 s] 12/100 training (1.0/s, 1 min 28 s left)",
        "[  24.0 s] 24/100 training (1.0/s, 1 min 16 s left)",
    ]


def test_the_end_is_told_at_once_and_only_once(clock: list[float]) -> None:
    console, out = log()
    with progress(console) as update:
        update("training", 0, 10)
        clock[0] = 1.0
        for _ in range(5):  # a poll sees the end several times before the job returns
            update("training", 10, 10)
        update("replaying", 10, 10)
    assert out.getvalue().splitlines() == [
        "[   0.0 s] 0/10 training",
        "[   1.0 s] 10/10 training (10/s)",
        "[   1.0 s] 10/10 replaying (10/s)",
    ]


def test_a_long_log_gets_fewer_lines(clock: list[float]) -> None:
    console, out = log()
    with progress(console) as update:
        for second in range(0, 36_000, 5):
            clock[0] = float(second)
            update("running trials", second, 100_000)
    lines = out.getvalue().splitlines()
    assert 150 < len(lines) < 500
    assert lines[-1].startswith("[9 h 5")
    assert "(1.0/s, 17 h " in lines[-1]


def test_a_log_that_hears_nothing_says_that_it_goes_on(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypol.cli.progress._SECONDS_BETWEEN_LINES", 0.01)
    console, out = log()
    with progress(console) as update:
        update("crafting intervals", 1, 4)
        clock[0] = 61.0
        limit = time.perf_counter() + 60.0
        while out.getvalue().count("\n") < 2 and time.perf_counter() < limit:
            time.sleep(0.01)
    assert out.getvalue().splitlines() == [
        "[   0.0 s] 1/4 crafting intervals",
        "[  61.0 s] 1/4 crafting intervals (time left not known yet)",
    ]


def test_what_cannot_be_counted_shows_no_count(clock: list[float]) -> None:
    console, out = log()
    with progress(console) as update:
        update("starting Ray", 0, 0)
    assert out.getvalue() == "[   0.0 s] starting Ray\n"
    assert clock == [0.0]


@pytest.mark.parametrize("words", ["[/red] arm", "[bold]", "a [link=x] b"])
@pytest.mark.parametrize("terminal", [True, False])
def test_brackets_are_brackets(words: str, terminal: bool) -> None:
    out = StringIO()
    console = Console(file=out, width=120, force_terminal=terminal, color_system=None)
    with progress(console) as update:
        update(words, 1, 2)
        update(words, 2, 2)
    assert words in out.getvalue()


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    out = StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    with progress(console) as update:
        update("crafting intervals", 3, 7)
    assert "crafting intervals" in out.getvalue()
    assert "3/7" in out.getvalue()
    assert "left" not in out.getvalue(), "not known yet"
    assert out.getvalue().endswith("\x1b[2K")


def test_a_bar_tells_rate_and_time_left(clock: list[float]) -> None:
    out = StringIO()
    console = Console(file=out, width=120, force_terminal=True, color_system=None)
    with progress(console) as update:
        update("crafting intervals", 0, 10)
        clock[0] = 4.0
        update("crafting intervals", 2, 10)
    assert "30/min, 16 s left" in out.getvalue()


def test_the_last_and_longest_is_never_zero_seconds_away(clock: list[float]) -> None:
    """Nine short trials of ten are done in nine seconds; the tenth takes two minutes."""
    left = TimeLeft("trial")
    for number in range(10):
        left.expect(str(number), "III", 120.0 if number == 9 else 1.0)
    out = StringIO()
    with progress(Console(file=out, width=60)) as update:
        for number in range(10):
            left.start(str(number), "III", 1.0)
            update("running trials", number, 10, left)
            clock[0] += 120.0 if number == 9 else 1.0
            left.end(str(number))
            if number == 0:
                clock[0] += 10.0
    assert out.getvalue().splitlines() == [
        "[   0.0 s] 0/10 running trials (no trial has ended yet)",
        "[  11.0 s] 1/10 running trials (5.5/min, 2 min 08 s left)",
    ]


def test_what_outruns_its_estimate_is_not_over(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypol.cli.progress._SECONDS_BETWEEN_LINES", 0.01)
    out = StringIO()
    with progress(Console(file=out, width=60)) as update:
        update("crafting intervals", 0, 4)
        clock[0] = 3.0
        update("crafting intervals", 3, 4)
        for later in (3.4, 70.0):
            clock[0] = later
            lines, limit = out.getvalue().count("\n"), time.perf_counter() + 60.0
            while later > 60.0 and out.getvalue().count("\n") == lines and time.perf_counter() < limit:
                time.sleep(0.01)
    assert out.getvalue().splitlines()[1:] == [
        "[   3.0 s] 3/4 crafting intervals (1.0/s, 1 s left)",
        "[  70.0 s] 3/4 crafting intervals (1.0/s, 7 s left)",
    ]


def test_an_error_inside_passes_through() -> None:
    def work() -> None:
        with progress(log()[0]) as update:
            update("training", 0, 1)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        work()


def test_a_steady_count_and_what_was_done_before(clock: list[float]) -> None:
    console, out = log()
    with progress(console) as update:
        update("running trials", 90, 100)
        clock[0] = 60.0
        update("running trials", 91, 100)
    assert out.getvalue().splitlines()[-1] == "[  60.0 s] 91/100 running trials (1.0/min, 9 min 00 s left)"


@pytest.mark.parametrize(("done", "of"), [(0, 10), (3, 20), (0, 0)])
def test_another_count_begins_anew(clock: list[float], done: int, of: int) -> None:
    console, out = log()
    with progress(console) as update:
        update("training", 0, 10)
        clock[0] = 1.0
        update("training", 9, 10)
        clock[0] = 12.0
        update("training", done, of)
    assert "/s" not in out.getvalue().splitlines()[-1]


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


def test_the_time_left_is_never_zero() -> None:
    assert [left_time_words(seconds) for seconds in (0.0, 0.3, 1.2, 59.6)] == ["1 s", "1 s", "2 s", "1 min 00 s"]
