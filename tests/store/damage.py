"""Ways to damage a proof folder, and small files that unfold to large ones: for tests, and for the zoo of bad proofs."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.store.parquet.forge import page, with_column

WEIGHTS = "weights/step=3.parquet"
"""Of a proof with k = 3."""
Damage = Callable[[Path], object]
Manifest = dict[str, Any]
Rows = list[dict[str, Any]]


def edit_manifest(change: Callable[[Manifest], object], folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def put(*keys: str | int, value: object) -> Damage:
    """The manifest with one entry set."""

    def change(manifest: Manifest) -> None:
        place: Any = manifest
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return partial(edit_manifest, change)


def drop(*keys: str) -> Damage:
    """The manifest with one entry less."""

    def change(manifest: Manifest) -> None:
        place: Any = manifest
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return partial(edit_manifest, change)


def fix_sizes(folder: Path) -> None:
    """The manifest's file sizes as they are now: what an adversary does after every change."""

    def change(manifest: Manifest) -> None:
        manifest["files"] = {name: (folder / name).stat().st_size for name in manifest["files"]}

    edit_manifest(change, folder)


def rewrite(name: str, change: Callable[[Rows], Rows | None], *, schema: pa.Schema | None = None) -> Damage:
    """One Parquet file with its rows changed, and the manifest's size adjusted."""

    def damage(folder: Path) -> None:
        path = folder / name
        table = pq.read_table(path)
        rows = table.to_pylist()
        changed = change(rows)
        rows = rows if changed is None else changed
        made = pa.Table.from_pylist(rows, schema=schema or table.schema)
        pq.write_table(made, path, compression="none", use_dictionary=False, write_statistics=False)
        fix_sizes(folder)

    return damage


def row(file: str, at: int, /, **values: object) -> Damage:
    """One row of one file with some columns set."""
    return rewrite(file, lambda rows: rows[at].update(values))


def table(name: str, change: Callable[[pa.Table], pa.Table]) -> Damage:
    """One file's table changed."""

    def damage(folder: Path) -> None:
        changed = change(pq.read_table(folder / name))
        pq.write_table(changed, folder / name, compression="none", use_dictionary=False)
        fix_sizes(folder)

    return damage


def cut(name: str, *, adjust: bool) -> Damage:
    """One file cut to half its length."""

    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        if adjust:
            fix_sizes(folder)

    return damage


def garbage(name: str) -> Damage:
    """One file replaced by noise of the same length."""

    def damage(folder: Path) -> None:
        size = (folder / name).stat().st_size
        (folder / name).write_bytes(np.random.default_rng(0).bytes(size))

    return damage


def replaced(name: str, content: Callable[[Path], bytes]) -> Damage:
    """One file replaced, and the manifest's size adjusted."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content(folder))
        fix_sizes(folder)

    return damage


def column_type(name: str, column: str, kind: pa.DataType) -> Damage:
    """One column of another type."""

    def change(found: pa.Table) -> pa.Table:
        at = found.schema.get_field_index(column)
        values = found.column(column)
        cast = pa.nulls(len(found), kind) if kind == pa.null() else values.cast(kind)
        return found.set_column(at, pa.field(column, kind), cast)

    return table(name, change)


def bad_utf8(folder: Path) -> None:
    """A tensor's name that is no text."""

    def change(found: pa.Table) -> pa.Table:
        names = [name.encode() for name in found.column("name").to_pylist()]
        raw = pa.array([b"\xff\xfe\x00", *names[1:]], pa.binary())
        column = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
        return found.set_column(found.schema.get_field_index("name"), "name", column)

    table(WEIGHTS, change)(folder)


def listed_without_being_there(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    put("files", WEIGHTS, value=-1)(folder)


def a_pipe(name: str) -> Damage:
    """A file replaced by a pipe that nobody writes to, whose size is that of nothing."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)
        put("files", name, value=-1)(folder)

    return damage


def linked(name: str, target: str) -> Damage:
    """A file replaced by a link."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return damage


def swapped_for_a_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def text(content: str | bytes) -> Damage:
    """The manifest replaced."""
    return lambda folder: (folder / "manifest.json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


# --- bombs -----------------------------------------------------------------------------------------------------------


def tensors_of_one_value(folder: Path, *, name: str = WEIGHTS) -> None:
    """2,000 tensors of a mebibyte, stored as one by a dictionary."""
    schema = pq.read_schema(folder / name)
    data = bytes(1 << 20)
    with pq.ParquetWriter(folder / name, schema, compression="none", use_dictionary=True) as writer:
        for begin in range(0, 2000, 100):
            names = [str(i) for i in range(begin, begin + 100)]
            repeated = pa.DictionaryArray.from_arrays(
                pa.array([0] * 100, pa.int32()), pa.array([data], pa.large_binary())
            )
            columns = {
                "kind": ["parameter"] * 100,
                "name": names,
                "dtype": ["uint8"] * 100,
                "shape": [[1 << 20]] * 100,
                "data": repeated.dictionary_decode(),
                "sha256": [bytes(32)] * 100,
            }
            writer.write_table(pa.table(columns, schema=schema), row_group_size=100)
    fix_sizes(folder)


def compressed_zeros(folder: Path, *, name: str = WEIGHTS, codec: str = "zstd") -> None:
    """One tensor of 128 MiB, compressed to next to nothing."""
    schema = pq.read_schema(folder / name)
    columns = {
        "kind": ["parameter"],
        "name": ["0.weight"],
        "dtype": ["uint8"],
        "shape": [[1 << 27]],
        "data": [bytes(1 << 27)],
        "sha256": [bytes(32)],
    }
    pq.write_table(pa.table(columns, schema=schema), folder / name, compression=codec, use_dictionary=False)
    fix_sizes(folder)


def steps_of_one_value(folder: Path, *, codec: str = "zstd") -> None:
    """Four million steps, stored in a few kilobytes."""
    path, n = folder / "batches.parquet", 4_000_000
    schema = pq.read_schema(path)
    offsets = pa.array(np.arange(n + 1, dtype=np.int32))
    columns = {
        "step": np.zeros(n, np.int64),
        "indices": pa.ListArray.from_arrays(offsets, np.zeros(n, np.int64)).cast(schema.field("indices").type),
        "sha256": pa.array(np.zeros(n, "V32").tolist(), pa.binary(32)),
    }
    pq.write_table(pa.table(columns, schema=schema), path, compression=codec, row_group_size=n)
    fix_sizes(folder)


def one_endless_batch(folder: Path, *, codec: str = "zstd") -> None:
    """One step of forty million indices, stored in a few bytes."""
    path, n = folder / "batches.parquet", 40_000_000
    schema = pq.read_schema(path)
    indices = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), np.zeros(n, np.int64))
    columns = {"step": [0], "indices": indices.cast(schema.field("indices").type), "sha256": [bytes(32)]}
    pq.write_table(pa.table(columns, schema=schema), path, compression=codec)
    fix_sizes(folder)


def points_of_one_value(folder: Path, *, codec: str = "zstd") -> None:
    """4,096 points of 64 KiB, stored as one by a dictionary."""
    path, n, size = folder / "points.parquet", 4096, 1 << 16
    kind = pa.binary(size)
    schema = pq.read_schema(path)
    schema = schema.set(schema.get_field_index("pixels"), pa.field("pixels", kind))
    zeros = pa.array(np.zeros(n, np.int64))
    columns = {
        "position": zeros,
        "source": zeros,
        "label": zeros,
        "pixels": pa.array([bytes(size)] * n, kind),
        "sha256": pa.array([bytes(32)] * n, pa.binary(32)),
    }
    pq.write_table(pa.table(columns, schema=schema), path, compression=codec, row_group_size=n)
    put("points", value={"count": n, "dtype": "uint8", "shape": [1, 256, 256]})(folder)
    fix_sizes(folder)


def zeros_behind_the_steps(folder: Path) -> None:
    """The honest steps, one to a page, each page followed inside by 128 MiB that no value needs."""
    path = folder / "batches.parquet"
    found = pq.read_table(path)
    pq.write_table(found, path, compression="zstd", use_dictionary=False, write_statistics=False)
    # Of a column that may be null, levels come first: a run of one, "not null".
    pages = [page([step], levels=b"\2\0\0\0\2\1", beside=1 << 27) for step in found["step"].to_pylist()]
    path.write_bytes(with_column(path.read_bytes(), 0, pages))
    fix_sizes(folder)


def repeated_row_groups(folder: Path) -> None:
    """One step a row group, each with a hundred times the indices that the manifest claims."""
    path = folder / "batches.parquet"
    rows = pq.read_table(path).to_pylist()
    rows = [{**row, "indices": row["indices"] * 4000} for row in rows]
    made = pa.Table.from_pylist(rows, schema=pq.read_schema(path))
    pq.write_table(made, path, compression="zstd", row_group_size=1)
    fix_sizes(folder)
