"""Attack `connected`: claim a curve of low loss in place of the straight line, so that accuracy rises as in training.

    W(s) = (1 - s)^2 W_0 + 2 s (1 - s) M + s^2 W_T,    M = argmin E_{s ~ U(0, 1)} L(W(s)),    W_t = W(t / T')

a Bezier curve whose middle M is trained by descent on random points of the curve, from the middle of the straight line. Its
statistics of norm layers are recomputed at every recorded model, without which a model of any weights has no accuracy.

**Source.** Garipov et al. 2018 (arXiv:1802.10026), mode connectivity.

**Granted.** W_T, data, the choice of the batches. W_0 may be the verifier's (start honest or bound).

**Costs** `train_share` T' gradients, and `passes` forward passes for every recorded model. No more under `no_momentum`.

**Differences from the paper**

1. One end is untrained: no curve has a low loss near W_0, and none has to.
2. Plain SGD with momentum at a constant rate; the gradient of M is 2 s (1 - s) that of W(s).

Resnet8 on digits, T = T' = 1000, k = 10, `no_momentum`: Spearman's rho of accuracy and step, mean accuracy of the recorded
models, share of training after which it is .85, largest error in l2 over d_ref

| | W_0 | rho | mean | .85 after | error | gradients, passes |
|---|---|---|---|---|---|---|
| honest proof | | .94 | .93 | .05 | | |
| `null`, statistics linear | rank matched | .97 | .43 | .76 | .0073 | 0, 0 |
| `null`, statistics exact | rank matched | .85 | .96 | .02 | .0073 | 0, 1000 |
| `connected`, `train_share` 0 | rank matched | .83 | .97 | .01 | .0073 | 0, 198 |
| `null`, statistics linear | independent | .99 | .39 | .82 | .0322 | 0, 0 |
| `null`, statistics exact | independent | .98 | .55 | .62 | .0322 | 0, 1000 |
| `connected`, `train_share` 0 | independent | .98 | .55 | .62 | .0322 | 0, 198 |
| `connected`, `curve_lr` 0.03 | independent | .98 | .82 | .26 | .0267 | 100, 198 |
| `connected`, `curve_lr` 0.1 | independent | .90 | .88 | .16 | .0264 | 100, 198 |
| `connected` | independent | .82 | .92 | .10 | .0271 | 100, 198 |

Spearman's rho does not tell a curve from a line: it is lowest where accuracy is high all along, honest training included. The
level does (check `accuracy_curve`). From a rank-matched W_0 the line itself has a low loss, once its statistics are right; from
an independent one the curve learns when training does, and its replays err less than the line's.

**Stopped by** what stops `null`: the replay of any interval, and more so, for the curve is longer than the line.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.arithmetic.precision import is_inexact
from raypol.core.attacks.null import craft
from raypol.core.datasets.order import DataOrder
from raypol.core.errors import InputError, check_whole
from raypol.core.proof import MAX_STEPS, Checkpoint, Recipe
from raypol.core.seeds import derive_seed, generator
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import average_statistics, points_input
from raypol.core.spoofing.scene import Scene
from raypol.core.spoofing.trajectory import WeightPath

_MOMENTUM: Final = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Connected:
    """How the curve is trained."""

    train_share: float = 0.1
    """Gradients that its middle is trained with, as a share of T', in 0..1; 0 = the straight line."""
    curve_lr: float = 0.3
    """Learning rate of that training."""
    passes: int = 2
    """Batches that the statistics of norm layers are averaged over at each recorded model; 0 = on the straight way from fresh
    ones to W_T's."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.train_share <= 1.0:
            raise InputError(f"expected train_share in 0..1, got {self.train_share}")
        if not self.curve_lr > 0.0:
            raise InputError(f"expected curve_lr > 0, got {self.curve_lr}")
        check_whole("passes", self.passes, 0, MAX_STEPS)


PRESETS: Final = {"connected": Connected()}


def path(scene: Scene, config: Connected) -> WeightPath:
    """The curve, trained when its inside is first asked for."""
    if scene.choices.trajectory.path != "linear":
        raise InputError(f"attack connected has a path of its own: it contradicts path {scene.choices.trajectory.path}")
    return _Curve(scene, config)


def train_steps(config: Connected, recipe: Recipe) -> int:
    """Gradients that the middle is trained with."""
    return round(config.train_share * recipe.steps)


class _Curve:
    """W_t on the curve."""

    def __init__(self, scene: Scene, config: Connected) -> None:
        self._scene, self._config, self._straight = scene, config, scene.trajectory

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_t by name; exactly W_0 at step 0 and exactly W_T at step T'."""
        T = self._scene.recipe.steps
        if step in (0, T):
            return self._straight.weights(step)
        middle = self._scene.once("middle", lambda: _trained_middle(self._scene, self._straight, self._config))
        return _point(self._straight.weights(0), middle, self._straight.weights(T), step / T)

    def checkpoint(self, step: int) -> Checkpoint:
        """W_t with the statistics that it has on A's data."""
        claimed = replace(self._straight.checkpoint(step), parameters=self.weights(step))
        if step in (0, self._scene.recipe.steps) or not self._config.passes:
            return claimed
        return replace(claimed, buffers=_averaged(self._scene, claimed, self._config.passes))


def _point(start: dict[str, Tensor], middle: dict[str, Tensor], end: dict[str, Tensor], s: float) -> dict[str, Tensor]:
    return {
        name: (1.0 - s) ** 2 * W + 2.0 * s * (1.0 - s) * middle[name] + s**2 * end[name] for name, W in start.items()
    }


def _trained_middle(scene: Scene, straight: WeightPath, config: Connected) -> dict[str, Tensor]:
    """M."""
    trainer, T = scene.trainer, scene.recipe.steps
    start, end = straight.weights(0), straight.weights(T)
    middle = {name: torch.lerp(W, end[name], 0.5) for name, W in start.items()}
    order = DataOrder(len(scene.dataset), scene.recipe.batch_size, derive_seed(scene.seed, "curve batches"))
    places = torch.rand(
        train_steps(config, scene.recipe), generator=generator(scene.seed, "curve"), dtype=torch.float64
    )
    running = {name: torch.zeros_like(W) for name, W in middle.items()}
    trainer.load(straight.checkpoint(T))
    for step, s in enumerate(places.tolist()):
        with torch.no_grad():
            for name, W in _point(start, middle, end, s).items():
                trainer.parameters[name].copy_(W)
        sources = order(step)
        trainer.seed_draws("dropout", step)
        trained = {name: p for name, p in trainer.parameters.items() if p.requires_grad}
        labels = trainer.dataset.labels[torch.from_numpy(sources).to(trainer.device)]
        loss = trainer.loss(_inputs(scene, sources), labels)
        slopes = torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)
        trainer.gradient_evals += 1
        for name, slope in zip(trained, slopes, strict=True):
            running[name] = _MOMENTUM * running[name] + 2.0 * s * (1.0 - s) * slope.cpu()
            middle[name] = middle[name] - config.curve_lr * running[name]
    return middle


def _averaged(scene: Scene, claimed: Checkpoint, passes: int) -> dict[str, Tensor]:
    """The claimed buffers, with statistics averaged over the next batches; counters as claimed."""
    trainer = scene.trainer
    trainer.load(claimed)
    steps = range(claimed.step, claimed.step + passes)
    average_statistics(trainer, (_inputs(scene, scene.sources(step)) for step in steps))
    found = trainer.snapshot(claimed.step).buffers
    return {name: found[name] if is_inexact(b) else b for name, b in claimed.buffers.items()}


def _inputs(scene: Scene, sources: npt.NDArray[np.int64]) -> Tensor:
    return points_input(scene.trainer, torch.from_numpy(sources).to(scene.trainer.device))


METHOD = AttackMethod(
    shares_work=True,
    config=Connected,
    craft=craft,
    path=path,
    sequential=lambda _, __: True,
    work=lambda config, recipe, _: train_steps(config, recipe) + config.passes * recipe.num_intervals / 3,
)
