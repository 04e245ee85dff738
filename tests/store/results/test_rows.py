"""Results as Parquet: types, NULL for what has no value, whole files or none."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from raypol.store.location import Location, open_location
from raypol.store.results.columns import schema_of
from raypol.store.results.files import read_trials, write_trial
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from tests.studies import query

ROW = TrialRow(
    sweep_id="sweep",
    trial_id="trial-1",
    proof_id="proof-1",
    arm="II",
    attack="ii",
    dataset="digits",
    model="resnet8",
    steps=20,
    interval=10,
    batch_size=32,
    seed=0,
    device="cpu",
    device_name="A Processor",
    status="ok",
)
INTERVAL = IntervalRow(
    sweep_id="sweep",
    trial_id="trial-1",
    proof_id="proof-1",
    step_from=0,
    step_to=10,
    metric="l2",
    distance=0.5,
    normalised=0.25,
    threshold=1.0,
    passed=True,
    movement=0.75,
    control=None,
    removed_share=None,
    state_distance=0.0,
    buffer_distance=0.125,
    accuracy=0.9,
    loss=1.5,
)


def trials(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "trials").to_pylist()
    return rows


@pytest.mark.parametrize(
    ("row_type", "column", "arrow"),
    [
        (TrialRow, "steps", pa.int64()),
        (TrialRow, "iterations", pa.int64()),
        (TrialRow, "error_l2", pa.float64()),
        (TrialRow, "accepted_strict", pa.bool_()),
        (TrialRow, "simulated", pa.bool_()),
        (TrialRow, "bound_by", pa.string()),
        (IntervalRow, "step_from", pa.int64()),
        (IntervalRow, "control", pa.float64()),
        (IntervalRow, "passed", pa.bool_()),
    ],
)
def test_columns_have_the_rows_types(row_type: type, column: str, arrow: pa.DataType) -> None:
    schema = schema_of(row_type)
    assert schema.names == [f.name for f in fields(row_type)]
    assert schema.field(column).type == arrow


def test_columns_keep_their_types_when_nothing_has_a_value(tmp_path: Path) -> None:
    """A glob over files whose types differ could not be read as one table."""
    write_trial(open_location(tmp_path), ROW, [])
    write_trial(open_location(tmp_path), replace(ROW, trial_id="trial-2", error_l2=1.0, bound_by="size"), [INTERVAL])
    first, second = (pq.read_schema(path) for path in sorted((tmp_path / "trials").iterdir()))
    assert first.equals(second)
    assert pq.read_schema(tmp_path / "intervals" / "trial-1.parquet").equals(schema_of(IntervalRow))
    assert query(f"SELECT count(*), count(error_l2) FROM '{tmp_path}/trials/*.parquet'") == [(2, 1)]  # noqa: S608
    assert query(f"SELECT count(*) FROM '{tmp_path}/intervals/*.parquet'") == [(1,)]  # noqa: S608


@given(
    number=st.one_of(st.none(), st.floats()),
    text=st.text(st.characters(exclude_categories=[])),
    steps=st.integers(-(2**63), 2**63 - 1),
    verdict=st.sampled_from([None, True, False]),
)
def test_a_row_comes_back_as_it_was_but_for_nan(
    tmp_path_factory: pytest.TempPathFactory, number: float | None, text: str, steps: int, verdict: bool | None
) -> None:
    folder = tmp_path_factory.getbasetemp() / "round trip"
    told = text.encode("utf-8", "backslashreplace").decode()  # a file name may hold what is no Unicode
    row = replace(ROW, error_l1=number, message=text, steps=steps, accepted_strict=verdict)
    write_trial(open_location(folder), row, [])
    (kept,) = trials(folder)
    expected = None if number is not None and math.isnan(number) else number
    assert repr(kept["error_l1"]) == repr(expected)  # -0.0 is not 0.0
    assert (kept["message"], kept["steps"], kept["accepted_strict"]) == (told, steps, verdict)
    assert TrialRow(**kept) == replace(row, error_l1=expected, message=told)


def test_averages_pass_over_what_has_no_value(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    for i, value in enumerate([1.0, math.nan, 3.0, None]):
        write_trial(results, replace(ROW, trial_id=f"t{i}", error_l2=value), [])
    write_trial(results, replace(ROW, trial_id="t9", error_linf=math.inf), [])
    found = query(f"SELECT avg(error_l2), count(error_l2), max(error_linf) FROM '{tmp_path}/trials/*.parquet'")  # noqa: S608
    assert found == [(2.0, 2, math.inf)]


def test_a_trial_written_again_replaces_its_own_file_and_no_other(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    write_trial(results, ROW, [INTERVAL, replace(INTERVAL, metric="l1")])
    write_trial(results, replace(ROW, trial_id="trial-2"), [INTERVAL])
    other = (tmp_path / "trials" / "trial-2.parquet").stat().st_mtime_ns
    write_trial(results, replace(ROW, status="error", message="later"), [])
    assert {row["trial_id"]: row["message"] for row in trials(tmp_path)} == {"trial-1": "later", "trial-2": ""}
    assert pq.read_table(tmp_path / "intervals" / "trial-1.parquet").num_rows == 0
    assert (tmp_path / "trials" / "trial-2.parquet").stat().st_mtime_ns == other
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    write_trial(results, ROW, [INTERVAL])
    with pytest.raises((pa.ArrowException, TypeError)):
        write_trial(results, replace(ROW, steps="many"), [INTERVAL])  # type: ignore[arg-type]
    assert [row["steps"] for row in trials(tmp_path)] == [20]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_trial_that_is_there_has_its_intervals(tmp_path: Path) -> None:
    """Whatever stops a run between the two files, no trial is left without its intervals."""
    (tmp_path / "trials").write_text("in the way")
    with pytest.raises(OSError, match="trials"):
        write_trial(open_location(tmp_path), ROW, [INTERVAL])
    assert pq.read_table(tmp_path / "intervals" / "trial-1.parquet").num_rows == 1


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write_trial(results, replace(ROW, seed=i), [INTERVAL] * i), range(32)))
    (row,) = trials(tmp_path)
    assert row["seed"] in range(32)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_filesystem_that_is_not_this_machines_does_as_well(tmp_path: Path) -> None:
    elsewhere = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    results = Location(elsewhere, "bucket/results", "s3://bucket/results")
    for seed in (1, 2):
        write_trial(results, replace(ROW, seed=seed), [INTERVAL])
    assert [row["seed"] for row in trials(tmp_path / "bucket" / "results")] == [2]


def test_a_trials_file_is_small_and_has_the_types_of_its_columns(tmp_path: Path) -> None:
    write_trial(open_location(tmp_path), ROW, [INTERVAL])
    (path,) = (tmp_path / "trials").iterdir()
    assert pq.read_schema(path).equals(schema_of(TrialRow))
    assert path.stat().st_size < 16_000
    assert read_trials(open_location(tmp_path)) == [ROW]
