"""Searching for points: batches whose perturbation is accepted, and an interval's batches in groups."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from raypol.core.augment import to_unit
from raypol.core.proof import Interval
from raypol.core.spoofing.objectives import ValueAndGradient, measure, statistics_frozen
from raypol.core.spoofing.scene import Crafted, CraftedBatch, Scene
from raypol.core.spoofing.search import CraftingConfig, CraftStats, search, store


def craft_until_accepted(
    scene: Scene,
    steps: Sequence[int],
    config: CraftingConfig,
    objective: Callable[[Tensor, Tensor], ValueAndGradient],
    goal: Mapping[str, Tensor] | None = None,
) -> tuple[list[CraftedBatch], CraftStats]:
    """Search R for the batches of `steps` together, at the weights the trainer holds; retry with fresh batches.

    Zhang et al. 2022 (arXiv:2108.09454): a try is accepted if |grad|^2 and |R|^2 are below their limits, else fresh batches are
    drawn, at most `retries` times. The last try is returned even if not accepted.

    Args:
        scene: the trainer holds the weights at which R is searched.
        steps: the claimed steps whose batches are searched together (one for attacks I and II, k for III).
        config: search and limits.
        objective: from (n, B, C, H, W) points and (n, B) labels to what is minimised.
        goal: g* that the accepted gradient is compared with; None = 0.
    """
    trainer = scene.trainer
    for attempt in range(config.retries + 1):
        drawn = [scene.batch(step, attempt) for step in steps]
        X_nBCHW, y_nB = torch.stack([X for _, X, _ in drawn]), torch.stack([y for _, _, y in drawn])
        with statistics_frozen(trainer):
            with scene.off_the_clock():
                loss_before, norm2_before = measure(trainer, X_nBCHW, y_nB, goal)
            R = search(objective(X_nBCHW, y_nB), X_nBCHW, config)
            stored = store(X_nBCHW, R, config)
            unit = to_unit(stored, trainer.dtype)
            # An adversary that sets no limit on the gradient need not measure it: that is at the experimenter's cost.
            with nullcontext() if math.isfinite(config.max_grad_norm2) else scene.off_the_clock():
                loss_after, norm2_after = measure(trainer, unit, y_nB, goal)
        R = unit - X_nBCHW
        norm2 = float(R.square().sum())
        # `not below` rather than `above`: a NaN is not accepted.
        accepted = norm2_after < config.max_grad_norm2 and norm2 < config.max_perturbation_norm2
        if accepted:
            break
    stats = CraftStats(
        loss_before=loss_before,
        loss_after=loss_after,
        grad_norm2_before=norm2_before,
        grad_norm2_after=norm2_after,
        perturbation_norm2=norm2,
        perturbation_linf=float(R.abs().max()),
        retries=attempt,
        accepted=accepted,
    )
    batches = [CraftedBatch(d[0], y.cpu(), pixels.cpu()) for d, y, pixels in zip(drawn, y_nB, stored, strict=True)]
    return batches, stats


def craft_in_groups(
    scene: Scene,
    interval: Interval,
    config: CraftingConfig,
    objective: Callable[[Tensor, Tensor], ValueAndGradient],
    *,
    size: int,
) -> Crafted:
    """Search R for each `size` steps of an interval together, at the weights the trainer holds; see `craft_until_accepted`."""
    steps = range(interval.start, interval.stop)
    made = [craft_until_accepted(scene, steps[i : i + size], config, objective) for i in range(0, len(steps), size)]
    batches = [batch for batches, _ in made for batch in batches]
    return Crafted(interval=interval, batches=batches, stats=tuple(stats for _, stats in made))
