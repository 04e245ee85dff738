"""`raypol top` on folders as sweeps leave them; a sweep that really runs is in tests/system."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pytest
from rich.console import Console

from raypol.cli.commands.top import TopCommand, frame
from raypol.cli.main import main
from raypol.cli.sweep_status import read_status
from raypol.runs.sweeps.live_status import Pulse, RunningTrial
from raypol.store.location import open_location
from tests.rows import rewrite, write_rows

Run = Callable[..., tuple[int, str, str]]
NOW: Final = 1_800_000_000.0


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still: what is shown of it depends neither on load nor on when a test was collected."""
    monkeypatch.setattr("time.time", lambda: NOW)


@pytest.fixture
def top(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, stdout, stderr."""

    def top(results: Path, *words: str, address: str = "none") -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["top", "--results", str(results), "--address", address, *words])
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out, said.err

    return top


def running(arm: str = "III", age_s: float = 75.0, tries: int = 1) -> RunningTrial:
    return RunningTrial(arm=arm, steps=30, interval=10, seed=4, device="T4 / cpu", since=NOW - age_s, tries=tries)


def write_pulse(folder: Path, name: str = "s", **changed: Any) -> None:  # noqa: ANN401 - any field
    """Of a sweep in its third minute: 4 of 10 trials stand, 2 of them from before."""
    pulse = Pulse(
        sweep_id=name,
        started_at=NOW - 180.0,
        written_at=NOW - 1.0,
        every_s=2.0,
        doing="running trials",
        phase_at=NOW - 100.0,
        resumed=2,
        num_trials=10,
        states={"waiting": 5, "running": 1, "ok": 3, "error": 1, "stopped": 0},
        running=(running(),),
        left_s=301.0,
        lost=1,
        finished=((NOW - 60.0, 12), (NOW - 1.0, 18)),
    )
    place = folder / "sweeps" / name / "live.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(asdict(replace(pulse, **changed))))


def test_a_running_sweep(tmp_path: Path, top: Run) -> None:
    write_pulse(tmp_path)
    code, out, err = top(tmp_path, "--once")
    assert (code, err) == (0, "")
    assert f"s in {tmp_path}" in out
    assert "running for 2 min 59 s; running trials" in out
    assert "4/10 trials, 40%" in out
    assert (
        "waiting 5   running 1   ok 3   error 1   stopped 0   refused 0   (2 were finished before)   lost and started again 1"
        in out
    )
    assert "1.2 trials/min, 18 intervals/min verified, over the last 1 min 40 s" in out
    assert "about 5 min 00 s left" in out
    (line,) = [line for line in out.splitlines() if line.startswith("III")]
    assert line.split() == ["III", "30", "10", "4", "T4", "/", "cpu", "1", "min", "14", "s", "1"]


@pytest.mark.parametrize(
    ("left_s", "said"),
    [(0.0, "about 1 s left"), (0.9, "about 1 s left"), (None, "time left: not known before a trial has ended")],
)
def test_the_time_left_is_never_zero(tmp_path: Path, top: Run, left_s: float | None, said: str) -> None:
    write_pulse(tmp_path, left_s=left_s)
    assert said in top(tmp_path, "--once")[1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ended": "finished"}, "finished 1 s ago, after 2 min 59 s"),
        ({"ended": "interrupted"}, "interrupted 1 s ago, after 2 min 59 s; run the same command again"),
        ({"ended": "ended early: 5 trials wait for T4"}, "ended early: 5 trials wait for T4 1 s ago"),
        ({"written_at": NOW - 7200.0}, "no sign of the driver for 2 h 0"),
    ],
)
def test_one_that_does_not_go_on_ends_the_watch(tmp_path: Path, top: Run, changed: dict[str, Any], said: str) -> None:
    write_pulse(tmp_path, **changed)
    code, out, _ = top(tmp_path)
    assert code == 0
    assert said in out
    assert "left" not in out


def test_a_log_gets_a_frame_now_and_then_until_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pulse(tmp_path)
    seen: list[float] = []

    def sleep(seconds: float) -> None:
        seen.append(seconds)
        write_pulse(tmp_path, ended="finished" if len(seen) == 2 else "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raypol.cli.commands.top.time.sleep", sleep)
        assert TopCommand(results=str(tmp_path), address="none").run() == 0
    assert seen == [30.0, 30.0]
    out = capsys.readouterr().out
    assert out.count("running for") == 2
    assert out.count("finished 1 s ago") == 1


def test_ctrl_c_is_how_one_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    write_pulse(tmp_path)
    monkeypatch.setattr("raypol.cli.commands.top.time.sleep", interrupt)
    assert TopCommand(results=str(tmp_path), address="none").run() == 0


def test_a_terminal_is_drawn_on_with_a_bar(tmp_path: Path) -> None:
    write_pulse(tmp_path, running=tuple(running(f"arm{i}") for i in range(50)))
    console = Console(width=100, height=50, force_terminal=True, color_system=None, record=True)
    with console.capture() as shown:
        console.print(frame(read_status(open_location(tmp_path)), (), "no cluster", with_bar=True))
    assert "━━━━" in shown.get()
    assert "arm19" in shown.get()
    assert "arm20" not in shown.get()
    assert "and 30 more" in shown.get()


def test_words_of_others_do_not_steer_the_terminal(tmp_path: Path, top: Run) -> None:
    write_pulse(tmp_path, doing="\x1b[2J[red]x", running=(running("\x1b]0;title\x07"),))
    _, out, _ = top(tmp_path, "--once")
    assert "\x1b" not in out
    assert "[red]x" in out


# --- which sweep -----------------------------------------------------------------------------------------------------


def test_the_newest_of_several_or_the_one_named(tmp_path: Path, top: Run) -> None:
    for name in ("old", "new"):
        write_pulse(tmp_path, name)
        time.sleep(0.02)
    _, out, _ = top(tmp_path, "--once")
    assert out.startswith("new in")
    assert "other sweeps here (--name): old" in out
    _, out, _ = top(tmp_path, "--once", "--name", "old")
    assert out.startswith("old in")


def test_rows_without_a_driver(tmp_path: Path, top: Run) -> None:
    rows = write_rows(tmp_path, 3, sweep_id="demo-1")
    rewrite(tmp_path, rows[0], status="error")
    rewrite(tmp_path, rows[1], arm="honest", attack="none")
    code, out, _ = top(tmp_path)
    assert code == 0
    assert "counted from rows" in out
    assert "2 trials have a row" in out
    assert "ok 1   error 1   stopped 0" in out


# --- bad input -------------------------------------------------------------------------------------------------------


def test_an_empty_folder_says_what_is_missing(tmp_path: Path, top: Run) -> None:
    code, _, err = top(tmp_path)
    assert code == 2
    assert "holds no sweep: expected RESULTS/sweeps/<name>/ or RESULTS/trials/*.parquet" in err


def broken_rows(folder: Path) -> None:
    (folder / "trials").mkdir()
    (folder / "trials" / "x.parquet").write_bytes(b"not Parquet")


@pytest.mark.parametrize(
    ("make", "words", "said"),
    [
        (lambda folder: write_pulse(folder), ("--name", "x"), "holds no sweep 'x'; there are s"),
        (lambda folder: write_pulse(folder, version=9), (), "of another raypol: expected version 1, got 9"),
        (broken_rows, (), "holds no sweep: expected"),
        (lambda folder: write_pulse(folder), ("--every", "0"), "expected --every in 0.2..86400 s, got 0"),
        (lambda folder: write_pulse(folder), ("--every", "nan"), "expected --every in 0.2..86400 s, got nan"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, top: Run, make: Callable[[Path], None], words: tuple[str, ...], said: str
) -> None:
    make(tmp_path)
    code, _, err = top(tmp_path, *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_folder_that_is_not_there(tmp_path: Path, top: Run) -> None:
    code, _, err = top(tmp_path / "nowhere")
    assert (code, err.count("\n")) == (2, 1)
    assert "no such results folder" in err


def test_a_cluster_that_is_not_there(tmp_path: Path, top: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pulse(tmp_path)
    code, _, err = top(tmp_path, "--once", address="127.0.0.1:1")
    assert code == 2
    assert "cannot reach a Ray cluster at '127.0.0.1:1'" in err
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, out, _ = top(tmp_path, "--once", address="auto")
    assert code == 0, "the folder is there all the same"
    assert "cannot reach a Ray cluster at '127.0.0.1:1'" in out
