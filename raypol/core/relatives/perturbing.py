"""Perturbing single points by a small R, for adversarial and unadversarial examples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raypol.core.augment import to_unit
from raypol.core.relatives.points import Seen, check_points, look
from raypol.core.spoofing.objectives import OnEvaluation, ValueAndGradient, loss_objective, reporting
from raypol.core.spoofing.search import Crafting, SearchConfig, search, to_grey_levels
from raypol.core.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class PerturbConfig(SearchConfig):
    """How R is searched, and how large it may be."""

    crafting: Crafting = "signed"
    """signed: signed-gradient steps in the linf ball, each point by itself; lbfgs, adam: as for the attacks."""
    iterations: int = 20
    """Iterations of the search."""
    linf_limit: float | None = 8 / 255
    """Largest change of a pixel, in units where pixels span [0, 1]; None = only X + R in [0, 1] binds."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Perturbed:
    """B points before and after, on the CPU."""

    originals: Tensor
    """(B, C, H, W) X in [0, 1]."""
    crafted: Tensor
    """(B, C, H, W) X + R in [0, 1]."""
    rounded: Tensor
    """(B, C, H, W) uint8: X + R as an image file holds it; still within the linf limit."""
    labels: Tensor
    """(B,) int64: the true ones."""
    before: Seen
    """Of X."""
    after: Seen
    """Of X + R."""
    after_rounding: Seen
    """Of X + R in grey levels: what counts if the result is to be an image."""

    @property
    def linf(self) -> Tensor:
        """(B,) |R|_inf, pixels spanning [0, 1]."""
        return (self.crafted - self.originals).flatten(1).abs().amax(1)

    @property
    def l2(self) -> Tensor:
        """(B,) |R|_2, pixels spanning [0, 1]."""
        return (self.crafted - self.originals).flatten(1).square().sum(1).sqrt()


def perturb(
    trainer: Trainer,
    X_BCHW: Tensor,
    y_B: Tensor,
    wanted_B: Tensor,
    config: PerturbConfig,
    *,
    raise_loss: bool,
    on_evaluation: OnEvaluation = lambda _: None,
) -> Perturbed:
    """Search R for points at the weights the trainer holds.

    Args:
        trainer: holds W; its weights, buffers and mode are the same afterwards.
        X_BCHW: points in [0, 1].
        y_B: their true labels, to report losses against.
        wanted_B: labels of the loss that is optimised.
        config: the search.
        raise_loss: True = the loss against `wanted_B` shall rise, False = fall.
        on_evaluation: called with the number of evaluations after each.

    Raises:
        InputError: points that are not of the model's kind, or weights that are not finite.
    """
    check_points(trainer, X_BCHW, y_B)
    before = look(trainer, X_BCHW, y_B)
    with trainer.evaluating(), torch.random.fork_rng():
        falling = reporting(loss_objective(trainer, X_BCHW[None], wanted_B[None], alpha=0.0), on_evaluation)
        R = search(_negated(falling) if raise_loss else falling, X_BCHW[None], config)[0]
    crafted = (X_BCHW + R).clamp(0.0, 1.0)
    rounded = to_grey_levels(X_BCHW, crafted, config.linf_limit)
    return Perturbed(
        originals=X_BCHW.cpu(),
        crafted=crafted.cpu(),
        rounded=rounded.cpu(),
        labels=y_B.cpu(),
        before=before,
        after=look(trainer, crafted, y_B),
        after_rounding=look(trainer, to_unit(rounded, trainer.dtype), y_B),
    )


def _negated(objective: ValueAndGradient) -> ValueAndGradient:
    def evaluate(R: Tensor) -> tuple[float, Tensor]:
        value, slope = objective(R)
        return -value, -slope

    return evaluate
