"""Precisions: what each computes, what is recorded, and where it is refused."""

from dataclasses import replace

import pytest
import torch

from raypol import prove
from raypol.core.arithmetic.precision import (
    PRECISIONS,
    WEIGHT_DTYPES,
    Precision,
    arithmetic,
    base_precision,
    check_device,
)
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import Conditions
from raypol.core.verification.survey import survey
from raypol.core.verification.verifier import examine
from tests.toys import toy_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_are_stored_in_the_dtype_of_the_plain_precision(precision: Precision) -> None:
    assert WEIGHT_DTYPES[base_precision(precision)] == WEIGHT_DTYPES[precision]
    assert base_precision(precision) in ("float32", "float64")


@pytest.mark.parametrize(
    ("precision", "possible"), [("float32", True), ("float64", True), ("bf16", True), ("tf32", False)]
)
def test_a_cpu_has_all_but_tensor_cores(precision: Precision, possible: bool) -> None:
    if possible:
        check_device(precision, CPU)
    else:
        with pytest.raises(InputError, match="needs a CUDA device, got cpu"):
            check_device(precision, CPU)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x", "", "xpu"])
def test_a_device_that_is_not_there_is_one_line(device: str, digits: Dataset) -> None:
    with pytest.raises(InputError, match=f"cannot compute on device '{device}': ") as caught:
        prove(toy_recipe(digits), digits, device=device)
    assert "\n" not in str(caught.value)


def test_bfloat16_is_in_the_arithmetic_and_not_in_the_weights() -> None:
    layer = torch.nn.Linear(64, 8)
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    with arithmetic("bf16", CPU):
        rough = layer(x)
    with arithmetic("float32", CPU):
        fine = layer(x)
    assert (rough.dtype, fine.dtype, layer.weight.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert 0.0 < float((rough.float() - fine).detach().abs().max()) < 0.05


def step_from_the_start(recipe: Recipe, data: Dataset, precision: Precision) -> torch.Tensor:
    trainer = Trainer(recipe, data, precision=precision)
    trainer.load(initial_checkpoint(recipe, data))
    indices = data_order(recipe, data)(0)
    trainer.step(0, data.pixels[indices], data.labels[indices])
    reached = trainer.snapshot(1)
    assert {p.dtype for p in reached.parameters.values()} == {WEIGHT_DTYPES[precision]}
    return torch.cat([p.double().flatten() for p in reached.parameters.values()])


def test_each_precision_errs_as_its_arithmetic_does(digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8")
    exact, fine, rough = (step_from_the_start(recipe, digits, p) for p in ("float64", "float32", "bf16"))
    single, half = (float((other - exact).norm() / exact.norm()) for other in (fine, rough))
    assert 0.0 < single < 1e-5 < half < 1e-2, (single, half)


def test_a_bf16_proof_is_replayed_as_recorded_exactly_and_in_float32_with_its_noise(digits: Dataset) -> None:
    proof = prove(toy_recipe(digits, model="resnet8", steps=8, interval=4, precision="bf16"), digits)
    recorded = examine(proof, digits, Conditions(augmentation="recorded"))
    assert [replay.error.l2 for replay in recorded.replays] == [0.0, 0.0]
    other = examine(proof, digits, Conditions(augmentation="recorded", precision="float32"))
    assert all(1e-6 < replay.error.l2 < 1.0 for replay in other.replays), [r.error.l2 for r in other.replays]


def test_models_of_a_tf32_proof_can_be_read_where_there_are_no_tensor_cores(digits: Dataset) -> None:
    proof = prove(toy_recipe(digits), digits)
    proof.recipe = replace(proof.recipe, precision="tf32")
    with pytest.raises(InputError, match="precision tf32 needs a CUDA device"):
        Trainer(proof.recipe, digits)
    found = survey(proof, Trainer(proof.recipe, digits, precision=base_precision("tf32")), 0, 3)
    assert not found.structure
    assert len(found.accuracies) == 3
    assert Conditions().precision_for("tf32") == "tf32"
    assert Conditions(precision="float32").precision_for("tf32") == "float32"
