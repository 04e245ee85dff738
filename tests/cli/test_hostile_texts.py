"""What a terminal gets of a results folder in which every text is an attack on it."""

import json
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from mlflow import MlflowClient
from rich.text import Text

from raypol.cli.console import PlainConsole, guard_logs, print_last
from raypol.cli.exit_codes import fail, guarded
from raypol.cli.main import main
from raypol.cli.progress import progress
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.tracking.sweep_runs import Summary
from raypol.runs.tracking.sync import keep_summary
from raypol.store.location import open_location
from raypol.store.results.columns import columns_of
from raypol.store.results.files import write_trial
from raypol.store.results.rows import TrialRow
from tests.report.sweep_rows import draw_blank_figures, rows_of
from tests.rows import made_intervals

EVIL = "x\x1b]52;c;AAAA\x07 \x1b[2J \x9b31m \u202e\u2066 \r [red]y"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Every control character but the line feed, and changes of direction."""


@pytest.fixture(autouse=True)
def usual_warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    yield
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYPOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    draw_blank_figures(monkeypatch)
    folder = tmp_path / f"results{EVIL}"
    kept = ("sweep_id", "trial_id", "proof_id", "proof_reference", "started_at", "attack")
    free = [one.name for one in columns_of(TrialRow) if one.kind is str and one.name not in kept]
    for row in rows_of("s"):
        changed: dict[str, Any] = {name: EVIL for name in free if not (row.is_honest and name in ("arm", "status"))}
        write_trial(open_location(folder), replace(row, **changed), made_intervals(row))
    record = SweepRecord(open_location(folder), "s")
    record.write_about(About(question=EVIL, command=EVIL, num_trials=9))
    record.write_asked({EVIL: EVIL})
    keep_summary(record.results, "s", Summary(answer=EVIL))
    (folder / "trials" / f"{EVIL}.parquet").write_bytes(b"")
    (folder / "trials" / "f\x1b[2J.parquet").mkdir()
    (folder / "sweeps" / EVIL).mkdir()
    now = 1_800_000_000.0
    running = {"arm": EVIL, "steps": 1, "interval": 1, "seed": 0, "device": EVIL, "since": now}
    pulse = {"sweep_id": EVIL, "started_at": now, "written_at": now, "every_s": 2.0, "ended": EVIL, "doing": EVIL}
    (folder / "sweeps" / "s" / "live.json").write_text(json.dumps(pulse | {"running": [running], "num_trials": 9}))
    return folder


COMMANDS: dict[str, tuple[str, ...]] = {
    "report": ("report", "{folder}", "--out", "{out}"),
    "report of one": ("report", "{folder}", "--name", "s", "--out", "{out}"),
    "report of none": ("report", "{folder}", "--name", f"no{EVIL}"),
    "sync": ("sync", "{folder}"),
    "sync of none": ("sync", "{folder}", "--sweep", "no"),
    "top": ("top", "--results", "{folder}", "--name", "s", "--address", "none", "--once"),
    "top of none": ("top", "--results", "{folder}", "--name", "no", "--address", "none", "--once"),
    "no folder": ("report", "{folder}/no"),
    "no proof": ("verify", "{folder}/no"),
    "no sweep file": ("plan", "{folder}"),
    "no head": ("join", f"{EVIL}:1", "--dry-run"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_gets_no_control_character(
    command: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        main([word.format(folder=folder, out=tmp_path / "out") for word in COMMANDS[command]])
    said = capfd.readouterr()
    assert said.out + said.err
    assert not CONTROL.findall(said.out + said.err)
    assert not CONTROL.findall(caplog.text.replace("\t", " ")), "nor does a log that another handler writes"


def test_progress_and_errors_show_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    out = StringIO()
    with progress(PlainConsole(file=out, width=200)) as update:
        update(EVIL, 1, 1)
    assert "\\x1b]52;c;AAAA\\x07" in out.getvalue()
    assert not CONTROL.findall(out.getvalue())
    fail(EVIL)

    def raise_it() -> int:
        raise RuntimeError(EVIL)

    assert guarded(raise_it, debug=False) == 3
    print_last(EVIL)
    said = capsys.readouterr()
    assert "RuntimeError: x\\x1b]52" in said.err
    assert not CONTROL.findall(said.out + said.err)


def test_a_bar_on_a_terminal_sends_only_its_own_codes() -> None:
    out = StringIO()
    with progress(PlainConsole(file=out, width=200, force_terminal=True, color_system=None)) as update:
        update(EVIL, 1, 2)
    assert "\x1b]52" not in out.getvalue()
    assert "\x9b" not in out.getvalue()
    assert "[red]y" in out.getvalue()


def test_a_text_that_nobody_escaped_is_shown_by_the_console() -> None:
    out = StringIO()
    PlainConsole(file=out, width=200).print(Text(EVIL), EVIL)
    assert not CONTROL.findall(out.getvalue())
    assert out.getvalue().count("\\x1b]52;c;AAAA") == 2


def test_logs_and_warnings_that_nobody_handles(capsys: pytest.CaptureFixture[str]) -> None:
    guard_logs()
    guard_logs()
    record = logging.LogRecord("other", logging.WARNING, "", 1, "%s", (EVIL,), None)
    assert logging.lastResort is not None
    logging.lastResort.handle(record)
    logged = capsys.readouterr().err
    assert not CONTROL.findall(logged + warnings.formatwarning(EVIL, UserWarning, EVIL, 1, ""))
    assert "\\x1b]52" in logged


def test_mlflow_renders_nothing_of_a_folder_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder, names = tmp_path / "results", "a/b.c:d%e"
    for row in rows_of("s"):
        write_trial(
            open_location(folder), replace(row, arm=names, model=names, message="x" * 90_000), made_intervals(row)
        )
    hostile = "**Yes.** ![x](http://evil/x.png) [click](http://evil) <img src=x> <http://evil>"
    keep_summary(open_location(folder), "s", Summary(answer=hostile))
    with pytest.raises(SystemExit) as ended:
        main(["sync", str(folder)])
    assert ended.value.code == 0
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    (note,) = (run.data.tags["mlflow.note.content"] for run in runs if "raypol.summary" in run.data.tags)
    assert note.startswith("**Yes.** !\\[x\\](http:\\//evil/x.png)")
    tokens = [one for token in MarkdownIt("commonmark").parse(note) for one in token.children or ()]
    assert not {"image", "html_inline"} & {one.type for one in tokens}
    links = [str(one.attrs["href"]) for one in tokens if one.type == "link_open"]
    assert len(links) == 3
    assert all(link.startswith("#/") for link in links), "our own"
    assert len(runs) == 8
