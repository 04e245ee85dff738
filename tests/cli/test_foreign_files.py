"""Every command that reads a results folder, beside files in it that are not raypol's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raypol.cli.main import main
from raypol.explorer.session import open_results
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.tracking.sweep_runs import Summary
from raypol.runs.tracking.sync import keep_summary, kept_summary
from raypol.store.location import open_location
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
