"""Attacks `retrain` and `distil`: train a model of one's own, from a legal W_0, and claim that.

    retrain:  W_t = U(W_{t-k}; b_t),   b_t = (x, y) of the declared dataset
    distil:   the same on b_t = (x, argmax f_{W_T}(x))

with U the declared k updates. `retrain` is the cost floor of all attacks: who can afford it needs nothing stolen. `distil` puts
W_T in place of the labels, which a thief has where the dataset has none.

**Source.** Jia et al. 2021 (arXiv:2103.05633), "retraining-based spoofing"; it yields a valid proof of another model, and is no
break of the protocol by its definition.

**Granted.** `retrain`: the data, and what the chosen W_0, order and so on use; with `start` bound and `data_order` declared it is
an honest proof in all. `distil`: W_T and own points besides, for a point with another label than the dataset's is one.

**Cost.** A training of T' steps; `distil` also one forward pass of the dataset.

**Difference from the paper.** Labels are W_T's predictions on the points as they are stored, not on those that a batch augments.

**Stopped by** nothing that a proof of learning is: the claimed model is A's own. `initial_independence` sees a W_0 that was
chosen close to W_T, which this attack has no use for. `distil` shows by its own points, which `own_points` forbids and
`near_copy` finds at distance 0.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from raypol.core.proof import Checkpoint, Interval
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import points_input
from raypol.core.spoofing.scene import Crafted, CraftedBatch, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrain:
    """Honest training of A's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distil:
    """Training on the stolen model's predictions."""


PRESETS: Final = {"retrain": Retrain(), "distil": Distil()}


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Retrain) -> Crafted:
    """Ordinary batches, honestly followed."""
    del config
    return scene.follow(interval, start)


def craft_distilled(scene: Scene, interval: Interval, start: Checkpoint, config: Distil) -> Crafted:
    """Ordinary batches with W_T's labels, honestly followed."""
    del config
    predicted = scene.once("predicted labels", lambda: predict_labels(scene))
    batches = []
    for batch in scene.ordinary(interval):
        where = torch.from_numpy(batch.sources)
        pixels, labels = scene.dataset.pixels[where.to(scene.dataset.pixels.device)].cpu(), predicted[where]
        same = torch.equal(labels, batch.labels.cpu())
        batches.append(batch if same else CraftedBatch(batch.sources, labels, pixels))
    return Crafted(interval=interval, batches=batches, end=scene.train(interval, batches, start))


@torch.no_grad()
def predict_labels(scene: Scene) -> Tensor:
    """(N,) int64: the stolen model's classes of A's points, on the CPU."""
    trainer = scene.trainer
    trainer.load(scene.trajectory.checkpoint(scene.recipe.steps))
    found = []
    with trainer.evaluating():
        for part in torch.split(torch.arange(len(scene.dataset), device=trainer.device), scene.recipe.batch_size):
            found.append(trainer.logits(points_input(trainer, part)).argmax(1).cpu())
            trainer.forward_passes += 1
    return torch.cat(found)


METHOD = AttackMethod(
    ignores=("path", "buffers"), config=Retrain, craft=craft, sequential=lambda _, __: True, independent=False, uses=()
)
DISTIL = AttackMethod(
    ignores=("path", "buffers"),
    config=Distil,
    craft=craft_distilled,
    sequential=lambda _, __: True,
    independent=False,
    uses=("weights", "own_points"),
)
