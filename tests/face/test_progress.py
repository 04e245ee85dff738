"""Progress on a terminal and in a log."""

import time
from io import StringIO

import pytest
from rich.console import Console

from raypol.face.progress import progress


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
        "[  12.0 s] 12/100 training",
        "[  24.0 s] 24/100 training",
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
        "[   1.0 s] 10/10 training",
        "[   1.0 s] 10/10 replaying",
    ]


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
    assert out.getvalue().endswith("\x1b[2K")


def test_an_error_inside_passes_through() -> None:
    def work() -> None:
        with progress(log()[0]) as update:
            update("training", 0, 1)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        work()
