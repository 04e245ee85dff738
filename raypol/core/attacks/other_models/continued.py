"""Attack `continue`: start where the stolen training ended, and train.

    W_0 = W_T, or W_T pruned or with noise,    W_t = U(W_{t-k}; b_t)

with U the declared k updates on the declared batches. All after W_0 is an honest training, so that no replay finds anything: its
error is 0, in exact arithmetic or in a circuit too. The claimed model is one derived from W_T.

**Source.** Jia et al. 2021 (arXiv:2103.05633), section VIII, say that a proof does not link a model to one derived from it; this
is that derivation as an attack.

**Granted.** W_T, the data, the choice of W_0 and of the batches.

**Costs** a training of T' steps, as short as A likes to claim.

**What it adds to the paper**

1. `start_noise` and `pruned` change W_0 before training, as A would against a comparison with known models.
2. W_0 has the norm layers' statistics of W_T, which training from it would have found.

**Stopped by** what is known about W_0 alone: `initial_state` (a trained model does not follow its initial laws),
`initial_independence`, and a seed that V had a share in. If the claim is a fine-tuning of a public model, by nothing.
"""

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from raypol.core.arithmetic.precision import is_inexact
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Interval
from raypol.core.seeds import generator
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.trajectory import BOUND_STARTS, WeightPath


@dataclass(frozen=True, kw_only=True, slots=True)
class Continue:
    """How W_0 differs from W_T."""

    start_noise: float = 0.0
    """Standard deviation of the noise on W_0, in units of each tensor's root mean square in W_T; 0 = none."""
    pruned: float = 0.0
    """Share of the smallest entries of each weight matrix or kernel that W_0 has set to 0, in 0..1."""

    def __post_init__(self) -> None:
        if not self.start_noise >= 0.0:
            raise InputError(f"expected start_noise >= 0, got {self.start_noise}")
        if not 0.0 <= self.pruned <= 1.0:
            raise InputError(f"expected pruned in 0..1, got {self.pruned}")


PRESETS: Final = {"continue": Continue()}


def path(scene: Scene, config: Continue) -> WeightPath:
    """W_T, changed as was asked, for W_0."""
    start = scene.choices.trajectory.start
    if start in BOUND_STARTS:
        raise InputError(f"attack continue starts at W_T: it contradicts start {start}, a draw of the declared seed")
    return _FromStolen(scene.trajectory, scene.recipe.steps, config, scene.seed)


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Continue) -> Crafted:
    """Ordinary batches, honestly followed."""
    del config
    return scene.follow(interval, start)


class _FromStolen:
    """A path of which only the start is asked for; training says the rest."""

    def __init__(self, straight: WeightPath, steps: int, config: Continue, seed: int) -> None:
        self._straight, self._steps, self._config, self._seed = straight, steps, config, seed

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_T changed, at any step."""
        del step
        rng = generator(self._seed, "noise on W_0")
        changed = {}
        for name, W in self._straight.weights(self._steps).items():
            noisy = W + self._config.start_noise * W.square().mean().sqrt() * torch.randn(W.shape, generator=rng).to(W)
            changed[name] = _without_smallest(noisy if self._config.start_noise else W, self._config.pruned)
        return changed

    def checkpoint(self, step: int) -> Checkpoint:
        """W_0 with W_T's statistics; counters start afresh."""
        fresh, stolen = self._straight.checkpoint(0), self._straight.checkpoint(self._steps)
        buffers = {name: stolen.buffers[name] if is_inexact(b) else b for name, b in fresh.buffers.items()}
        return replace(fresh, step=step, parameters=self.weights(step), buffers=buffers)


def _without_smallest(W: Tensor, share: float) -> Tensor:
    if W.dim() < 2:
        return W
    flat = W.flatten()
    smallest = flat.abs().argsort(stable=True)[: int(share * flat.numel())]
    return flat.index_fill(0, smallest, 0.0).view(W.shape)


METHOD = AttackMethod(
    ignores=("path", "buffers"),
    config=Continue,
    craft=craft,
    path=path,
    sequential=lambda _, __: True,
    independent=False,
    uses=("weights", "initial"),
)
