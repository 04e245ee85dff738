"""A proof as a folder of Parquet files (SPEC section 7). It can be copied elsewhere and verified there.

    <proof_id>/manifest.json            A, the root, what files there are; what a verifier reads first
              /weights/step=<t>.parquet one row per tensor
              /batches.parquet          one row per step
              /points.parquet           own data points, each once (spoofs)

Written to a staging folder and moved into place as the last act: a proof folder is complete or not there. Read as hostile:
nothing is unpickled, sizes are bounded before anything is allocated, damage is an InputError. What is well-formed but false
is left to the verifier's checks.
"""

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from raypol.core import hashing
from raypol.core.errors import InputError
from raypol.core.proof import BatchRecord, Checkpoint, Cost, PointIndex, Points, Recipe
from raypol.store.footers import RowGroup, read_row_groups
from raypol.store.location import Location, atomic_output

FORMAT: Final = "raypol-proof"
VERSION: Final = 1

_DTYPES: Final[dict[str, torch.dtype]] = {
    name: getattr(torch, name)
    for name in ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
}
_DTYPE_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}

_WEIGHTS: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("name", pa.string()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("data", pa.large_binary()),
        ("sha256", pa.binary(32)),
    ]
)
_BATCHES: Final = pa.schema([("step", pa.int64()), ("indices", pa.list_(pa.int64())), ("sha256", pa.binary(32))])

_STEPS_PER_GROUP: Final = 1024
_POINTS_PER_GROUP: Final = 4096
_PAGE_BYTES: Final = 8 << 20
"""Of weights: a page has a header, and is copied as it grows."""
_GROUP_BYTES: Final = 64 << 20
"""A row group is cut shorter than the above where it would unfold to more than this."""
# What a hostile file may make us allocate. Weights are stored as they are, so a file cannot unfold to more than its own
# size; the other files are compressed and are read one row group at a time, twice as large as we write them.
_MAX_MANIFEST_BYTES: Final = 64 << 20
_MAX_GROUP_BYTES: Final = 2 * _GROUP_BYTES
_MAX_POINT_BYTES: Final = _GROUP_BYTES
_MAX_GROUP_ROWS: Final = 100_000
_MAX_DIMENSIONS: Final = 64  # torch's
_MAX_SHOWN: Final = 80
_WEIGHTS_SLACK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PointsFormat:
    """How own points are stored."""

    count: int = 0
    dtype: Literal["uint8", "float32"] = "uint8"
    shape: tuple[int, ...] = ()
    """(C, H, W)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Bytes by part, without the manifest. Weights and optimizer state share files: they are counted as raw bytes."""

    weights: int = 0
    optimizer_state: int = 0
    indices_and_hashes: int = 0
    points: int = 0
    overhead: int = 0
    """Parquet's own structure in the weight files."""

    @property
    def total(self) -> int:
        """Bytes of all Parquet files."""
        return self.weights + self.optimizer_state + self.indices_and_hashes + self.points + self.overhead


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a verifier reads first. It is the prover's word."""

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
    """Parts of the recipe that the proof's original layout does not record: the word of whoever imported it."""


# What we do not know, the root does not bind: refused rather than ignored.
_MANIFEST: Final = TypeAdapter(with_config(ConfigDict(extra="forbid"))(Manifest))


class ProofWriter:
    """Writes a proof, streaming: a sink for the prover and for the forger. Use `new_proof` to open one."""

    def __init__(self, staging: Location, recipe: Recipe, num_dataset_points: int) -> None:
        self.recipe = recipe
        self.root = ""
        """Known when it is finished."""
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
        (staging / "weights").make_folder()

    def num_bytes(self) -> int:
        """Bytes written so far: of tensors until it is finished, of all files from then on."""
        return self._file_bytes or self._weight_bytes + self._state_bytes

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """One file per checkpoint; see ProofSink."""
        digests = checkpoint.tensor_digests()
        self._seal.add_checkpoint_digest(hashing.checkpoint_digest(checkpoint.step, digests))
        tensors = checkpoint.tensors()
        kinds, names = zip(*(name.split("/", 1) for name in tensors), strict=True)
        column = _binary_column([hashing.raw_bytes(tensor) for tensor in tensors.values()])
        table = pa.table(
            {
                "kind": list(kinds),
                "name": list(names),
                "dtype": [_DTYPE_NAMES[t.dtype] for t in tensors.values()],
                "shape": [list(t.shape) for t in tensors.values()],
                "data": column,
                "sha256": [digests[name] for name in tensors],
            },
            schema=_WEIGHTS,
        )
        target = self._staging / "weights" / f"step={checkpoint.step}.parquet"
        with atomic_output(target) as stream:
            pq.write_table(
                table,
                stream,
                compression={"shape.list.element": "zstd"},  # all else is as long as it says, or does not compress
                use_dictionary=False,
                write_statistics=False,
                data_page_size=_PAGE_BYTES,
                # Between batches of rows a page is ended that is full: one of all tensors would be grown by copying.
                write_batch_size=1 if isinstance(column, pa.ChunkedArray) else 1024,
            )
        self._steps.append(checkpoint.step)
        for kind, tensor in zip(kinds, tensors.values(), strict=True):
            self._state_bytes += tensor.nbytes if kind == "optimizer" else 0
            self._weight_bytes += tensor.nbytes if kind != "optimizer" else 0

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
            where = torch.from_numpy(fresh)
            self._points.append(
                Points(pixels=points.pixels[where], labels=points.labels[where], sources=points.sources[where])
            )
            per_group = _per_group(_POINTS_PER_GROUP, points.pixels[0].nbytes)
            while sum(map(len, self._points)) >= per_group:
                self._flush_points(per_group)
        return indices

    def finish(self, generation: Cost, environment: dict[str, str], *, asserted: tuple[str, ...] = ()) -> Manifest:
        """Flush everything and write the manifest."""
        self._flush_batches(len(self._records))
        if self._points:
            self._flush_points(sum(map(len, self._points)))
        for file in (self._batch_file, self._point_file):
            if file is not None:
                file.close()
        files = dict(self._staging.files())
        self._file_bytes = sum(files.values())
        weight_files = sum(size for name, size in files.items() if name.startswith("weights/"))
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
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
        )
        self.root = manifest.root
        with atomic_output(self._staging / "manifest.json") as stream:
            stream.write(_MANIFEST.dump_json(manifest, indent=1))
        return manifest

    def close(self) -> None:
        """Release the open files, finished or not."""
        for file in (self._batch_file, self._point_file):
            if file is not None and file.is_open:
                file.close()

    def _flush_batches(self, count: int) -> None:
        part, self._records = self._records[:count], self._records[count:]
        if self._batch_file is None:
            self._batch_file = self._open("batches.parquet", _BATCHES)
        columns = {
            "step": [r.step for r in part],
            "indices": [r.indices for r in part],
            "sha256": [r.sha256 for r in part],
        }
        self._batch_file.write_table(pa.table(columns, schema=_BATCHES), row_group_size=max(len(part), 1))

    def _flush_points(self, count: int) -> None:
        every = _concatenate(self._points)
        part, rest = _split(every, count)
        self._points = [rest] if len(rest) else []
        if self._point_file is None:
            shape = tuple(part.pixels.shape[1:])
            dtype: Literal["uint8", "float32"] = "uint8" if part.pixels.dtype == torch.uint8 else "float32"
            self._points_format = PointsFormat(dtype=dtype, shape=shape)
            self._point_file = self._open("points.parquet", _points_schema(self._points_format))
        first = self._points_format.count
        size = _point_bytes(self._points_format)
        raw = hashing.raw_bytes(part.pixels)
        columns = {
            "position": range(first, first + len(part)),
            "source": part.sources.numpy(),
            "label": part.labels.numpy(),
            "pixels": [bytes(raw[i * size : (i + 1) * size]) for i in range(len(part))],
            "sha256": [row.tobytes() for row in hashing.point_digests(part.pixels, part.labels)],
        }
        table = pa.table(columns, schema=_points_schema(self._points_format))
        self._point_file.write_table(table, row_group_size=len(part))
        self._points_format = PointsFormat(
            count=first + len(part), dtype=self._points_format.dtype, shape=self._points_format.shape
        )

    def _open(self, name: str, schema: pa.Schema) -> pq.ParquetWriter:
        target = self._staging / name
        return pq.ParquetWriter(target.path, schema, filesystem=target.filesystem, compression="zstd")


@contextmanager
def new_proof(results: Location, proof_id: str, recipe: Recipe, num_dataset_points: int) -> Iterator[ProofWriter]:
    """A writer whose proof appears at RESULTS/proofs/<proof_id> when the block ends well, and leaves nothing when not.

    The block must call `finish`. A proof that is there already is replaced. "{root}" in the name becomes the beginning of
    the root, for a proof whose content is not known before.
    """
    staging = results / ".staging" / f"{proof_id.replace('{root}', '')}-{uuid.uuid4().hex[:8]}"
    writer = ProofWriter(staging, recipe, num_dataset_points)
    try:
        yield writer
        writer.close()
        assert (staging / "manifest.json").exists(), "the block calls finish"
        (results / "proofs").make_folder()
        final = results / "proofs" / proof_id.replace("{root}", writer.root[:12])
        final.remove()
        staging.move_to(final)
    except BaseException:
        writer.close()
        staging.remove()
        raise


@dataclass(frozen=True, slots=True)
class _ParquetFile:
    """An open file of bounded row groups."""

    reader: pq.ParquetFile
    groups: list[RowGroup]

    def read(self, group: int) -> pa.Table:
        table = self.reader.read_row_group(group)
        if len(table) != self.groups[group].num_rows:
            raise pa.ArrowInvalid(f"a row group has {len(table)} rows, its footer says {self.groups[group].num_rows}")
        return table


class ParquetProof:
    """A proof in a folder: the ProofSource of verifiers and adversaries. Files are opened when needed.

    Raises (any method):
        InputError: the folder is not a readable proof: a file is missing, truncated or not what the manifest says.
    """

    def __init__(self, folder: Location, manifest: Manifest | None = None) -> None:
        """Open a proof; a manifest that is given, from whom it may be trusted, is not read and checked again."""
        self.folder = folder
        self.manifest = manifest or read_manifest(folder)
        self._batch_file: _ParquetFile | None = None
        self._point_file: _ParquetFile | None = None
        self._checkpoint = lru_cache(maxsize=2)(self._read_checkpoint)
        self._batch_group = lru_cache(maxsize=4)(self._read_batch_group)
        self._point_group = lru_cache(maxsize=8)(self._read_point_group)

    @property
    def recipe(self) -> Recipe:
        """See ProofSource."""
        return self.manifest.recipe

    @property
    def root(self) -> str:
        """See ProofSource."""
        return self.manifest.root

    @property
    def checkpoint_steps(self) -> Sequence[int]:
        """See ProofSource."""
        return self.manifest.checkpoint_steps

    @property
    def num_points(self) -> int:
        """See ProofSource."""
        return self.manifest.points.count

    def checkpoint(self, position: int) -> Checkpoint:
        """See ProofSource. The latest two files are kept, for one interval's end is the next one's start; tensors are copies."""
        step = self.manifest.checkpoint_steps[position]
        name = f"weights/step={step}.parquet"
        groups: dict[str, dict[str, torch.Tensor]] = {"parameter": {}, "buffer": {}, "optimizer": {}}
        digests = {}
        for row in self._checkpoint(position):
            kind, tensor_name = row["kind"], row["name"]
            if kind not in groups or tensor_name is None or tensor_name in groups[kind]:
                raise InputError(
                    f"{self.folder}/{name}: unexpected or repeated tensor {_shown(kind)} {_shown(tensor_name)}"
                )
            groups[kind][tensor_name] = _tensor(row, where=f"{self.folder}/{name}")
            digests[f"{kind}/{tensor_name}"] = row["sha256"] or b""
        return Checkpoint(
            step=step,
            parameters=groups["parameter"],
            buffers=groups["buffer"],
            optimizer_state=groups["optimizer"],
            claimed_digests=digests,
        )

    def _read_checkpoint(self, position: int) -> list[dict[str, Any]]:
        """The rows of a weight file; their bytes lie where Parquet's decoder put them."""
        name = f"weights/step={self.manifest.checkpoint_steps[position]}.parquet"
        with self._damage(name):
            file = self._open(name, _WEIGHTS)
            size = self.manifest.files[name]
            unfolded = sum(group.unfolded_bytes for group in file.groups)
            num_tensors = sum(group.num_rows for group in file.groups)
            if unfolded > size + _WEIGHTS_SLACK or num_tensors > _MAX_GROUP_ROWS:
                raise InputError(
                    f"{self.folder}/{name}: {num_tensors} tensors would unfold to {unfolded} bytes, "
                    f"expected at most {_MAX_GROUP_ROWS} and the {size} bytes of the file"
                )
            table = file.reader.read()
            rows: list[dict[str, Any]] = table.drop_columns("data").to_pylist()
            return [row | {"data": value.as_buffer()} for row, value in zip(rows, table.column("data"), strict=True)]

    def batches(self, start: int, stop: int) -> list[BatchRecord]:
        """See ProofSource."""
        with self._damage("batches.parquet"):
            if self._batch_file is None:
                self._batch_file = self._open("batches.parquet", _BATCHES)
            records: list[BatchRecord] = []
            for group, first, last in _groups_between(self._batch_file.groups, start, stop):
                records += self._batch_group(group)[first:last]
        return records

    def points(self, indices: npt.NDArray[np.int64]) -> Points:
        """See ProofSource."""
        with self._damage("points.parquet"):
            if self._point_file is None:
                self._point_file = self._open("points.parquet", _points_schema(self.manifest.points))
            rows = np.cumsum([0, *(group.num_rows for group in self._point_file.groups)])
            if rows[-1] != self.manifest.points.count:
                raise InputError(
                    f"{self.folder}: the manifest says {self.manifest.points.count} points, points.parquet has {rows[-1]}"
                )
            group_of = np.searchsorted(rows, indices, side="right") - 1
            parts, order = [], []
            for group in np.unique(group_of):
                places = np.flatnonzero(group_of == group)
                parts.append(_take(self._point_group(int(group)), indices[places] - rows[group]))
                order.append(places)
        every = _concatenate(parts)
        return _take(every, np.argsort(np.concatenate(order)))

    def _open(self, name: str, schema: pa.Schema) -> "_ParquetFile":
        target = self.folder / name
        expected = self.manifest.files.get(name)
        if expected is None:
            raise InputError(f"{self.folder}: the manifest lists no {name}")
        size = target.size()
        if size != expected:
            what = "is missing" if size < 0 else f"has {size} bytes"
            raise InputError(f"{target}: {what}, the manifest says {expected} bytes; the proof folder is not complete")
        stream = target.filesystem.open_input_file(target.path)
        reader = pq.ParquetFile(stream)
        if not reader.schema_arrow.equals(schema):
            raise InputError(f"{target}: expected columns {', '.join(map(str, schema.names))} of raypol's types")
        groups = read_row_groups(stream, schema, where=str(target))
        for group in groups:
            unfolded, rows = group.unfolded_bytes, group.num_rows
            if not 0 <= unfolded <= max(_MAX_GROUP_BYTES, size + _WEIGHTS_SLACK) or rows > _MAX_GROUP_ROWS:
                what = f"to {unfolded} bytes" if unfolded >= 0 else "to any size"
                raise InputError(
                    f"{target}: a row group of {rows} rows would unfold {what}, "
                    f"expected at most {_MAX_GROUP_ROWS} and {_MAX_GROUP_BYTES} bytes"
                )
        return _ParquetFile(reader, groups)

    @contextmanager
    def _damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, UnicodeDecodeError) as err:
            raise InputError(f"{self.folder}/{name}: not a readable Parquet file ({_one_line(err)})") from err

    def _read_batch_group(self, group: int) -> list[BatchRecord]:
        assert self._batch_file is not None
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
        assert self._point_file is not None
        table = self._point_file.read(group)
        _reject_nulls(table, f"{self.folder}/points.parquet")
        raw = b"".join(table.column("pixels").to_pylist())
        pixels = torch.frombuffer(bytearray(raw), dtype=_DTYPES[self.manifest.points.dtype])
        return Points(
            pixels=pixels.view(len(table), *self.manifest.points.shape),
            labels=torch.from_numpy(table.column("label").to_numpy().copy()),
            sources=torch.from_numpy(table.column("source").to_numpy().copy()),
        )


def read_manifest(folder: Location) -> Manifest:
    """The manifest of a proof folder, checked for form.

    Raises:
        InputError: missing, too large, or not a manifest of this version.
    """
    path = folder / "manifest.json"
    size = path.size()
    if size < 0:
        raise InputError(f"{folder}: expected a proof folder (RESULTS/proofs/<proof_id>), found no manifest.json in it")
    if size > _MAX_MANIFEST_BYTES:
        raise InputError(f"{path}: {size} bytes, expected at most {_MAX_MANIFEST_BYTES}")
    with path.filesystem.open_input_stream(path.path) as stream:
        text = stream.read()
    try:
        manifest = _MANIFEST.validate_json(text, strict=True)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = f"{_shown('.'.join(map(str, first['loc'])))}: " if first["loc"] else ""
        raise InputError(
            f"{path}: not a {FORMAT} manifest of version {VERSION}: {where}{_one_line(first['msg'])}"
        ) from err
    steps = manifest.checkpoint_steps
    for step in steps:
        if f"weights/step={step}.parquet" not in manifest.files:
            raise InputError(f"{path}: disagrees with itself: checkpoint step {step} is not among its files")
    if "batches.parquet" not in manifest.files:
        raise InputError(f"{path}: lists no batches.parquet")
    if manifest.points.count < 0 or (manifest.points.count > 0) != ("points.parquet" in manifest.files):
        raise InputError(
            f"{path}: disagrees with itself: {manifest.points.count} own points, points.parquet listed or not"
        )
    shape = manifest.points.shape
    if manifest.points.count and (
        len(shape) != 3 or min(shape) < 1 or _point_bytes(manifest.points) > _MAX_POINT_BYTES
    ):
        raise InputError(
            f"{path}: expected own points of shape (C, H, W) up to {_MAX_POINT_BYTES} bytes, got {_shown(shape)}"
        )
    missing = [name for name, size in manifest.files.items() if (folder / name).size() != size]
    if missing:
        found = (folder / missing[0]).size()
        state = "is missing" if found < 0 else f"has {found} bytes"
        raise InputError(
            f"{folder}: {_shown(missing[0])} {state}, the manifest says {manifest.files[missing[0]]} bytes; "
            "expected the whole folder as it was written"
        )
    if manifest.recipe.steps * hashing.DIGEST_BYTES > manifest.files["batches.parquet"]:  # hashes do not compress
        raise InputError(
            f"{path}: claims {manifest.recipe.steps} steps; a batches.parquet of {manifest.files['batches.parquet']} bytes "
            "cannot hold their hashes"
        )
    return manifest


def _binary_column(values: Sequence[memoryview]) -> pa.Array | pa.ChunkedArray:
    """Bytes of tensors: shared with them where they are large, copied where that costs less than an array for each."""
    if sum(map(len, values)) < _PAGE_BYTES:
        return pa.array([bytes(raw) for raw in values], type=pa.large_binary())
    ends = (pa.py_buffer(np.array([0, len(raw)], dtype=np.int64)) for raw in values)
    each = zip(ends, map(pa.py_buffer, values), strict=True)
    return pa.chunked_array([pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, *both]) for both in each])


def _tensor(row: dict[str, Any], *, where: str) -> torch.Tensor:
    dtype, shape, data = _DTYPES.get(row["dtype"]), row["shape"], row["data"]
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
    """What a hostile file says, fit for one line of a message."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _one_line(said: object) -> str:
    """The first line of another library's message."""
    return next(iter(str(said).splitlines()), type(said).__name__)


def _reject_nulls(table: pa.Table, where: str) -> None:
    for name in table.column_names:
        if table.column(name).null_count:
            raise InputError(f"{where}: column {name} has nulls")


def _groups_between(groups: Sequence[RowGroup], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(row group, first, last) of the rows start..stop-1, first and last relative to the group."""
    begin = 0
    for at, group in enumerate(groups):
        end = begin + group.num_rows
        if begin < stop and start < end:
            yield at, max(start - begin, 0), min(stop, end) - begin
        begin = end


def _per_group(most: int, row_bytes: int) -> int:
    """Rows of a row group that unfolds to at most _GROUP_BYTES."""
    return max(1, min(most, _GROUP_BYTES // row_bytes))


def _points_schema(points: PointsFormat) -> pa.Schema:
    return pa.schema(
        [
            ("position", pa.int64()),
            ("source", pa.int64()),
            ("label", pa.int64()),
            ("pixels", pa.binary(_point_bytes(points))),
            ("sha256", pa.binary(32)),
        ]
    )


def _point_bytes(points: PointsFormat) -> int:
    return math.prod(points.shape) * _DTYPES[points.dtype].itemsize


def _concatenate(parts: Sequence[Points]) -> Points:
    return Points(
        pixels=torch.cat([p.pixels for p in parts]),
        labels=torch.cat([p.labels for p in parts]),
        sources=torch.cat([p.sources for p in parts]),
    )


def _split(points: Points, count: int) -> tuple[Points, Points]:
    return _take(points, np.arange(min(count, len(points)))), _take(points, np.arange(count, len(points)))


def _take(points: Points, rows: npt.NDArray[Any]) -> Points:
    where = torch.from_numpy(np.asarray(rows, dtype=np.int64))
    return Points(pixels=points.pixels[where], labels=points.labels[where], sources=points.sources[where])
