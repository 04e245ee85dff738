"""The files in sweeps/: what each declares, and that each runs at smoke size."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from raypol.core.errors import InputError
from raypol.core.scoring import CONTROLS
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.runs.designs.design import Arm, SizeName, Sweep
from raypol.runs.designs.paper_experiments import CIFAR10, CIFAR100, IMAGENET, PAPER_DATASETS, setting
from raypol.runs.designs.points import trial_at
from raypol.runs.sweeps.plan import SweepOptions, SweepPlan, plan_sweep
from raypol.store.location import open_location
from raypol.store.results.files import read_trials

ROOT: Final = Path(__file__).parents[2]
SEARCHES: Final = {"success_range", "arena", "arena_simple_conv", "arena_resnet20"}
"""They search, along T' or adaptively, and have tests of their own."""
FILES: Final = sorted({path.stem for path in (ROOT / "sweeps").glob("*.py")} - SEARCHES)


def sweep_of(stem: str) -> Sweep:
    found = importlib.import_module(f"sweeps.{stem}").SWEEP
    assert isinstance(found, Sweep)
    return found


def planned(stem: str, size: SizeName, **options: str) -> SweepPlan:
    sweep = sweep_of(stem)
    return plan_sweep(sweep, size, sweep.at(size), SweepOptions(name="test", **options))  # type: ignore[arg-type]


def run(stem: str, *words: str | Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """As a user does."""
    return subprocess.run(
        [sys.executable, ROOT / "sweeps" / f"{stem}.py", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env={**os.environ, "COLUMNS": "160"},
    )


# --- what is declared ------------------------------------------------------------------------------------------------

FIGURES: Final = {
    "fig02_attack2_cifar10": (CIFAR10, "zhang2022_ii"),
    "fig03_attack2_cifar100": (CIFAR100, "zhang2022_ii"),
    "fig04_attack2_imagenet": (IMAGENET, "zhang2022_ii"),
    "fig05_attack3_cifar10": (CIFAR10, "zhang2022_iii"),
    "fig06_attack3_cifar100": (CIFAR100, "zhang2022_iii"),
    "fig07_attack3_imagenet": (IMAGENET, "zhang2022_iii_imagenet"),
}
PUBLISHED_RANGES: Final = {"cifar10": (1000, 6000), "cifar100": (1500, 4000), "imagenet_subset": (500, 18_000)}
"""Ranges of T' in which attack III is published to succeed (docs/protocol.md, Attacks)."""


def test_every_experiment_has_its_file() -> None:
    others = {"fig08_attack2_halves", "fig09_attack3_halves", "fig10_accuracy", "fig11_hardware", "fig12_images"}
    assert set(FILES) >= FIGURES.keys() | others | {"quickstart", "strength"}


@pytest.mark.parametrize("stem", FILES)
def test_a_file_is_named_and_described_as_its_experiment(stem: str) -> None:
    sweep, said = sweep_of(stem), (importlib.import_module(f"sweeps.{stem}").__doc__ or "").partition("\n")[0]
    assert said
    assert sweep.name == stem
    assert sweep.question.endswith("?")
    if stem.startswith("fig"):
        assert said.startswith(f"Figure {int(stem[3:5])}: ")


@pytest.mark.parametrize("size", ["paper", "standard", "smoke"])
@pytest.mark.parametrize("stem", sorted(one for one in SEARCHES if one.startswith("arena")))
def test_an_arena_has_many_attacks_and_policies_and_its_controls(stem: str, size: SizeName) -> None:
    plan = planned(stem, size, search="adaptive")
    assert plan.design.attacks().keys() >= {*CONTROLS, "untrained", "retrain", "retrain, bound"}
    assert len(plan.design.attacks()) >= 18
    assert len(plan.design.every_policy_name) >= 10
    assert sweep_of(stem).name == stem


@pytest.mark.parametrize("size", ["paper", "smoke"])
@pytest.mark.parametrize("stem", FILES)
def test_both_sizes_expand_with_both_controls_at_every_point(stem: str, size: SizeName) -> None:
    plan = planned(stem, size)
    trials, by_claim = plan.trials, dict[object, set[str]]()
    for s in trials:
        if not isinstance(plan.design.arms.get(s.arm), Arm):  # with choices of its own
            by_claim.setdefault((s.honest_key(), s.spoof, s.spoofer), set()).add(s.arm)
    assert all(arms > set(CONTROLS) for arms in by_claim.values())
    longest = 1 if stem == "frontier" else 0  # there as long as the training, too
    assert all(s.spoof.interval == s.train.interval <= s.spoof.steps < s.train.steps + longest for s in trials)
    assert all(s.spoof.seed == s.train.seed for s in trials)


@pytest.mark.parametrize("stem", FILES)
def test_a_smoke_size_is_small_and_needs_nothing_that_is_not_there(stem: str) -> None:
    plan = planned(stem, "smoke")
    assert len(plan.trials) <= (110 if stem == "frontier" else 16)
    assert {s.train.model for s in plan.examples()} == {"resnet8"}
    assert {request.kind for group in plan.groups() for request in group} == {"cpu"}
    assert max(sum(request.amount for request in group) for group in plan.groups()) <= 2
    plan.check()


@pytest.mark.parametrize("stem", sorted(FIGURES))
def test_figures_2_to_7_are_at_the_published_numbers(stem: str) -> None:
    train, preset = FIGURES[stem]
    plan = planned(stem, "paper")
    (attack,) = (attack for arm, attack in plan.design.arms.items() if arm not in CONTROLS)
    assert attack == preset
    assert {s.train for s in plan.examples()} == {replace(train, seed=seed) for seed in (0, 1, 2)}
    spoof = plan.design.spoof
    assert (spoof.declares, spoof.carry, spoof.interval) == ("published", "restart", 100)
    assert plan.design.thresholds.kind == "static"
    claimed = {s.spoof.steps for s in plan.examples()}
    low, high = PUBLISHED_RANGES[train.dataset]
    assert min(claimed) < low
    assert max(claimed) > high
    assert any(low < steps < high for steps in claimed)


def test_the_three_trainings_are_the_published_ones() -> None:
    epoch = CIFAR10.steps / 200
    assert (CIFAR10.steps, IMAGENET.steps, CIFAR10.interval, CIFAR10.batch_size) == (78_125, 20_300, 100, 128)
    assert [drop * CIFAR10.steps / epoch for drop in CIFAR10.lr_drops] == pytest.approx([100, 150])
    assert [drop * CIFAR100.steps / epoch for drop in CIFAR100.lr_drops] == pytest.approx([60, 120, 160])
    assert (CIFAR10.lr_factor, CIFAR100.lr_factor) == (0.1, 0.2)
    assert (CIFAR10.rotation_degrees, CIFAR100.rotation_degrees, IMAGENET.rotation_degrees) == (0, 15, 0)
    assert (CIFAR10.weight_decay, CIFAR100.weight_decay, CIFAR10.momentum) == (1e-4, 5e-4, 0.9)


@pytest.mark.parametrize("stem", ["fig08_attack2_halves", "fig09_attack3_halves"])
@pytest.mark.parametrize("size", ["paper", "smoke"])
def test_prover_and_adversary_of_figures_8_and_9_have_one_half_each(stem: str, size: SizeName) -> None:
    whole = "cifar10" if size == "paper" else "digits"
    assert {(s.train.dataset, s.spoof.dataset) for s in planned(stem, size).examples()} == {
        (f"{whole}/D1", f"{whole}/D2")
    }


@pytest.mark.parametrize("stem", ["fig10_accuracy", "fig12_images"])
def test_figures_10_and_12_are_about_all_three_datasets_with_their_models_and_limits(stem: str) -> None:
    found = {
        (s.train.dataset, s.train.model, s.train.steps, s.attack.alpha)
        for s in planned(stem, "paper").examples()
        if s.arm == "III"
    }
    assert found == {
        ("cifar10", "resnet20", 78_125, 0.1),
        ("cifar100", "resnet50", 78_125, 0.1),
        ("imagenet_subset", "resnet18", 20_300, 0.4),
    }


def test_a_setting_leaves_seed_and_folder_alone() -> None:
    design = sweep_of("fig10_accuracy").paper
    trial = trial_at(design, {"arm": "III", "setting": PAPER_DATASETS[1], "seed": 2})
    assert (trial.train.seed, trial.train.weight_decay) == (2, 5e-4)
    assert not {"train.seed", "train.data_dir"} & setting(CIFAR10).keys()
    assert json.loads(json.dumps(PAPER_DATASETS)) == list(PAPER_DATASETS)


def test_figure_11_forges_on_four_gpus_what_was_proved_on_a_v100() -> None:
    trials = planned("fig11_hardware", "paper").examples()
    assert {s.spoofer for s in trials} == {"T4", "P40", "RTX-2080-Ti", "V100"}
    assert {(s.prover, s.verifier) for s in trials} == {("V100", "V100")}


@pytest.mark.parametrize("size", ["paper", "smoke"])
def test_strength_is_a_grid_or_drawn(size: SizeName) -> None:
    listed, drawn = planned("strength", size), planned("strength", size, search="random")
    for plan in (listed, drawn):
        assert {s.spoof.trajectory.path for s in plan.examples()} == {"noisy"}
    paths: list[set[TrajectoryConfig]] = [{s.spoof.trajectory for s in plan.examples()} for plan in (listed, drawn)]
    assert len(paths[1]) == drawn.design.samples
    assert not paths[0] & paths[1]
    assert planned("strength", size, search="optuna").num_trials > 0


# --- the command line ------------------------------------------------------------------------------------------------


def test_help_says_what_it_is_and_how_it_is_run() -> None:
    done = run("fig08_attack2_halves", "--help")
    assert done.returncode == 0, done.stderr
    for said in ("prover's own data", "--size", "--results", "--resume", "--search", "--spoofer", "--dry-run"):
        assert said in done.stdout


def test_a_dry_run_shows_what_it_would_take_and_leaves_nothing(tmp_path: Path) -> None:
    words = ("--dry-run", "--size", "smoke", "--address", "local", "--results", tmp_path / "results")
    done = run("fig11_hardware", *words)
    assert done.returncode == 0, done.stderr
    assert "fig11_hardware-smoke: at most 8 trials, grid search" in done.stdout
    assert "cpu:2" in done.stdout
    assert not list(tmp_path.iterdir())


NOT_HERE: Final = {
    "fig05_attack3_cifar10": r"cifar10: cannot download",
    "fig06_attack3_cifar100": r"cifar100: cannot download",
    "fig07_attack3_imagenet": r"imagenet_subset: expected ImageNet's folders",
    "fig08_attack2_halves": r"cifar10: cannot download",
    "fig10_accuracy": r"cifar10: cannot download",
}


@pytest.mark.parametrize("stem", sorted(NOT_HERE))
def test_a_dataset_that_is_not_here_is_said_before_anything_is_started(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    monkeypatch.setenv("RAYPOL_DATA", str(tmp_path))
    for source in (datasets.CIFAR10, datasets.CIFAR100):
        monkeypatch.setattr(source, "url", "http://127.0.0.1:9/")  # nobody listens there
    with pytest.raises(InputError, match=NOT_HERE[stem]):
        planned(stem, "paper").check()


def test_a_dataset_that_is_not_here_ends_the_command_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run("fig08_attack2_halves", "--data-dir", tmp_path, "--results", tmp_path / "results", "--address", "local")
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "cifar10" in line
    assert not (tmp_path / "results").exists()


# --- all of it -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stem", FILES)
def test_a_smoke_size_runs_from_end_to_end(stem: str, tmp_path: Path) -> None:
    done = run(stem, "--size", "smoke", "--results", tmp_path, "--address", "local", timeout_s=880)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_trials(open_location(tmp_path))
    trials = [row for row in rows if row.arm != "honest"]
    assert len({row.trial_id for row in trials}) == len(trials) == len(planned(stem, "smoke").trials)
    assert {(row.status, row.message) for row in trials} == {("ok", "")}
    assert {row.accepted_published for row in rows if row.arm == "honest"} == {True}
    if "halves" in stem:
        assert {(row.arm == "honest", row.dataset) for row in rows} == {(True, "digits/D1"), (False, "digits/D2")}
