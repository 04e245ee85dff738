"""DuckDB's answers equal those of a loop over the rows."""

import io
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.errors import InputError
from raypol.store.location import open_location
from raypol.store.results.columns import schema_of
from raypol.store.results.free_sql import free_sql
from raypol.store.results.queries import (
    Between,
    Condition,
    OneOf,
    Value,
    by_arm,
    count,
    export,
    facet,
    listing,
    open_database,
    read_intervals,
    rows,
    select,
    success_by_steps,
    trial,
)
from raypol.store.results.rows import TrialRow
from tests.many_rows import varied_row, write_many

NUM = 300
ROWS = [varied_row(i) for i in range(NUM)]


def table_of(given_rows: list[TrialRow]) -> pa.Table:
    return pa.Table.from_pylist([asdict(row) for row in given_rows], schema=schema_of(TrialRow))


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_database(table_of(ROWS)) as opened:
        yield opened


def matches(row: TrialRow, condition: Condition) -> bool:
    """The slow, obvious reading of a condition."""
    value = getattr(row, condition.column)
    if isinstance(condition, Between):
        return value is not None and condition.low <= value <= condition.high
    return value in condition.values


def some(*values: Value) -> st.SearchStrategy[tuple[Value, ...]]:
    return st.lists(st.sampled_from(values), max_size=3).map(tuple)


_CONDITIONS = st.one_of(
    st.builds(OneOf, st.just("arm"), some("II", "null", "none such", "'; DROP TABLE trials; --")),
    st.builds(OneOf, st.just("alpha"), some(0.01, 0.03, None)),
    st.builds(OneOf, st.just("success"), some(True, False, None)),
    st.builds(OneOf, st.just("simulated"), st.just((False,))),
    st.builds(Between, st.just("steps"), st.integers(0, 500), st.integers(0, 20_000)),
    st.builds(Between, st.just("error_l2"), st.floats(0, 0.1), st.floats(0, 1)),
)  # fmt: skip


@given(conditions=st.lists(_CONDITIONS, max_size=4))
def test_filters_leave_what_a_loop_leaves(database: duckdb.DuckDBPyConnection, conditions: list[Condition]) -> None:
    expected = {row.trial_id for row in ROWS if all(matches(row, condition) for condition in conditions)}
    assert {row.trial_id for row in rows(database, conditions)} == expected
    assert set(listing(database, conditions)["trial"].to_pylist()) == expected
    assert count(database, conditions).trials == len(expected)


def test_rows_come_back_as_they_were_written(database: duckdb.DuckDBPyConnection) -> None:
    assert sorted(rows(database), key=lambda row: row.trial_id) == sorted(ROWS, key=lambda row: row.trial_id)


def test_counts(database: duckdb.DuckDBPyConnection) -> None:
    counts = count(database)
    assert (counts.trials, counts.sweeps) == (NUM, 5)
    for status in ("ok", "error", "stopped"):
        assert getattr(counts, status) == sum(row.status == status for row in ROWS) > 0
    assert counts.simulated == sum(row.simulated for row in ROWS) > 0
    assert counts.estimated == sum(row.estimated for row in ROWS) > 0
    assert (counts.judged, counts.succeeded, counts.succeeded_strict) == (
        sum(row.success is not None for row in ROWS),
        sum(row.success is True for row in ROWS),
        sum(row.success_strict is True for row in ROWS),
    )


def test_per_arm(database: duckdb.DuckDBPyConnection) -> None:
    condition = OneOf("sweep_id", ("sweep-a", "sweep-b"))
    for line in by_arm(database, [condition]):
        own = [row for row in ROWS if row.arm == line["arm"] and matches(row, condition)]
        good = [row.error_l2 for row in own if row.status == "ok" and row.error_l2 is not None]
        assert line["trials"] == len(own)
        assert line["not_ok"] == sum(row.status != "ok" for row in own)
        assert line["not_measured"] == sum(row.simulated or row.estimated for row in own)
        assert line["accepted_strict"] == sum(row.accepted_strict is True for row in own)
        assert line["judged_strict"] == sum(row.accepted_strict is not None for row in own)
        assert line["error_l2"] == pytest.approx(statistics.median(good), rel=1e-12)


def test_success_by_steps(database: duckdb.DuckDBPyConnection) -> None:
    for arm, steps, judged, succeeded in success_by_steps(database):
        own = [row for row in ROWS if (row.arm, row.steps) == (arm, steps) and row.success is not None]
        assert (judged, succeeded) == (len(own), sum(row.success is True for row in own))


def test_facets_have_every_value_in_order(database: duckdb.DuckDBPyConnection) -> None:
    found = facet(database, "alpha")
    assert list(found) == [0.001, 0.003, 0.01, 0.03, None]
    assert sum(found.values()) == NUM
    assert found[None] == sum(row.alpha is None for row in ROWS)


def test_columns_are_checked_by_name(database: duckdb.DuckDBPyConnection) -> None:
    injected = 'arm" = 1; DROP TABLE trials; --'
    actions: list[Callable[[], object]] = [
        lambda: facet(database, injected),
        lambda: count(database, [OneOf(injected, ("x",))]),
        lambda: select(database, [], [injected]),
    ]
    for action in actions:
        with pytest.raises(InputError, match="unknown column"):
            action()
    assert count(database).trials == NUM


def test_infinities_and_rows_that_lack_what_they_must_have() -> None:
    odd = [replace(ROWS[0], error_l2=float("inf")), replace(ROWS[1], error_l2=None)]
    table = table_of([*odd, ROWS[2]])
    lacking = table.set_column(table.schema.get_field_index("arm"), "arm", pa.array([None, "x", "y"], pa.string()))
    with open_database(lacking) as opened:
        assert count(opened).trials == 3
        assert [row.arm for row in rows(opened)] == ["x", "y"]
        assert {line["arm"] for line in by_arm(opened)} == {None, "x", "y"}


def test_intervals_of_some_trials(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    write_many(tmp_path, 3)
    results, ids = open_location(tmp_path), [row.trial_id for row in ROWS[:3]]
    (tmp_path / "intervals" / "broken.parquet").write_bytes(b"PAR1")
    found, unread = read_intervals(results, [*ids, "broken", "not there", "../trials/" + ids[0]])
    assert set(found["trial_id"].to_pylist()) == set(ids)
    assert unread == 3
    answer = free_sql(
        database, "SELECT count(DISTINCT trial_id) AS n FROM intervals", more={"intervals": lambda: found}, max_rows=1
    )
    assert answer["n"].to_pylist() == [3]


def test_downloads_hold_every_column_of_what_is_left(database: duckdb.DuckDBPyConnection) -> None:
    condition = OneOf("arm", ("III-loss",))
    expected = [row for row in ROWS if row.arm == "III-loss"]
    parquet = pq.read_table(io.BytesIO(export(database, [condition], "parquet")))
    csv = pa_csv.read_csv(io.BytesIO(export(database, [condition], "csv")))
    for table in (parquet, csv):
        assert table.column_names == schema_of(TrialRow).names
        assert sorted(table["trial_id"].to_pylist()) == sorted(row.trial_id for row in expected)
    assert parquet.schema.types == schema_of(TrialRow).types


def test_one_trial(database: duckdb.DuckDBPyConnection) -> None:
    found = trial(database, ROWS[5].trial_id)
    assert found is not None
    assert found["arm"] == ROWS[5].arm
    assert trial(database, "' OR 1 = 1 --") is None
