"""Adversarial example: the small R that changes what a model sees (Szegedy et al. 2014, arXiv:1312.6199).

Equation, for a point (X, y) at fixed weights W, by projected signed-gradient steps (Madry et al. 2018, arXiv:1706.06083, eq. 1):
    untargeted:  max_R L(f_W(X + R), y)        targeted at t:  min_R L(f_W(X + R), t)
    subject to   |R|_inf <= eps,  X + R in [0, 1].

Threat model: A knows W, X and y (white box), and may change each pixel of X by at most eps.

Differences from the paper:
1. Norm layers use the recorded statistics: a single example has no batch of its own.
2. The search starts from R = 0 as the attacks do, not from a random point of the ball; it runs once.
3. The result is also rounded to uint8 and judged again: an R that does not survive an image file is no image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from raypol.core.errors import InputError
from raypol.core.relatives.perturbing import PerturbConfig, Perturbed, perturb
from raypol.core.spoofing.objectives import OnEvaluation
from raypol.core.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class Adversarial(PerturbConfig):
    """A flipped prediction. One iteration with step_size = linf_limit is the fast gradient sign method (arXiv:1412.6572)."""

    target: int | None = None
    """The label to reach; None = any other than the true one."""


def adversarial_example(
    trainer: Trainer,
    X_BCHW: Tensor,
    y_B: Tensor,
    config: Adversarial,
    *,
    on_evaluation: OnEvaluation = lambda _: None,
) -> Perturbed:
    """Search R for each of B points at the trainer's weights; see `perturb`.

    Raises:
        InputError: also for a target that is no class of the dataset.
    """
    if config.target is None:
        return perturb(trainer, X_BCHW, y_B, y_B, config, raise_loss=True, on_evaluation=on_evaluation)
    if not 0 <= config.target < trainer.dataset.num_classes:
        raise InputError(f"expected target in 0..{trainer.dataset.num_classes - 1} or None, got {config.target}")
    wanted_B = torch.full_like(y_B, config.target)
    return perturb(trainer, X_BCHW, y_B, wanted_B, config, raise_loss=False, on_evaluation=on_evaluation)
