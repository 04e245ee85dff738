"""DLG, Deep Leakage from Gradients: the point behind a shared gradient (Zhu et al. 2019, arXiv:1906.08935, Algorithm 1).

Equation, for g = grad_W L(f_W(X), y) of one point, at W:
    min_{X', y'} |grad_W L(f_W(X'), softmax(y')) - g|^2,   from a random image X' and random label logits y'.
It is attack I's objective with an unknown label, a free image, and g* = g.

Threat model: A is a party of distributed training: it knows W, the architecture, the shape of X, and the gradient g that
another party shared; it sees neither X nor y.

Differences from the paper:
1. The objective is reported as a share of |g|^2, 1 meaning that nothing is explained, and searched as 1000 times
   its share of the start's: L-BFGS's tolerances are absolute, and where the label is known the start explains most of g already.
2. X' starts uniform in [0, 1] and is clamped to it at the end; the paper draws it from N(0, 1) and leaves it there.
3. Several restarts; kept is the X' with the smallest objective that any evaluation met, not the last one.
4. One point; the paper's batches of up to 8 points have no order in their gradient.
5. label = "inferred" reads y from the last layer's gradient and searches X' alone (iDLG, Zhao et al. 2020, arXiv:2001.02610).
6. The paper replaces ReLU by sigmoid and removes strides. Any model is taken here; ReLU nets leave a worse-shaped objective, and
   norm layers are frozen at recorded statistics unless statistics = "batch".
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raypol.core.errors import InputError, reject_choice
from raypol.core.relatives.points import check_points, check_weights
from raypol.core.seeds import check_seed, generator
from raypol.core.spoofing.objectives import (
    OnEvaluation,
    ValueAndGradient,
    model_input,
    recording_norms,
    reporting,
    statistics_frozen,
    sum_of_squares,
)
from raypol.core.spoofing.search import SearchConfig, minimise
from raypol.core.training.trainer import Trainer

Statistics = Literal["recorded", "batch"]

_SOLVED: Final = 1e-6
"""Share of the start's objective below which no restart follows: the rest is float32's rounding."""
_RANGE: Final = 1e3
"""What the search starts from: torch's L-BFGS ends when a step changes the value by less than 1e-9."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DLG(SearchConfig):
    """Recover X and y from a gradient."""

    crafting: Literal["lbfgs", "adam"] = "lbfgs"
    """lbfgs (published), or adam with step_size 0.1 or so."""
    iterations: int = 300
    """Iterations of the search, per restart."""
    tolerance_grad: float = 1e-12
    """lbfgs stops when the largest entry of the objective's gradient is below this."""
    linf_limit: None = None
    """Not available: X' has no point to stay close to."""
    label: Literal["joint", "inferred"] = "joint"
    """joint: searched together with X' (published); inferred: from the last layer's gradient (iDLG)."""
    statistics: Statistics = "recorded"
    """What norm layers use, for g and in the search: the recorded statistics, or those of the point itself."""
    restarts: int = 4
    """Random starts at most; no further one after an objective that fell to a millionth."""
    seed: int = 0
    """Of the random starts."""

    def __post_init__(self) -> None:
        SearchConfig.__post_init__(self)
        if self.crafting not in ("lbfgs", "adam"):
            reject_choice("crafting of DLG", self.crafting, ("lbfgs", "adam"))
        if self.linf_limit is not None:
            raise InputError(f"DLG has no point to stay close to: expected linf_limit None, got {self.linf_limit}")
        if self.label not in ("joint", "inferred"):
            reject_choice("label", self.label, ("joint", "inferred"))
        if self.statistics not in ("recorded", "batch"):
            reject_choice("statistics", self.statistics, ("recorded", "batch"))
        if self.restarts < 1:
            raise InputError(f"expected restarts >= 1, got {self.restarts}")
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recovered:
    """The point recovered from a gradient, on the CPU."""

    image: Tensor
    """(C, H, W) in [0, 1]."""
    label: int
    """The most probable class of softmax(y')."""
    objective: float
    """|grad' - g|^2 / |g|^2 at the result before clamping: 0 = the gradient is explained, 1 = nothing of it."""
    trace: tuple[float, ...]
    """The objective at each evaluation of the restart that was kept."""
    snapshots: tuple[tuple[int, Tensor], ...]
    """(evaluation, (C, H, W) in [0, 1]) of the restart that was kept, at 0, 1, 2, 5, 10, 20, 50, ... evaluations."""
    restarts: int
    """Random starts that were made."""


def shared_gradient(
    trainer: Trainer, X_1CHW: Tensor, y_1: Tensor, *, statistics: Statistics = "recorded"
) -> dict[str, Tensor]:
    """What a party shares: g by parameter name, the gradient of one point's declared loss at the trainer's weights.

    Raises:
        InputError: not one point of the model's kind, weights that are not finite, or a norm layer that one point has no
            statistics for.
    """
    check_points(trainer, X_1CHW, y_1)
    if len(X_1CHW) != 1:
        raise InputError(f"expected one point, got {len(X_1CHW)}")
    trained = {name: p for name, p in trainer.parameters.items() if p.requires_grad}
    with _using(trainer, statistics):
        loss = trainer.loss(model_input(trainer, X_1CHW), y_1)
        grads = torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)
    return dict(zip(trained, grads, strict=True))


def recover(
    trainer: Trainer,
    gradient: Mapping[str, Tensor],
    config: DLG,
    *,
    on_evaluation: OnEvaluation = lambda _: None,
) -> Recovered:
    """X and y of one point from its gradient at the trainer's weights.

    Args:
        trainer: holds W; its dataset gives no more than the shape of X and the number of classes.
        gradient: g by parameter name, as `shared_gradient` gives it.
        config: the search.
        on_evaluation: called with the number of evaluations after each, over all restarts.

    Raises:
        InputError: a gradient of another model, one that is not finite or zero; weights that are not finite; a label to be
            inferred from a model that does not end in a linear layer.
    """
    check_weights(trainer)
    trained = {name: p for name, p in trainer.parameters.items() if p.requires_grad}
    goals, scale = _checked(gradient, trained)
    shape, K = trainer.dataset.image_shape, trainer.dataset.num_classes
    num_pixels = math.prod(shape)
    known = infer_label(trainer, gradient) if config.label == "inferred" else None

    def split(v: Tensor) -> tuple[Tensor, Tensor]:
        """(1, C, H, W) pixels and (1, K) label probabilities of what is searched."""
        if known is None:
            return v[:num_pixels].view(1, *shape), v[num_pixels:].softmax(0)[None]
        return v.view(1, *shape), F.one_hot(torch.tensor([known], device=v.device), K).to(v.dtype)

    def mismatch(v: Tensor) -> tuple[float, Tensor]:
        leaf = v.detach().requires_grad_()
        X, y = split(leaf)
        loss = trainer.loss(model_input(trainer, X), y)
        grads = torch.autograd.grad(loss, list(trained.values()), create_graph=True, materialize_grads=True)
        value = sum_of_squares([grad - goal for grad, goal in zip(grads, goals, strict=True)]) / scale
        (slope,) = torch.autograd.grad(value, leaf)
        trainer.gradient_evals += 2
        return float(value.detach()), slope

    def keep(v: Tensor) -> Tensor:
        return torch.cat([v[:num_pixels].clamp(0.0, 1.0), v[num_pixels:]])

    objective = reporting(mismatch, on_evaluation)
    best: _Watched | None = None
    with _using(trainer, config.statistics), torch.random.fork_rng():
        for restart in range(config.restarts):
            rng = generator(config.seed, "dlg", restart)
            start = [torch.rand(num_pixels, generator=rng)]
            start += [torch.randn(K, generator=rng)] if known is None else []
            watched = _Watched(objective, num_pixels)
            minimise(watched, torch.cat(start).to(trainer.device, trainer.dtype), config, keep)
            if best is None or watched.lowest < best.lowest:
                best = watched
            if best.lowest < _SOLVED * best.trace[0]:
                break
        assert best is not None, "there is at least one restart"
        if best.found is None:
            raise InputError("the gradient's mismatch was never finite; expected weights at which gradients are finite")
        X, y = split(best.found)
    return Recovered(
        image=X[0].clamp(0.0, 1.0).cpu(),
        label=int(y.argmax()),
        objective=best.lowest,
        trace=tuple(best.trace),
        snapshots=tuple((at, pixels.view(shape).clamp(0.0, 1.0).cpu()) for at, pixels in best.snapshots),
        restarts=restart + 1,
    )


def infer_label(trainer: Trainer, gradient: Mapping[str, Tensor]) -> int:
    """The label of one point from g alone (iDLG): the last layer's dL/db = softmax - onehot is negative at the true class only.

    Without a bias the sums over the rows of its weight serve: they have that sign where its inputs are not negative (ReLU,
    sigmoid).

    Raises:
        InputError: the model does not end in a linear layer with an output per class.
    """
    layers = [(name, module) for name, module in trainer.model.named_modules() if isinstance(module, nn.Linear)]
    name, last = layers[-1] if layers else ("", None)
    prefix = f"{name}." if name else ""
    weight = gradient.get(f"{prefix}weight")
    if last is None or last.out_features != trainer.dataset.num_classes or weight is None:
        raise InputError(
            "label inferred needs a trained linear layer with an output per class at the end of the model; use label joint"
        )
    bias = gradient.get(f"{prefix}bias")
    return int((weight.sum(1) if bias is None else bias).argmin())


def psnr(truth: Tensor, other: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two images in [0, 1]: -10 log10 of their mean squared difference."""
    error = float((truth.double() - other.double()).square().mean())
    return -10.0 * math.log10(error) if error > 0.0 else math.inf


class _Watched:
    """An objective in thousandths of its first value; remembers its trace, its best point, and some images on the way."""

    def __init__(self, objective: ValueAndGradient, num_pixels: int) -> None:
        self._objective = objective
        self._num_pixels = num_pixels
        self.trace: list[float] = []
        self.snapshots: list[tuple[int, Tensor]] = []
        self.lowest = math.inf
        self.found: Tensor | None = None

    def __call__(self, v: Tensor) -> tuple[float, Tensor]:
        value, slope = self._objective(v)
        at = len(self.trace)
        if at == 0 or str(at).rstrip("0") in ("1", "2", "5"):
            self.snapshots.append((at, v[: self._num_pixels].detach().clone()))
        self.trace.append(value)
        if value < self.lowest:  # never so for NaN
            self.lowest, self.found = value, v.detach().clone()
        unit = self.trace[0] / _RANGE if 0.0 < self.trace[0] < math.inf else 1.0
        return value / unit, slope / unit


@contextmanager
def _using(trainer: Trainer, statistics: Statistics) -> Iterator[None]:
    """Evaluation mode; norm layers that keep statistics take those of the batch if asked, and do not record them."""
    norms = recording_norms(trainer)
    with statistics_frozen(trainer) if statistics == "batch" else nullcontext(), trainer.evaluating():
        for norm in norms if statistics == "batch" else []:
            norm.training = True
        try:
            yield
        except ValueError as err:
            if "more than 1 value per channel" not in str(err):
                raise
            raise InputError("one point has no batch statistics in this model; use statistics recorded") from err


def _checked(gradient: Mapping[str, Tensor], trained: Mapping[str, nn.Parameter]) -> tuple[list[Tensor], float]:
    """The entries of g in the order of the model's parameters, where they are, and |g|^2."""
    for name, parameter in trained.items():
        if name not in gradient or gradient[name].shape != parameter.shape:
            got = f"one of shape {tuple(gradient[name].shape)}" if name in gradient else "none"
            raise InputError(
                f"the gradient is another model's: expected one of shape {tuple(parameter.shape)} for {name}, got {got}"
            )
    surplus = [name for name in gradient if name not in trained]
    if surplus:
        raise InputError(f"the gradient is another model's: the model trains no {', '.join(surplus[:3])}")
    goals = [gradient[name].to(parameter) for name, parameter in trained.items()]
    scale = float(sum_of_squares(goals)) if goals else 0.0
    if not 0.0 < scale < math.inf:
        raise InputError(f"expected a finite gradient other than zero, got one with |g|^2 = {scale}")
    return goals, scale
