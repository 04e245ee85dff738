"""Training and replay in reproducible arithmetic: the same bits on other threads and processors, and what is refused."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from raypol import prove, verify
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.errors import InputError
from raypol.core.proof import OptimizerConfig
from raypol.core.training.train_config import TrainConfig, training_of
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import find_policy
from raypol.core.verification.replay import Conditions
from tests.core.arithmetic.reproducible.machines import CASES, digest, recipe_of, train
from tests.toys import RECORDED, copy_of

ROOT = Path(__file__).parents[4]
MACHINES = {
    "this one": {},
    "AVX2, two threads": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
    "SSE": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}


@contextmanager
def threads(num: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def digests(machine: str) -> list[str]:
    """Of every case in reproducible arithmetic, and one in float32."""
    num = "2" if "two" in machine else "1"
    environment = {**os.environ, **MACHINES[machine], "OMP_NUM_THREADS": num, "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", "tests.core.arithmetic.reproducible.machines", num]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_other_processors_give_the_same_bits() -> None:
    here = digests("this one")[:-1]
    assert len(here) == len(set(here)) == len(CASES)
    for machine in MACHINES:
        assert digests(machine)[:-1] == here, machine


@pytest.mark.parametrize("case", CASES)
def test_threads_and_memory_format_give_the_same_bits(case: str, digits: Dataset) -> None:
    recipe = recipe_of(digits, "reproducible", **CASES[case])
    with threads(1):
        alone = digest(train(recipe, digits, 10))
    with threads(2):
        assert digest(train(replace(recipe, channels_last=not recipe.channels_last), digits, 10)) == alone


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "model"), [("digits", "resnet8"), ("fashion_mnist_32x32x3", "resnet20")])
def test_a_hundred_steps_on_two_threads_give_the_same_bits(dataset: str, model: str) -> None:
    data = load_dataset(dataset)
    config = TrainConfig(dataset=dataset, model=model, steps=100, precision="reproducible")
    recipe = config.recipe(data, device="cpu", threads=1)
    found = []
    for num in (1, 2):
        with threads(num):
            found.append(digest(train(recipe, data, 100)))
    assert found[0] == found[1]


def test_float32_rounds_differently_on_some_other_machine() -> None:
    """The control: else the tests above could not fail. Which machines differ is the library's affair."""
    found = {digests(machine)[-1] for machine in MACHINES}
    if len(found) == 1:
        pytest.skip("on this processor float32 gives the same bits on all machines that it can play")
    assert len(found) > 1


# --- the protocol ----------------------------------------------------------------------------------------------------


def test_a_proof_is_exact_on_another_number_of_threads(digits: Dataset) -> None:
    exact = find_policy("strict+exact")
    config = TrainConfig(steps=5, interval=2, precision="reproducible")
    with threads(1):
        proof = prove(config, digits)
    assert (proof.recipe.precision, proof.recipe.threads) == ("reproducible", 1)
    assert proof.recipe.intervals()[-1].num_steps == 1
    with threads(2):
        verdict = verify(proof, digits, policy=exact, conditions=RECORDED)
        assert verdict.is_valid, verdict.rejected_by
        assert digest(prove(config, digits).checkpoints[-1]) == digest(proof.checkpoints[-1])
        forged = copy_of(proof)
        bias = forged.checkpoints[1].parameters["linear.bias"]
        bias[0] = torch.nextafter(bias[0], torch.tensor(1.0))
        forged.seal()
        assert "exact" in verify(forged, digits, policy=exact, conditions=RECORDED).rejected_by
        other = Conditions(augmentation="recorded", precision="float32")
        assert "exact" in verify(proof, digits, policy=exact, conditions=other).rejected_by


def test_the_declaration_comes_back_from_a_recipe(digits: Dataset) -> None:
    config = TrainConfig(steps=10, interval=5, precision="reproducible", memory_format="contiguous")
    assert training_of(config.recipe(digits, device="cpu", threads=1), digits).precision == "reproducible"


def test_training_that_diverges_is_refused(digits: Dataset) -> None:
    with pytest.raises(InputError, match="training diverged between steps"):
        prove(TrainConfig(steps=20, interval=10, lr=1e12, precision="reproducible"), digits)


def test_a_batch_of_one_point(digits: Dataset) -> None:
    recipe = recipe_of(digits, "reproducible", batch_size=1, steps=4, interval=2)
    with threads(1):
        alone = digest(train(recipe, digits, 4))
    with threads(2):
        assert digest(train(recipe, digits, 4)) == alone


def test_it_learns_as_float32_does(digits: Dataset) -> None:
    """After the same 100 steps; the accuracies of whole trainings are on the page."""
    accuracy = {}
    for precision in ("float32", "reproducible"):
        recipe = recipe_of(digits, precision)
        accuracy[precision] = Trainer(recipe, digits).accuracy(train(recipe, digits, 100))
    assert min(accuracy.values()) > 0.8, accuracy


# --- optimizers ------------------------------------------------------------------------------------------------------

SUPPORTED: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "dampening": 0.1, "weight_decay": 1e-4},
    "Adam": {"amsgrad": True},
    "AdamW": {"maximize": True},
    "NAdam": {},
    "RAdam": {},
    "Adamax": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Adagrad": {},
    "Adadelta": {},
    "ASGD": {},
    "Rprop": {},
}


@pytest.mark.parametrize("name", SUPPORTED)
def test_an_optimizer_makes_the_same_steps_however_it_is_told_to_compute(name: str, digits: Dataset) -> None:
    states = []
    for told in ({}, {"foreach": True}):
        options = {"lr": 1e-3, **SUPPORTED[name], **told}
        changes = {"model": "tests.toys:mlp", "optimizer": OptimizerConfig(name=name, options=options), "batch_size": 8}
        recipe = recipe_of(digits, "reproducible", **changes)
        states.append(train(recipe, digits, 3))
        plain = train(replace(recipe, precision="float32"), digits, 3)
        for key, tensor in states[-1].parameters.items():
            assert torch.allclose(tensor, plain.parameters[key], atol=1e-2), key
    assert digest(states[0]) == digest(states[1])


def test_an_optimizer_without_a_reproducible_form_is_refused_before_training(digits: Dataset) -> None:
    config = TrainConfig(model="tests.toys:matrices", optimizer="Muon", precision="reproducible")
    with pytest.raises(InputError, match="optimizer Muon cannot make a step: reproducible arithmetic has") as caught:
        config.recipe(digits, device="cpu", threads=1)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_reproducible_form_is_refused_before_training(digits: Dataset) -> None:
    config = TrainConfig(model="tests.toys:group_norm_net", precision="reproducible")
    with pytest.raises(InputError, match=r"reproducible arithmetic has no aten\.native_group_norm; it has ") as caught:
        config.recipe(digits, device="cpu", threads=1)
    assert "\n" not in str(caught.value)


# --- another device --------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", CASES)
def test_a_cuda_device_gives_the_bits_of_the_cpu(case: str, digits: Dataset) -> None:
    recipe = recipe_of(digits, "reproducible", **CASES[case])
    on_cpu, on_cuda = (train(recipe, digits, 20, device) for device in ("cpu", "cuda"))
    for name, tensor in on_cpu.tensors().items():
        assert torch.equal(tensor, on_cuda.tensors()[name]), name
    assert digest(on_cpu) == digest(on_cuda)


def test_an_optimizer_whose_powers_are_computed_is_refused(digits: Dataset) -> None:
    """A recipe of others may ask for it."""
    rule = OptimizerConfig(name="Adam", options={"lr": 0.01, "differentiable": True})
    recipe = recipe_of(digits, "reproducible", optimizer=rule)
    with pytest.raises(InputError, match="no power whose exponent is computed"):
        Trainer(recipe, digits).step(0, digits.pixels[:16], digits.labels[:16])
