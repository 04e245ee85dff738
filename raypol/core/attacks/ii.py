"""Attack II: perturb every batch until its gradient vanishes (Zhang et al. 2022, arXiv:2108.09454, Algorithm 4).

Equation, per step, at W = W_{t-k}:  min_R |grad_W L(f_W(X + R), y)|^2 + alpha |R|^2.  "Update the model to itself": the claimed
move is meant to be smaller than the verifier's threshold, and a vanishing gradient adds nothing to it.

Threat model: A knows W_T and data of the training distribution, may modify data; knows nothing of the prover's draws.

What stops it: `own_points` where the dataset is public; `direction` and `initial_independence`, as any claim along a line from a
fitted W_0; a calibrated `envelope`.

Differences from the paper:
1. Batch statistics of norm layers are those of training mode, as in the verifier's replay.
2. X + R is kept in [0, 1] inside the objective; points are stored as uint8 unless asked otherwise.
3. A batch that is not accepted after the last retry is recorded with its own perturbation (the published code saves the old
   perturbation on the new batch).
"""

from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor

from raypol.core.errors import reject_choice
from raypol.core.proof import Checkpoint, Interval
from raypol.core.spoofing.crafting import craft_in_groups
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import ValueAndGradient, gradient_objective, loss_objective
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.search import CraftingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackII(CraftingConfig):
    """Vanishing gradient, batch by batch."""

    objective: Literal["gradient", "loss"] = "gradient"
    """gradient: |grad|^2 + alpha |R|^2, second order. loss: L + alpha |R|, first order."""

    def __post_init__(self) -> None:
        CraftingConfig.__post_init__(self)
        if self.objective not in ("gradient", "loss"):
            reject_choice("objective", self.objective, ("gradient", "loss"))


PRESETS: Final = {"ii": AttackII(), "zhang2022_ii": AttackII()}
"""The paper's settings, L-BFGS from R = 0 with 10 iterations, alpha 1, limits 30/30 and 10 retries, are the defaults."""


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: AttackII) -> Crafted:
    """One search per claimed step, all at W_{t-k}."""
    scene.trainer.load(start)

    def objective(X_nBCHW: Tensor, y_nB: Tensor) -> ValueAndGradient:
        if config.objective == "loss":
            return loss_objective(scene.trainer, X_nBCHW, y_nB, alpha=config.alpha)
        return gradient_objective(scene.trainer, X_nBCHW, y_nB, alpha=config.alpha)

    return craft_in_groups(scene, interval, config, objective, size=1)


METHOD = AttackMethod(
    source="Zhang et al. 2022, arXiv:2108.09454", config=AttackII, craft=craft, uses=("weights", "own_points")
)
