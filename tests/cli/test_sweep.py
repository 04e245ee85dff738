"""A sweep file as its users run it: started, repeated, resumed, refused. Interruptions: tests/system/test_interrupted.py."""

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from raypol.store.location import open_location
from raypol.store.results.files import read_trials
from tests.tiny_sweep import environment, start, tiny_sweep


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(tiny_sweep(folder)), *([] if "--address" in words else ["--address", "local"]), *words],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip


@pytest.mark.ray
def test_a_sweep_from_its_file_twice(tmp_path: Path) -> None:
    """One test: a sweep takes half a minute. First at all, then again, then under another question."""
    done = run(tmp_path, "--size", "smoke", "--results", "results", "--max-concurrent", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_trials(open_location(tmp_path / "results"))
    assert sorted((row.arm, row.steps) for row in rows if row.arm != "honest") == sorted(
        (arm, steps) for arm in ("null", "infinitesimal", "forged_momentum") for steps in (10, 20)
    )
    assert {row.status for row in rows} == {"ok"}
    assert {row.sweep_id for row in rows} == {"tiny-smoke"}
    assert all(row.node and row.device_name and not row.simulated for row in rows)
    assert "6 of 6 trials have a row: 6 ran to the end" in done.stdout
    assert re.search(r"forged_momentum +10, 20 .* succeeds .*at 10, 20", done.stdout)
    assert "6/6" in done.stderr
    assert "Traceback" not in done.stderr

    client = MlflowClient(f"sqlite:///{tmp_path}/results/mlflow.db")
    experiment = client.get_experiment_by_name("raypol-tiny")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == len(rows) + 1

    figures = {path.name for path in (tmp_path / "results" / "figures" / "tiny-smoke").iterdir()}
    assert {"panels.png", "panels.pdf", "pareto.png", "verdicts.pdf"} <= figures
    (summary,) = client.search_runs([experiment.experiment_id], "tags.`raypol.summary` = 'true'")
    logged = {Path(entry.path).name for entry in client.list_artifacts(summary.info.run_id, "figures")}
    assert logged == figures

    # The folder is moved to a place with an odd name, and the sweep goes on there.
    folder = tmp_path / "w x [1] #2 %41 seed=5 'q' ü"
    (tmp_path / "results").rename(folder)
    written = {path: path.stat().st_mtime_ns for path in (folder / "trials").iterdir()}
    again = run(tmp_path, "--size", "smoke", "--results", folder.name, "--resume", "--no-figures")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "6 of 6 trials have a row (6 were finished before)" in again.stdout
    assert "starting Ray" in done.stderr
    assert "starting Ray" not in again.stderr, "there is nothing left to run"
    assert {path: path.stat().st_mtime_ns for path in (folder / "trials").iterdir()} == written
    (ui,) = re.findall(r"^MLflow: +(.*)$", again.stdout, flags=re.MULTILINE)
    client = MlflowClient(shlex.split(ui)[-1])
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(rows) + 1
    assert all(client.list_artifacts(run.info.run_id) for run in runs)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["tiny.py", folder.name])

    other = run(tmp_path, "--size", "paper", "--results", folder.name, "--name", "tiny-smoke")
    assert other.returncode == 2
    assert "holds another sweep named 'tiny-smoke'; what differs: axis steps" in other.stderr
    assert other.stderr.count("\n") <= 2
    assert {path: path.stat().st_mtime_ns for path in (folder / "trials").iterdir()} == written


BAD = [
    (["--size", "huge"], "--size"),
    (["--size", "smoke", "--resume"], "nothing to resume"),
    (["--size", "smoke", "--results", "in the way/x"], "cannot open 'in the way/x': Not a directory"),
    (["--size", "smoke", "--results", "nope://x"], "expected a folder, file://, s3:// or gs://"),
    (["--size", "smoke", "--spoofer", "T4,,P40"], "T4,,P40"),
    (["--size", "smoke", "--workers", "0"], "expected --workers >= 1, got 0"),
    (["--size", "smoke", "--name", "../elsewhere"], "expected --name of letters"),
    (["--size", "smoke", "--search", "optuna", "--early-stop"], "--early-stop leaves Optuna without numbers"),
    (["--size", "smoke", "--no-such-option"], "no-such-option"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words[2:]) or words[1] for words, _ in BAD])
def test_bad_input_is_one_line_and_starts_nothing(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in the way").write_bytes(b"a file")
    code = start(tiny_sweep(tmp_path), [*words, "--address", "local"])
    seen = capsys.readouterr()
    assert code == 2, seen
    assert said in seen.err
    assert seen.err.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in seen.err
    assert not list(tmp_path.glob("*/sweeps/*/sweep.json"))
    assert not list(tmp_path.glob("*/trials/*"))


@pytest.mark.ray
def test_a_device_that_the_cluster_does_not_have_is_told_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run(tmp_path, "--size", "smoke", "--results", "results", "--spoofer", "T4,2080ti")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "T4" in done.stderr
    assert "CPU" in done.stderr, "what there is"
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "results" / "sweeps").exists()
    assert time.monotonic() - started < 240, "not after the 15 minutes that a device is waited for"


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "--size", "smoke", "--results", "results", "--address", "127.0.0.1:9")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "cannot reach a Ray cluster at '127.0.0.1:9'" in done.stderr
    assert not (tmp_path / "results" / "sweeps").exists()


def test_help_is_the_manual(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(tiny_sweep(tmp_path), ["--help"]) == 0
    said = capsys.readouterr().out
    for word in ("--size", "--results", "--resume", "--search", "--spoofer", "--early-stop", "RAYPOL_RESULTS", "s3://"):
        assert word in said


def test_a_dry_run_says_what_it_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert start(tiny_sweep(tmp_path), ["--size", "smoke", "--address", "local", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "6 trials" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.py"]
