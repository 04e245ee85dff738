"""What a running sweep tells, and how a reader takes what lies in the folder."""

import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from raypol.core.errors import InputError
from raypol.core.training.train_config import TrainConfig
from raypol.runs.designs.design import Design
from raypol.runs.designs.points import trial_at
from raypol.runs.sweeps import live_status
from raypol.runs.sweeps.live_status import LiveStatus, Pulse, read_pulse
from raypol.runs.trials.study import Trial
from raypol.store.location import Location, open_location
from raypol.store.results.rows import TrialRow
from tests.rows import made_row

DESIGN = Design(train=TrainConfig(steps=40, interval=10, batch_size=32), arms={"null": "null"}, space={})


def trial(steps: int) -> Trial:
    return trial_at(DESIGN, {"arm": "null", "steps": steps})


def row_of(one: Trial, status: str = "ok") -> TrialRow:
    return replace(
        made_row(0), sweep_id="s", trial_id=one.trial_id("s"), arm="null", status=status, intervals_verified=3
    )


def place(folder: Path) -> Path:
    return folder / "sweeps" / "s" / "live.json"


@pytest.fixture
def results(tmp_path: Path) -> Location:
    """With the folder of a sweep, as the ledger makes it."""
    place(tmp_path).parent.mkdir(parents=True)
    return open_location(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_status, "EVERY_S", 0.02)


def pulse(results: Location) -> Pulse:
    found = read_pulse(results, "s")
    assert found is not None
    return found


def until(results: Location, what: str) -> Pulse:
    """The first pulse in which the driver says this."""
    limit = time.monotonic() + 60.0
    while time.monotonic() < limit:
        found = read_pulse(results, "s")
        if found is not None and found.doing == what:
            return found
        time.sleep(0.01)
    raise AssertionError(f"nothing was live of {what!r}")


@pytest.mark.usefixtures("quick")
def test_a_sweep_from_begin_to_end(results: Location, tmp_path: Path) -> None:
    first, second, third, fourth, fifth = (trial(steps) for steps in (10, 20, 30, 40, 50))
    live = LiveStatus(results, "s")
    live.set_num_trials(5)
    live.add_resumed([row_of(first)])
    with live.publishing():
        live.set_activity("training")
        seen = until(results, "training")
        assert seen.states == {"waiting": 4, "running": 0, "ok": 1, "error": 0, "stopped": 0, "refused": 0}
        assert (seen.num_trials, seen.resumed, seen.ended, seen.phase_at) == (5, 1, "", 0.0)

        live.trials_can_start()
        live.trial_started(second)
        live.trial_started(third)
        live.trial_lost(second)
        live.trial_started(second)
        live.set_activity("in work")
        seen = until(results, "in work")
        assert seen.states == {"waiting": 2, "running": 2, "ok": 1, "error": 0, "stopped": 0, "refused": 0}
        assert [(one.steps, one.interval, one.device, one.tries) for one in seen.running] == [
            (30, 10, "cpu", 1),
            (20, 10, "cpu", 2),
        ]
        assert seen.lost == 1
        assert seen.phase_at >= seen.started_at

        live.trial_finished(row_of(second))
        live.trial_finished(row_of(third, "error"))
        live.trial_finished(row_of(third, "error"))  # a searcher's point may pass by again
        live.set_activity("done")
        seen = until(results, "done")
        assert seen.states == {"waiting": 2, "running": 0, "ok": 2, "error": 1, "stopped": 0, "refused": 0}
        assert [number for _, number in seen.finished] == [3, 3, 3]
        live.trial_finished(row_of(fourth, "stopped"))
        live.trial_finished(row_of(fifth, "refused"))
    assert pulse(results).ended == "finished"
    assert (pulse(results).states["stopped"], pulse(results).states["refused"]) == (1, 1)
    assert [path.name for path in place(tmp_path).parent.iterdir()] == ["live.json"], "nothing half written is left"


@pytest.mark.usefixtures("quick")
def test_storage_that_is_away_is_said_once_each_time(
    results: Location, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live, away = LiveStatus(results, "s"), tmp_path / "away"

    def warned(times: int) -> None:
        limit = time.monotonic() + 60.0
        while len(caplog.records) < times and time.monotonic() < limit:
            time.sleep(0.01)
        time.sleep(0.2)  # ten more pulses
        assert len(caplog.records) == times

    with live.publishing():
        for times in (1, 2):
            place(tmp_path).parent.rename(away)
            warned(times)
            away.rename(place(tmp_path).parent)
            live.set_activity(f"back {times}")
            until(results, f"back {times}")
    said = f"live.json cannot be written now ({os.strerror(errno.ENOENT)}); trials wait for the storage"
    assert all(record.getMessage().endswith(said) for record in caplog.records)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("error", "said"), [(KeyboardInterrupt(), "interrupted"), (ValueError("one\ntwo"), "failed: ValueError: one")]
)
def test_how_it_ended_is_told(results: Location, error: BaseException, said: str) -> None:
    def drive() -> None:
        live = LiveStatus(results, "s")
        with live.publishing():
            live.trial_started(trial(10))
            raise error

    with pytest.raises(type(error)):
        drive()
    assert pulse(results).ended == said
    assert pulse(results).running == ()


def test_an_early_end_says_why(results: Location) -> None:
    live = LiveStatus(results, "s")
    with live.publishing():
        live.set_stop_reason("2 trials wait for T4, and none could start for 900 s")
    assert pulse(results).ended.startswith("ended early: 2 trials wait for T4")


@pytest.mark.usefixtures("quick")
def test_a_folder_that_cannot_be_written_costs_no_trial(tmp_path: Path) -> None:
    (tmp_path / "sweeps").write_text("a file")
    with LiveStatus(open_location(tmp_path), "s").publishing():
        time.sleep(0.1)
    assert read_pulse(open_location(tmp_path), "s") is None


def test_no_pulse(tmp_path: Path) -> None:
    assert read_pulse(open_location(tmp_path), "s") is None


def test_a_pulse_of_another_version_is_one_line(results: Location, tmp_path: Path) -> None:
    place(tmp_path).write_text(json.dumps({"version": 99}))
    with pytest.raises(InputError, match="another raypol: expected version 1, got 99") as caught:
        read_pulse(results, "s")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "{}", '{"version": 1, "sweep_id": 7}', '{"version": 1, "states": ' + "[" * 20000]
)
def test_a_damaged_pulse_is_no_pulse_and_one_line_says_so(
    results: Location, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    place(tmp_path).write_text(content)
    assert [read_pulse(results, "s"), read_pulse(results, "s")] == [None, None]
    (said,) = caplog.messages
    assert "live.json is not what raypol writes there" in said
    assert "\n" not in said
