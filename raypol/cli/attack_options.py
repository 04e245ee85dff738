"""The hyperparameters of attacks as options of the command line."""

from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Strength:
    """Hyperparameters of the attack. None keeps the preset's value; a field that the attack does not have is an error."""

    objective: Literal["gradient", "loss"] | None = None
    """What is minimised: the squared gradient norm (second order) or the loss (first order)."""
    crafting: Literal["lbfgs", "signed", "adam", "select"] | None = None
    """How the perturbation R is searched; select takes ordinary points of lowest loss instead."""
    iterations: int | None = None
    """Iterations of the search."""
    alpha: float | None = None
    """Weight of |R|^2 (gradient) or |R| (loss) in the objective."""
    linf_limit: float | None = None
    """Largest change of a pixel, pixels spanning [0, 1]; 8/255 = 0.0314 counts as invisible."""
    step_size: float | None = None
    """signed, adam: change of a pixel per iteration, pixels spanning [0, 1]."""
    line_search: Literal["none", "strong_wolfe"] | None = None
    """lbfgs: none is the published choice."""
    tolerance_grad: float | None = None
    """lbfgs: stop when the largest entry of the gradient is below this."""
    max_grad_norm2: float | None = None
    """Acceptance: limit on |grad|^2."""
    max_perturbation_norm2: float | None = None
    """Acceptance: limit on |R|^2."""
    retries: int | None = None
    """Acceptance: how often fresh batches are drawn."""
    pixel_dtype: Literal["uint8", "float32"] | None = None
    """How crafted points are stored; uint8 rounds before anything is measured."""
    lr: float | None = None
    """infinitesimal, forged_momentum: the declared learning rate."""
    momentum: float | None = None
    """forged_momentum: the declared momentum."""

    def given(self) -> dict[str, Any]:
        """The fields that were set."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
