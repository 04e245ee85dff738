"""Searching a perturbation R that lowers an objective, by L-BFGS, Adam or signed-gradient steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from raypol.core.errors import InputError, reject_choice
from raypol.core.spoofing.objectives import ValueAndGradient

Crafting = Literal["lbfgs", "signed", "adam"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """How R is searched; shared by the attacks and their relatives."""

    crafting: Crafting = "lbfgs"
    """lbfgs (published); signed: signed-gradient steps in an linf ball; adam."""
    iterations: int = 10
    """Iterations of the search."""
    tolerance_grad: float = 1e-7
    """lbfgs stops when the largest entry of the objective's gradient is below this."""
    line_search: Literal["none", "strong_wolfe"] = "none"
    """lbfgs only: none takes full steps (published), which can diverge; strong_wolfe does not, for the same evaluations."""
    linf_limit: float | None = None
    """Largest change of a pixel, in units where pixels span [0, 1]; None = only X + R in [0, 1] binds. signed needs one."""
    step_size: float | None = None
    """signed, adam: change of a pixel per iteration; None = 2.5 * linf_limit / iterations (signed), 0.01 (adam)."""

    def __post_init__(self) -> None:
        if self.crafting not in get_args(Crafting):
            reject_choice("crafting", self.crafting, get_args(Crafting))
        if self.line_search not in ("none", "strong_wolfe"):
            reject_choice("line_search", self.line_search, ("none", "strong_wolfe"))
        if self.iterations < 1:
            raise InputError(f"expected iterations >= 1, got {self.iterations}")
        if self.step_size is not None and not self.step_size > 0.0:
            raise InputError(f"expected step_size > 0 or None, got {self.step_size}")
        if self.linf_limit is not None and not 0.0 < self.linf_limit <= 1.0:
            raise InputError(f"expected linf_limit in (0, 1] or None, got {self.linf_limit}")
        if self.crafting == "signed" and self.linf_limit is None and self.step_size is None:
            raise InputError("crafting signed: expected linf_limit (such as 8/255 = 0.0314) or step_size")


@dataclass(frozen=True, kw_only=True, slots=True)
class CraftingConfig(SearchConfig):
    """How R is searched and when a batch is accepted; shared by attacks I, II and III."""

    alpha: float = 1.0
    """Weight of |R|^2 (gradient objective) or |R| (loss objective) in the objective."""
    max_grad_norm2: float = 30.0
    """Acceptance: |grad|^2 must be below this."""
    max_perturbation_norm2: float = 30.0
    """Acceptance: |R|^2 must be below this."""
    retries: int = 10
    """At most this many fresh batches are drawn if one is not accepted; the last is recorded, accepted or not."""
    pixel_dtype: Literal["uint8", "float32"] = "uint8"
    """What the crafted points are stored as; uint8 rounds before anything is measured."""

    def __post_init__(self) -> None:
        SearchConfig.__post_init__(self)
        if self.retries < 0:
            raise InputError(f"expected retries >= 0, got {self.retries}")
        if not self.alpha >= 0.0:
            raise InputError(f"expected alpha >= 0, got {self.alpha}")
        if not self.max_grad_norm2 >= 0.0 or not self.max_perturbation_norm2 >= 0.0:
            raise InputError(
                "expected max_grad_norm2 and max_perturbation_norm2 >= 0, "
                f"got {self.max_grad_norm2} and {self.max_perturbation_norm2}"
            )
        if self.pixel_dtype not in ("uint8", "float32"):
            reject_choice("pixel_dtype", self.pixel_dtype, ("uint8", "float32"))


@dataclass(frozen=True, kw_only=True, slots=True)
class CraftStats:
    """Outcome of one search, measured on the points as they are stored."""

    loss_before: float
    loss_after: float
    grad_norm2_before: float
    """|grad - g*|^2 of the objective's batches at R = 0."""
    grad_norm2_after: float
    perturbation_norm2: float
    """|R|^2 over all points searched together, pixels in [0, 1]."""
    perturbation_linf: float
    retries: int
    accepted: bool


def search(objective: ValueAndGradient, X: Tensor, config: SearchConfig) -> Tensor:
    """R of X's shape that lowers the objective, from R = 0; X + R in [0, 1] and |R|_inf <= linf_limit hold at the end."""
    return minimise(objective, torch.zeros_like(X), config, lambda R: project(R, X, config.linf_limit))


def minimise(
    objective: ValueAndGradient, start: Tensor, config: SearchConfig, keep: Callable[[Tensor], Tensor]
) -> Tensor:
    """Search from `start` for a point that lowers the objective and that `keep` permits.

    Args:
        objective: value and gradient of the point.
        start: where to begin; not changed.
        config: which search.
        keep: the nearest permitted point; asked at the end, by signed and adam also after each iteration.
    """
    R = start.clone()
    match config.crafting:
        case "lbfgs":
            optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
                [R],
                max_iter=config.iterations,
                max_eval=config.iterations,
                tolerance_grad=config.tolerance_grad,
                line_search_fn=None if config.line_search == "none" else config.line_search,
            )
            optimizer.step(_closure(R, objective))
        case "adam":
            optimizer = torch.optim.Adam([R], lr=config.step_size or 0.01)
            for _ in range(config.iterations):
                optimizer.step(_closure(R, objective))
                R.copy_(keep(R))
        case "signed":
            step_size = config.step_size or 2.5 * (config.linf_limit or 0.0) / config.iterations
            for _ in range(config.iterations):
                _, slope = objective(R)
                R = keep(R - step_size * slope.sign())
    return keep(R)


def _closure(R: Tensor, objective: ValueAndGradient) -> Callable[[], float]:
    def closure() -> float:
        value, slope = objective(R)
        # A slope that is not finite would spoil the search of all other pixels, and torch's line search breaks on both.
        R.grad = slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).contiguous()  # lbfgs takes no other
        return math.inf if math.isnan(value) else value

    return closure


def project(R: Tensor, X: Tensor, linf_limit: float | None) -> Tensor:
    """The nearest R with X + R in [0, 1] and, if there is a limit, |R|_inf <= linf_limit. Not finite becomes 0."""
    R = torch.nan_to_num(R, nan=0.0, posinf=0.0, neginf=0.0)
    if linf_limit is not None:
        R = R.clamp(-linf_limit, linf_limit)
    return (X + R).clamp(0.0, 1.0) - X


def store(X: Tensor, R: Tensor, config: CraftingConfig) -> Tensor:
    """X + R as it is stored. Rounding to uint8 goes towards X where it would pass the linf limit."""
    crafted = (X + R).clamp(0.0, 1.0)
    if config.pixel_dtype == "float32":
        return crafted.float()
    return to_grey_levels(X, crafted, config.linf_limit)


def to_grey_levels(X: Tensor, crafted: Tensor, linf_limit: float | None) -> Tensor:
    """Points in [0, 1] as uint8, rounded towards X where they would pass the linf limit."""
    rounded = (crafted * 255.0).round()
    if linf_limit is not None:
        source = (X * 255.0).round()
        reach = int(linf_limit * 255.0 + 1e-6)
        rounded = torch.minimum(torch.maximum(rounded, source - reach), source + reach)
    return rounded.to(torch.uint8)
