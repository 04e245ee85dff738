"""The honest proof: what is declared, cached by content, made once however many ask, and whole or not there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raypol.cluster.runners import LocalRunner
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.distances import parameter_distances
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.core.training.optimizers import learning_rates
from raypol.core.training.train_config import TrainConfig
from raypol.runs.trials.honest_proof import honest_proofs, proof_id_of, reference_distance
from raypol.store.location import Location, open_location
from raypol.store.proofs.reader import ParquetProof
from tests.runs.conftest import Recorded
from tests.studies import TRAIN, on

RAYPOL = str(Path(sys.executable).parent / "raypol")


def declared(**changes: Any) -> Recipe:  # noqa: ANN401 - any field of TrainConfig
    config: TrainConfig = replace(TRAIN, **changes)
    return config.recipe(load_dataset("digits"), device="cpu", threads=1)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of every file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


# --- what is declared ------------------------------------------------------------------------------------------------


def test_the_recipe_declares_everything() -> None:
    recipe = declared(lr=0.1, lr_drops=(0.25, 0.5), lr_factor=0.5, seed=3, horizontal_flip=True, rotation_degrees=15)
    assert (recipe.steps, recipe.interval, recipe.batch_size, recipe.seed) == (40, 10, 32, 3)
    assert recipe.optimizer.options == {"lr": 0.1, "weight_decay": 1e-4, "momentum": 0.9}
    assert sorted(set(learning_rates(recipe)), reverse=True) == pytest.approx([0.1, 0.05, 0.025])
    assert recipe.transform.horizontal_flip
    assert recipe.transform.rotation_degrees == 15
    assert len(recipe.transform.mean) == len(recipe.transform.std) == 1
    assert recipe.dataset_sha256 == load_dataset("digits").sha256


def test_mean_and_deviation_are_those_of_all_pixels_in_double_precision() -> None:
    rng = torch.Generator().manual_seed(0)
    # More images than are counted at once, channels that differ, one of them constant.
    pixels = (torch.randint(0, 256, (600, 3, 7, 5), generator=rng) // torch.tensor([1, 3, 256]).view(3, 1, 1)).byte()
    labels = torch.zeros(600, dtype=torch.int64)
    dataset = Dataset(
        name="x", pixels=pixels, labels=labels, test_pixels=pixels[:1], test_labels=labels[:1], num_classes=1
    )
    transform = replace(TRAIN, batch_size=1).recipe(dataset, device="cpu", threads=1).transform
    unit = pixels.double() / 255
    assert transform.mean == tuple(round(float(m), 4) for m in unit.mean(dim=(0, 2, 3)))
    assert transform.std == (*(round(float(s), 4) for s in unit[:, :2].std(dim=(0, 2, 3))), 1e-4)


def test_other_optimizers_get_no_momentum() -> None:
    assert declared(optimizer="Adam", lr=0.001).optimizer.options == {"lr": 0.001, "weight_decay": 1e-4}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interval": 0}, r"interval \(k\) in 1\.\."),
        ({"interval": 41}, "between the interval k = 41"),
        ({"steps": 0}, r"steps \(T\) in 1\.\."),
        ({"steps": -5}, r"steps \(T\) in 1\.\."),
        ({"batch_size": 0}, "batch_size in 1"),
        ({"batch_size": 1439}, r"batch_size in 1\.\.1438 \(the size of digits\), got 1439"),
        ({"model": "resnet9"}, "unknown model 'resnet9'; possible: resnet8, resnet20"),
        ({"model": "no_such_package:net"}, "cannot import"),
        ({"optimizer": "Sgd"}, "unknown optimizer 'Sgd'; possible: .*SGD"),
        ({"lr": -0.1}, "finite number >= 0"),
        ({"lr": float("nan")}, "finite number >= 0"),
        ({"momentum": -1.0}, "does not take"),
        ({"lr_drops": (0.5, 1.0)}, r"lr_drops as shares of training in \(0, 1\)"),
        ({"lr_drops": (float("nan"),)}, "lr_drops"),
        ({"crop_padding": -1}, "crop_padding"),
    ],
)
def test_what_training_would_meet_is_said_before_it_starts(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        declared(**changes)
    assert "\n" not in str(caught.value)


def test_an_id_tells_contents_apart_and_nothing_else() -> None:
    ids = [proof_id_of("proof", content) for content in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"})]
    assert len(set(ids)) == 4
    assert proof_id_of("proof", {"a": 1, "b": 2}) == proof_id_of("proof", {"b": 2, "a": 1})
    assert all(re.fullmatch(r"proof-[0-9a-f]{12}", name) for name in ids)


# --- made once -------------------------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Location:
    return open_location(tmp_path)


def test_a_proof_that_is_there_is_not_touched(local: LocalRunner, results: Location) -> None:
    (first,) = honest_proofs(local, results, [declared()], TRAIN.data)
    before = snapshot(Path(results.path))
    (second,) = honest_proofs(local, results, [declared()], TRAIN.data)
    assert snapshot(Path(results.path)) == before
    assert (first.reused, second.reused) == (False, True)
    assert (first.proof_id, first.manifest) == (second.proof_id, second.manifest)


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"steps": 41}, {"interval": 5}, {"lr": 0.051}, {"crop_padding": 2}, {"batch_size": 31}]
)
def test_other_contents_have_another_id(
    local: LocalRunner, recorded: Recorded, tmp_path: Path, changes: dict[str, Any]
) -> None:
    (proof,) = honest_proofs(local, open_location(tmp_path), [declared(**changes)], TRAIN.data)
    assert proof.proof_id != recorded.study.proof.proof_id
    assert proof.manifest.root != recorded.study.proof.manifest.root


def test_the_same_recipe_twice_in_one_call_is_made_once(local: LocalRunner, results: Location) -> None:
    first, second, third = honest_proofs(local, results, [declared(), declared(seed=1), declared()], TRAIN.data)
    assert first == third
    assert first.proof_id != second.proof_id
    assert len(list(Path(results.path, "proofs").iterdir())) == 2


def test_threads_that_ask_at_once_get_one_proof(results: Location) -> None:
    def ask(order: int) -> tuple[list[str], int]:
        recipes = [declared(), declared(seed=1)][:: order or 1]  # in opposite orders, which must not lock up
        with LocalRunner(on()) as runner:
            found = honest_proofs(runner, results, recipes, TRAIN.data)
        return sorted(proof.proof_id for proof in found), sum(not proof.reused for proof in found)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, [1, -1, 1, -1]))
    assert len({tuple(ids) for ids, _ in answers}) == 1
    assert sum(made for _, made in answers) == 2
    assert len(list(Path(results.path, "proofs").iterdir())) == 2


def test_processes_that_ask_at_once_get_one_proof(tmp_path: Path) -> None:
    command = [RAYPOL, "prove", "--steps", "80", "--batch-size", "32", "--results", str(tmp_path)]
    asked = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=600) for process in asked]
    assert [process.returncode for process in asked] == [0, 0], answers
    first, second = (out.splitlines()[-1] for out, _ in answers)
    assert first == second
    assert sum("it was there already" in out for out, _ in answers) == 1
    assert [str(path) for path in (tmp_path / "proofs").iterdir()] == [first]


def test_progress_counts_recorded_steps(local: LocalRunner, results: Location) -> None:
    told: list[tuple[int, int]] = []
    # What a run that was killed left must not be counted as done.
    stale = Path(results.path) / ".staging" / "proof-0-0" / "weights"
    stale.mkdir(parents=True)
    for step in (0, 10, 20, 30):
        (stale / f"step={step}.parquet").write_bytes(b"")
    honest_proofs(
        local,
        results,
        [declared(steps=400)],
        TRAIN.data,
        on_progress=lambda _what, done, of, *_: told.append((done, of)),
    )
    assert told, "told at least once"
    assert told == sorted(told)
    assert {(done > 0, of) for done, of in told} <= {(False, 0), (True, 400)}, (
        "until a step is recorded, nothing is counted"
    )
    assert all(0 <= done <= 400 for done, _ in told)


def test_a_training_that_diverges_leaves_nothing_and_no_lock(local: LocalRunner, results: Location) -> None:
    for _ in range(2):  # the second would wait for ever for a lock that was not given back
        with pytest.raises(InputError, match="training diverged"):
            honest_proofs(local, results, [declared(lr=1e30)], TRAIN.data)
    assert snapshot(Path(results.path)) == {}


# --- killed ----------------------------------------------------------------------------------------------------------


def start_proving(results: Path, *, steps: int) -> "subprocess.Popen[str]":
    """A `raypol prove` that has recorded its first weights and is far from done."""
    command = [
        RAYPOL,
        "prove",
        "--steps",
        str(steps),
        "--interval",
        "5",
        "--batch-size",
        "32",
        "--results",
        str(results),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not list(results.glob(".staging/*/weights/step=10.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def test_a_killed_run_leaves_no_proof_and_can_be_run_again(tmp_path: Path) -> None:
    process = start_proving(tmp_path, steps=100)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=300)
    assert not list(tmp_path.glob("proofs/*"))
    again = subprocess.run(process.args, capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stderr
    (folder,) = tmp_path.glob("proofs/*")
    assert again.stdout.splitlines()[-1] == str(folder)
    assert json.loads((folder / "manifest.json").read_text())["checkpoint_steps"][-1] == 100
    assert [path for path in tmp_path.glob(".staging/**/*") if path.is_file()] == []


def test_ctrl_c_ends_soon_and_cleans_up(tmp_path: Path) -> None:
    process = start_proving(tmp_path, steps=20_000)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130, "training was not finished"
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("interrupted")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


# --- d_ref -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proofs(local: LocalRunner, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Location]:
    """Honest proofs that differ in one thing each."""
    results = open_location(tmp_path_factory.mktemp("references"))
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "seed": {"seed": 1},
        "seed and interval": {"seed": 1, "interval": 40},
        "seed and steps": {"seed": 1, "steps": 50},
        "seed and lr": {"seed": 1, "lr": 0.1},
        "seed and model": {"seed": 1, "model": "tests.scenes:smooth_net"},
    }
    found = honest_proofs(local, results, [declared(**change) for change in changes.values()], TRAIN.data)
    return {name: proof.folder for name, proof in zip(changes, found, strict=True)}


def test_d_ref_is_the_distance_between_final_weights(proofs: dict[str, Location]) -> None:
    found = reference_distance(proofs["plain"], proofs["seed"])
    ends = [ParquetProof(proofs[name]).checkpoint(4).parameters for name in ("plain", "seed")]
    assert found == parameter_distances(*ends)
    assert found.is_finite
    assert found.l2 > 1.0
    # How densely a run was recorded does not change where it ended.
    assert reference_distance(proofs["seed and interval"], proofs["plain"]) == found


@pytest.mark.parametrize("other", ["plain", "seed and steps", "seed and lr", "seed and model"])
def test_d_ref_of_runs_that_differ_in_more_than_the_seed_or_in_nothing(proofs: dict[str, Location], other: str) -> None:
    with pytest.raises(InputError, match=r"two honest proofs that differ only in seed; .* do not"):
        reference_distance(proofs["plain"], proofs[other])


def damaged(proofs: dict[str, Location], folder: Path, **changes: Any) -> Location:  # noqa: ANN401 - JSON
    shutil.copytree(proofs["seed"].path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    return open_location(folder)


@pytest.mark.parametrize("steps", [[], [0], [0, 10, 20, 30]])
def test_d_ref_of_a_proof_without_final_weights(proofs: dict[str, Location], tmp_path: Path, steps: list[int]) -> None:
    bad = damaged(proofs, tmp_path / "bad", checkpoint_steps=steps)
    with pytest.raises(InputError, match="expected weights at the last step, 40"):
        reference_distance(proofs["plain"], bad)


def test_d_ref_of_weights_that_do_not_compare(proofs: dict[str, Location], tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(proofs["seed"].path, bad)
    foreign = Path(proofs["seed and model"].path) / "weights" / "step=40.parquet"
    shutil.copy(foreign, bad / "weights" / "step=40.parquet")
    manifest = json.loads((bad / "manifest.json").read_text())
    manifest["files"]["weights/step=40.parquet"] = foreign.stat().st_size
    (bad / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"the final weights of .* do not compare"):
        reference_distance(proofs["plain"], open_location(bad))


def test_d_ref_of_what_is_no_proof(proofs: dict[str, Location], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a proof folder"):
        reference_distance(proofs["plain"], open_location(tmp_path))


def test_proving_leaves_the_callers_random_numbers_alone(local: LocalRunner, results: Location) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    honest_proofs(local, results, [declared()], TRAIN.data)
    assert torch.equal(torch.rand(3), expected)
