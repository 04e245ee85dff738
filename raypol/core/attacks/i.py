"""Attack I: perturb every batch until its gradient lands on the next point of the trajectory (Zhang et al. 2022, Algorithm 3).

Equation, per step, at the W that the declared updates have really reached:
    min_R |grad_W L(f_W(X + R), y) - g*|^2 + alpha |R|^2,
with g* the gradient from which one declared SGD step (learning rate, momentum, weight decay) lands on W_{t+1}:
    g* = ((W - W_{t+1}) / lr - mu m) / (1 - dampening) - lambda W,   and without a momentum buffer  (W - W_{t+1}) / lr - lambda W.

Threat model: as attack II.

What stops it: as attack II.

Differences from the paper:
1. g* has the factor 1/lr and the momentum and weight-decay terms (the published target lacks 1/lr, so a step moves away).
2. The search follows the weights that the crafted updates reach, not the ones that they were meant to reach.
"""

from dataclasses import dataclass
from typing import Final

from torch import Tensor

from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Interval
from raypol.core.spoofing.crafting import craft_until_accepted
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import ValueAndGradient, gradient_objective
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.search import CraftingConfig
from raypol.core.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackI(CraftingConfig):
    """Gradient matching, step by step."""

    iterations: int = 100
    """Iterations of the search."""
    max_grad_norm2: float = float("inf")
    """A batch is accepted when |grad - g*|^2 is below this; no limit is published."""
    max_perturbation_norm2: float = float("inf")
    """... and |R|^2 is below this; no limit is published."""


PRESETS: Final = {"i": AttackI(), "zhang2022_i": AttackI()}
"""The paper's settings, L-BFGS from R = 0 with 100 iterations and alpha 1, are the defaults."""


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: AttackI) -> Crafted:
    """One search per claimed step, each from where the last crafted update led."""
    trainer = scene.trainer
    trainer.load(start)
    batches, stats = [], []
    for t in range(interval.start, interval.stop):
        goal = goal_gradient(trainer, t, scene.trajectory.weights(t + 1))

        def objective(X_nBCHW: Tensor, y_nB: Tensor, goal: dict[str, Tensor] = goal) -> ValueAndGradient:
            return gradient_objective(trainer, X_nBCHW, y_nB, alpha=config.alpha, goal=goal)

        ((batch,), outcome) = craft_until_accepted(scene, [t], config, objective, goal)
        assert batch.pixels is not None
        trainer.step(t, batch.pixels.to(trainer.device), batch.labels.to(trainer.device))
        batches.append(batch)
        stats.append(outcome)
    return Crafted(interval=interval, batches=batches, stats=tuple(stats))


def goal_gradient(trainer: Trainer, step: int, target: dict[str, Tensor]) -> dict[str, Tensor]:
    """g* by name: the gradient with which the next declared SGD step lands on `target`.

    Raises:
        InputError: the declared optimizer is not plain SGD, or its learning rate is 0 at this step.
    """
    group = trainer.optimizer.param_groups[0]
    if trainer.recipe.optimizer.name != "SGD" or group["nesterov"] or group["maximize"]:
        raise InputError("attack i inverts one step of SGD (no nesterov, no maximize); declare that optimizer")
    if group["momentum"] > 0.0 and group["dampening"] == 1.0:
        raise InputError("attack i needs a gradient that counts; with dampening 1 none but the first does")
    lr, mu, decay = float(trainer.lrs[step]), group["momentum"], group["weight_decay"]
    if lr <= 0.0:
        raise InputError(f"attack i needs a positive learning rate, the declared one is {lr} at step {step}")
    goal = {}
    for name, parameter in trainer.parameters.items():
        W = parameter.detach()
        wanted = (W - target[name].to(W)) / lr
        m = trainer.optimizer.state.get(parameter, {}).get("momentum_buffer")
        if m is not None:
            wanted = (wanted - mu * m) / (1.0 - group["dampening"])
        goal[name] = wanted - decay * W
    return goal


# With the true state carried through, an interval's momentum is known only once the one before is sealed.
METHOD = AttackMethod(
    source="Zhang et al. 2022, arXiv:2108.09454",
    config=AttackI,
    craft=craft,
    sequential=lambda _, spoof: spoof.carry == "exact",
    uses=("weights", "own_points"),
)
