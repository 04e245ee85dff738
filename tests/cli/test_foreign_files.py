"""Every command that reads a results folder, beside files in it that are not raypol's."""

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
from tests.rows import write_rows

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
