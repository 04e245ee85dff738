"""The model that the relatives are tried on, and nets of other kinds."""

from collections.abc import Callable
from typing import Final

import pytest
import torch
from torch import Tensor, nn

from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.proof import MemoryProof, Recipe, ScheduleConfig
from raypol.core.training.prover import initial_checkpoint, record_training
from raypol.core.training.trainer import Trainer
from tests.toys import toy_recipe

NETS: Final = [
    "resnet8",
    "tests.core.relatives.conftest:sigmoid_net",
    "tests.toys:group_norm_net",
    "tests.toys:dropout_mlp",
    "tests.toys:random_features",
    "tests.toys:frozen_body",
    "tests.scenes:smooth_net",
]


def sigmoid_net(*, in_channels: int, num_classes: int) -> nn.Module:
    """As DLG's paper wants its nets: sigmoid instead of ReLU, and no strides."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 12, 5, padding=2),
        nn.Sigmoid(),
        nn.Conv2d(12, 12, 5, padding=2),
        nn.Sigmoid(),
        nn.Conv2d(12, 12, 5, padding=2),
        nn.Sigmoid(),
        nn.AdaptiveAvgPool2d(8),
        nn.Flatten(),
        nn.Linear(12 * 64, num_classes),
    )


def without_a_head(*, in_channels: int, num_classes: int) -> nn.Module:
    """No linear layer at the end, nor anywhere."""
    return nn.Sequential(nn.Conv2d(in_channels, num_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def without_bias(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, num_classes, bias=False))


def recipe_of(data: Dataset, model: str, steps: int = 1) -> Recipe:
    """Centred pixels; the learning rate falls twice."""
    milestones = [steps // 2, 3 * steps // 4]
    return toy_recipe(
        data,
        model=model,
        steps=steps,
        interval=steps,
        batch_size=min(64, len(data)),
        transform=Transform(crop_padding=1, mean=(0.3,) * data.image_shape[0], std=(0.38,) * data.image_shape[0]),
        schedule=ScheduleConfig(name="MultiStepLR", options={"milestones": milestones, "gamma": 0.1}),
    )


@pytest.fixture(scope="session")
def trained() -> Trainer:
    """resnet8 after 300 steps on digits, 97 % right. The functions leave it as it is."""
    data = load_dataset("digits")
    recipe = recipe_of(data, "resnet8", 300)
    proof = MemoryProof(recipe, len(data))
    record_training(recipe, data, proof)
    trainer = Trainer(recipe, data)
    trainer.load(proof.checkpoints[-1])
    return trainer


Fresh = Callable[[str], Trainer]


@pytest.fixture(scope="session")
def fresh(digits: Dataset) -> Fresh:
    """A model on digits at its initial weights."""

    def make(model: str, data: Dataset = digits) -> Trainer:
        recipe = recipe_of(data, model)
        trainer = Trainer(recipe, data)
        trainer.load(initial_checkpoint(recipe, data))
        return trainer

    return make


def everything_of(trainer: Trainer) -> list[Tensor | bool]:
    """Weights, buffers, modes, and whether weights want gradients."""
    return [
        *(p.detach().clone() for p in trainer.parameters.values()),
        *(b.clone() for b in trainer.buffers.values()),
        *(module.training for module in trainer.model.modules()),
        *(p.requires_grad for p in trainer.parameters.values()),
        torch.get_rng_state(),
    ]


def is_same(before: list[Tensor | bool], after: list[Tensor | bool]) -> bool:
    """Bit for bit."""
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
        for a, b in zip(before, after, strict=True)
    )
