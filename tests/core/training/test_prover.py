"""The honest prover against a plain torch loop; its input errors; the background sink."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional as F

from raypol import prove
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.errors import InputError
from raypol.core.hashing import point_digests, step_digest
from raypol.core.models import build_model
from raypol.core.models.initial_laws import SIGNIFICANCE, Constant, initial_laws, ks_p_value
from raypol.core.proof import (
    BatchRecord,
    Checkpoint,
    Interval,
    MemoryProof,
    OptimizerConfig,
    Points,
    Recipe,
    ScheduleConfig,
)
from raypol.core.seeds import generator
from raypol.core.training.background_sink import BackgroundSink
from raypol.core.training.prover import data_order, initial_checkpoint, record_training
from raypol.core.training.trainer import Trainer
from tests.core.test_augment import one_by_one
from tests.toys import toy_recipe


def retrain_by_hand(recipe: Recipe, dataset: Dataset, proof: MemoryProof) -> list[dict[str, torch.Tensor]]:
    """The slow, obvious training: plain torch, one loop, the recorded indices. State dicts at the recorded steps."""
    model = build_model(recipe.model, in_channels=1, num_classes=10)
    model.load_state_dict({**proof.checkpoints[0].parameters, **proof.checkpoints[0].buffers})
    sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(sgd, milestones=[10, 18], gamma=0.2)
    states = []
    for step in range(recipe.steps):
        if step in proof.checkpoint_steps:
            states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        indices = proof.records[step].indices
        images = torch.stack([dataset.pixels[int(i)] for i in indices])
        labels = torch.stack([dataset.labels[int(i)] for i in indices])
        images = one_by_one(images, recipe.transform, generator(recipe.seed, "augmentation", step))
        sgd.zero_grad()
        loss = F.cross_entropy(model((images.float() / 255.0 - 0.3) / 0.35), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()
        scheduler.step()
    return [*states, model.state_dict()]


def test_the_proof_is_what_a_plain_torch_loop_gives_bit_by_bit(recipe: Recipe, digits: Dataset) -> None:
    recipe = replace(recipe, channels_last=False)  # the plain loop keeps torch's own memory format
    proof = prove(recipe, digits)
    by_hand = retrain_by_hand(recipe, digits, proof)
    assert len(by_hand) == len(proof.checkpoints) == 4
    for checkpoint, expected in zip(proof.checkpoints, by_hand, strict=True):
        recorded = {**checkpoint.parameters, **checkpoint.buffers}
        assert recorded.keys() == expected.keys()
        for name in expected:
            assert torch.equal(recorded[name], expected[name]), f"step {checkpoint.step}: {name}"


def test_the_faster_memory_format_differs_by_rounding_only(
    recipe: Recipe, digits: Dataset, honest: MemoryProof
) -> None:
    assert recipe.channels_last
    # Float32 rounding, amplified by batch norm from step to step: measured 1e-5 to 4e-3 after 22 steps, by instruction set. A
    # wrong layout is off by the size of the weights, 0.1 and more.
    limits = (0.0, 2e-3, 2e-2, 2e-2)
    by_hand = retrain_by_hand(recipe, digits, honest)
    for checkpoint, expected, limit in zip(honest.checkpoints, by_hand, limits, strict=True):
        for name, tensor in checkpoint.parameters.items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=limit)


def test_every_record_names_its_batch(recipe: Recipe, digits: Dataset, honest: MemoryProof) -> None:
    order = data_order(recipe, digits)
    for step, record in enumerate(honest.records):
        assert record.step == step
        assert np.array_equal(record.indices, order(step))
        batch = point_digests(digits.pixels[record.indices], digits.labels[record.indices])
        assert record.sha256 == step_digest(step, batch)
    assert len(honest.records) == recipe.steps


def test_the_start_is_lawful_and_stateless(recipe: Recipe, digits: Dataset) -> None:
    start = initial_checkpoint(recipe, digits)
    assert (start.step, start.optimizer_state) == (0, {})
    for name, law in initial_laws(build_model("resnet8", in_channels=1, num_classes=10)).items():
        if isinstance(law, Constant):
            assert (start.parameters[name] == law.value).all()
        else:
            assert ks_p_value(start.parameters[name], law) >= SIGNIFICANCE
    assert all(not t.any() for name, t in start.buffers.items() if "mean" in name or "num_batches" in name)


# --- seeds -----------------------------------------------------------------------------------------------------------


def test_same_recipe_same_root_whatever_was_drawn_before(recipe: Recipe, digits: Dataset, honest: MemoryProof) -> None:
    torch.manual_seed(12345)
    torch.rand(3)
    assert prove(recipe, digits).root == honest.root


def test_the_callers_random_numbers_are_left_alone(digits: Dataset) -> None:
    state = torch.get_rng_state()
    prove(toy_recipe(digits, model="tests.toys:dropout_mlp"), digits)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_seed_changes_weights_order_and_augmentation(
    recipe: Recipe, digits: Dataset, honest: MemoryProof
) -> None:
    other = prove(replace(recipe, seed=1), digits)
    assert not torch.equal(
        other.checkpoints[0].parameters["conv1.weight"], honest.checkpoints[0].parameters["conv1.weight"]
    )
    assert not np.array_equal(other.records[0].indices, honest.records[0].indices)
    assert other.root != honest.root


def test_dropout_is_seeded_by_step(digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="tests.toys:dropout_mlp")
    first, again = prove(recipe, digits), prove(recipe, digits)
    assert first.root == again.root
    trainer, pixels, labels = Trainer(recipe, digits), digits.pixels[:16], digits.labels[:16]
    losses = []
    for step in (3, 4, 3):
        trainer.load(initial_checkpoint(recipe, digits))
        losses.append(float(trainer.step(step, pixels, labels)))
    assert losses[0] == losses[2] != losses[1]


# --- input errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {"lr": 1e30}),
        ({"optimizer": "Adam"}, {"lr": 1e20}),
        ({}, {"lr": 1e39}),  # no float32
        ({"steps": 1, "interval": 1}, {"lr": 1e38, "weight_decay": 1e3}),  # the loss is finite, what it leads to is not
        ({"precision": "float64"}, {"lr": 1e200}),
        ({"model": "resnet8"}, {"lr": 1e30}),
    ],
)
def test_a_run_that_diverges_is_an_error(changes: dict[str, Any], options: dict[str, Any], digits: Dataset) -> None:
    changes = dict(changes)
    config = OptimizerConfig(name=changes.pop("optimizer", "SGD"), options=options)
    proof = MemoryProof(toy_recipe(digits, **changes, optimizer=config), len(digits))
    with pytest.raises(InputError, match=r"diverged|cannot make a step"):
        record_training(proof.recipe, digits, proof)


def test_a_recipe_for_another_dataset_is_an_error(digits: Dataset) -> None:
    stripes = load_dataset("tests.toys:two_stripes")
    recipe = toy_recipe(stripes)
    with pytest.raises(InputError, match="another dataset"):
        record_training(recipe, digits, MemoryProof(recipe, len(digits)))


def test_a_batch_larger_than_the_dataset_is_an_error() -> None:
    stripes = load_dataset("tests.toys:two_stripes")
    recipe = toy_recipe(stripes, batch_size=41)
    with pytest.raises(InputError, match="batch_size"):
        record_training(recipe, stripes, MemoryProof(recipe, len(stripes)))


def test_a_transform_for_other_channels_is_an_error(digits: Dataset) -> None:
    recipe = toy_recipe(digits, transform=Transform(mean=(0.5,) * 3, std=(0.5,) * 3))
    with pytest.raises(InputError, match="channel"):
        record_training(recipe, digits, MemoryProof(recipe, len(digits)))


def test_a_schedule_shorter_than_the_run_is_an_error(digits: Dataset) -> None:
    schedule = ScheduleConfig(name="OneCycleLR", options={"max_lr": 0.1, "total_steps": 5, "cycle_momentum": False})
    recipe = toy_recipe(digits, schedule=schedule)
    with pytest.raises(InputError, match="OneCycleLR"):
        record_training(recipe, digits, MemoryProof(recipe, len(digits)))


# --- sizes and costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "interval"), [(1, 1), (5, 5), (5, 1), (7, 3)])
def test_edges_of_steps_and_interval(steps: int, interval: int, digits: Dataset) -> None:
    seen: list[Interval] = []
    recipe = toy_recipe(digits, steps=steps, interval=interval, batch_size=1)
    proof = MemoryProof(recipe, len(digits))
    cost = record_training(recipe, digits, proof, on_interval=seen.append)
    assert proof.checkpoint_steps == recipe.checkpoint_steps()
    assert len(proof.records) == cost.gradient_evals == steps
    assert seen == recipe.intervals()
    assert 0.0 < cost.device_s == cost.wall_s


# --- the background sink ---------------------------------------------------------------------------------------------


class Log:
    """A sink that writes down what it got, slowly if told so, and fails at one write if told so."""

    def __init__(self, *, fail_at: int | None = None, delay_s: float = 0.0) -> None:
        self.seen: list[str] = []
        self.threads: set[str] = set()
        self._num_writes = 0
        self._fail_at = fail_at
        self._delay_s = delay_s

    def _write(self, what: str) -> None:
        self.threads.add(threading.current_thread().name)
        time.sleep(self._delay_s)
        self._num_writes += 1
        if self._num_writes - 1 == self._fail_at:
            raise OSError("no space left on device")
        self.seen.append(what)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """See ProofSink."""
        self._write(f"W{checkpoint.step}")

    def write_batches(self, records: Sequence[BatchRecord]) -> None:
        """See ProofSink."""
        self._write(f"I{records[0].step}")

    def add_points(self, points: Points) -> npt.NDArray[np.int64]:
        """See ProofSink."""
        raise NotImplementedError("the honest prover has no points of its own")


def checkpoint_at(step: int) -> Checkpoint:
    return Checkpoint(step=step, parameters={}, buffers={}, optimizer_state={})


@pytest.mark.parametrize("delay_s", [0.0, 0.005])
def test_writes_arrive_in_order_in_one_other_thread_and_all_before_the_end(delay_s: float, digits: Dataset) -> None:
    log = Log(delay_s=delay_s)
    record_training(toy_recipe(digits, steps=10, interval=2), digits, log)
    assert log.seen == ["W0", "I0", "W2", "I2", "W4", "I4", "W6", "I6", "W8", "I8", "W10"]
    assert len(log.threads) == 1
    assert threading.current_thread().name not in log.threads


@pytest.mark.parametrize("fail_at", [0, 1, 4, 9, 10])
@pytest.mark.parametrize("delay_s", [0.0, 0.005])
def test_the_sinks_exception_surfaces_in_the_prover(fail_at: int, delay_s: float, digits: Dataset) -> None:
    log = Log(fail_at=fail_at, delay_s=delay_s)
    with pytest.raises(OSError, match="no space left"):
        record_training(toy_recipe(digits, steps=10, interval=2), digits, log)
    assert log.seen == ["W0", "I0", "W2", "I2", "W4", "I4", "W6", "I6", "W8", "I8", "W10"][:fail_at], "nothing after it"


def test_the_bodys_own_exception_is_the_one_that_surfaces() -> None:
    log = Log(fail_at=0, delay_s=0.05)

    def body() -> None:
        with BackgroundSink(log) as background:
            background.write_checkpoint(checkpoint_at(0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()


@pytest.mark.parametrize("fail_at", [None, 0])
def test_no_thread_is_left_behind(fail_at: int | None) -> None:
    with suppress(OSError), BackgroundSink(Log(fail_at=fail_at)) as background:
        background.write_checkpoint(checkpoint_at(0))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("proof-sink")]


def test_few_writes_wait_for_a_slow_sink() -> None:
    log = Log(delay_s=0.002)
    with BackgroundSink(log) as background:
        for step in range(30):
            background.write_checkpoint(checkpoint_at(step))
            assert step - len(log.seen) <= 5  # four wait, one is being written
    assert log.seen == [f"W{step}" for step in range(30)]
