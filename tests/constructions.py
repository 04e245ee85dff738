"""Proofs made without training, each by a hole of a verifier that follows whatever is declared: for tests and `make zoo`.

All are of the MLP toy but the last one; none is sealed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raypol import prove
from raypol.core import hashing
from raypol.core.datasets.dataset import Dataset
from raypol.core.models import build_model
from raypol.core.models.initial_laws import initial_laws
from raypol.core.models.legal_starts import rank_matched
from raypol.core.proof import BatchRecord, Checkpoint, MemoryProof, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.training.optimizers import learning_rates
from raypol.core.training.trainer import Trainer
from tests.toys import toy_recipe


def stolen_mlp(digits: Dataset) -> Checkpoint:
    """W_T of 60 honest steps."""
    return prove(toy_recipe(digits, model="tests.toys:mlp", steps=60, interval=20), digits).checkpoints[-1]


@dataclass
class Forger:
    """Writes checkpoints of any weights; batches are the dataset's first points."""

    proof: MemoryProof
    start: dict[str, Tensor]
    buffers: Mapping[str, Tensor]

    def write(self, step: int, weights: Mapping[str, Tensor], momentum: Mapping[str, Tensor] | None = None) -> None:
        state = {f"{name}/momentum_buffer": m.clone() for name, m in (momentum or {}).items()}
        weights = {name: w.clone() for name, w in weights.items()}
        self.proof.write_checkpoint(
            Checkpoint(step=step, parameters=weights, buffers=dict(self.buffers), optimizer_state=state)
        )


def forger(recipe: Recipe, target: Checkpoint, digits: Dataset) -> Forger:
    model = build_model(recipe.model, in_channels=1, num_classes=10)
    start = rank_matched(target.parameters, initial_laws(model), torch.Generator().manual_seed(0))
    proof = MemoryProof(recipe, len(digits))
    indices = np.arange(recipe.batch_size, dtype=np.int64)
    for step in range(recipe.steps):
        proof.records.append(BatchRecord(step, indices, hashing.step_digest(step, digits.point_digests[indices])))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    made = Forger(proof, start, buffers)
    made.write(0, start)
    return made


def rule(options: dict[str, Any], schedule: ScheduleConfig, digits: Dataset, *, steps: int, interval: int) -> Recipe:
    optimizer = OptimizerConfig(name="SGD", options=options)
    recipe = toy_recipe(digits, model="tests.toys:mlp", steps=steps, interval=interval, schedule=schedule)
    return replace(recipe, optimizer=optimizer, batch_size=8)


def growing(
    stolen: Checkpoint,
    digits: Dataset,
    *,
    momentum: float,
    dampening: float,
    interval: int,
    steps: int,
    lr: float = 1e-12,
) -> MemoryProof:
    """The momentum is forged once, at the first checkpoint, and then acts exactly as declared."""
    options = {"lr": lr, "momentum": momentum, "dampening": dampening}
    made = forger(rule(options, ScheduleConfig(), digits, steps=steps, interval=interval), stolen, digits)
    reach = sum(lr * momentum**i for i in range(1, steps - interval + 1))
    buffer = {n: ((w.double() - stolen.parameters[n].double()) / reach).float() for n, w in made.start.items()}
    weights = {name: w.clone() for name, w in made.start.items()}
    made.write(interval, weights, buffer)
    for step in range(interval, steps):
        for name, w in weights.items():
            buffer[name].mul_(momentum)
            w.add_(buffer[name], alpha=-lr)
        if (step + 1) % interval == 0:
            made.write(step + 1, weights, buffer)
    return made.proof


def negative_rates(stolen: Checkpoint, digits: Dataset, *, low: float, momentum: float = 0.9) -> MemoryProof:
    """Rates that fall below zero: the momentum is forged at step 1 and walks where no largest rate to come looks."""
    schedule = ScheduleConfig(name="CosineAnnealingLR", options={"T_max": 1, "eta_min": low})
    options = {"lr": 1e-12, "momentum": momentum, "dampening": 0.9}
    recipe = rule(options, schedule, digits, steps=3, interval=1)
    assert learning_rates(recipe).min() < 0.0
    made = forger(recipe, stolen, digits)
    buffer = {name: (stolen.parameters[name] - w) / (-low * momentum) for name, w in made.start.items()}
    weights = {name: w.clone() for name, w in made.start.items()}
    made.write(1, weights, buffer)
    for step in (1, 2):
        for name, w in weights.items():
            buffer[name].mul_(momentum)
            w.add_(buffer[name], alpha=-float(learning_rates(recipe)[step]))
        made.write(step + 1, weights, buffer)
    return made.proof


def turned_over(
    stolen: Checkpoint, digits: Dataset, *, shrink: float, grow: float, decay: float = 1e20, steps: int = 40
) -> MemoryProof:
    """Shrink to nothing, turn while no distance sees it, grow back: rate times weight decay goes from below 1 to above 2."""
    schedule = ScheduleConfig(
        name="LinearLR", options={"start_factor": shrink / grow, "end_factor": 1.0, "total_iters": steps}
    )
    recipe = rule({"lr": grow / decay, "weight_decay": decay}, schedule, digits, steps=steps, interval=1)
    rates = learning_rates(recipe)
    made = forger(recipe, stolen, digits)
    whole = np.cumprod(1.0 - rates * decay)
    turned = int(np.abs(whole).argmin())
    weights = {name: w.clone() for name, w in made.start.items()}
    for step, rate in enumerate(rates):
        for w in weights.values():
            w.add_(torch.zeros_like(w).add(w, alpha=decay), alpha=-float(rate))
        if step == turned:
            weights = {n: (whole[step] * stolen.parameters[n].double() / whole[-1]).float() for n in weights}
        made.write(step + 1, weights)
    return made.proof


class _Features(nn.Module):
    """Random features, which are a buffer, and a head that learns."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("projection", torch.linspace(-1.0, 1.0, 64 * 8).sin().view(64, 8))
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head((x.flatten(1) @ self.get_buffer("projection")).relu())
        return found


def features(*, in_channels: int, num_classes: int) -> nn.Module:
    assert in_channels == 1
    return _Features(num_classes)


def swapped_buffers(digits: Dataset, *, values: tuple[float, float], steps: int = 8, interval: int = 4) -> MemoryProof:
    """The projection, which training leaves as it is, is another one from the first checkpoint on, and again at the last."""
    recipe = toy_recipe(digits, model=f"{__name__}:features", steps=steps, interval=interval)
    proof = prove(recipe, digits)
    trainer = Trainer(recipe, digits)
    checkpoint = replace(
        proof.checkpoints[1], buffers={"projection": torch.full((64, 8), values[0])}, claimed_digests=None
    )
    made = [checkpoint]
    for one in recipe.intervals()[1:]:
        trainer.load(made[-1])
        for step in range(one.start, one.stop):
            indices = proof.records[step].indices
            trainer.step(step, digits.pixels[indices], digits.labels[indices])
        made.append(trainer.snapshot(one.stop))
    made[-1] = replace(made[-1], buffers={"projection": torch.full((64, 8), values[1])})
    proof.checkpoints[1:] = made
    return proof


def normed(*, in_channels: int, num_classes: int) -> nn.Module:
    """The MLP toy with a norm layer: everything that a proof may record, in a millisecond a step."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * in_channels, 12),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.Linear(12, num_classes),
    )
