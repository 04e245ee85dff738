"""Digests of short trainings, as a program: `python -m tests.core.arithmetic.reproducible.machines THREADS`.

Run with ATEN_CPU_CAPABILITY and its like, it computes as another processor would.
"""

import hashlib
import sys
from typing import Any

import torch

from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.proof import Checkpoint, OptimizerConfig, Recipe
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.trainer import Trainer

SGD = OptimizerConfig(name="SGD", options={"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True})
CASES: dict[str, dict[str, Any]] = {
    "resnet8": {"optimizer": SGD},
    "resnet8, channels_last, Adam": {
        "optimizer": OptimizerConfig(name="Adam", options={"lr": 1e-3}),
        "channels_last": True,
    },
    "strides, overlapping pools, dropout": {
        "model": "tests.core.arithmetic.reproducible.machines:varied_net",
        "optimizer": SGD,
    },
}


STEPS = 3


def varied_net(*, in_channels: int, num_classes: int) -> torch.nn.Module:
    """Layers that the residual networks lack."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(in_channels, 8, 3, padding=1, bias=True),
        torch.nn.Tanh(),
        torch.nn.MaxPool2d(3, 2, 1),
        torch.nn.Conv2d(8, 16, 3, 2, 1, groups=2),
        torch.nn.BatchNorm2d(16),
        torch.nn.LeakyReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, num_classes),
    )


def recipe_of(dataset: Dataset, precision: str, **changes: Any) -> Recipe:  # noqa: ANN401 - any field of Recipe
    """A recipe on digits with crops and normalisation."""
    fields: dict[str, Any] = {
        "dataset": "digits",
        "dataset_sha256": dataset.sha256,
        "model": "resnet8",
        "steps": 100,
        "interval": 10,
        "batch_size": 64,
        "transform": Transform(crop_padding=1, rotation_degrees=5.0, mean=(0.3052,), std=(0.3763,)),
        "precision": precision,
    }
    return Recipe(**fields | changes)


def train(recipe: Recipe, dataset: Dataset, steps: int, device: str = "cpu") -> Checkpoint:
    """The state after some steps from W_0."""
    trainer = Trainer(recipe, dataset, device)
    trainer.load(initial_checkpoint(recipe, dataset))
    indices = torch.from_numpy(data_order(recipe, dataset).block(0, steps)).to(trainer.device)
    with torch.random.fork_rng():
        trainer.run(0, trainer.dataset.pixels[indices], trainer.dataset.labels[indices])
    return trainer.snapshot(steps)


def digest(state: Checkpoint) -> str:
    """SHA-256 of every bit of weights, buffers and optimizer state."""
    found = hashlib.sha256()
    for name, tensor in sorted(state.tensors().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def main() -> None:
    """Print a digest for each case, and at last that of the first one in float32."""
    torch.set_num_threads(int(sys.argv[1]))
    digits = load_dataset("digits")
    recipes = [recipe_of(digits, "reproducible", **changes) for changes in CASES.values()]
    for recipe in (*recipes, recipe_of(digits, "float32")):
        sys.stdout.write(f"{digest(train(recipe, digits, STEPS))}\n")


if __name__ == "__main__":
    main()
