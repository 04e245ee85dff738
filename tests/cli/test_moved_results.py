"""A results folder that was moved or copied, and one with a name that means something to SQL, URIs and shells."""

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlflow import MlflowClient

from raypol.cli.commands.demo import closing_lines
from raypol.cli.main import main
from raypol.report.content import make_report
from raypol.runs.sweeps.demo import DemoRun
from raypol.runs.tracking.store import tracking_uri
from raypol.runs.tracking.sweep_runs import Summary
from raypol.runs.tracking.sync import keep_summary
from raypol.runs.tracking.tracker import Tracker
from raypol.store.location import open_location
from raypol.store.quoting import command_line, sql_rows
from raypol.store.results.cache import read_trial_table
from tests.docs.pages import ROOT
from tests.rows import write_rows
from tests.studies import query

ODD = "w x [1] #2 %41 seed=5 'q' ü"
ODD_NAMES = [ODD, "100%", "a?b=c", "%2541", "a~b.", '* "x" $HOME `x` {a,b}', "-x;y"]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYPOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("raypol.report.content.PLOTS", ())  # figures take time


def run(*words: str | Path) -> None:
    """A command that succeeds."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    assert ended.value.code == 0


def in_mlflow(folder: Path) -> tuple[MlflowClient, list[Any]]:
    """A client of the folder's store, and the runs in it."""
    client = MlflowClient(tracking_uri=tracking_uri(open_location(folder)))
    return client, client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


# --- moved -----------------------------------------------------------------------------------------------------------


def _moved(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    old.rename(new)


def _copied(old: Path, new: Path) -> None:
    shutil.copytree(old, new)


@pytest.mark.parametrize(("move", "name"), [(_moved, "deep/B"), (_copied, f"{ODD}/B")])
def test_artifacts_are_where_the_folder_is_now(move: Callable[[Path, Path], None], name: str, tmp_path: Path) -> None:
    old, new = tmp_path / "A%41", tmp_path / name
    write_rows(old, 2)
    figure = old / "figures" / "panels.png"
    figure.parent.mkdir()
    figure.write_bytes(b"a picture")
    keep_summary(open_location(old), "made", Summary(answer="yes", figures=(figure,)))
    run("sync", old)
    before = {path.relative_to(old): path.read_bytes() for path in old.rglob("*") if path.is_file()}
    logged = {run.info.run_id for run in in_mlflow(old)[1]}
    assert len(logged) == 3

    move(old, new)
    run("sync", new)
    assert {run.info.run_id for run in in_mlflow(new)[1]} == logged, "what was there stays"
    write_rows(new, 3)
    run("sync", new)
    run("report", new, "--out", tmp_path / "report")
    client, runs = in_mlflow(new)
    found = [path.path for run in runs for path in client.list_artifacts(run.info.run_id)]
    assert sorted(found) == ["answer.md", "figures", *["parquet.json"] * len(runs)]
    assert all(run.info.artifact_uri.startswith(f"{new.as_uri()}/") for run in runs)
    if move is _moved:
        assert not old.exists()
    else:
        assert before == {path.relative_to(old): path.read_bytes() for path in old.rglob("*") if path.is_file()}
    with closing(sqlite3.connect(new / "mlflow.db")) as connection:
        assert old.as_uri() + "/" not in "\n".join(connection.iterdump())


def test_places_of_the_users_own_stay(tmp_path: Path) -> None:
    write_rows(tmp_path / "A", 1)
    run("sync", tmp_path / "A")
    client, _ = in_mlflow(tmp_path / "A")
    own = client.create_experiment("own", artifact_location=(tmp_path / "elsewhere").as_uri())
    kept = client.create_run(own)
    client.log_text(kept.info.run_id, "mine", "mine.txt")
    (tmp_path / "A").rename(tmp_path / "B")
    run("sync", tmp_path / "B")
    client, runs = in_mlflow(tmp_path / "B")
    assert Path(client.download_artifacts(kept.info.run_id, "mine.txt")).read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [tmp_path / name for name in ("B", "elsewhere")]
    assert len(runs) == 2


# --- odd names -------------------------------------------------------------------------------------------------------


def pasted(line: str) -> list[str]:
    """A command as bash takes it apart."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def last_lines(folder: Path) -> list[str]:
    """The last lines of a demo: results, query, MLflow."""
    tracker = cast("Tracker", SimpleNamespace(uri=tracking_uri(open_location(folder)), table=""))
    return closing_lines(cast("DemoRun", SimpleNamespace(study=SimpleNamespace(sweep_id="made"))), [], tracker, folder)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_printed_queries_and_commands_mean_this_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    seeds = [row.seed for row in write_rows(folder, 3)]
    if name in (ODD, ODD_NAMES[-2]):
        done = subprocess.run(
            ["bash", "-c", last_lines(folder)[1].removeprefix("query:")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("III") == 3
    for path in (folder, Path(name), f"{folder}/"):
        found = query(f"SELECT seed FROM {sql_rows(path)} ORDER BY 1")  # noqa: S608
        assert found == [(seed,) for seed in seeds]
    read = read_trial_table(open_location(folder), cache=tmp_path / "cache")
    assert sorted(read.table["seed"].to_pylist()) == seeds

    how = next(one for one in make_report(open_location(Path(name)), "made").sections if one.code)
    program, *words = pasted(how.code[-1])
    assert program == "raypol"
    run(*words, "--out", "report")
    assert (tmp_path / "report" / "report.md").is_file()


@pytest.mark.parametrize("name", [ODD, "a?b=c"])
def test_the_printed_store_is_this_folders_and_no_other_folder_appears(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    write_rows(folder, 2)
    run("sync", folder)
    (printed,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("MLflow: "))
    for line in (printed, last_lines(folder)[2]):
        *_, command, option, store = pasted(line.removeprefix("MLflow:"))
        assert (command, option) == ("ui", "--backend-store-uri")
        client = MlflowClient(tracking_uri=store)
        experiment = client.get_experiment_by_name("raypol")
        assert experiment is not None
        assert len(client.search_runs([experiment.experiment_id])) == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("word", [*ODD_NAMES, "", "it's", "a'b!c", "new\\line", "'$(touch x)'", '"\'"', "--name"])
def test_a_word_of_a_command_is_one_word_in_a_shell(word: str) -> None:
    assert pasted(command_line("a", word, "b")) == ["a", word, "b"]
    assert pasted(command_line(Path("-x"))) == ["./-x"]


def test_documented_queries_are_the_same_and_run(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    write_rows(folder, 2)
    found = 0
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text()
        assert "FROM '" not in text, page
        for shown in re.findall(r"SELECT [^`]*?FROM read_parquet\('[^']*/trials/\*\.parquet', hive[^`\n]*", text):
            (place,) = re.findall(r"read_parquet\('(.*)/trials", shown)
            assert sql_rows(place) in shown
            assert len(query(shown.replace(sql_rows(place), sql_rows(folder)))) == 2
            found += 1
    assert found == 2
