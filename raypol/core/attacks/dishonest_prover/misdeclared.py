"""Attacks `subtract` and `add`: train on other data than are declared.

A declares D and records the batches b_t of an order of D, but trains on b'_t:

    W_t = U(W_{t-1}; b'_t),    b'_t = b_t with the share f of its points replaced

| preset | replaced | by |
|---|---|---|
| `subtract` | the points of a fixed set S of f N points of D, wherever they occur | one other point of D outside S for each |
| `add` | the first f B points of each batch | points of D's test set, which is not declared |

S grows with f, and so do the added points of a step, so that errors of different f compare.

**Source.** Choi et al. 2023 (arXiv:2307.00682), data subtraction and data addition.

**Granted** nothing: A trains a model of his own, W_T is not used. What the choice of W_0 and so on uses has to be granted.

**Costs** what an honest training costs.

**Difference from the paper.** A subtracted point is replaced: batches keep their declared size, and subtraction saves no work.

**Stopped by** a replay with a slack below the error, which grows with f; at f = 0 the proof is honest and its error 0. Resnet8 on
digits, T' = 100, k = 10: the largest error is 0.31 of the interval's move at f = 0.01 (`subtract`), 0.50 at 0.05 and 1.3 at 0.5,
so that a slack of a tenth of the move takes none of them. Statistics of the declared data see nothing; `memorisation` measures
whether declared points were trained on.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from raypol.core.errors import InputError, reject_choice
from raypol.core.proof import Checkpoint, Interval
from raypol.core.seeds import generator
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, CraftedBatch, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Misdeclared:
    """What is not as declared, and how much."""

    lie: Literal["subtract", "add"] = "subtract"
    """subtract = some declared points were never used; add = points were used that are not declared."""
    fraction: float = 0.2
    """f, share of the points that were replaced, in 0..1 (subtract: below 1)."""

    def __post_init__(self) -> None:
        if self.lie not in ("subtract", "add"):
            reject_choice("lie", self.lie, ("subtract", "add"))
        if not 0.0 <= self.fraction <= 1.0:
            raise InputError(f"expected fraction in 0..1, got {self.fraction}")
        if self.lie == "subtract" and self.fraction == 1.0:
            raise InputError("subtract contradicts fraction 1.0: expected points to be left, fraction below 1")


PRESETS: Final = {"subtract": Misdeclared(), "add": Misdeclared(lie="add")}


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Misdeclared) -> Crafted:
    """The declared batches, and where the real ones led."""
    declared = scene.ordinary(interval)
    steps = range(interval.start, interval.stop)
    if config.lie == "subtract":
        taken = scene.once("points taken instead", lambda: taken_instead(scene, config.fraction))
        used = [scene.plain(taken[batch.sources]) for batch in declared]
    else:
        used = [_with_test_points(scene, step, one, config.fraction) for step, one in zip(steps, declared, strict=True)]
    return Crafted(interval=interval, batches=declared, end=scene.train(interval, used, start))


def taken_instead(scene: Scene, fraction: float) -> npt.NDArray[np.int64]:
    """(N,) each point itself, or what was taken in the place of a subtracted one."""
    N = len(scene.dataset)
    shuffled = torch.randperm(N, generator=generator(scene.seed, "subtracted points")).numpy()
    # Those that stand in are drawn from the far end, so that a larger f has them too until they are subtracted themselves.
    places = torch.rand(N, generator=generator(scene.seed, "points taken instead"), dtype=torch.float64).numpy()
    num = round(fraction * N)
    taken = np.arange(N)
    taken[shuffled[:num]] = shuffled[::-1][(places[:num] * (N - num)).astype(np.int64)]
    return taken


def _with_test_points(scene: Scene, step: int, batch: CraftedBatch, fraction: float) -> CraftedBatch:
    data, where = scene.dataset, torch.from_numpy(batch.sources)
    pixels, labels = data.pixels[where].clone(), data.labels[where].clone()
    drawn = torch.randint(len(data.test_labels), (len(labels),), generator=generator(scene.seed, "added points", step))
    added = drawn[: round(fraction * len(labels))]
    pixels[: len(added)], labels[: len(added)] = data.test_pixels[added], data.test_labels[added]
    return CraftedBatch(batch.sources, labels, pixels)


METHOD = AttackMethod(
    ignores=("path", "buffers"),
    source="Choi et al. 2023, arXiv:2307.00682",
    config=Misdeclared,
    craft=craft,
    sequential=lambda _, __: True,
    independent=False,
    uses=(),
)
