"""The objectives of crafting, as functions of a perturbation R of n batches of B points, at fixed weights W:

gradient:  | 1/n sum_j grad_W L(f_W(X_j + R_j), y_j) - g* |^2 + alpha |R|^2      second order; g* = 0 except in attack I
loss:        1/n sum_j L(f_W(X_j + R_j), y_j) + alpha |R|                        first order

The slope of |r|^2, r = 1/n sum_j grad_W L_j - g*, is a directional derivative of input gradients along r:
    d|r|^2 / dZ_j = 2/n d/de [ grad_Z L(f_{W + e r}(Z_j), y_j) ] at e = 0,
for which one more first-order pass at W + e r does what a double backward does at half the price, provided that all activations
keep the sides of zero that they are on (`raypol.core.spoofing.kinks`): that is what autograd's second derivatives do, too.

X + R is kept in [0, 1]. Batch statistics are those of each claimed batch, as in the verifier's replay, so the n batches go
through the model one by one; this also bounds the memory, whatever k is.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from raypol.core.augment import normalise, to_unit
from raypol.core.spoofing.kinks import Kinks
from raypol.core.training.trainer import Trainer

_MEMORY_SHARE: Final = 0.7
"""Share of the free memory for graphs: the search itself needs room too."""
_NOTES_BYTES: Final = 256 << 20
"""Memory for the sides of activations; batches beyond it are passed once more."""
_STEP: Final = 3e-5
"""Length of the step along the residual, as a share of |W|: rounding of the difference and curvature along it weigh the same."""
_BENDS: Final[WeakKeyDictionary[nn.Module, str]] = WeakKeyDictionary()
"""Models with a function of which it is not known where it has kinks, and its name."""
ValueAndGradient = Callable[[Tensor], tuple[float, Tensor]]
"""R (n, B, C, H, W) -> the objective's value and its gradient with respect to R."""
OnEvaluation = Callable[[int], None]
"""Called with the number of evaluations so far."""


def gradient_objective(
    trainer: Trainer,
    X_nBCHW: Tensor,
    y_nB: Tensor,
    *,
    alpha: float,
    goal: Mapping[str, Tensor] | None = None,
    batches_per_graph: int = 1,
) -> ValueAndGradient:
    """|mean gradient - g*|^2 + alpha |R|^2 and its gradient: by a difference where the model allows it, else by double backwards.

    Args:
        trainer: holds W; its model is in training mode.
        X_nBCHW: n batches of points in [0, 1].
        y_nB: labels.
        alpha: weight of |R|^2.
        goal: g* by parameter name; None = 0.
        batches_per_graph: of double backwards, see `double_backward_objective`.
    """
    double = double_backward_objective(
        trainer, X_nBCHW, y_nB, alpha=alpha, goal=goal, batches_per_graph=batches_per_graph
    )
    if trainer.precision != "float32":  # coarser arithmetic has no room for a difference, finer one no hurry
        return double
    difference = _difference_objective(trainer, X_nBCHW, y_nB, alpha=alpha, goal=goal)

    def evaluate(R: Tensor) -> tuple[float, Tensor]:
        found = None if _BENDS.get(trainer.model, "") else difference(R)
        return double(R) if found is None else found

    return evaluate


def _difference_objective(
    trainer: Trainer, X_nBCHW: Tensor, y_nB: Tensor, *, alpha: float, goal: Mapping[str, Tensor] | None
) -> Callable[[Tensor], tuple[float, Tensor] | None]:
    """The gradient objective by two first-order passes; None for a model of which it is not known whether they suffice."""
    trained = _trained(trainer)
    parameters: list[Tensor] = list(trained.values())
    goals = [torch.zeros_like(p) if goal is None else goal[name] for name, p in trained.items()]
    n = len(X_nBCHW)

    def noted(z: Tensor, j: int, wanted: list[Tensor]) -> tuple[Kinks, list[Tensor]]:
        kinks = Kinks()
        with kinks:
            loss = batch_loss(trainer, z, y_nB[j], position=j)
        trainer.gradient_evals += 1
        return kinks, list(torch.autograd.grad(loss, [*wanted, z], materialize_grads=True))

    def evaluate(R: Tensor) -> tuple[float, Tensor] | None:
        inputs, chain = perturbed_inputs(trainer, X_nBCHW, R)
        leaves = [z.requires_grad_() for z in inputs]
        total: list[Tensor] = []
        kept: dict[int, tuple[Kinks, Tensor]] = {}
        room = _NOTES_BYTES
        for j, z in enumerate(leaves):
            kinks, (*grads, slope) = noted(z, j, parameters)
            if kinks.unknown:
                _BENDS[trainer.model] = kinks.unknown
                return None
            total = [*grads] if not total else list(torch._foreach_add(total, grads))
            room -= kinks.nbytes
            if room >= 0:
                kept[j] = (kinks, slope)
        residual = [g / n - t for g, t in zip(total, goals, strict=True)]
        value = sum_of_squares(residual)
        length = value.sqrt()
        size = sum_of_squares([p.detach() for p in parameters]).sqrt()
        # No residual, no slope: then any step will do.
        step = torch.where(length > 0.0, _STEP * size / length, 1.0)
        slopes = []
        with weights_frozen(trainer):
            for j, z in enumerate(leaves):
                kinks, base = kept.pop(j) if j in kept else _again(noted(z, j, []))
                with _moved(parameters, residual, step):
                    with kinks.holding():
                        loss = batch_loss(trainer, z, y_nB[j], position=j)
                    (moved,) = torch.autograd.grad(loss, z)
                trainer.gradient_evals += 1
                slopes.append((moved - base) * (2.0 / (n * step)))
        return float(value + alpha * R.square().sum()), torch.stack(slopes) * chain + 2.0 * alpha * R

    return evaluate


def _again(found: tuple[Kinks, list[Tensor]]) -> tuple[Kinks, Tensor]:
    kinks, (slope,) = found
    return kinks, slope


@contextmanager
def _moved(parameters: list[Tensor], direction: list[Tensor], step: Tensor) -> Iterator[None]:
    """Inside, the weights are W + step * direction; afterwards they are W again, in every bit."""
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        torch._foreach_add_(parameters, [step * d for d in direction])
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, before)


def double_backward_objective(
    trainer: Trainer,
    X_nBCHW: Tensor,
    y_nB: Tensor,
    *,
    alpha: float,
    goal: Mapping[str, Tensor] | None = None,
    batches_per_graph: int = 1,
) -> ValueAndGradient:
    """The gradient objective by differentiating twice: for any model, and what `gradient_objective` is tested against.

    With n batches and fewer per graph, memory is bounded: a first pass sums the residual r = mean grad - g* without keeping
    graphs, a second differentiates <2 r, grad_j / n> batch by batch. The sum over batches is the same gradient.

    Args:
        trainer: as the others, see `gradient_objective`.
        X_nBCHW: points.
        y_nB: labels.
        alpha: weight of |R|^2.
        goal: g*.
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
    """Number of batches whose second-order graphs fit on a CUDA device, at most n, measured with one; 1 on a CPU.

    Measured on one CPU core, a saved pass gained 1.2x on resnet8 with 8x8 images and lost 1.2x on resnet20 with 32x32 ones.
    """
    n = len(X_nBCHW)
    if trainer.device.type != "cuda" or n == 1:
        return 1
    torch.cuda.reset_peak_memory_stats(trainer.device)
    before = torch.cuda.memory_allocated(trainer.device)
    double_backward_objective(trainer, X_nBCHW[:1], y_nB[:1], alpha=0.0)(torch.zeros_like(X_nBCHW[:1]))
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


def reporting(objective: ValueAndGradient, on_evaluation: OnEvaluation) -> ValueAndGradient:
    """The same objective, reporting the number of evaluations after each."""
    count = itertools.count(1)

    def evaluate(R: Tensor) -> tuple[float, Tensor]:
        found = objective(R)
        on_evaluation(next(count))
        return found

    return evaluate


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
    """The model's inputs Z for X + R, batch by batch, and their derivative dZ/dR, entry by entry.

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
    """The model's input for points in [0, 1]: the declared normalisation."""
    return normalise(unit, trainer.recipe.transform).contiguous(memory_format=trainer.memory_format)


def points_input(trainer: Trainer, where: Tensor) -> Tensor:
    """The model's input for points of the trainer's dataset, by index on its device, as they are."""
    return model_input(trainer, to_unit(trainer.dataset.pixels[where], trainer.dtype))


def sum_of_squares(tensors: list[Tensor]) -> Tensor:
    """Squared l2 norm of all entries."""
    return torch.stack([t.square().sum() for t in tensors]).sum()


def _trained(trainer: Trainer) -> dict[str, torch.nn.Parameter]:
    """The weights that have a gradient: some may be frozen."""
    return {name: parameter for name, parameter in trainer.parameters.items() if parameter.requires_grad}


@contextmanager
def weights_frozen(trainer: Trainer) -> Iterator[None]:
    """Inside, weights get no gradients: backward passes cost a third less."""
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
    """Inside, norm layers use the batch's statistics, as in training, but do not record them.

    Whatever else forward passes record (spectral norm's vectors, counters) is forgotten at the end.
    """
    norms: list[Any] = recording_norms(trainer)
    still = {id(buffer) for norm in norms for buffer in norm.buffers(recurse=False)}
    before = {name: buffer.clone() for name, buffer in trainer.buffers.items() if id(buffer) not in still}
    for module in norms:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in norms:
            module.track_running_stats = True
        with torch.no_grad():
            for name, buffer in before.items():
                trainer.buffers[name].copy_(buffer)


def recording_norms(trainer: Trainer) -> list[nn.Module]:
    """Norm layers that record statistics; one that the model keeps in evaluation mode does not."""
    return [m for m in trainer.model.modules() if getattr(m, "track_running_stats", False) and m.training]


@torch.no_grad()
def average_statistics(trainer: Trainer, batches: Iterable[Tensor]) -> None:
    """Replace the norm layers' statistics by plain averages over batches of inputs; one forward pass each is counted."""
    norms: list[Any] = recording_norms(trainer)
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain average
    for position, inputs in enumerate(batches):
        trainer.seed_draws("crafting dropout", position)
        trainer.logits(inputs)
        trainer.forward_passes += 1
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
