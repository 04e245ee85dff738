"""Searching a small R so that training on X + R moves the model as the spoof claims: objectives and searches.

Objectives (SPEC section 4), for n batches of B points at fixed weights W:
    gradient:  | 1/n sum_j grad_W L(f_W(X_j + R_j), y_j) - g* |^2 + alpha |R|^2      second order; g* = 0 but for attack I
    loss:        1/n sum_j L(f_W(X_j + R_j), y_j) + alpha |R|                        first order
X + R is kept in [0, 1]. Batch statistics are those of each claimed batch, as in the verifier's replay, so the n batches go
through the model one by one; that is also what bounds the memory, whatever k is.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from raypol.core.augment import normalise
from raypol.core.errors import InputError
from raypol.core.training import Trainer

_MEMORY_SHARE: Final = 0.7
"""Of what is free, for graphs: the search itself needs room too."""

Crafting = Literal["lbfgs", "signed", "adam", "select"]
ValueAndGradient = Callable[[Tensor], tuple[float, Tensor]]
"""R (n, B, C, H, W) -> the objective's value and its gradient with respect to R."""
OnEvaluation = Callable[[int], None]
"""Told how many evaluations there were."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """How R is searched; shared by the attacks and their relatives."""

    crafting: Crafting = "lbfgs"
    """lbfgs (published); signed: signed-gradient steps in an linf ball; adam; select: no R, points of lowest loss (III only)."""
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
        if self.crafting not in ("lbfgs", "signed", "adam", "select"):
            raise InputError(f"unknown crafting {self.crafting!r}; possible: adam, lbfgs, select, signed")
        if self.line_search not in ("none", "strong_wolfe"):
            raise InputError(f"unknown line_search {self.line_search!r}; possible: none, strong_wolfe")
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
    """A batch is accepted when |grad|^2 is below this ..."""
    max_perturbation_norm2: float = 30.0
    """... and |R|^2 is below this."""
    retries: int = 10
    """How often a fresh batch is drawn when one is not accepted; the last is recorded whatever it is."""
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
            raise InputError(f"unknown pixel_dtype {self.pixel_dtype!r}; possible: float32, uint8")


@dataclass(frozen=True, kw_only=True, slots=True)
class CraftStats:
    """What one search did, measured on the points as they are stored."""

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


def gradient_objective(
    trainer: Trainer,
    X_nBCHW: Tensor,
    y_nB: Tensor,
    *,
    alpha: float,
    goal: Mapping[str, Tensor] | None = None,
    batches_per_graph: int = 1,
) -> ValueAndGradient:
    """|mean gradient - g*|^2 + alpha |R|^2 and its gradient.

    With n batches and fewer per graph, memory is bounded: a first pass sums the residual r = mean grad - g* without keeping
    graphs, a second differentiates <2 r, grad_j / n> batch by batch. The sum over batches is the same gradient.

    Args:
        trainer: holds W; its model is in training mode.
        X_nBCHW: n batches of points in [0, 1].
        y_nB: labels.
        alpha: weight of |R|^2.
        goal: g* by parameter name; None = 0.
        batches_per_graph: how many batches' graphs may be in memory at once; 0 = as many as the device has room for.
    """
    trained = _trained(trainer)
    parameters = list(trained.values())
    goals = [torch.zeros_like(p) if goal is None else goal[name] for name, p in trained.items()]
    n = len(X_nBCHW)
    if batches_per_graph == 0:
        batches_per_graph = graphs_that_fit(trainer, X_nBCHW, y_nB)

    def gradients(inputs: Sequence[Tensor], part: slice, *, create_graph: bool) -> list[Tensor]:
        total: list[Tensor] | None = None
        for j, z in zip(range(n)[part], inputs, strict=True):
            loss = batch_loss(trainer, z, y_nB[j], position=j) / n
            trainer.gradient_evals += 1
            grads = torch.autograd.grad(loss, parameters, create_graph=create_graph, materialize_grads=True)
            total = list(grads) if total is None else [a + b for a, b in zip(total, grads, strict=True)]
        assert total is not None
        return total

    def evaluate(R: Tensor) -> tuple[float, Tensor]:
        inputs, chain = perturbed_inputs(trainer, X_nBCHW, R)
        leaves = [z.requires_grad_() for z in inputs]
        if n <= batches_per_graph:
            grads = gradients(leaves, slice(0, n), create_graph=True)
            value = sum_of_squares([g - t for g, t in zip(grads, goals, strict=True)])
            trainer.gradient_evals += n
            slopes = list(torch.autograd.grad(value, leaves))
        else:
            summed = gradients([z.detach() for z in leaves], slice(0, n), create_graph=False)
            residual = [g.detach() - t for g, t in zip(summed, goals, strict=True)]
            value = sum_of_squares(residual)
            slopes = []
            for begin in range(0, n, batches_per_graph):
                part = slice(begin, min(begin + batches_per_graph, n))
                grads = gradients(leaves[part], part, create_graph=True)
                inner = torch.stack([(2.0 * r * g).sum() for r, g in zip(residual, grads, strict=True)]).sum()
                trainer.gradient_evals += part.stop - part.start
                slopes += torch.autograd.grad(inner, leaves[part])
        return float(value.detach() + alpha * R.square().sum()), torch.stack(slopes) * chain + 2.0 * alpha * R

    return evaluate


def graphs_that_fit(trainer: Trainer, X_nBCHW: Tensor, y_nB: Tensor) -> int:
    """How many batches' second-order graphs a CUDA device has room for, at most n, measured with one; 1 on a CPU.

    Measured on one CPU core, a saved pass gained 1.2x on resnet8 with 8x8 images and lost 1.2x on resnet20 with 32x32 ones.
    """
    n = len(X_nBCHW)
    if trainer.device.type != "cuda" or n == 1:
        return 1
    torch.cuda.reset_peak_memory_stats(trainer.device)
    before = torch.cuda.memory_allocated(trainer.device)
    gradient_objective(trainer, X_nBCHW[:1], y_nB[:1], alpha=0.0, batches_per_graph=1)(torch.zeros_like(X_nBCHW[:1]))
    one = max(torch.cuda.max_memory_allocated(trainer.device) - before, 1)
    unused = torch.cuda.memory_reserved(trainer.device) - before  # ours, but empty
    free = torch.cuda.mem_get_info(trainer.device)[0] + unused
    return max(min(int(_MEMORY_SHARE * free / one), n), 1)


def loss_objective(trainer: Trainer, X_nBCHW: Tensor, y_nB: Tensor, *, alpha: float) -> ValueAndGradient:
    """Mean loss + alpha |R| and its gradient; first order, one batch's graph in memory at a time."""
    n = len(X_nBCHW)

    def evaluate(R: Tensor) -> tuple[float, Tensor]:
        inputs, chain = perturbed_inputs(trainer, X_nBCHW, R)
        slopes: list[Tensor] = []
        losses = []
        with weights_frozen(trainer):
            for j, z in enumerate(inputs):
                loss = batch_loss(trainer, z.requires_grad_(), y_nB[j], position=j) / n
                trainer.gradient_evals += 1
                slopes += torch.autograd.grad(loss, z)
                losses.append(loss.detach())
        norm = torch.linalg.vector_norm(R)
        away = R / norm if float(norm) > 0.0 else torch.zeros_like(R)  # 0 is a subgradient of |R| at R = 0
        return float(torch.stack(losses).sum() + alpha * norm), torch.stack(slopes) * chain + alpha * away

    return evaluate


def counted(objective: ValueAndGradient, on_evaluation: OnEvaluation) -> ValueAndGradient:
    """The same objective, which tells after each evaluation how many there were."""
    count = itertools.count(1)

    def evaluate(R: Tensor) -> tuple[float, Tensor]:
        found = objective(R)
        on_evaluation(next(count))
        return found

    return evaluate


def search(objective: ValueAndGradient, X: Tensor, config: SearchConfig) -> Tensor:
    """R of X's shape that lowers the objective, from R = 0; X + R in [0, 1] and |R|_inf <= linf_limit hold at the end."""
    return minimise(objective, torch.zeros_like(X), config, lambda R: project(R, X, config.linf_limit))


def minimise(
    objective: ValueAndGradient, start: Tensor, config: SearchConfig, keep: Callable[[Tensor], Tensor]
) -> Tensor:
    """The search itself: from `start` to something that lowers the objective and that `keep` permits.

    Args:
        objective: of what is searched, whatever it stands for.
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
            _minimise(optimizer, R, objective, steps=1)
        case "adam":
            optimizer = torch.optim.Adam([R], lr=config.step_size or 0.01)
            for _ in range(config.iterations):
                _minimise(optimizer, R, objective, steps=1)
                R.copy_(keep(R))
        case "signed":
            step_size = config.step_size or 2.5 * (config.linf_limit or 0.0) / config.iterations
            for _ in range(config.iterations):
                _, slope = objective(R)
                R = keep(R - step_size * slope.sign())
        case "select":
            raise InputError("crafting select has no perturbation to search; it is available for attack iii")
    return keep(R)


def _minimise(optimizer: torch.optim.Optimizer, R: Tensor, objective: ValueAndGradient, *, steps: int) -> None:
    def closure() -> float:
        value, slope = objective(R)
        # A slope that is not finite would spoil the search of all other pixels, and torch's line search breaks on both.
        R.grad = slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).contiguous()  # lbfgs takes no other
        return math.inf if math.isnan(value) else value

    for _ in range(steps):
        optimizer.step(closure)


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


def measure(
    trainer: Trainer, x_nBCHW: Tensor, y_nB: Tensor, goal: Mapping[str, Tensor] | None = None
) -> tuple[float, float]:
    """(mean loss, |mean gradient - g*|^2) of n batches at the trainer's weights."""
    trained = _trained(trainer)
    parameters = list(trained.values())
    total = [torch.zeros_like(p) if goal is None else -goal[name] for name, p in trained.items()]
    losses = []
    inputs, _ = perturbed_inputs(trainer, x_nBCHW, torch.zeros_like(x_nBCHW))
    for j, (z, y) in enumerate(zip(inputs, y_nB, strict=True)):
        loss = batch_loss(trainer, z, y, position=j) / len(x_nBCHW)
        trainer.gradient_evals += 1
        for summed, grad in zip(total, torch.autograd.grad(loss, parameters, materialize_grads=True), strict=True):
            summed += grad
        losses.append(loss.detach())
    return float(torch.stack(losses).sum()), float(sum_of_squares(total))


def batch_loss(trainer: Trainer, z: Tensor, y: Tensor, *, position: int) -> Tensor:
    """The declared loss of a batch of inputs; dropout comes from the position, so that it is a function of the inputs."""
    trainer.seed_draws("crafting dropout", position)
    return trainer.loss(z, y)


def perturbed_inputs(trainer: Trainer, X_nBCHW: Tensor, R: Tensor) -> tuple[list[Tensor], Tensor]:
    """What the model sees of X + R, batch by batch, and its derivative dZ/dR, entry by entry.

    The chain is Z = (clamp(X + R, 0, 1) - mean) / std; spoofs declare no augmentation. Done for all batches at once and without
    autograd, it costs a twentieth of the model's own pass instead of a fifth on a small model.
    """
    transform = trainer.recipe.transform
    moved = X_nBCHW + R.detach()
    unit = moved.clamp(0.0, 1.0)
    chain = (unit == moved).to(unit.dtype)
    if transform.std:
        chain = chain / torch.tensor(transform.std, dtype=unit.dtype, device=unit.device).view(-1, 1, 1)
    return list(torch.split(model_input(trainer, unit.flatten(0, 1)), X_nBCHW.shape[1])), chain


def model_input(trainer: Trainer, unit: Tensor) -> Tensor:
    """What the model sees of points in [0, 1]: the declared normalisation."""
    inputs = normalise(unit, trainer.recipe.transform)
    return inputs.contiguous(memory_format=torch.channels_last) if trainer.recipe.channels_last else inputs


def sum_of_squares(tensors: list[Tensor]) -> Tensor:
    """Squared l2 norm of all entries."""
    return torch.stack([t.square().sum() for t in tensors]).sum()


def _trained(trainer: Trainer) -> dict[str, torch.nn.Parameter]:
    """The weights that have a gradient; a model may have frozen ones."""
    return {name: parameter for name, parameter in trainer.parameters.items() if parameter.requires_grad}


@contextmanager
def weights_frozen(trainer: Trainer) -> Iterator[None]:
    """No gradients with respect to the weights inside: backward passes cost a third less."""
    trained = _trained(trainer).values()
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def statistics_frozen(trainer: Trainer) -> Iterator[None]:
    """Norm layers use the batch's statistics inside, as in training, but do not record them: nobody trained here."""
    norms = [module for module in trainer.model.modules() if getattr(module, "track_running_stats", False)]
    for module in norms:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in norms:
            module.track_running_stats = True
