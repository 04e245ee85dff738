"""Results that were written when conditions and thresholds were one text each and a column had another name: read as if they had
the columns of today.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raypol.runs.tracking.row_fields import row_digest
from raypol.store.location import open_location
from raypol.store.results.cache import read_trial_table
from raypol.store.results.columns import columns_of, schema_of
from raypol.store.results.files import ONE_ROW, read_trial, read_trials, to_rows, write_trial
from raypol.store.results.queries import OneOf, facet, open_database, rows
from raypol.store.results.rows import TrialRow
from tests.rows import made_row

REPLAY = "augmentation=fresh precision=float32 device=cpu threads=1"
RELATIVE = "relative l1=0.1 l2=0.1 linf=0.15 cos=0.02"
DYNAMIC = "dynamic l1=0.1 l2=0.1 linf=0.15 cos=0.02 late=0.25"


def write_old(folder: Path, number: int, replay: str = REPLAY, thresholds: str = RELATIVE) -> None:
    """A file as the older version wrote it: without the new columns, the two texts in their place."""
    row: dict[str, Any] = asdict(made_row(number)) | {"error_l1": None}
    old = [field for field in schema_of(TrialRow) if not field.name.startswith(("replay_", "threshold_"))]
    schema = pa.schema([*old, ("replay", pa.string()), ("thresholds", pa.string())])
    cells = {name: value for name, value in row.items() if name in schema.names}
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([cells | {"replay": replay, "thresholds": thresholds}], schema=schema)
    pq.write_table(table, folder / "trials" / f"{row['trial_id']}.parquet", **ONE_ROW)


def test_old_texts_fill_the_columns(tmp_path: Path) -> None:
    for number in (1, 2):
        write_trial(open_location(tmp_path), made_row(number), [])
    write_old(tmp_path, 0)
    write_old(tmp_path, 1, thresholds=DYNAMIC)  # its intervals stay
    first, second, new = read_trials(open_location(tmp_path))
    assert (first.replay_augmentation, first.replay_precision) == ("fresh", "float32")
    assert (first.replay_device, first.replay_threads) == ("cpu", 1)
    slack = (first.threshold_l1, first.threshold_l2, first.threshold_linf, first.threshold_cos)
    assert (first.threshold_kind, slack, first.threshold_late) == ("relative", (0.1, 0.1, 0.15, 0.02), None)
    assert (second.threshold_kind, second.threshold_late) == ("dynamic", 0.25)
    assert (first.replay, first.thresholds, second.thresholds) == (REPLAY, RELATIVE, DYNAMIC)
    assert (new.replay, new.thresholds, new.threshold_l1) == ("", "", None)
    found = read_trial(open_location(tmp_path), "made-1")
    assert found is not None
    assert found[0] == second


def test_the_table_the_database_and_the_cache_have_the_columns_too(tmp_path: Path) -> None:
    for number in range(3):
        write_old(tmp_path / "results", number, thresholds=DYNAMIC if number else RELATIVE)
    expected = read_trials(open_location(tmp_path / "results"))
    for opened in (3, 0):  # the second time from the cache
        found = read_trial_table(open_location(tmp_path / "results"), cache=tmp_path / "cache")
        assert (found.num_read, found.notes) == (opened, ())
        assert found.table.schema.equals(schema_of(TrialRow))
        assert sorted(to_rows(found.table, TrialRow), key=lambda row: row.trial_id) == expected
    database = open_database(found.table)
    assert facet(database, "threshold_kind") == {"dynamic": 2, "relative": 1}
    assert len(rows(database, [OneOf("threshold_late", (0.25,))])) == 2


def test_a_cache_of_the_older_version_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_old(tmp_path / "results", 0)
    fewer = [column for column in columns_of(TrialRow) if column.group != "verifier"]
    older = pa.schema([field for field in schema_of(TrialRow) if field.name in {column.name for column in fewer}])
    with monkeypatch.context() as before:
        before.setattr("raypol.store.results.cache.schema_of", lambda _: older)
        read_trial_table(open_location(tmp_path / "results"), cache=tmp_path / "cache")
    found = read_trial_table(open_location(tmp_path / "results"), cache=tmp_path / "cache")
    assert (found.num_read, found.table["replay_threads"].to_pylist()) == (1, [1])


@pytest.mark.parametrize(
    "text", ["", "fresh", "augmentation", "threads=many l1=x", f"threads={2**70}", "=", "a=b=c", "késő=1"]
)
def test_texts_of_another_form_leave_the_columns_empty(tmp_path: Path, text: str) -> None:
    write_old(tmp_path, 0, replay=text, thresholds="")
    (row,) = read_trials(open_location(tmp_path))
    assert (row.replay, row.thresholds, row.replay_threads) == ("", "", None)


def test_a_run_that_was_logged_from_an_old_row_is_the_run_of_the_row_that_is_read_now(tmp_path: Path) -> None:
    """The digest in a run's tag counts the old texts, so `raypol sync` finds the run and logs nothing twice."""
    write_old(tmp_path, 0, thresholds=DYNAMIC)
    (row,) = read_trials(open_location(tmp_path))
    assert row_digest(row) == "0ff10054f8332e812aad712df5d54a1975f61de22b0b94d1968c6cc45599668a", (
        "as the older version computed it"
    )
    other = "dynamic l1=0.1 l2=0.1 linf=0.15 cos=0.03 late=0.25"
    write_old(tmp_path, 0, thresholds=other)
    (changed,) = read_trials(open_location(tmp_path))
    assert row_digest(changed) != row_digest(row)


# --- a column of another name ----------------------------------------------------------------------------------------

NEWER = (
    "start",
    "declares",
    "augmentation",
    "buffers",
    "data_order",
    "grants",
    "forward_passes",
    "hashes",
    "writing_s",
)
"""Columns that came with the new name."""


def write_renamed(folder: Path, number: int, hyperparameters: str | None, carry: str) -> None:
    """A file as the older version wrote it, which knew `hyperparameters` and a carry of `none`."""
    write_old(folder, number)
    path = folder / "trials" / f"made-{number}.parquet"
    table = pq.read_table(path).drop_columns(list(NEWER))
    cells = {"hyperparameters": hyperparameters, "carry": carry}
    table = table.drop_columns(["carry"])
    for name, cell in cells.items():
        table = table.append_column(name, pa.array([cell], pa.string()))
    pq.write_table(table, path, **ONE_ROW)


def test_hyperparameters_are_read_as_what_is_declared(tmp_path: Path) -> None:
    for number, (declared, carry) in enumerate((("published", "none"), ("honest_schedule", "exact"), (None, "exact"))):
        write_renamed(tmp_path / "results", number, declared, carry)
    write_trial(open_location(tmp_path / "results"), replace(made_row(3), declares="accumulator"), [])
    expected = [("published", "none"), ("honest_schedule", "exact"), (None, "exact"), ("accumulator", None)]
    found = read_trials(open_location(tmp_path / "results"))
    assert [(row.declares, row.carry) for row in found] == expected
    assert [(row.grants, row.start, row.writing_s) for row in found] == [(None, None, None)] * 4
    for _ in range(2):  # the second time from the cache
        table = read_trial_table(open_location(tmp_path / "results"), cache=tmp_path / "cache").table
        assert table.schema.equals(schema_of(TrialRow))
        assert set(table["declares"].to_pylist()) == {"published", "honest_schedule", None, "accumulator"}
    assert facet(open_database(table), "declares")["published"] == 1


def test_a_run_that_was_logged_under_the_old_name_is_the_run_of_the_row_that_is_read_now(tmp_path: Path) -> None:
    write_renamed(tmp_path, 0, "published", "none")
    (row,) = read_trials(open_location(tmp_path))
    assert row_digest(row) == "8496fd2e913257e09b0eecb080726121c6056ea877745935db6e98fa906b2481", (
        "as the older version computed it"
    )
    assert row_digest(replace(row, declares="vanishing")) != row_digest(row)
