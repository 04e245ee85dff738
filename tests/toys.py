"""Toy models and datasets that tests name by import path, and a few steps of honest training."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from raypol.core import hashing
from raypol.core.datasets.dataset import Dataset
from raypol.core.models.initial_laws import Constant, Law, Normal, Uniform
from raypol.core.proof import BatchRecord, Checkpoint, MemoryProof, Recipe
from raypol.core.training.prover import data_order
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import Thresholds

RECORDED: Final = Conditions(augmentation="recorded")
FRESH: Final = Conditions(augmentation="fresh")
EXACT: Final = Thresholds(l1=0.0, l2=0.0, linf=0.0, cos=0.0)
"""No slack at all: the same seeds on the same machine and thread leave nothing to forgive."""


# --- models by import path -----------------------------------------------------------------------------------------


def mlp(*, in_channels: int, num_classes: int) -> nn.Module:
    """Two linear layers on 4x4 means: the fastest thing that learns."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, 12), nn.ReLU(), nn.Linear(12, num_classes)
    )


def matrices(*, in_channels: int, num_classes: int) -> nn.Module:
    """Two layers without biases: all parameters have two dimensions."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * in_channels, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, num_classes, bias=False),
    )


def dropout_mlp(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, 12), nn.Dropout(), nn.Linear(12, num_classes)
    )


def group_norm_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, stride=2),
        nn.GroupNorm(2, 4),
        nn.PReLU(),
        nn.Conv2d(4, 8, 3, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )


class _Scaled(nn.Module):
    """Logits times one learned scalar: a parameter without dimensions, whose law the model declares."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) * self.scale
        return out

    def initial_laws(self) -> Mapping[str, Law]:
        return {"scale": Constant(1.0)}


def scaled_mlp(*, in_channels: int, num_classes: int) -> nn.Module:
    return _Scaled(mlp(in_channels=in_channels, num_classes=num_classes))


class _RandomFeatures(nn.Module):
    """A fixed random projection, kept in a buffer that the constructor draws."""

    projection: Tensor

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("projection", torch.randn(16 * in_channels, 10))
        self.head = nn.Linear(10, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        out: Tensor = self.head(torch.cos(pooled @ self.projection))
        return out


def random_features(*, in_channels: int, num_classes: int) -> nn.Module:
    return _RandomFeatures(in_channels, num_classes)


class _Warming(nn.Module):
    """Counts its training steps in a buffer that it re-assigns instead of writing in place."""

    seen: Tensor

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen = self.seen + 1.0
        out: Tensor = self.body(x) * (self.seen / (self.seen + 1.0))
        return out


def warming_mlp(*, in_channels: int, num_classes: int) -> nn.Module:
    return _Warming(mlp(in_channels=in_channels, num_classes=num_classes))


class _FrozenBody(nn.Module):
    """A frozen first layer: a parameter that never gets a gradient, hence no optimizer state."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(16 * in_channels, 12)
        self.body.requires_grad_(requires_grad=False)
        self.head = nn.Linear(12, num_classes)

    def initial_laws(self) -> Mapping[str, Law]:
        bound = Uniform(self.body.in_features**-0.5)
        return {"body.weight": bound, "body.bias": bound}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.relu(self.body(nn.functional.adaptive_avg_pool2d(x, 4).flatten(1))))
        return out


def frozen_body(*, in_channels: int, num_classes: int) -> nn.Module:
    return _FrozenBody(in_channels, num_classes)


class Unlawful(nn.Module):
    """A parameter whose law nobody knows, unless `declared`."""

    def __init__(self, *, declared: bool = False) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.template = nn.Parameter(torch.randn(5))
        if declared:
            self.initial_laws: Callable[[], Mapping[str, Law]] = lambda: {"template": Normal(2.0)}

    def forward(self, x: Tensor) -> Tensor:
        """Logits of ten classes, eight of them always 0."""
        return nn.functional.pad(self.inner(x.flatten(1)[:, :3]), (0, 8))


def unlawful(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels, num_classes
    return Unlawful()


def not_a_module(**_: Any) -> str:  # noqa: ANN401 - stands for whatever a user's function may take
    return "not a module"


# --- datasets by import path ---------------------------------------------------------------------------------------


def two_stripes() -> Dataset:
    """40 images of 6x5 pixels, three channels, two classes."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 3, 6, 5), generator=rng, dtype=torch.uint8)
    labels = torch.arange(60) % 2
    pixels[labels == 1, :, :3] //= 4
    return Dataset(
        name="whatever the function says",
        pixels=pixels[:40],
        labels=labels[:40],
        test_pixels=pixels[40:],
        test_labels=labels[40:],
        num_classes=2,
    )


def not_a_dataset() -> list[int]:
    return [1, 2, 3]


# --- proofs ----------------------------------------------------------------------------------------------------------


def toy_recipe(dataset: Dataset, **changes: Any) -> Recipe:  # noqa: ANN401 - any field of Recipe
    """16 steps of the MLP in intervals of 8, batch 16, unless changed."""
    fields: dict[str, Any] = {
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "model": "tests.toys:mlp",
        "steps": 16,
        "interval": 8,
        "batch_size": 16,
    }
    return Recipe(**{**fields, **changes})


def copy_of(proof: MemoryProof) -> MemoryProof:
    """The same proof with its own tensors and arrays, to tamper with."""
    return copy.deepcopy(proof)


def rehash(proof: MemoryProof, dataset: Dataset) -> None:
    """What a forger does after tampering: hash their own data as well as anyone, and seal."""
    for at, record in enumerate(proof.records):
        if any(not 0 <= index < len(dataset) + proof.num_points for index in record.indices):
            continue
        own = record.indices >= len(dataset)
        digests = np.empty((len(record.indices), hashing.DIGEST_BYTES), dtype=np.uint8)
        digests[~own] = dataset.point_digests[record.indices[~own]]
        if own.any():
            points = proof.points(record.indices[own] - len(dataset))
            digests[own] = hashing.point_digests(points.pixels, points.labels)
        proof.records[at] = record._replace(sha256=hashing.step_digest(record.step, digests))
    proof.seal()


def train_from(
    recipe: Recipe, dataset: Dataset, start: Checkpoint, forge: Callable[[Checkpoint], Checkpoint] | None = None
) -> MemoryProof:
    """A forger who does honest steps: from any W_0, and passing every later checkpoint through `forge` before going on."""
    proof, trainer, order = MemoryProof(recipe, len(dataset)), Trainer(recipe, dataset), data_order(recipe, dataset)
    proof.write_checkpoint(start)
    with torch.random.fork_rng():
        for interval in recipe.intervals():
            trainer.load(proof.checkpoints[-1])
            for step in range(interval.start, interval.stop):
                indices = order(step)
                trainer.step(step, dataset.pixels[indices], dataset.labels[indices])
                digest = hashing.step_digest(step, dataset.point_digests[indices])
                proof.write_batches([BatchRecord(step, indices, digest)])
            reached = trainer.snapshot(interval.stop)
            proof.write_checkpoint(forge(reached) if forge else reached)
    proof.seal()
    return proof


def changed(tensors: Mapping[str, Tensor], name: str, value: Tensor) -> dict[str, Tensor]:
    """The same tensors but one."""
    return {**tensors, name: value}
