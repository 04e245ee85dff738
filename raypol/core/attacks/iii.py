"""Attack III: one perturbation search for all k*B points of an interval (Zhang et al. 2022, arXiv:2108.09454, Algorithm 5).

Equation, per interval, at W = W_{t-k}, for its k batches:
    gradient:  min_R |1/k sum_j grad_W L(f_W(X_j + R_j), y_j)|^2 + alpha |R|^2
    loss:      min_R  1/k sum_j L(f_W(X_j + R_j), y_j) + alpha |R|

Threat model: as attack II.

What stops it: as attack II.

Differences from the paper:
1. Every interval draws its own points (the published code draws once and stores 3 % of the images).
2. Memory is bounded whatever k is: batches go through the model one by one and their gradients are summed.
3. Batch statistics are those of each claimed batch, not of the union: the verifier replays batch by batch.
"""

from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor

from raypol.core.errors import InputError, reject_choice
from raypol.core.proof import Checkpoint, Interval
from raypol.core.spoofing.crafting import craft_in_groups
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import ValueAndGradient, gradient_objective, loss_objective
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.search import CraftingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackIII(CraftingConfig):
    """Vanishing gradient or loss, interval by interval."""

    objective: Literal["gradient", "loss"] = "gradient"
    """gradient: |grad|^2 + alpha |R|^2, second order. loss: L + alpha |R|, first order, several times cheaper."""
    alpha: float = 0.1
    """Weight of |R|^2 or |R|."""
    tolerance_grad: float = 1e-7
    """lbfgs stops when the largest entry of the objective's gradient is below this; published: 0.1."""
    max_grad_norm2: float = 15.0
    """The interval is accepted when |grad|^2 is below this ..."""
    max_perturbation_norm2: float = 20.0
    """... and |R|^2 over all its points is below this."""
    retries: int = 30
    """At most this many times fresh batches are drawn if the interval is not accepted."""
    batches_per_graph: int = 0
    """gradient only, where model or precision need double backwards: batches whose graphs are held in memory at once; as many as
    k saves a pass. 0 = as many as a GPU has free memory for, 1 on a CPU."""
    parts: int = 1
    """Searches per interval, each over its share of the batches: lbfgs remembers 2 * iterations + 5 times the pixels of one
    search. The limits on |grad|^2 and |R|^2 are of each search."""

    def __post_init__(self) -> None:
        CraftingConfig.__post_init__(self)
        if self.objective not in ("gradient", "loss"):
            reject_choice("objective", self.objective, ("gradient", "loss"))
        if self.batches_per_graph < 0 or self.parts < 1:
            raise InputError(
                f"expected batches_per_graph >= 0 and parts >= 1, got {self.batches_per_graph} and {self.parts}"
            )


_INF: Final = float("inf")
PRESETS: Final = {
    "iii": AttackIII(),
    # First order throughout: no limit on |grad|^2, which would cost a step. |R| is not squared: where |grad_R L| < alpha, R = 0
    # is the minimum, and at alpha 0.1 it always is.
    "iii_loss": AttackIII(objective="loss", alpha=0.01, max_grad_norm2=_INF, max_perturbation_norm2=100.0),
    # Signed-gradient steps within linf <= 8/255; the ball is the limit, no other is needed.
    "iii_invisible": AttackIII(
        objective="loss",
        crafting="signed",
        iterations=8,
        linf_limit=8 / 255,
        alpha=0.0,
        max_grad_norm2=_INF,
        max_perturbation_norm2=_INF,
    ),
    # The paper's settings for CIFAR (L-BFGS, 10 iterations, alpha 0.1, limits 15/20, 30 retries) and for ImageNet.
    "zhang2022_iii": AttackIII(tolerance_grad=0.1),
    "zhang2022_iii_imagenet": AttackIII(tolerance_grad=0.1, alpha=0.4, max_grad_norm2=2.0, max_perturbation_norm2=5.0),
}
"""Named configurations."""


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: AttackIII) -> Crafted:
    """One search for the whole interval, or one for each of its parts, at W_{t-k}."""
    scene.trainer.load(start)

    def objective(X_nBCHW: Tensor, y_nB: Tensor) -> ValueAndGradient:
        if config.objective == "loss":
            return loss_objective(scene.trainer, X_nBCHW, y_nB, alpha=config.alpha)
        return gradient_objective(
            scene.trainer, X_nBCHW, y_nB, alpha=config.alpha, batches_per_graph=config.batches_per_graph
        )

    return craft_in_groups(scene, interval, config, objective, size=-(-interval.num_steps // config.parts))


METHOD = AttackMethod(
    source="Zhang et al. 2022, arXiv:2108.09454", config=AttackIII, craft=craft, uses=("weights", "own_points")
)
