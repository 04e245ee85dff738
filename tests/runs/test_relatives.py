"""From a proof's folder to a relative's outcome: the recorded weights, and nothing of a forged folder's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Cost, Recipe
from raypol.core.relatives.adversarial import Adversarial
from raypol.core.relatives.dlg import DLG
from raypol.core.relatives.unadversarial import Unadversarial
from raypol.core.training.prover import initial_checkpoint, record_training
from raypol.runs.relatives import Subject, recorded_trainer, run_leaking, run_perturbing
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.writer import new_proof
from tests.toys import toy_recipe

DATA = DataSource(name="digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> str:
    """Weights at steps 0, 8 and 16. Only look."""
    results, recipe = open_location(tmp_path_factory.mktemp("relatives")), toy_recipe(digits, model="resnet8")
    with new_proof(results, "proof", recipe, len(digits)) as writer:
        record_training(recipe, digits, writer)
        writer.finish(Cost(), {})
    return (results / "proofs" / "proof").address


def forged(tmp_path: Path, recipe: Recipe, checkpoint: Checkpoint) -> str:
    """A folder with this one checkpoint under this recipe."""
    results = open_location(tmp_path)
    with new_proof(results, "forged", recipe, 1438) as writer:
        writer.write_checkpoint(checkpoint)
        writer.finish(Cost(), {})
    return (results / "proofs" / "forged").address


def subject(folder: str, **changes: Any) -> Subject:  # noqa: ANN401 - any field
    return replace(Subject(proof=folder, data=DATA, step=None, indices=(0,), split="test", device="cpu"), **changes)


@pytest.mark.parametrize(("step", "position"), [(None, 2), (0, 0), (8, 1), (16, 2)])
def test_the_weights_are_those_recorded_at_the_step(folder: str, step: int | None, position: int) -> None:
    trainer = recorded_trainer(subject(folder, step=step))
    recorded = ParquetProof(open_location(folder)).checkpoint(position)
    for name, parameter in trainer.parameters.items():
        assert torch.equal(parameter, recorded.parameters[name])
    for name, buffer in trainer.buffers.items():
        assert torch.equal(buffer, recorded.buffers[name])


def test_each_relative_runs_on_a_folder(folder: str) -> None:
    several = subject(folder, indices=(3, 1))
    harmed = run_perturbing((several, Adversarial(iterations=3)))
    helped = run_perturbing((several, Unadversarial(iterations=3)))
    assert bool((harmed.after.losses > helped.after.losses).all())
    assert torch.equal(harmed.labels, helped.labels)
    leak = run_leaking((subject(folder, step=0, indices=(3, 1)), DLG(iterations=3, restarts=1)))
    assert torch.equal(leak.truth, harmed.originals[0])
    assert leak.label == int(harmed.labels[0])


def test_steps_and_points_that_are_not_there(folder: str) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"step": 7}, r"recorded step \(0, 8, 16\), got 7"),
        ({"step": -1}, "got -1"),
        ({"indices": (359,)}, r"0\.\.358"),
        ({"indices": (1438,), "split": "train"}, r"0\.\.1437"),
        ({"proof": "/nowhere"}, "expected a proof folder"),
    ]
    for changes, said in cases:
        with pytest.raises(InputError, match=said):
            run_perturbing((subject(folder, **changes), Adversarial()))


def test_weights_of_another_model_are_refused(tmp_path: Path, digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8")
    other = initial_checkpoint(replace(recipe, model="tests.toys:mlp"), digits)
    with pytest.raises(InputError, match="recorded model is not the declared one"):
        recorded_trainer(subject(forged(tmp_path, recipe, other)))


def test_a_forged_table_of_indices_is_not_used(tmp_path: Path, digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="tests.scenes:reordering_net")
    start = initial_checkpoint(recipe, digits)
    wild = replace(start, buffers={**start.buffers, "order": torch.full((16,), 10**12)})
    trainer = recorded_trainer(subject(forged(tmp_path, recipe, wild)))
    assert torch.equal(trainer.buffers["order"], start.buffers["order"])


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8")
    start = initial_checkpoint(recipe, digits)
    start.parameters["conv1.weight"][0] = torch.nan
    folder = forged(tmp_path, recipe, start)
    for run in (
        lambda: run_perturbing((subject(folder), Adversarial())),
        lambda: run_leaking((subject(folder, step=0), DLG())),
    ):
        with pytest.raises(InputError, match=r"finite weights.*conv1\.weight"):
            run()
