"""Every command that reads a results folder, beside files in it that are not raypol's."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raypol.cli.main import main
from raypol.explorer.session import open_results
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.tracking.sweep_runs import Summary
from raypol.runs.tracking.sync import keep_summary, kept_summary
from raypol.store.location import open_location
from raypol.store.results.files import read_trials
from tests.rows import made_row, rewrite, write_rows

COMMANDS: dict[str, tuple[str, ...]] = {
    "report": ("report", "{folder}", "--out", "{out}"),
    "sync": ("sync", "{folder}"),
    "top": ("top", "--results", "{folder}", "--address", "none", "--once"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with an empty file in every place."""
    monkeypatch.setenv("RAYPOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("raypol.report.content.PLOTS", ())  # figures take time
    folder = tmp_path / "results"
    write_rows(folder, 2)
    for name in ("intervals", "ranges", "sweeps", "sweeps/made", "sweeps/made/points", "sweeps/made/honest"):
        (folder / name).mkdir(exist_ok=True)
    for name in (
        "trials/x.parquet", "intervals/made-1.parquet", "ranges/made-published.parquet", "sweeps/x", "sweeps/made/about.json",
        "sweeps/made/live.json", "sweeps/made/summary.json", "sweeps/made/points/x.json", "sweeps/made/honest/x.json",
    ):  # fmt: skip
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_goes_on_and_names_each_file_once(
    command: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    words = [word.format(folder=folder, out=tmp_path / "out") for word in COMMANDS[command]]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0, capfd.readouterr().err
    named = [message for message in caplog.messages if f"left out: {folder}/trials/x.parquet" in message]
    assert len(named) == 1
    assert len(set(caplog.messages)) == len(caplog.messages)
    if command == "report":
        assert "trials/x.parquet" in (tmp_path / "out" / "report.md").read_text(), "the page says so too"


def test_the_app_names_it(folder: Path) -> None:
    (note,) = open_results(str(folder)).trials.notes
    assert f"left out: {folder}/trials/x.parquet" in note


BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "a list": lambda path: path.write_text("[1]"),
    "without its keys": lambda path: path.write_text("{}"),
    "deep": lambda path: path.write_text('{"a": ' + "[" * 20000),
    "no UTF-8": lambda path: path.write_bytes(b'{"a": "\xff"}'),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_resumed_sweep_reads_the_sound_notes(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = SweepRecord(open_location(tmp_path), "s")
    record.write_note("points", "a", {"point": {"steps": 20}})
    BROKEN[case](record_file := tmp_path / "sweeps" / "s" / "points" / "b.json")
    assert record.read_notes("points", "point") == [{"point": {"steps": 20}}]
    assert record.read_note("points", "b", "point") is None
    assert len(caplog.messages) == 1
    assert str(record_file) in caplog.text

    keep_summary(record.results, "s", Summary(answer="yes"))
    for name in ("about.json", "summary.json"):
        (tmp_path / "sweeps" / "s" / name).unlink(missing_ok=True)
        BROKEN[case](tmp_path / "sweeps" / "s" / name)
    assert record.read_about() == About()
    assert kept_summary(record.results, "s") is None


# --- rows that name places elsewhere, or fill the memory ---------------------------------------------------------------


@pytest.mark.parametrize("column", ["sweep_id", "proof_id", "proof_reference", "trial_id"])
@pytest.mark.parametrize("name", ["../../evil", "/evil", "..", "a\\b", "x\x1b[2J", "n" * 201])
def test_a_row_cannot_name_a_place_outside_the_folder(
    column: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "results"
    write_rows(folder, 2)
    (file, _) = sorted((folder / "trials").iterdir())
    table = pq.read_table(file)
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array([name])), file)
    (left,) = read_trials(open_location(folder))
    assert left.trial_id != file.stem
    assert f"{file} has a {column} that is no name of a file: {name[:80]!r}" in caplog.text
    assert len(open_results(str(folder)).trials.notes) == 1


def test_a_report_is_written_nowhere_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a" / "b" / "results"
    write_rows(folder, 2)
    monkeypatch.setattr("raypol.report.content.PLOTS", ())
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folder), "--name", "../../../evil"])
    assert ended.value.code == 2
    assert "error: " in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_equal_rows_that_fold_to_nothing_are_not_unfolded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "results"
    write_rows(folder, 2)
    (file, _) = sorted((folder / "trials").iterdir())
    pq.write_table(pq.read_table(file).take([0] * 400_000), file, compression="zstd")
    assert len(read_trials(open_location(folder))) == 1
    assert "claims 400,000 rows in " in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.take([0] * 12_000), "claims 12,000 rows in "),
        (
            lambda table: _with(table, "message", "x" * 80_000_000),
            "cannot be read|has a message of 80,000,000 characters",
        ),
        (
            lambda table: _with(table, "message", "x" * 1_000_000).take([0] * 60),
            "cannot be read (its texts would unfold|has a message of 1,000,000 characters",
        ),
        (lambda table: _with(table, "message", "x" * 100_001), "has a message of 100,001 characters"),
        (lambda table: _with(table, "arm", "x" * 1_001), "has a arm of 1,001 characters"),
    ],
)
def test_a_small_file_with_much_in_it_is_left_out(
    change: Callable[[pa.Table], pa.Table],
    said: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("raypol.store.results.files._MAX_BYTES", 50_000_000)
    folder = tmp_path / "results"
    write_rows(folder, 2)
    (file, _) = sorted((folder / "trials").iterdir())
    pq.write_table(change(pq.read_table(file)), file, compression="zstd")
    assert file.stat().st_size < 1_000_000
    before = pa.total_allocated_bytes()
    begin = time.monotonic()
    (left,) = read_trials(open_location(folder))
    assert left.trial_id != file.stem
    assert any(words in caplog.text for words in said.split("|"))
    (note,) = open_results(str(folder)).trials.notes
    assert any(words in note for words in said.split("|"))
    assert pa.total_allocated_bytes() - before < 100_000_000
    assert time.monotonic() - begin < 60, "a loaded machine included"


def _with(table: pa.Table, column: str, text: str) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array([text] * len(table)))


def test_the_longest_message_of_our_own_is_read_again(tmp_path: Path) -> None:
    rewrite(tmp_path, made_row(0), message="x" * 200_000)
    (row,) = read_trials(open_location(tmp_path))
    assert row.message == "x" * 100_000


# --- links that lead out of the folder ---------------------------------------------------------------------------------


def test_files_that_lead_out_of_the_folder_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, other = tmp_path / "results", tmp_path / "other"
    write_rows(folder, 2)
    write_rows(other, 3)
    record = SweepRecord(open_location(other), "made")
    record.write_about(About(question="whose?"))
    keep_summary(record.results, "made", Summary(answer="theirs"))
    (folder / "trials" / "made-2.parquet").symlink_to(other / "trials" / "made-2.parquet")
    (folder / "intervals" / "made-1.parquet").unlink()
    (folder / "intervals" / "made-1.parquet").symlink_to(other / "intervals" / "made-1.parquet")
    (folder / "sweeps" / "made").mkdir(parents=True)
    for name in ("about.json", "summary.json", "live.json"):
        (folder / "sweeps" / "made" / name).symlink_to(other / "sweeps" / "made" / name)
    results = open_location(folder)
    assert {row.trial_id for row in read_trials(results)} == {"made-0", "made-1"}
    assert "made-2.parquet leads out of the results folder" in caplog.text
    assert len(open_results(str(folder)).trials.table) == 2
    assert SweepRecord(results, "made").read_about() == About()
    assert kept_summary(results, "made") is None
    assert len(read_trials(open_location(other))) == 3, "a folder that is a link itself is the user's choice"
    (tmp_path / "link").symlink_to(other)
    assert len(read_trials(open_location(tmp_path / "link"))) == 3


@pytest.mark.parametrize("named", ["{out}/secret.png", "../secret.png", "figures/link.png", "figures/pipe"])
def test_a_summary_names_figures_of_its_folder_alone(named: str, tmp_path: Path) -> None:
    folder, secret = tmp_path / "results", tmp_path / "secret.png"
    secret.write_bytes(b"mine")
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "link.png").symlink_to(secret)
    os.mkfifo(folder / "figures" / "pipe")
    results = open_location(folder)
    keep_summary(results, "s", Summary(answer="yes"))
    figures = {named.format(out=tmp_path): hashlib.sha256(b"mine").hexdigest()}
    (folder / "sweeps" / "s" / "summary.json").write_text(json.dumps({"answer": "yes", "figures": figures}))
    found = kept_summary(results, "s")
    assert found is not None
    assert found.figures == ()
