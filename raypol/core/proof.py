"""P = (W, I, H, A): the typed records of a proof, the same for an honest proof and a spoof (docs/protocol.md).

W: `Checkpoint`, every k steps. I and H: `BatchRecord`, every step. A: `Recipe`, everything else that a replay needs.
Indices 0..N-1 mean points of the public dataset, indices from N on mean the proof's own points (`Points`).
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core import hashing
from raypol.core.arithmetic.precision import PRECISIONS, Precision
from raypol.core.augment import Transform
from raypol.core.errors import InputError, reject_choice
from raypol.core.seeds import check_seed

Scalar = bool | int | float | str

MAX_STEPS: Final = 100_000_000
MAX_BATCH: Final = 1_000_000
_MAX_SHARE: Final = 128
_LATER_FIELDS: Final[Mapping[str, object]] = {"given": {}, "shares": ()}
"""Fields that recipes of older proofs lack, with what their absence means."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One checkpoint interval: from W_start, steps start, ..., stop - 1 lead to W_stop."""

    index: int
    start: int
    stop: int

    @property
    def num_steps(self) -> int:
        """k, or less in the last interval."""
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """The declared update rule: any optimizer of torch.optim that needs no closure."""

    name: str = "SGD"
    """Class name in torch.optim."""
    options: Mapping[str, Scalar] = field(
        default_factory=lambda: {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}  # the paper's, with a lr for digits
    )
    """Keyword arguments of its constructor."""

    @property
    def lr(self) -> float:
        """The initial learning rate.

        Raises:
            InputError: the options name none, or not a finite number >= 0.
        """
        lr = self.options.get("lr")
        if isinstance(lr, bool) or not isinstance(lr, int | float) or not 0.0 <= lr <= sys.float_info.max:
            raise InputError(f"optimizer {self.name}: expected an option lr, a finite number >= 0, got {lr!r}")
        return float(lr)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """The declared learning-rate schedule: `constant` or any scheduler of torch.optim.lr_scheduler that needs no metric."""

    name: str = "constant"
    """`constant`, or the class name in torch.optim.lr_scheduler."""
    options: Mapping[str, Scalar | Sequence[int]] = field(default_factory=dict)
    """Keyword arguments of its constructor, in steps."""
    base_steps: int = 0
    """0, or the number of steps of the run whose schedule is stretched (or squeezed) to this one's length."""

    def __post_init__(self) -> None:
        if not 0 <= self.base_steps <= MAX_STEPS:
            raise InputError(f"expected base_steps in 0..{MAX_STEPS}, got {self.base_steps}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A: everything that a replay needs besides the recorded weights, states and indices. A proof carries its own."""

    dataset: str
    """Name of the public dataset."""
    dataset_sha256: str
    """Digest of its training points, hex."""
    model: str
    """Built-in name or import path."""
    steps: int
    """T (or T'), the number of updates claimed."""
    interval: int
    """k, steps between checkpoints; the last interval may be shorter."""
    batch_size: int
    """B, points per update."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The update rule."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """The learning rate over steps."""
    loss: Literal["cross_entropy"] = "cross_entropy"
    """Mean over the batch."""
    transform: Transform = field(default_factory=Transform)
    """From stored pixels to the model's input."""
    seed: int = 0
    """Root of the seeds of initial weights, data order, augmentation and dropout."""
    precision: Precision = "float32"
    """Of the arithmetic, and by it of the weights: see `raypol.core.arithmetic.precision`."""
    channels_last: bool = True
    """Memory format of images and convolutions, as it was decided before training; it changes rounding, and some models compute
    in one of both alone, so it belongs to the conditions of training."""
    device: str = "cpu"
    """Kind of device trained on: cpu or cuda. Informative: a verifier uses what it has."""
    threads: int = 1
    """CPU threads trained with; it changes rounding. Informative, as above."""
    given: Mapping[str, str] = field(default_factory=dict)
    """SHA-256, hex, of every tensor of W_0 that the model's constructor gives (initial law `Given`), by name."""
    shares: tuple[str, ...] = ()
    """What the seed is the hash of, if the verifier had a share in it: the prover's own seed, and the verifier's share, hex."""

    def __post_init__(self) -> None:
        if not self.interval >= 1:
            raise InputError(f"expected interval (k) >= 1 step, got {self.interval}")
        if not self.interval <= self.steps <= MAX_STEPS:
            raise InputError(
                f"expected steps (T or T') between the interval k = {self.interval} and {MAX_STEPS}, got {self.steps}"
            )
        if not 1 <= self.batch_size <= MAX_BATCH:
            raise InputError(f"expected batch_size in 1..{MAX_BATCH}, got {self.batch_size}")
        check_seed(self.seed)
        if self.loss != "cross_entropy":
            reject_choice("loss", self.loss, ("cross_entropy",))
        if self.precision not in PRECISIONS:
            reject_choice("precision", self.precision, PRECISIONS)
        if self.shares and (len(self.shares) != 2 or any(len(share) > _MAX_SHARE for share in self.shares)):
            raise InputError(f"expected two shares of a bound seed, at most {_MAX_SHARE} characters each")

    @property
    def num_intervals(self) -> int:
        """ceil(T / k)."""
        return -(-self.steps // self.interval)

    def interval_at(self, index: int) -> Interval:
        """The interval with this index."""
        start = index * self.interval
        return Interval(index, start, min(start + self.interval, self.steps))

    def intervals(self) -> list[Interval]:
        """All intervals, in order."""
        return [self.interval_at(i) for i in range(self.num_intervals)]

    def checkpoint_steps(self) -> list[int]:
        """0, k, 2k, ..., T."""
        return [*range(0, self.steps, self.interval), self.steps]

    def canonical(self) -> bytes:
        """One byte string per recipe, for hashing: JSON with sorted keys; an older recipe has the bytes that it always had."""
        content = {n: v for n, v in asdict(self).items() if n not in _LATER_FIELDS or v != _LATER_FIELDS[n]}
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """W at one step, on the CPU: weights, norm-layer buffers and the optimizer's state."""

    step: int
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    optimizer_state: Mapping[str, Tensor]
    """By "parameter name/state key"; empty at step 0 of an honest proof."""
    claimed_digests: Mapping[str, bytes] | None = None
    """The tensors' digests as recorded in the file; None if it was not read from a file."""

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by qualified name: parameter/..., buffer/..., optimizer/..."""
        groups = {"parameter": self.parameters, "buffer": self.buffers, "optimizer": self.optimizer_state}
        return {f"{kind}/{name}": tensor for kind, group in groups.items() for name, tensor in group.items()}

    def tensor_digests(self) -> dict[str, bytes]:
        """SHA-256 of each tensor by qualified name, computed from its bytes."""
        return hashing.tensor_digests(self.tensors())


class BatchRecord(NamedTuple):
    """I and H of one step."""

    step: int
    indices: npt.NDArray[np.int64]
    """(B,)"""
    sha256: bytes
    """`hashing.step_digest` of the step."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Points:
    """Data points of a spoof that differ from the public dataset, each once."""

    pixels: Tensor
    """(n, C, H, W), uint8 or float32 in [0, 1]."""
    labels: Tensor
    """(n,) int64."""
    sources: Tensor
    """(n,) int64: the dataset's point that each was made from. For experimenters; no check relies on it."""

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: npt.NDArray[np.int64]) -> "Points":
        """The points in these rows."""
        return Points(pixels=self.pixels[rows], labels=self.labels[rows], sources=self.sources[rows])

    @classmethod
    def empty(cls, image_shape: tuple[int, int, int]) -> "Points":
        """No points."""
        none = torch.empty(0, dtype=torch.int64)
        return cls(pixels=torch.empty((0, *image_shape), dtype=torch.uint8), labels=none, sources=none)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Cost of generating a proof or a spoof, on the same clock. Start-up and data loading are not included."""

    device_s: float = 0.0
    """Seconds on the device, synchronised, summed over actors."""
    wall_s: float = 0.0
    """Seconds from start to end; less than device_s when actors work in parallel."""
    gradient_evals: int = 0
    """Times a batch's loss (or its gradient's norm) was differentiated."""
    forward_passes: int = 0
    """Times a batch went through the model and nothing was differentiated."""
    hashes: int = 0
    """Digests computed in search of one that suits the adversary."""
    writing_s: float = 0.0
    """Seconds of `wall_s` in which the maker waited for the proof to be written."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


class ProofSink(Protocol):
    """Destination of a proof while it is made: a folder of Parquet files, or memory."""

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Record W at one step; steps come in order."""

    def write_batches(self, records: Sequence[BatchRecord]) -> None:
        """Record I and H of the next steps."""

    def add_points(self, points: Points) -> npt.NDArray[np.int64]:
        """Record points that are not in the dataset, each distinct one once; returns their indices, N + position."""


class ProofSource(Protocol):
    """What a verifier reads; every part may be forged, none is trusted."""

    @property
    def recipe(self) -> Recipe:
        """A."""

    @property
    def root(self) -> str:
        """The recorded root hash, hex."""

    @property
    def machine(self) -> str:
        """Class of the machine that it says it was made on (`machine_class`); empty if it says nothing."""

    @property
    def checkpoint_steps(self) -> Sequence[int]:
        """The steps at which weights are recorded, in recorded order."""

    @property
    def num_points(self) -> int:
        """Number of own points."""

    def checkpoint(self, position: int) -> Checkpoint:
        """The checkpoint at this position in `checkpoint_steps`."""

    def batches(self, start: int, stop: int) -> list[BatchRecord]:
        """The records at positions start, ..., stop - 1."""

    def points(self, indices: npt.NDArray[np.int64]) -> Points:
        """Own points by position (0 = the first own point)."""


def final_checkpoint(proof: ProofSource) -> Checkpoint:
    """W_T of a proof.

    Raises:
        InputError: the proof records no weights at its last step.
    """
    recorded = proof.checkpoint_steps
    if not recorded or recorded[-1] != proof.recipe.steps:
        raise InputError(
            f"expected weights at the last step, {proof.recipe.steps}; "
            f"the last recorded are of {f'step {recorded[-1]}' if recorded else 'no step'}"
        )
    return proof.checkpoint(len(recorded) - 1)


class MemoryProof:
    """A proof in memory: sink while it is made, source when it is verified."""

    def __init__(self, recipe: Recipe, num_dataset_points: int) -> None:
        self.recipe = recipe
        self.root = ""
        self.machine = ""
        self.cost = Cost()
        self.checkpoints: list[Checkpoint] = []
        self.records: list[BatchRecord] = []
        self.own_points = PointIndex(num_dataset_points)
        self._points: list[Points] = []

    @property
    def checkpoint_steps(self) -> list[int]:
        """The steps recorded."""
        return [checkpoint.step for checkpoint in self.checkpoints]

    @property
    def num_points(self) -> int:
        """Number of own points."""
        return len(self.own_points)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """See ProofSink."""
        self.checkpoints.append(checkpoint)

    def write_batches(self, records: Sequence[BatchRecord]) -> None:
        """See ProofSink."""
        self.records.extend(records)

    def add_points(self, points: Points) -> npt.NDArray[np.int64]:
        """See ProofSink."""
        kind, first = _kind(points), _kind(self._points[0]) if self._points else _kind(points)
        if kind != first:
            raise InputError(f"expected own points like the first ones, pixels {first}, got {kind}")
        indices, fresh = self.own_points.add(hashing.point_digests(points.pixels, points.labels))
        if len(fresh):
            self._points.append(points.at(fresh))
        return indices

    def checkpoint(self, position: int) -> Checkpoint:
        """See ProofSource."""
        return self.checkpoints[position]

    def batches(self, start: int, stop: int) -> list[BatchRecord]:
        """See ProofSource."""
        return self.records[start:stop]

    def points(self, indices: npt.NDArray[np.int64]) -> Points:
        """See ProofSource."""
        return self.all_points().at(indices)

    def all_points(self) -> Points:
        """All own points in order."""
        pixels, labels, sources = ([getattr(p, name) for p in self._points] for name in ("pixels", "labels", "sources"))
        return Points(pixels=torch.cat(pixels), labels=torch.cat(labels), sources=torch.cat(sources))

    def seal(self) -> str:
        """Compute and record the root."""
        seal = hashing.Seal()
        for record in self.records:
            seal.add_step(record.sha256)
        for checkpoint in self.checkpoints:
            seal.add_checkpoint(hashing.checkpoint_digest(checkpoint.step, checkpoint.tensor_digests()))
        self.root = seal.root(self.recipe.canonical())
        return self.root


def _kind(points: Points) -> tuple[torch.dtype, tuple[int, ...]]:
    return points.pixels.dtype, tuple(points.pixels.shape[1:])


class PointIndex:
    """The index of each distinct point, N + position: a point used twice is stored once."""

    def __init__(self, num_dataset_points: int) -> None:
        self._first = num_dataset_points
        self._seen: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, digests: hashing.Digests) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Indices of the points with these digests, and the positions among them that were not seen before."""
        indices = np.empty(len(digests), dtype=np.int64)
        fresh = []
        for i, row in enumerate(digests):
            key = row.tobytes()
            if key not in self._seen:
                self._seen[key] = self._first + len(self._seen)
                fresh.append(i)
            indices[i] = self._seen[key]
        return indices, np.asarray(fresh, dtype=np.int64)
