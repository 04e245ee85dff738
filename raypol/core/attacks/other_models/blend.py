"""Attack `blend`: claim a model that remembers the W_0 that A could not choose.

    W_B = R_m(W_T + e W_0),    then `steered` from W_0 to W_B

with R_m m steps of training at a constant rate, and e on the tensors with a random law alone. Training moves weights by less than
their size, so that the W_T of an honest run has a large cosine with its own W_0, and one that was stolen has none with a W_0 that
came later (check `initial_memory`). Where the cosine is to be c,

    e = c |V| / (sqrt(1 - c^2) |W_0|) - a,    W_T = a W_0 + V,  V orthogonal to W_0.

**Source.** None; measured first for this project.

**Granted.** W_T and data. W_0 and order may be the verifier's (start honest or bound, data_order declared).

**Costs** a training of T' steps, as short as A likes to claim, and `repair` more. What A pays besides is accuracy: the noise
e W_0 is a share c of W_B, and training from W_0 finds c without anything stolen.

Resnet8 on digits, W_T of T = 1000 (test accuracy .99), an independent W_0: accuracy of the claimed model after m steps of repair
at rate .01, and its cosine with W_0 by then (`python -m benchmarks.blend`; the honest cosine is .79)

| c | m = 0 | 10 | 30 | 100 | 300 |
|---|---|---|---|---|---|
| 0 | .983 (.00) | .986 (.00) | .992 (.00) | .992 (.00) | .992 (.00) |
| .1 | .981 (.10) | .983 (.10) | .992 (.10) | .989 (.10) | .989 (.10) |
| .2 | .975 (.20) | .981 (.20) | .989 (.20) | .989 (.20) | .992 (.20) |
| .4 | .858 (.40) | .950 (.40) | .972 (.39) | .983 (.39) | .989 (.39) |
| .6 | .331 (.60) | .877 (.60) | .953 (.59) | .975 (.58) | .978 (.58) |
| .8 | .111 (.80) | .610 (.80) | .877 (.80) | .942 (.79) | .964 (.79) |
| nothing stolen | .100 (1.00) | .334 (1.00) | .880 (.99) | .964 (.98) | .983 (.96) |

At the honest cosine a stolen model is worth no more than a fresh start; up to .2 a blend is nearly free.

**Stopped by** `initial_memory` as far as the honest cosine is high, by exact replay, and by the accuracy that is asked of W_T.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from raypol.core.attacks import steered
from raypol.core.datasets.order import DataOrder
from raypol.core.errors import InputError, check_whole
from raypol.core.models.initial_laws import Law, RandomLaw, initial_laws
from raypol.core.proof import MAX_STEPS, Checkpoint, Recipe, ScheduleConfig
from raypol.core.seeds import derive_seed
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Scene
from raypol.core.spoofing.trajectory import WeightPath
from raypol.core.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class Blend(steered.Steered):
    """How much of W_0 the claimed model has, and how it is repaired."""

    blend_noise: float | None = None
    """e, what W_0 is multiplied with before it is added to W_T; None = `blend_cosine` says."""
    blend_cosine: float | None = None
    """c, the cosine of W_0 and W_T + e W_0 over all tensors with a random law, in [0, 1); None = `blend_noise` says."""
    repair: int = 100
    """m, steps of training after blending."""
    repair_lr: float = 0.01
    """The constant learning rate of these steps."""

    def __post_init__(self) -> None:
        steered.Steered.__post_init__(self)
        if (self.blend_noise is None) == (self.blend_cosine is None):
            raise InputError(
                f"expected blend_noise or blend_cosine, exactly one of them, got {self.blend_noise} and {self.blend_cosine}"
            )
        if self.blend_noise is not None and not math.isfinite(self.blend_noise):
            raise InputError(f"expected a finite blend_noise, got {self.blend_noise}")
        if self.blend_cosine is not None and not 0.0 <= self.blend_cosine < 1.0:
            raise InputError(f"expected blend_cosine in [0, 1), got {self.blend_cosine}")
        check_whole("repair", self.repair, 0, MAX_STEPS)
        if not self.repair_lr > 0.0:
            raise InputError(f"expected repair_lr > 0, got {self.repair_lr}")


PRESETS: Final = {"blend": Blend(blend_cosine=0.8), "blend_noise": Blend(blend_noise=0.1)}


def path(scene: Scene, config: Blend) -> WeightPath:
    """From the chosen W_0 to the blended model, which is made when it is first asked for."""
    return _Blended(scene, config)


def blended(
    start: Mapping[str, Tensor], stolen: Mapping[str, Tensor], laws: Mapping[str, Law], config: Blend
) -> dict[str, Tensor]:
    """W_T + e W_0 on tensors with a random law, W_T on all others."""
    random = [name for name, law in laws.items() if isinstance(law, RandomLaw)]
    share = config.blend_noise
    if share is None:
        assert config.blend_cosine is not None
        share = share_for(config.blend_cosine, {n: start[n] for n in random}, {n: stolen[n] for n in random})
    return {name: W + share * start[name] if name in random else W.clone() for name, W in stolen.items()}


def share_for(cosine: float, start: Mapping[str, Tensor], stolen: Mapping[str, Tensor]) -> float:
    """The e at which W_0 and W_T + e W_0 have this cosine, over all tensors given."""
    W_0, W_T = (torch.cat([tensors[name].detach().double().flatten() for name in start]) for tensors in (start, stolen))
    along = float(W_0 @ W_T / (W_0 @ W_0))
    across = float((W_T - along * W_0).norm())
    return cosine * across / (math.sqrt(1.0 - cosine**2) * float(W_0.norm())) - along


def repaired(scene: Scene, broken: Checkpoint, config: Blend) -> Checkpoint:
    """The model after m steps of A's ordinary points at the constant rate, from an empty optimizer state."""
    if not config.repair:
        return broken
    trainer = Trainer(_repairing(scene.recipe, config), scene.dataset, scene.trainer.device)
    trainer.load(replace(broken, optimizer_state={}))
    order = DataOrder(len(scene.dataset), scene.recipe.batch_size, derive_seed(scene.seed, "repair"))
    for step in range(config.repair):
        trainer.step(step, *scene.stored(scene.plain(order(step))))
    scene.trainer.gradient_evals += trainer.gradient_evals
    return trainer.snapshot(scene.recipe.steps)


def _repairing(recipe: Recipe, config: Blend) -> Recipe:
    optimizer = replace(recipe.optimizer, options={**recipe.optimizer.options, "lr": config.repair_lr})
    steps = max(config.repair, recipe.interval)
    return replace(recipe, steps=steps, optimizer=optimizer, schedule=ScheduleConfig())


class _Blended:
    """The straight way from W_0 to W_B; only its ends are asked for, steering says the rest."""

    def __init__(self, scene: Scene, config: Blend) -> None:
        self._scene, self._config, self._straight = scene, config, scene.trajectory

    @property
    def end(self) -> Checkpoint:
        """W_B."""
        return self._scene.once("blend", self._blend)

    def _blend(self) -> Checkpoint:
        stolen = self._straight.checkpoint(self._scene.recipe.steps)
        laws = initial_laws(self._scene.trainer.fresh_model())
        parameters = blended(self._straight.weights(0), stolen.parameters, laws, self._config)
        return repaired(self._scene, replace(stolen, parameters=parameters), self._config)

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_t by name; exactly W_0 at step 0 and exactly W_B at step T'."""
        if step == 0:
            return self._straight.weights(0)
        passed = step / self._scene.recipe.steps
        return {name: torch.lerp(W, self.end.parameters[name], passed) for name, W in self._straight.weights(0).items()}

    def checkpoint(self, step: int) -> Checkpoint:
        """W_t with the straight way's statistics."""
        return replace(self._straight.checkpoint(step), parameters=self.weights(step))


METHOD = AttackMethod(
    config=Blend,
    craft=steered.craft,
    path=path,
    sequential=lambda _, __: True,
    independent=False,
    work=lambda config, recipe, _: float(config.repair + recipe.steps),
)
