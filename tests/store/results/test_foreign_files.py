"""What lies in a results folder and is not raypol's: left out by every reader, with one line that names it."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raypol.store.location import open_location
from raypol.store.results.cache import read_trial_table
from raypol.store.results.files import read_rows, read_trial, read_trials
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.queries import read_intervals
from raypol.store.results.rows import TrialRow
from tests.rows import write_rows
from tests.store.parquet.forge import page, with_column


def ids(rows: Sequence[TrialRow]) -> list[str]:
    return [row.trial_id for row in rows]


def _another_schema(path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), path)


def _of_other_types(path: Path) -> None:
    pq.write_table(pa.table({"sweep_id": ["s"], "steps": ["many"], "passed": ["maybe"]}), path)


def _half_a_row(path: Path) -> None:
    pq.write_table(pa.table({"sweep_id": ["made"], "steps": [7]}), path)


def _cut(path: Path) -> None:
    content = next(path.parent.glob("made-1*")).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _name_that_is_no_text(path: Path) -> None:
    content = next(path.parent.glob("made-1*")).read_bytes()
    path.write_bytes(content.replace(b"sweep_id", b"sweep\xf6id"))


def _zeros_behind_a_value(path: Path) -> None:
    """A page of one number, followed inside by 128 MiB that no value needs."""
    found = pq.read_table(next(path.parent.glob("made-1*")))
    pq.write_table(found, path, compression="zstd", use_dictionary=False)
    at = next(at for at, one in enumerate(found.schema) if one.type == pa.int64())
    pages = [page([1], levels=b"\2\0\0\0\2\1", beside=1 << 27) for _ in range(len(found))]
    path.write_bytes(with_column(path.read_bytes(), at, pages))


def _a_text_for_every_row(path: Path) -> None:
    """A megabyte of text, folded to nothing, in each of a thousand rows."""
    found = pq.read_table(next(path.parent.glob("made-1*"))).slice(0, 1)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * (1 << 20)]))
    columns = {name: found[name].take(pa.array([0] * 1000)) for name in found.column_names}
    made = pa.table({**columns, "trial_id": texts})
    pq.write_table(made, path, compression="zstd", store_schema=False)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no Parquet"),
    "cut": _cut,
    "of another schema": _another_schema,
    "of other types": _of_other_types,
    "half a row": _half_a_row,
    "a folder": lambda path: path.mkdir(),
    "a name that is no text": _name_that_is_no_text,
    "zeros behind a value": _zeros_behind_a_value,
    "a text for every row": _a_text_for_every_row,
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_file_is_left_out_and_named_once(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    where, _ = open_location(tmp_path), write_rows(tmp_path, 2)
    for kind in ("trials", "intervals"):
        FOREIGN[case](tmp_path / kind / "made-x.parquet")
    for _ in range(2):
        assert ids(read_trials(where)) == ids(read_trials(where, sweep_id="made")) == ["made-0", "made-1"]
    assert len(caplog.messages) == 1
    assert f"left out: {tmp_path}/trials/made-x.parquet " in caplog.messages[0]

    notes: list[str] = []
    assert len(read_rows(where / "intervals", IntervalRow, "", notes=notes)) == 16
    assert [f"{tmp_path}/intervals/made-x.parquet " in note for note in notes] == [True]
    assert read_trial(where, "made-x") is None, "such a trial is run again"
    assert read_intervals(where, ["made-1", "made-x"])[1] == 1

    found = read_trial_table(where, cache=tmp_path / "cache")
    if case not in ("of other types", "half a row"):  # shown there as rows of another version
        assert len(found.table) == 2
        assert [f"{tmp_path}/trials/made-x.parquet " in note for note in found.notes] == [True]


def test_hidden_files_and_subfolders_are_passed_over_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where, _ = open_location(tmp_path), write_rows(tmp_path, 2)
    trials = tmp_path / "trials"
    (trials / "._made-1.parquet").write_bytes(b"Mac OS X")
    (trials / ".ipynb_checkpoints").mkdir()
    shutil.copy(trials / "made-1.parquet", trials / ".ipynb_checkpoints" / "made-1-checkpoint.parquet")
    (trials / "copy").mkdir()
    shutil.copy(trials / "made-1.parquet", trials / "copy" / "made-1.parquet")
    (trials / "notes.txt").write_text("mine")
    assert ids(read_trials(where)) == ["made-0", "made-1"]
    found = read_trial_table(where, cache=tmp_path / "cache")
    assert (len(found.table), found.notes, caplog.messages) == (2, (), [])


def test_many_foreign_files_are_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_rows(tmp_path, 1)
    for number in range(5):
        (tmp_path / "trials" / f"x{number}.parquet").touch()
    assert ids(read_trials(open_location(tmp_path))) == ["made-0"]
    (said,) = caplog.messages
    assert said.endswith("; and 2 more")
    assert "\n" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_rows(tmp_path, 2)
    (tmp_path / "trials" / "made-1.parquet").chmod(0)
    assert ids(read_trials(open_location(tmp_path))) == ["made-0"]
    assert "made-1.parquet cannot be read" in caplog.text
