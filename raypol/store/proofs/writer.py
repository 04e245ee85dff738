"""Writing a proof as a stream into a staging folder that is moved into place at the end, so that a proof appears whole.

An unfinished honest proof has a resume point, from which the next try goes on.
"""

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raypol.core import hashing
from raypol.core.errors import InputError
from raypol.core.imports import is_import_path, source_digest
from raypol.core.proof import BatchRecord, Checkpoint, Cost, PointIndex, Points, Recipe
from raypol.core.training.optimizers import UpdateError
from raypol.core.training.prover import StartingPoint
from raypol.store.location import Location, atomic_output, may_pass
from raypol.store.proofs.format import (
    BATCHES,
    DTYPE_NAMES,
    FORMAT,
    FORMAT_VERSION,
    GROUP_BYTES,
    MANIFEST,
    TENSOR_DTYPES,
    WEIGHTS,
    Manifest,
    PointsFormat,
    Sizes,
    concatenate,
    point_bytes,
    points_schema,
    weights_file,
)
from raypol.store.proofs.unfinished import (
    RESUME_FILE,
    RESUME_POINT,
    ResumePoint,
    StoredCheckpoint,
    read_resume_point,
    reread_checkpoints,
)
from raypol.store.results_folder import MANIFEST_NAME, ResultsFolder

_log = logging.getLogger(__name__)

_STEPS_PER_GROUP: Final = 1024
_POINTS_PER_GROUP: Final = 4096
_PAGE_BYTES: Final = 8 << 20
"""Page size of weight files: a page has a header, and is copied as it grows."""
RESUMABLE_S: Final = 10.0
"""Seconds of training between two resume points on disk; an unfinished proof that took less is not kept."""


class ProofWriter:
    """A sink for the prover and the adversary that writes a proof as a stream. `new_proof` opens one."""

    def __init__(self, staging: Location, recipe: Recipe, num_dataset_points: int) -> None:
        self.recipe = recipe
        self.root = ""
        """Set by `finish`."""
        self._staging = staging
        self._seal = hashing.Seal()
        self._steps: list[int] = []
        self._index = PointIndex(num_dataset_points)
        self._records: list[BatchRecord] = []
        self._points: list[Points] = []
        self._points_format = PointsFormat()
        self._batch_file: pq.ParquetWriter | None = None
        self._point_file: pq.ParquetWriter | None = None
        self._weight_bytes = 0
        self._state_bytes = 0
        self._file_bytes = 0
        self._taken_up_at: tuple[int, ...] = ()
        self._reached: ResumePoint | None = None
        self._stored_cost_s = 0.0
        (staging / "weights").make_folder()

    def num_bytes(self) -> int:
        """Bytes written so far: of tensors until `finish`, of all files from then on."""
        return self._file_bytes or self._weight_bytes + self._state_bytes

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """See ProofSink; one file per checkpoint."""
        digests, tensors = checkpoint.tensor_digests(), checkpoint.tensors()
        for name, tensor in tensors.items():
            if tensor.dtype not in DTYPE_NAMES:
                raise InputError(
                    f"a proof cannot record {name}, of {tensor.dtype}; possible: {', '.join(TENSOR_DTYPES)}"
                )
        kinds, names = zip(*(name.split("/", 1) for name in tensors), strict=True)
        column = _binary_column([hashing.raw_bytes(tensor) for tensor in tensors.values()])
        table = pa.table(
            {
                "kind": list(kinds),
                "name": list(names),
                "dtype": [DTYPE_NAMES[t.dtype] for t in tensors.values()],
                "shape": [list(t.shape) for t in tensors.values()],
                "data": column,
                "sha256": [digests[name] for name in tensors],
            },
            schema=WEIGHTS,
        )
        target = self._staging / weights_file(checkpoint.step)
        with atomic_output(target) as stream:
            pq.write_table(
                table,
                stream,
                compression={"shape.list.element": "zstd"},  # the other columns are short or do not compress
                use_dictionary=False,
                write_statistics=False,
                data_page_size=_PAGE_BYTES,
                # A full page ends only between batches of rows: a page of all tensors would grow by copying.
                write_batch_size=1 if isinstance(column, pa.ChunkedArray) else 1024,
            )
        self._count(StoredCheckpoint.of(checkpoint, digests))

    def write_batches(self, records: Sequence[BatchRecord]) -> None:
        """See ProofSink; flushed in row groups."""
        for record in records:
            self._seal.add_step(record.sha256)
        self._records.extend(records)
        per_group = _per_group(_STEPS_PER_GROUP, self.recipe.batch_size * 8)
        while len(self._records) >= per_group:
            self._flush_batches(per_group)

    def add_points(self, points: Points) -> npt.NDArray[np.int64]:
        """See ProofSink; flushed in row groups."""
        indices, fresh = self._index.add(hashing.point_digests(points.pixels, points.labels))
        if len(fresh):
            self._points.append(points.at(fresh))
            per_group = _per_group(_POINTS_PER_GROUP, points.pixels[0].nbytes)
            while sum(map(len, self._points)) >= per_group:
                self._flush_points(per_group)
        return indices

    def set_resume_point(self, step: int, cost: Cost) -> None:
        """Record how far the prover came and its cost, so that the next try goes on from there after an interruption."""
        if not self._staging.is_local:  # no lock tells there that an earlier try is dead
            return
        steps = tuple(sorted({*self._taken_up_at, step}))
        self._reached = ResumePoint(cost=cost, steps=steps, checkpoints=self._seal.checkpoints(), source=self._source)
        if cost.wall_s - self._stored_cost_s >= RESUMABLE_S:
            self._store_resume_point(self._reached)

    def resume_from(self, abandoned: Sequence[Location]) -> StartingPoint | None:
        """Take over the checkpoints of the interrupted try of this proof that came farthest, up to its resume point.

        Args:
            abandoned: folders of interrupted tries, to which nobody writes any more. One becomes this writer's folder; a
                damaged one is skipped.

        Raises:
            OSError: the storage is away; the folders are untouched.
        """
        found = [(point, folder) for folder in abandoned if (point := read_resume_point(folder)) is not None]
        for point, folder in sorted(found, key=lambda one: one[0].steps[-1], reverse=True):
            recorded = [step for step in self.recipe.checkpoint_steps() if step <= point.steps[-1]]
            try:
                if point.source != self._source:
                    raise InputError(f"{folder}: {self.recipe.model} was changed since")
                latest, stored = reread_checkpoints(folder, self.recipe, recorded, point)
            except InputError as err:
                cause = err.__cause__  # pyarrow raises OSError for damage too, without a number
                if isinstance(cause, OSError) and cause.errno is not None and may_pass(cause):
                    raise cause from None
                _log.warning("an unfinished proof cannot be resumed and is made anew: %s", err)
                continue
            self._staging.remove()
            folder.move_to(self._staging)
            kept = {RESUME_FILE, *map(weights_file, recorded)}
            for name, _ in self._staging.files():
                if name not in kept:
                    (self._staging / name).remove()
            for one in stored:
                self._count(one)
            self._taken_up_at, self._reached = point.steps, point
            self._store_resume_point(point)
            return StartingPoint(checkpoint=latest, cost=point.cost)
        return None

    def abandon(self) -> None:
        """Close the unfinished proof; keep its folder only if the next try can go on from it."""
        self.close()
        if self._reached is not None and self._reached.cost.wall_s >= RESUMABLE_S:
            with suppress(OSError):  # the resume point stored before stands
                self._store_resume_point(self._reached)
        if not (self._staging / RESUME_FILE).exists():
            self._staging.remove()

    def finish(self, generation: Cost, environment: dict[str, str], *, asserted: tuple[str, ...] = ()) -> Manifest:
        """Flush everything and write the manifest."""
        self._flush_batches(len(self._records))
        if self._points:
            self._flush_points(sum(map(len, self._points)))
        for file in (self._batch_file, self._point_file):
            if file is not None:
                file.close()
        files = {name: size for name, size in self._staging.files() if name != RESUME_FILE}
        self._file_bytes = sum(files.values())
        weight_files = sum(size for name, size in files.items() if name.startswith("weights/"))
        manifest = Manifest(
            format=FORMAT,
            version=FORMAT_VERSION,
            recipe=self.recipe,
            root=self._seal.root(self.recipe.canonical()),
            checkpoint_steps=tuple(self._steps),
            points=self._points_format,
            files=files,
            sizes=Sizes(
                weights=self._weight_bytes,
                optimizer_state=self._state_bytes,
                indices_and_hashes=files.get("batches.parquet", 0),
                points=files.get("points.parquet", 0),
                overhead=weight_files - self._weight_bytes - self._state_bytes,
            ),
            generation=generation,
            environment=environment,
            asserted=asserted,
            taken_up_at=self._taken_up_at,
        )
        self.root = manifest.root
        with atomic_output(self._staging / MANIFEST_NAME) as stream:
            stream.write(MANIFEST.dump_json(manifest, indent=1))
        return manifest

    def close(self) -> None:
        """Close the open files, whether the proof is finished or not."""
        for file in (self._batch_file, self._point_file):
            if file is not None and file.is_open:
                file.close()

    @cached_property
    def _source(self) -> str:
        """Digest of the source file of a model named by import path: the recipe has only its name."""
        return source_digest(self.recipe.model) if is_import_path(self.recipe.model) else ""

    def _count(self, stored: StoredCheckpoint) -> None:
        self._seal.add_checkpoint(stored.digest)
        self._steps.append(stored.step)
        self._weight_bytes += stored.weight_bytes
        self._state_bytes += stored.state_bytes

    def _store_resume_point(self, point: ResumePoint) -> None:
        with atomic_output(self._staging / RESUME_FILE) as stream:
            stream.write(RESUME_POINT.dump_json(point))
        self._stored_cost_s = point.cost.wall_s

    def _flush_batches(self, count: int) -> None:
        part, self._records = self._records[:count], self._records[count:]
        if self._batch_file is None:
            self._batch_file = self._open("batches.parquet", BATCHES)
        columns = {
            "step": [r.step for r in part],
            "indices": [r.indices for r in part],
            "sha256": [r.sha256 for r in part],
        }
        self._batch_file.write_table(pa.table(columns, schema=BATCHES), row_group_size=max(len(part), 1))

    def _flush_points(self, count: int) -> None:
        every = concatenate(self._points)
        part, rest = every.at(np.arange(count)), every.at(np.arange(count, len(every)))
        self._points = [rest] if len(rest) else []
        if self._point_file is None:
            shape = tuple(part.pixels.shape[1:])
            dtype: Literal["uint8", "float32"] = "uint8" if part.pixels.dtype == torch.uint8 else "float32"
            self._points_format = PointsFormat(dtype=dtype, shape=shape)
            self._point_file = self._open("points.parquet", points_schema(self._points_format))
        first = self._points_format.count
        size = point_bytes(self._points_format)
        raw = hashing.raw_bytes(part.pixels)
        columns = {
            "position": range(first, first + len(part)),
            "source": part.sources.numpy(),
            "label": part.labels.numpy(),
            "pixels": [bytes(raw[i * size : (i + 1) * size]) for i in range(len(part))],
            "sha256": [row.tobytes() for row in hashing.point_digests(part.pixels, part.labels)],
        }
        table = pa.table(columns, schema=points_schema(self._points_format))
        self._point_file.write_table(table, row_group_size=len(part))
        self._points_format = replace(self._points_format, count=first + len(part))

    def _open(self, name: str, schema: pa.Schema) -> pq.ParquetWriter:
        target = self._staging / name
        return pq.ParquetWriter(target.path, schema, filesystem=target.filesystem, compression="zstd")


@contextmanager
def new_proof(results: Location, proof_id: str, recipe: Recipe, num_dataset_points: int) -> Iterator[ProofWriter]:
    """Yield a writer whose proof appears at RESULTS/proofs/<proof_id> once the block ends without an error.

    The block must call `finish`. An existing proof is replaced. An unfinished proof is removed, unless it has a resume point
    and no bad input ended it. "{root}" in the name becomes the beginning of the root, for a proof whose content is not known
    beforehand.
    """
    paths = ResultsFolder(results)
    staging = paths.staging / f"{proof_id.replace('{root}', '')}-{uuid.uuid4().hex[:8]}"
    writer = ProofWriter(staging, recipe, num_dataset_points)
    try:
        yield writer
        writer.close()
        assert (staging / MANIFEST_NAME).exists(), "the block calls finish"
        (staging / RESUME_FILE).remove()
        paths.proofs.make_folder()
        final = paths.proof(proof_id.replace("{root}", writer.root[:12]))
        final.remove()
        staging.move_to(final, last=MANIFEST_NAME)
    except BaseException as err:
        # Bad input would end another try too. An UpdateError may also be a lack of memory.
        if isinstance(err, InputError) and not isinstance(err, UpdateError):
            writer.close()
            staging.remove()
        else:
            writer.abandon()
        raise


def _binary_column(values: Sequence[memoryview]) -> pa.Array | pa.ChunkedArray:
    """Bytes of tensors: shared with large ones, copied where that costs less than an array for each tensor."""
    if sum(map(len, values)) < _PAGE_BYTES:
        return pa.array([bytes(raw) for raw in values], type=pa.large_binary())
    ends = (pa.py_buffer(np.array([0, len(raw)], dtype=np.int64)) for raw in values)
    each = zip(ends, map(pa.py_buffer, values), strict=True)
    return pa.chunked_array([pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, *both]) for both in each])


def _per_group(most: int, row_bytes: int) -> int:
    """Rows of a row group that takes at most GROUP_BYTES in memory."""
    return max(1, min(most, GROUP_BYTES // row_bytes))
