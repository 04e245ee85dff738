"""Format of a proof on disk (docs/protocol.md, Formats): a folder that can be copied elsewhere and verified there.

<proof_id>/manifest.json            A, the root, the list of files; read first
/weights/step=<t>.parquet one row per tensor
/batches.parquet          one row per step
/points.parquet           the proof's own data points, each once (spoofs)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa
import torch

from raypol.core.proof import Cost, Points, Recipe
from raypol.store.json_files import strict_form

FORMAT: Final = "raypol-proof"
FORMAT_VERSION: Final = 1
MACHINE: Final = "machine_class"
"""Entry of a manifest's environment: `machine_class` of the worker that made the proof."""

TENSOR_DTYPES: Final[dict[str, torch.dtype]] = {
    name: getattr(torch, name)
    for name in (
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool"),
        *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    )
}
DTYPE_NAMES: Final = {dtype: name for name, dtype in TENSOR_DTYPES.items()}

WEIGHTS: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("name", pa.string()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("data", pa.large_binary()),
        ("sha256", pa.binary(32)),
    ]
)
BATCHES: Final = pa.schema([("step", pa.int64()), ("indices", pa.list_(pa.int64())), ("sha256", pa.binary(32))])
GROUP_BYTES: Final = 64 << 20
"""Limit of a row group in memory, in bytes: it has fewer rows than usual if need be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointsFormat:
    """Layout of the proof's own points."""

    count: int = 0
    dtype: Literal["uint8", "float32"] = "uint8"
    shape: tuple[int, ...] = ()
    """(C, H, W)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Bytes of each part, without the manifest. Weights and optimizer state share files and are counted as raw bytes."""

    weights: int = 0
    optimizer_state: int = 0
    indices_and_hashes: int = 0
    points: int = 0
    overhead: int = 0
    """Of Parquet itself in the weight files."""

    @property
    def total(self) -> int:
        """Bytes of all Parquet files."""
        return self.weights + self.optimizer_state + self.indices_and_hashes + self.points + self.overhead


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The prover's claims about a proof; a verifier reads it first."""

    format: Literal["raypol-proof"]
    version: Literal[1]
    recipe: Recipe
    root: str
    checkpoint_steps: tuple[int, ...]
    points: PointsFormat
    files: dict[str, int]
    """Size in bytes of every other file, by path."""
    sizes: Sizes
    generation: Cost
    environment: dict[str, str] = field(default_factory=dict)
    """Software and hardware on which the proof was made."""
    asserted: tuple[str, ...] = ()
    """Parts of the recipe that the proof's original layout does not record, asserted at its import."""
    taken_up_at: tuple[int, ...] = ()
    """Steps at which the prover resumed after an interruption; the cost of generation is the sum over all parts."""


# The root does not bind unknown fields: they are refused rather than ignored.
MANIFEST: Final = strict_form(Manifest)


def weights_file(step: int) -> str:
    """Name of a checkpoint's file inside the proof folder."""
    return f"weights/step={step}.parquet"


def points_schema(points: PointsFormat) -> pa.Schema:
    """Columns of points.parquet."""
    return pa.schema(
        [
            ("position", pa.int64()),
            ("source", pa.int64()),
            ("label", pa.int64()),
            ("pixels", pa.binary(point_bytes(points))),
            ("sha256", pa.binary(32)),
        ]
    )


def point_bytes(points: PointsFormat) -> int:
    """Bytes of one point's pixels."""
    return math.prod(points.shape) * TENSOR_DTYPES[points.dtype].itemsize


def concatenate(parts: Sequence[Points]) -> Points:
    """All of these points, in order."""
    return Points(
        pixels=torch.cat([p.pixels for p in parts]),
        labels=torch.cat([p.labels for p in parts]),
        sources=torch.cat([p.sources for p in parts]),
    )
