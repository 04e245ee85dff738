"""Reading a proof that may be hostile.

Nothing is unpickled, sizes are bounded before anything is allocated, damage is an InputError. Well-formed but false content is
left to the verifier's checks.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import ValidationError

from raypol.core import hashing
from raypol.core.errors import InputError, first_line
from raypol.core.proof import BatchRecord, Checkpoint, Points
from raypol.store.location import Location, read_bounded
from raypol.store.parquet.footer import RowGroup, read_row_groups
from raypol.store.parquet.pages import check_pages
from raypol.store.proofs.format import (
    BATCHES,
    FORMAT,
    FORMAT_VERSION,
    GROUP_BYTES,
    MACHINE,
    MANIFEST,
    TENSOR_DTYPES,
    WEIGHTS,
    Manifest,
    concatenate,
    point_bytes,
    points_schema,
    weights_file,
)
from raypol.store.results_folder import MANIFEST_NAME

# Bounds on what a hostile file makes us allocate. Weights are not compressed, so a file takes no more memory than its own
# size; the other files are compressed and read one row group at a time, of at most twice the size that we write.
_MAX_MANIFEST_BYTES: Final = 8 << 20  # 100,000 checkpoints; parsed, JSON takes up to a hundred times its size
_MAX_GROUP_BYTES: Final = 2 * GROUP_BYTES
_MAX_POINT_BYTES: Final = GROUP_BYTES
_MAX_GROUP_ROWS: Final = 100_000
_MAX_DIMENSIONS: Final = 64  # torch's
_FILES: Final = re.compile(r"weights/step=[0-9]+\.parquet|batches\.parquet|points\.parquet")
_MAX_SHOWN: Final = 80
_SLACK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _ParquetFile:
    """An open file of bounded row groups."""

    stream: pa.NativeFile
    reader: pq.ParquetFile
    groups: list[RowGroup]
    where: str

    def read(self, *numbers: int) -> pa.Table:
        num_rows = 0
        for number in numbers:
            check_pages(self.stream, self.groups[number], where=self.where)
            num_rows += self.groups[number].num_rows
        table = self.reader.read_row_groups(numbers)
        if len(table) != num_rows:
            raise pa.ArrowInvalid(f"row groups have {len(table)} rows, the footer says {num_rows}")
        return table


class ParquetProof:
    """ProofSource of a proof folder, for verifiers and adversaries. Files are opened when needed.

    Raises (any method):
        InputError: the folder is not a readable proof: a file is missing, truncated or not what the manifest says.
    """

    def __init__(self, folder: Location, manifest: Manifest | None = None) -> None:
        """Open a proof; a given manifest is trusted, not read and checked again."""
        self.folder = folder
        self.manifest = manifest or read_manifest(folder)
        self.recipe = self.manifest.recipe
        self.root = self.manifest.root
        self.machine = self.manifest.environment.get(MACHINE, "")
        self.checkpoint_steps = self.manifest.checkpoint_steps
        self.num_points = self.manifest.points.count
        self._checkpoint = lru_cache(maxsize=2)(self._read_checkpoint)
        self._batch_group = lru_cache(maxsize=4)(self._read_batch_group)
        self._point_group = lru_cache(maxsize=8)(self._read_point_group)

    def checkpoint(self, position: int) -> Checkpoint:
        """See ProofSource. Two files stay cached, for an interval's end is the next one's start; tensors are copies."""
        step = self.checkpoint_steps[position]
        where = f"{self.folder}/{weights_file(step)}"
        groups: dict[str, dict[str, torch.Tensor]] = {"parameter": {}, "buffer": {}, "optimizer": {}}
        digests = {}
        for row in self._checkpoint(position):
            kind, tensor_name = row["kind"], row["name"]
            if kind not in groups or tensor_name is None or tensor_name in groups[kind]:
                raise InputError(f"{where}: unexpected or repeated tensor {_shown(kind)} {_shown(tensor_name)}")
            groups[kind][tensor_name] = _tensor(row, where=where)
            digests[f"{kind}/{tensor_name}"] = row["sha256"] or b""
        return Checkpoint(
            step=step,
            parameters=groups["parameter"],
            buffers=groups["buffer"],
            optimizer_state=groups["optimizer"],
            claimed_digests=digests,
        )

    def _read_checkpoint(self, position: int) -> list[dict[str, Any]]:
        """Rows of a weight file; their bytes stay where Parquet's decoder put them."""
        name = weights_file(self.checkpoint_steps[position])
        with self._damage(name):
            file = self._open(name, WEIGHTS)
            size = self.manifest.files[name]
            unfolded = sum(group.unfolded_bytes for group in file.groups)
            num_tensors = sum(group.num_rows for group in file.groups)
            if unfolded > size + _SLACK or num_tensors > _MAX_GROUP_ROWS:
                raise InputError(
                    f"{self.folder}/{name}: {num_tensors} tensors would unfold to {unfolded} bytes, "
                    f"expected at most {_MAX_GROUP_ROWS} and the {size} bytes of the file"
                )
            table = file.read(*range(len(file.groups)))
            rows: list[dict[str, Any]] = table.drop_columns("data").to_pylist()
            return [row | {"data": value.as_buffer()} for row, value in zip(rows, table.column("data"), strict=True)]

    def batches(self, start: int, stop: int) -> list[BatchRecord]:
        """See ProofSource."""
        with self._damage("batches.parquet"):
            records: list[BatchRecord] = []
            for group, first, last in _groups_between(self._batch_file.groups, start, stop):
                records += self._batch_group(group)[first:last]
        return records

    def points(self, indices: npt.NDArray[np.int64]) -> Points:
        """See ProofSource."""
        with self._damage("points.parquet"):
            rows = np.cumsum([0, *(group.num_rows for group in self._point_file.groups)])
            if rows[-1] != self.num_points:
                raise InputError(
                    f"{self.folder}: the manifest says {self.num_points} points, points.parquet has {rows[-1]}"
                )
            group_of = np.searchsorted(rows, indices, side="right") - 1
            parts, order = [], []
            for group in np.unique(group_of):
                places = np.flatnonzero(group_of == group)
                parts.append(self._point_group(int(group)).at(indices[places] - rows[group]))
                order.append(places)
        every = concatenate(parts)
        return every.at(np.argsort(np.concatenate(order)))

    @cached_property
    def _batch_file(self) -> _ParquetFile:
        recipe = self.recipe
        return self._open("batches.parquet", BATCHES, most=recipe.steps * (8 * recipe.batch_size + 40))

    @cached_property
    def _point_file(self) -> _ParquetFile:
        points = self.manifest.points
        return self._open("points.parquet", points_schema(points), most=points.count * (point_bytes(points) + 56))

    def _open(self, name: str, schema: pa.Schema, *, most: int | None = None) -> _ParquetFile:
        """Open a file that unfolds to at most twice this many bytes; None = those of the file."""
        target = self.folder / name
        expected = self.manifest.files.get(name)
        if expected is None:
            raise InputError(f"{self.folder}: the manifest lists no {name}")
        size = target.size()
        if size != expected:
            what = "is missing" if size < 0 else f"has {size} bytes"
            raise InputError(f"{target}: {what}, the manifest says {expected} bytes; the proof folder is not complete")
        stream = target.filesystem.open_input_file(target.path)
        groups = read_row_groups(stream, where=str(target))
        reader = pq.ParquetFile(stream)
        if not reader.schema_arrow.equals(schema):
            raise InputError(f"{target}: expected columns {', '.join(map(str, schema.names))} of raypol's types")
        total = sum(group.unfolded_bytes for group in groups)
        if most is not None and total > 2 * most + _SLACK:  # some more, for a verdict on what is false
            raise InputError(f"{target}: would unfold to {total} bytes, the manifest claims {most}")
        for group in groups:
            unfolded, rows = group.unfolded_bytes, group.num_rows
            if not 0 <= unfolded <= max(_MAX_GROUP_BYTES, size + _SLACK) or rows > _MAX_GROUP_ROWS:
                what = f"to {unfolded} bytes" if unfolded >= 0 else "to any size"
                raise InputError(
                    f"{target}: a row group of {rows} rows would unfold {what}, "
                    f"expected at most {_MAX_GROUP_ROWS} and {_MAX_GROUP_BYTES} bytes"
                )
        return _ParquetFile(stream, reader, groups, str(target))

    @contextmanager
    def _damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, UnicodeDecodeError) as err:
            raise InputError(f"{self.folder}/{name}: not a readable Parquet file ({first_line(err)})") from err

    def _read_batch_group(self, group: int) -> list[BatchRecord]:
        table = self._batch_file.read(group)
        _reject_nulls(table, f"{self.folder}/batches.parquet")
        indices = table.column("indices").combine_chunks()
        if indices.values.null_count:
            raise InputError(f"{self.folder}/batches.parquet: an index is null")
        values, offsets = indices.values.to_numpy(), indices.offsets.to_numpy()
        steps, digests = table.column("step").to_pylist(), table.column("sha256").to_pylist()
        return [
            BatchRecord(step, values[offsets[i] : offsets[i + 1]].copy(), digest)
            for i, (step, digest) in enumerate(zip(steps, digests, strict=True))
        ]

    def _read_point_group(self, group: int) -> Points:
        table = self._point_file.read(group)
        _reject_nulls(table, f"{self.folder}/points.parquet")
        raw = b"".join(table.column("pixels").to_pylist())
        pixels = torch.frombuffer(bytearray(raw), dtype=TENSOR_DTYPES[self.manifest.points.dtype])
        return Points(
            pixels=pixels.view(len(table), *self.manifest.points.shape),
            labels=torch.from_numpy(table.column("label").to_numpy().copy()),
            sources=torch.from_numpy(table.column("source").to_numpy().copy()),
        )


def read_manifest(folder: Location) -> Manifest:
    """Read the manifest of a proof folder and check its form.

    Raises:
        InputError: missing, too large, or not a manifest of this version.
    """
    path = folder / MANIFEST_NAME
    if path.size() < 0:
        raise InputError(
            f"{folder}: expected a proof folder (RESULTS/proofs/<proof_id>), found no {MANIFEST_NAME} in it"
        )
    text = read_bounded(path, max_bytes=_MAX_MANIFEST_BYTES)
    try:
        manifest = MANIFEST.validate_json(text, strict=True)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = f"{_shown('.'.join(map(str, first['loc'])))}: " if first["loc"] else ""
        raise InputError(
            f"{path}: not a {FORMAT} manifest of version {FORMAT_VERSION}: {where}{first_line(first['msg'])}"
        ) from err
    steps, most = manifest.checkpoint_steps, 2 * (manifest.recipe.num_intervals + 1)
    if len(steps) > most:  # some more, for a verdict on what is false
        raise InputError(f"{path}: claims {len(steps)} checkpoints, expected at most {most} of its T and k")
    for step in steps:
        if weights_file(step) not in manifest.files:
            raise InputError(f"{path}: disagrees with itself: checkpoint step {step} is not among its files")
    if "batches.parquet" not in manifest.files:
        raise InputError(f"{path}: lists no batches.parquet")
    if manifest.points.count < 0 or (manifest.points.count > 0) != ("points.parquet" in manifest.files):
        raise InputError(
            f"{path}: disagrees with itself: {manifest.points.count} own points, points.parquet listed or not"
        )
    shape = manifest.points.shape
    if manifest.points.count and (len(shape) != 3 or min(shape) < 1 or point_bytes(manifest.points) > _MAX_POINT_BYTES):
        raise InputError(
            f"{path}: expected own points of shape (C, H, W) up to {_MAX_POINT_BYTES} bytes, got {_shown(shape)}"
        )
    unknown = [name for name in manifest.files if not _FILES.fullmatch(name)]
    if unknown or len(manifest.files) > most + 2:
        what = _shown(unknown[0]) if unknown else f"{len(manifest.files)} files"
        raise InputError(f"{path}: lists {what}, expected its checkpoints, batches and points alone")
    for name, size in manifest.files.items():
        found = (folder / name).size()
        if found < 0 or found != size:  # no file at all, such as a pipe that nobody writes to, has size -1
            state = "is missing" if found < 0 else f"has {found} bytes"
            raise InputError(
                f"{folder}: {_shown(name)} {state}, the manifest says {size} bytes; "
                "expected the whole folder as it was written"
            )
    if manifest.recipe.steps * hashing.DIGEST_BYTES > manifest.files["batches.parquet"]:  # hashes do not compress
        raise InputError(
            f"{path}: claims {manifest.recipe.steps} steps; a batches.parquet of {manifest.files['batches.parquet']} bytes "
            "cannot hold their hashes"
        )
    return manifest


def _tensor(row: dict[str, Any], *, where: str) -> torch.Tensor:
    dtype, shape, data = TENSOR_DTYPES.get(row["dtype"]), row["shape"], row["data"]
    if (
        dtype is None
        or shape is None
        or data is None
        or len(shape) > _MAX_DIMENSIONS
        or any(n is None or n < 0 for n in shape)
        or math.prod(max(n, 1) for n in shape) >= 1 << 60  # an empty tensor may claim any other dimensions
    ):
        raise InputError(
            f"{where}: {_shown(row['name'])} has no usable dtype and shape ({_shown(row['dtype'])}, {_shown(shape)})"
        )
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InputError(
            f"{where}: {_shown(row['name'])} has {len(data)} bytes, its shape {_shown(shape)} needs {expected}"
        )
    if expected == 0:
        return torch.empty(shape, dtype=dtype)
    if dtype == torch.bool:
        return torch.frombuffer(bytearray(data), dtype=torch.uint8).ne(0).view(shape)
    return torch.frombuffer(bytearray(data), dtype=dtype).view(shape)


def _shown(value: object) -> str:
    """Content of a hostile file, fit for one line of a message."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _reject_nulls(table: pa.Table, where: str) -> None:
    for name in table.column_names:
        if table.column(name).null_count:
            raise InputError(f"{where}: column {name} has nulls")


def _groups_between(groups: Sequence[RowGroup], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(row group, first, last) of rows start..stop-1, first and last relative to the group."""
    begin = 0
    for at, group in enumerate(groups):
        end = begin + group.num_rows
        if begin < stop and start < end:
            yield at, max(start - begin, 0), min(stop, end) - begin
        begin = end
