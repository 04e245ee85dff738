"""`raypol range` and its summary: bad input, help, and a search from its command line, compared with the grid."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from ray import tune

from raypol.cli.main import main
from raypol.cli.sweep import run_sweep
from raypol.cli.sweep_options import RangeSweepCommand
from raypol.cluster.runners import LocalRunner
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.runs.designs.design import Design, Sweep
from raypol.runs.success_range.search import SearchGrid
from raypol.runs.trials.trial import run_honest, run_trial
from raypol.store.location import open_location
from raypol.store.results.files import read_rows, read_trials
from raypol.store.results.range_rows import RangeRow
from tests.studies import TRAIN, on, prepare, trial

SPAN = SearchGrid(low=10, high=640, resolution=10)
RAYPOL = str(Path(sys.executable).parent / "raypol")

# --- bad input -------------------------------------------------------------------------------------------------------

BAD = [
    ("--low 100 --high 50", "expected the lowest T' below the highest, got 100 and 50"),
    ("--low 100 --high 100", "expected the lowest T' below the highest"),
    ("--low 5 --high 100", "T' = 5 is not reachable with k = 10"),
    ("--low 0", "T' = 0 is not reachable with k = 10"),
    ("--resolution 15", "expected a resolution that is a multiple of k = 10, got 15"),
    ("--resolution 0", "expected a resolution >= 1, got 0"),
    ("--low 10 --high 50 --resolution 100", "expected a resolution in 1..40"),
    ("--seeds", "expected at least one seed, got none"),
    ("--interval 0", "expected --interval >= 1, got 0"),
    ("--scan-factor 1", "expected a scan factor > 1"),
    ("--train.interval 5", "--train.interval has no meaning here; give --interval"),
    ("--spoof.steps 50", "--spoof.steps has no meaning here; give --low and --high"),
    ("--spoof.seed 3", "give --seeds"),
    ("--train.data-dir x", "give --data-dir"),
    ("--attack nope", "unknown attack 'nope'"),
    ("--attack tests.scenes:INVERT --alpha 1", "has no field alpha; possible: every"),
    ("--attack null --alpha 1", "has no field alpha"),
    ("--policy kind", "policy"),
    ("--train.dataset nope", "nope"),
    ("--name ../x", "expected --name of letters"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_line_and_starts_nothing(
    words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["range", "--results", str(tmp_path / "results"), "--address", "local", *words.split()])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not list(tmp_path.iterdir())


SWEEP = Sweep(
    name="tiny_range",
    question="Between which T' does it work?",
    paper=Design(
        train=TRAIN,
        arms={"forged_momentum": "forged_momentum"},
        space={"steps": tune.grid_search([10, 20]), "seed": tune.grid_search([0, 1])},
        drawn={"steps": tune.qrandint(10, 640, 10)},
    ),
    smoke=Design(train=TRAIN, arms={}, space={"steps": tune.grid_search([10, 20])}),
)
BAD_SWEEPS = [
    (["--low", "700"], "expected the lowest T' below the highest, got 700 and 640"),
    (["--resolution", "25"], "expected a resolution that is a multiple of k = 10, got 25"),
    (["--seeds"], "expected at least one seed, got none"),
    (["--size", "smoke"], "a range search needs the axis steps as tune.qrandint"),
]


@pytest.mark.parametrize(("words", "said"), BAD_SWEEPS, ids=[" ".join(words) for words, _ in BAD_SWEEPS])
def test_a_sweep_file_refuses_the_same(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_sweep(SWEEP, ["--results", str(tmp_path / "results"), "--address", "local", *words], search="range")
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--low", "100", "--high", "400", "--resolution", "20"], "range search"),
        (["--search", "grid"], "at most 12 trials, grid search"),
        (["--search", "random", "--samples", "3"], "random search"),
    ],
)
def test_a_sweep_file_is_searched_as_asked(
    words: list[str], count: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_sweep(SWEEP, ["--dry-run", "--address", "local", "--results", str(tmp_path), *words], search="range")
    assert ended.value.code == 0
    assert count in capsys.readouterr().out
    command = RangeSweepCommand(low=100, high=400, resolution=20, seeds=(5,))
    plan = command.plan(SWEEP)
    assert plan.asked["range"] == "Span(low=100, high=400, resolution=20, factor=2.0)"
    assert {trial.train.seed for trial in plan.examples()} == {5}


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["range", "--help"])
    words = re.sub(r"[─-╿]|\s+", " ", capsys.readouterr().out)
    for option in ("--attack", "--low", "--high", "--resolution", "--seeds", "--policy", "--train.steps", "--spoofer", "--alpha",
                   "--spoof.trajectory.path", "--thresholds.kind", "--results", "--resume", "--dry-run"):  # fmt: skip
        assert option in words, option
    for option in ("--size", "--search", "--samples"):
        assert f" {option} " not in words, option


# --- all of it -------------------------------------------------------------------------------------------------------

WORDS = (
    "range", "--attack", "forged_momentum", "--train.steps", "40", "--train.batch-size", "128",
    "--spoof.batch-size", "4", "--interval", "10", "--low", "10", "--high", "90", "--resolution", "10", "--seeds", "0",
    "--address", "local", "--results", "results",
)  # fmt: skip
"""The proof takes much longer than any spoof: what binds is error and size, which are the same in every run."""


def launch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "MLFLOW_TRACKING_URI": "", "RAY_worker_niceness": "0"}
    return subprocess.run(
        [RAYPOL, *WORDS, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def over_seeds(folder: Path, policy: str) -> dict[str, RangeRow]:
    rows = read_rows(open_location(folder / "results" / "ranges"), RangeRow, "")
    return {row.arm: row for row in rows if row.seed is None and row.policy == policy}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished search's folder, and what it said."""
    folder = tmp_path_factory.mktemp("searched")
    done = launch(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.ray
@pytest.mark.slow
def test_a_range_from_the_command_line_is_that_of_the_grid(searched: tuple[Path, str]) -> None:
    folder, said = searched
    results = open_location(folder / "results")
    trials = [row for row in read_trials(results) if row.arm != "honest"]
    ranges = over_seeds(folder, "published")
    assert ranges.keys() == {"null", "infinitesimal", "forged_momentum"}
    assert sum(row.trials for row in ranges.values()) == len(trials) < 3 * 9
    assert {row.grid_trials for row in ranges.values()} == {9}
    assert all(row.complete for row in ranges.values())

    with LocalRunner(on()) as runner:
        train = replace(TRAIN, batch_size=128)
        study = prepare(runner, results, sweep_id="grid", train=train)
        honest = run_honest(runner, study, trial("null", train=train)).row
        for arm in ("infinitesimal", "forged_momentum"):
            wins = []
            for steps in SPAN.points[:9]:
                asked = SpoofConfig(steps=steps, interval=10, batch_size=4)
                made = run_trial(runner, study, trial(arm, train=train, spoof=asked), honest)
                wins += [steps] if made.row.success else []
            assert (ranges[arm].low_steps, ranges[arm].high_steps) == (wins[0], wins[-1]), wins
            assert (ranges[arm].low_open, ranges[arm].high_open) == (wins[0] == 10, wins[-1] == 90)
            assert ranges[arm].high_bound_by == "size"

    client = MlflowClient(f"sqlite:///{folder}/results/mlflow.db")
    experiment = client.get_experiment_by_name("raypol-range-forged-momentum")
    assert experiment is not None
    (summary,) = client.search_runs([experiment.experiment_id], filter_string="tags.`raypol.summary` = 'true'")
    note = summary.data.tags["mlflow.note.content"]
    assert "| forged_momentum |" in note
    assert "forged_momentum against null: " in note
    question = note.partition("\n")[0].strip("*")
    assert question in said
    assert json.loads(ranges["null"].axes) == {"interval": 10}


@pytest.mark.ray
@pytest.mark.slow
def test_the_other_policy_is_asked_in_the_same_sweep_and_shares_its_trials(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    ranges = over_seeds(folder, "published")
    before = {path: path.stat().st_mtime_ns for path in (folder / "results" / "trials").iterdir()}
    strict = launch(folder, "--policy", "strict", "--resume")
    assert strict.returncode == 0, strict.stdout + strict.stderr
    assert f"({sum(row.trials for row in ranges.values())} were finished before)" in strict.stdout
    after = {path: path.stat().st_mtime_ns for path in (folder / "results" / "trials").iterdir()}
    assert {path: after[path] for path in before} == before, "what was there is not run again"
    assert over_seeds(folder, "strict")["forged_momentum"].num_found == 0
    assert over_seeds(folder, "published") == ranges
