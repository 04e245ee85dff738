"""Unadversarial example: the small R that helps a model see what is there (Salman et al. 2020, arXiv:2012.12235).

Equation, for a point (X, y) at fixed weights W:
    min_R L(f_W(X + R), y)   subject to   |R|_inf <= eps,  X + R in [0, 1].
It is attack III's loss objective for one point, and the adversarial example's with the other sign.

Threat model: none; the maker of the object or image is on the model's side and knows W, X and y.

Differences from the paper:
1. R is of one image and within a ball of eps around it; the paper designs a patch or a texture for a whole class, of any size.
2. Norm layers use the recorded statistics: a single example has no batch of its own.
3. No augmentation while searching: R need not survive weather or views.
"""

from dataclasses import dataclass

from torch import Tensor

from raypol.core.relatives.perturbing import PerturbConfig, Perturbed, perturb
from raypol.core.spoofing.objectives import OnEvaluation
from raypol.core.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class Unadversarial(PerturbConfig):
    """A helped prediction."""


def unadversarial_example(
    trainer: Trainer,
    X_BCHW: Tensor,
    y_B: Tensor,
    config: Unadversarial,
    *,
    on_evaluation: OnEvaluation = lambda _: None,
) -> Perturbed:
    """Search R for each of B points at the trainer's weights; see `perturb`."""
    return perturb(trainer, X_BCHW, y_B, y_B, config, raise_loss=False, on_evaluation=on_evaluation)
