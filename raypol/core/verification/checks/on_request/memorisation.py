"""Check `memorisation`: each interval improves the model most on the points that it claims to have trained on.

Choi et al. 2023 (arXiv:2307.00682), section 4.2. With the mean loss on held-out points, M(d, W) = mean L(d_v, W) - L(d, W) says
how well W remembers d, and Delta_i = M(d, W_i) - M(d, W_{i-1}) what interval i added to it. Here: the AUC of Delta_i of points of
the interval against that of held-out ones, one half where points do not matter; its mean over intervals, and z, by how many
standard errors that is above one half.

Differences from the paper:

1. Held-out points are the training points that the interval does not use: the interval's are a random choice of the same points,
   so a forgery that did not look at them has one half in expectation. (Against test points, one `null` had z = -3.5.)
2. Only intervals of the first half of training count. Under lower rates honest AUCs fall below one half, to 0.48 in the end.
3. The AUC in place of a quantile: the mean loss of held-out points cancels in it.

What it establishes is little: the paper's setting is one epoch of a language model, and many epochs of few points leave all of
them remembered. One interval shows nothing. z of all intervals of the first half, digits, resnet8, k = 10, B = 64, 1-pixel crops,
seeds 0 to 3: T = 1000 honest 3.4, 6.1, 4.7, 6.2, `null` -0.3, 0.0, -0.5, -0.1; T = 400 honest 1.6, 4.1, 2.9, 3.6, `null` 0.4,
0.2, 0.0, -0.1. Spoofs that really train between nudges towards W_T had 6.3 and 4.5. So it is a number to report, and rejects
only where `least` asks for a z. Cost: 0.34 of replaying all intervals (T = 1000, CPU).
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from raypol.core.augment import normalise, to_unit
from raypol.core.distances import Distances
from raypol.core.proof import Checkpoint, ProofSource
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import gather
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence
from raypol.core.verification.wishes import Wish, evenly

EARLY_INTERVALS: Final = 50
"""Of the first half of training, at most."""
_MOST_POINTS: Final = 1000
"""Of an interval, and held out."""
_BATCH: Final = 250


@dataclass(frozen=True, slots=True)
class Memorised:
    """One interval."""

    auc: float
    """Share of pairs of its points and held-out ones in which Delta is larger for the former; a tie is half a pair."""
    error: float
    """Standard error of that for two random choices of the same points."""


def measure_memorisation(
    source: ProofSource, trainer: Trainer, positions: range, *, intervals: int
) -> tuple[Memorised, ...]:
    """Measure intervals that lie evenly in the first half of training."""
    recipe, dataset, found = source.recipe, trainer.dataset, []
    chosen = evenly(intervals, max(recipe.num_intervals // 2, 1))
    for position in (position for position in positions if position - 1 in chosen):
        interval = recipe.interval_at(position - 1)
        used = np.unique(np.concatenate([r.indices for r in source.batches(interval.start, interval.stop)]))
        others = np.setdiff1d(np.arange(len(dataset)), used)
        ends = source.checkpoint(position - 1), source.checkpoint(position)
        groups = (_spread(used), _spread(others))
        if all(map(len, groups)):  # an interval as long as an epoch leaves no point out
            own, held = (np.subtract(*(_losses(source, trainer, end, group) for end in ends)) for group in groups)
            found.append(auc_of(own, held))
    return tuple(found)


def _spread(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """At most so many of them, from first to last."""
    return indices[:: max(-(-len(indices) // _MOST_POINTS), 1)]


@torch.no_grad()
def _losses(
    source: ProofSource, trainer: Trainer, checkpoint: Checkpoint, indices: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Of each point, without augmentation, with recorded norm statistics."""
    trainer.load(checkpoint)
    found: list[Tensor] = []
    with trainer.evaluating():
        for start in range(0, len(indices), _BATCH):
            pixels, labels = gather(source, trainer.dataset, indices[start : start + _BATCH], dtype=trainer.dtype)
            inputs = normalise(to_unit(pixels, trainer.dtype), trainer.recipe.transform)
            logits = trainer.logits(inputs.contiguous(memory_format=trainer.memory_format))
            found.append(F.cross_entropy(logits, labels, reduction="none"))
    losses: npt.NDArray[np.float64] = torch.cat(found).double().cpu().numpy()
    return losses


def auc_of(own: npt.NDArray[np.float64], held: npt.NDArray[np.float64]) -> Memorised:
    """AUC of Delta, (m,) of points of the interval against (n,) of held-out ones; NaN is the smallest."""
    from scipy import stats

    m, n = len(own), len(held)
    ranks = stats.rankdata(np.nan_to_num(np.concatenate([own, held]), nan=-np.inf))
    auc = (float(ranks[:m].sum()) - m * (m + 1) / 2) / (m * n)
    return Memorised(auc, math.sqrt((m + n + 1) / (12 * m * n)))


def check_memorisation(
    evidence: Evidence,
    _: Thresholds,
    __: Distances | None,
    *,
    least: float | None = None,
    intervals: int = EARLY_INTERVALS,
) -> Check:
    """Report the pooled AUC; check that it is `least` standard errors above one half, if that is given."""
    found: tuple[Any, ...] | None = evidence.survey.findings(Wish.of(measure_memorisation, intervals=intervals))
    if not found:
        why = (
            "what the points of intervals gained was not measured"
            if found is None
            else "no interval leaves a point out"
        )
        return Check(name="memorisation", passed=least is None and found is not None, detail=why)
    auc, error = fmean(one.auc for one in found), math.hypot(*(one.error for one in found)) / len(found)
    z = (auc - 0.5) / error
    wanted = "which alone says little" if least is None else f"expected >= {least:g}"
    detail = f"AUC {auc:.4f} +- {error:.4f} over {len(found)} intervals, z = {z:.1f}, {wanted}"
    numbers = {"auc": auc, "error": error, "z": z}
    return Check(name="memorisation", passed=least is None or z >= least, detail=detail, numbers=numbers)


CHECKS: Final = {"memorisation": check_memorisation}
GATHER: Final = {"memorisation": measure_memorisation}
