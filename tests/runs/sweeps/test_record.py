"""The books of a sweep: what was asked, what is finished, and who may write."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from raypol.core.errors import InputError
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.trials.environment import versions
from raypol.store.location import open_location
from raypol.store.results.files import read_trial, read_trials, write_trial
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow

ASKED = {"sweep": "test", "size": "smoke", "axis steps": "{'grid_search': [20, 50]}"}
ROW = TrialRow(
    sweep_id="s", trial_id="trial-1", proof_id="proof-1", arm="null", attack="null", dataset="digits", model="resnet8",
    steps=20, interval=10, batch_size=64, seed=0, device="cpu", device_name="a CPU", status="ok", error_l2=0.5, success=False,
)  # fmt: skip
INTERVAL = IntervalRow(
    sweep_id="s", trial_id="trial-1", proof_id="proof-1", step_from=0, step_to=10, metric="l2", distance=1.0, normalised=0.5,
    threshold=2.0, passed=True, movement=3.0, control=None, removed_share=None, state_distance=0.0,
    buffer_distance=float("nan"), accuracy=0.5, loss=1.0,
)  # fmt: skip


def record(folder: Path, name: str = "s") -> SweepRecord:
    return SweepRecord(open_location(folder), name)


# --- what was asked --------------------------------------------------------------------------------------------------


def test_a_new_sweep_and_the_same_again(tmp_path: Path) -> None:
    record(tmp_path).require_same(ASKED, must_exist=False)
    assert not (tmp_path / "sweeps").exists(), "asking writes nothing"
    record(tmp_path).write_asked(ASKED)
    record(tmp_path).require_same(dict(reversed(ASKED.items())), must_exist=True)


def test_another_sweep_under_the_name_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    record(tmp_path).write_asked(ASKED)
    before = (tmp_path / "sweeps" / "s" / "sweep.json").read_bytes()
    with pytest.raises(InputError) as caught:
        record(tmp_path).require_same({**ASKED, "axis steps": "{'grid_search': [99]}", "new": "1"}, must_exist=False)
    said = str(caught.value)
    assert "axis steps: {'grid_search': [20, 50]} then, {'grid_search': [99]} now" in said
    assert "new: absent then, 1 now" in said
    assert "size" not in said.partition("what differs")[2]
    assert "--name" in said
    assert (tmp_path / "sweeps" / "s" / "sweep.json").read_bytes() == before
    record(tmp_path, "other").require_same(ASKED, must_exist=False)


def test_another_version_of_what_computes_is_another_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path).write_asked(ASKED)
    newer = {**versions(), "torch": "99.0", "mlflow": "99.0"}
    monkeypatch.setattr("raypol.runs.sweeps.record.versions", lambda: newer)
    with pytest.raises(InputError, match=r"version of torch: \S+ then, 99\.0 now") as caught:
        record(tmp_path).require_same(ASKED, must_exist=False)
    assert "mlflow" not in str(caught.value)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to resume: .* holds no sweep named 's'"):
        record(tmp_path).require_same(ASKED, must_exist=True)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '"x"'])
def test_a_damaged_record_is_one_line(tmp_path: Path, content: str) -> None:
    record(tmp_path).write_asked(ASKED)
    (tmp_path / "sweeps" / "s" / "sweep.json").write_text(content)
    with pytest.raises(InputError, match=r"sweep\.json is not what raypol wrote there") as caught:
        record(tmp_path).require_same(ASKED, must_exist=False)
    assert "\n" not in str(caught.value)


def test_small_records_come_back(tmp_path: Path) -> None:
    books = record(tmp_path)
    assert books.read_note("points", "a") is None
    assert books.read_notes("points") == []
    books.write_note("points", "a", {"point": {"steps": 20, "attack.alpha": 0.1}})
    books.write_note("points", "b", {"point": {"steps": 30}})
    books.write_note("points", "b", {"point": {"steps": 40}})
    assert books.read_note("points", "b") == {"point": {"steps": 40}}
    assert len(books.read_notes("points")) == 2


# --- who may write ---------------------------------------------------------------------------------------------------

HOLD = """
import sys
from raypol.runs.sweeps.record import SweepRecord
from raypol.store.location import open_location
with SweepRecord(open_location(sys.argv[1]), "s").only_driver():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_driver_at_a_time_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another process is running sweep 's'"), record(tmp_path).only_driver():
        pass
    with record(tmp_path, "other").only_driver():
        pass
    holder.kill()
    holder.wait()
    with record(tmp_path).only_driver():
        pass


# --- what is finished ------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    assert read_trials(results) == []
    assert read_trial(results, "trial-1") is None
    write_trial(results, ROW, [INTERVAL])
    write_trial(results, replace(ROW, sweep_id="other", trial_id="trial-2", message="two\nlines"), [])
    (tmp_path / "trials" / "trial-3.parquet.abc.tmp").write_bytes(b"half a file")
    assert [row.trial_id for row in read_trials(results)] == ["trial-1", "trial-2"]
    assert record(tmp_path).rows() == [ROW]
    found = read_trial(results, "trial-1")
    assert found is not None
    assert found[0] == ROW
    assert repr(found[1]) == repr([INTERVAL])  # as text, NaN equals NaN


def test_rows_of_an_older_version_lack_columns(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_trial(open_location(tmp_path), ROW, [])
    path = tmp_path / "trials" / "trial-1.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["node", "noise_decay", "simulated", "dataset_sha256"]), path)
    (found,) = read_trials(open_location(tmp_path))
    assert found == ROW
