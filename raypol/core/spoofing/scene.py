"""What an adversary holds while crafting, and what comes of it: batches, and where they are claimed to lead."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.augment import to_unit
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.order import DataOrder
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Cost, Interval, ProofSource, Recipe
from raypol.core.seeds import derive_seed
from raypol.core.spoofing.search import CraftStats
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import WeightPath
from raypol.core.training.trainer import Trainer

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class CraftedBatch:
    """One claimed step's data, on the CPU."""

    sources: npt.NDArray[np.int64]
    """(B,) the dataset's points that were taken."""
    labels: Tensor
    """(B,) int64."""
    pixels: Tensor | None
    """(B, C, H, W) uint8 or float32 as they will be stored; None = the sources as they are."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Crafted:
    """Data that an attack crafted for one interval."""

    interval: Interval
    batches: Sequence[CraftedBatch]
    stats: tuple[CraftStats, ...] = ()
    start_state: Mapping[str, Tensor] | None = None
    """A forged optimizer state to record at the interval's start; None = as `SpoofConfig.carry` says."""
    end: Checkpoint | None = None
    """What is recorded at the interval's end, with the state that training leaves there; None = the trajectory's weights. Such
    intervals are crafted in order, while sealing."""
    cost: Cost = field(default_factory=Cost)


@dataclass(slots=True, eq=False)
class Scene:
    """What A holds while crafting: A's data, the declared recipe, the trajectory, and a trainer to compute with."""

    recipe: Recipe
    dataset: Dataset
    trajectory: WeightPath
    trainer: Trainer
    choices: SpoofConfig
    trace: ProofSource | None = None
    """The honest proof, if it was granted."""
    hashes: int = 0
    """Digests computed so far in search of one that suits A."""
    _made: dict[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Root of A's own draws."""
        return self.choices.seed

    def off_the_clock(self) -> AbstractContextManager[None]:
        """Inside, time and gradient evaluations are the experimenter's: they are no part of the adversary's cost."""
        return self.trainer.off_the_clock()

    def once(self, what: str, make: Callable[[], _T]) -> _T:
        """What all intervals share: made when it is first asked for, at the cost of the interval that asks."""
        if what not in self._made:
            self._made[what] = make()
        found: _T = self._made[what]
        return found

    def sources(self, step: int, attempt: int = 0) -> npt.NDArray[np.int64]:
        """(B,) the points that A takes for a step; another attempt draws others, unless the declared seed decides.

        Attempt 0 is the same for every attack under one seed, so that attack and control differ in R alone.
        """
        if attempt == 0 or self.choices.data_order == "declared":
            return self.once("order", lambda: self._order(0))(step)
        return self._order(attempt)(step)

    def _order(self, attempt: int) -> DataOrder:
        if self.choices.data_order == "declared":
            seed = derive_seed(self.recipe.seed, "data order")
        else:
            seed = derive_seed(self.seed, "spoof batches", attempt)
        return DataOrder(len(self.dataset), self.recipe.batch_size, seed)

    def batch(self, step: int, attempt: int = 0) -> tuple[npt.NDArray[np.int64], Tensor, Tensor]:
        """The batch that A takes for a step: (B,) sources, (B, C, H, W) pixels in [0, 1], (B,) labels."""
        sources = self.sources(step, attempt)
        where = torch.from_numpy(sources).to(self.trainer.device)
        data = self.trainer.dataset
        return sources, to_unit(data.pixels[where], self.trainer.dtype), data.labels[where]

    def ordinary(self, interval: Interval) -> list[CraftedBatch]:
        """The interval's batches as they are, unperturbed."""
        return [self.plain(self.sources(step)) for step in range(interval.start, interval.stop)]

    def plain(self, sources: npt.NDArray[np.int64]) -> CraftedBatch:
        """A batch of these points as they are."""
        where = torch.from_numpy(sources).to(self.dataset.labels.device)
        return CraftedBatch(sources, self.dataset.labels[where].cpu(), None)

    def train(self, interval: Interval, batches: Sequence[CraftedBatch], start: Checkpoint) -> Checkpoint:
        """Where the declared updates on these batches lead from the recorded start, as an exact replay will find."""
        self.trainer.load(start)
        for step, batch in zip(range(interval.start, interval.stop), batches, strict=True):
            self.trainer.step(step, *self.stored(batch))
        return self.trainer.snapshot(interval.stop)

    def follow(self, interval: Interval, start: Checkpoint) -> Crafted:
        """The interval's ordinary batches and where they lead: honest training."""
        batches = self.ordinary(interval)
        return Crafted(interval=interval, batches=batches, end=self.train(interval, batches, start))

    def statistics(
        self, interval: Interval, batches: Sequence[CraftedBatch], start: Checkpoint, end: Checkpoint
    ) -> Mapping[str, Tensor]:
        """The buffers that these batches leave behind on the straight way from start to end; a replay's way is its own."""
        self.trainer.load(start)
        for done, batch in enumerate(batches):
            with torch.no_grad():
                for name, parameter in self.trainer.parameters.items():
                    parameter.copy_(torch.lerp(start.parameters[name], end.parameters[name], done / len(batches)))
            self.trainer.record_statistics(interval.start + done, self.stored(batch)[0])
        return self.trainer.snapshot(interval.stop).buffers

    def stored(self, batch: CraftedBatch) -> tuple[Tensor, Tensor]:
        """Pixels and labels of a batch as they are recorded, on the trainer's device."""
        device = self.trainer.device
        if batch.pixels is not None:
            return batch.pixels.to(device), batch.labels.to(device)
        data, where = self.trainer.dataset, torch.from_numpy(batch.sources).to(device)
        return data.pixels[where], data.labels[where]

    def needed_trace(self) -> ProofSource:
        """The honest proof.

        Raises:
            InputError: it was not granted.
        """
        if self.trace is None:
            raise InputError("this attack needs the honest proof: grant it (trace)")
        return self.trace
