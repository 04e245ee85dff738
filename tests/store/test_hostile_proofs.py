"""Folders that are damaged or forged: an InputError of one line, or a verdict that says no; nothing is run or swallowed whole.

Two kinds. What is not a proof at all cannot be read. What is well-formed but false is read, and rejected by a check.
"""

import os
import pickle
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypol import prove
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.verification.policies import strict
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Verdict
from raypol.core.verification.verifier import examine
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof
from tests.scenes import RECORDED, all_bits, bits, small_recipe, tiny
from tests.store.conftest import read_everything, write
from tests.store.damage import (
    WEIGHTS,
    Damage,
    Rows,
    a_pipe,
    bad_utf8,
    column_type,
    compressed_zeros,
    cut,
    drop,
    fix_sizes,
    garbage,
    linked,
    listed_without_being_there,
    one_endless_batch,
    points_of_one_value,
    put,
    repeated_row_groups,
    replaced,
    rewrite,
    row,
    steps_of_one_value,
    swapped_for_a_folder,
    table,
    tensors_of_one_value,
    text,
    zeros_behind_the_steps,
)

DATA = tiny()
GENEROUS = Thresholds(l1=1e9, l2=1e9, linf=1e9, cos=2.0)
"""So that the undamaged spoof is valid, and a rejection is of the damage."""


def judge(folder: Path) -> Verdict:
    return strict(examine(ParquetProof(open_location(folder)), DATA, RECORDED), GENEROUS, None)


def test_undamaged_the_spoof_is_valid(folder: Path) -> None:
    assert judge(folder).is_valid


NAMES = ("batches.parquet", "points.parquet")

# --- what is not a proof -------------------------------------------------------------------------------------------

UNREADABLE: dict[str, tuple[Damage, str]] = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "no manifest.json"),
    "manifest is a folder": (swapped_for_a_folder("manifest.json"), "no manifest.json"),
    "manifest empty": (text(""), "Invalid JSON"),
    "manifest cut": (cut("manifest.json", adjust=False), "Invalid JSON"),
    "manifest not JSON": (text("weights: 7"), "Invalid JSON"),
    "manifest not text": (text(b"\xff\xfe\x00\x80"), "Invalid JSON"),
    "manifest a list": (text("[1, 2]"), "manifest of version 1"),
    "manifest null": (text("null"), "manifest of version 1"),
    "manifest nested without end": (text("[" * 200_000), "recursion"),
    "manifest of a huge number": (text("1" * 100_000), "manifest of version 1"),
    "other format": (put("format", value="zip"), "'format'"),
    "other version": (put("version", value=2), "'version'"),
    "version as text": (put("version", value="1"), "'version'"),
    "extra field": (put("note", value="hi"), "'note'"),
    "extra field of the recipe": (put("recipe", "warmup", value=3), "'recipe.warmup'"),
    "extra field of the optimizer": (put("recipe", "optimizer", "foreach", value=True), "'recipe.optimizer.foreach'"),
    "extra field with a line break": (put("recipe", "a\nb", value=3), "recipe.a\\nb"),
    "no root": (drop("root"), "'root'"),
    "no recipe": (drop("recipe"), "'recipe'"),
    "no model": (drop("recipe", "model"), "'recipe.model'"),
    "root a number": (put("root", value=7), "'root'"),
    "steps as text": (put("recipe", "steps", value="7"), "'recipe.steps'"),
    "steps a fraction": (put("recipe", "steps", value=7.5), "'recipe.steps'"),
    "steps a truth": (put("recipe", "steps", value=True), "'recipe.steps'"),
    "steps without end": (put("recipe", "steps", value=10**12), "100000000"),
    "steps beyond 64 bits": (put("recipe", "steps", value=10**40), "100000000"),
    "no steps": (put("recipe", "steps", value=0), "recipe"),
    "k = 0": (put("recipe", "interval", value=0), "interval (k) >= 1"),
    "k < 0": (put("recipe", "interval", value=-3), "interval (k) >= 1"),
    "k > T": (put("recipe", "interval", value=8), "between the interval k"),
    "batch of nobody": (put("recipe", "batch_size", value=0), "batch_size in 1.."),
    "batch of everybody": (put("recipe", "batch_size", value=10**9), "batch_size in 1.."),
    "unknown loss": (put("recipe", "loss", value="hinge"), "'recipe.loss'"),
    "unknown precision": (put("recipe", "precision", value="float8"), "'recipe.precision'"),
    "transform with std 0": (put("recipe", "transform", value={"mean": [0.0], "std": [0.0]}), "std"),
    "crop beyond reason": (put("recipe", "transform", "crop_padding", value=10**9), "crop_padding"),
    "option a list": (put("recipe", "optimizer", "options", "lr", value=[0.1]), "recipe.optimizer.options.lr"),
    "checkpoint step a fraction": (put("checkpoint_steps", value=[0, 3.5]), "'checkpoint_steps.1'"),
    "checkpoint step without a file": (put("checkpoint_steps", value=[0, 4, 6, 7]), "checkpoint step 4"),
    "checkpoint step beyond 64 bits": (put("checkpoint_steps", value=[10**30]), "is not among its files"),
    "checkpoint step a path": (put("checkpoint_steps", value=["../../x"]), "'checkpoint_steps.0'"),
    "weights not listed": (drop("files", WEIGHTS), "checkpoint step 3"),
    "batches not listed": (drop("files", "batches.parquet"), "lists no batches.parquet"),
    "points not listed": (drop("files", "points.parquet"), "disagrees with itself"),
    "points listed but none": (put("points", "count", value=0), "disagrees with itself"),
    "fewer points than none": (put("points", "count", value=-1), "disagrees with itself"),
    "points without a shape": (put("points", "shape", value=[]), "shape (C, H, W)"),
    "points of negative shape": (put("points", "shape", value=[-1, -5, 5]), "shape (C, H, W)"),
    "points of no pixels": (put("points", "shape", value=[0, 5, 5]), "shape (C, H, W)"),
    "points of huge shape": (put("points", "shape", value=[2**31, 2**31, 2**31]), "shape (C, H, W)"),
    "points of another shape": (put("points", "shape", value=[1, 5, 6]), "points.parquet"),
    "points of another dtype": (put("points", "dtype", value="float32"), "points.parquet"),
    "points of unknown dtype": (put("points", "dtype", value="object"), "'points.dtype'"),
    "more points than stored": (put("points", "count", value=1_000), "the manifest says 1000 points"),
    "many more points than stored": (put("points", "count", value=10**18), "the manifest says"),
    "more steps than hashes": (put("recipe", "steps", value=10**6), "cannot hold their hashes"),
    "a schedule without end": (put("recipe", "schedule", "base_steps", value=10**9), "base_steps"),
    "another size": (put("files", "batches.parquet", value=1), "the manifest says 1 bytes"),
    "file with a line break": (put("files", "a\nb", value=1), "a\\nb"),
    "size as text": (put("files", "batches.parquet", value="1"), "files.batches.parquet"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "is missing"),
    "no weights, and listed so": (listed_without_being_there, "is missing"),
    "no batches": (lambda f: (f / "batches.parquet").unlink(), "is missing"),
    "no points": (lambda f: (f / "points.parquet").unlink(), "is missing"),
    "weights a folder": (swapped_for_a_folder(WEIGHTS), "is missing"),
    "weights a pipe, and listed so": (a_pipe(WEIGHTS), "is missing"),
    "points a pipe, and listed so": (a_pipe("points.parquet"), "is missing"),
    "manifest without an end": (linked("manifest.json", "/proc/self/mem"), "Invalid JSON"),
    "a file elsewhere": (put("files", "../other.parquet", value=1), "lists '../other.parquet'"),
    "a file that no proof has": (put("files", "notes.txt", value=1), "lists 'notes.txt'"),
    "files without end": (
        put("files", value={f"weights/step={i}.parquet": 1 for i in range(100_000)} | dict.fromkeys(NAMES, 1)),
        "expected its checkpoints",
    ),
    "checkpoints without end": (put("checkpoint_steps", value=[0] * 100_000), "claims 100000 checkpoints"),
    **{
        f"{name} cut{' and so listed' if adjust else ''}": (
            cut(name, adjust=adjust),
            "not a readable Parquet file" if adjust else "the manifest says",
        )
        for name in (WEIGHTS, "batches.parquet", "points.parquet")
        for adjust in (False, True)
    },
    **{
        f"{name} garbage": (garbage(name), "not a readable Parquet file")
        for name in (WEIGHTS, "batches.parquet", "points.parquet")
    },
    "weights empty": (replaced(WEIGHTS, lambda _: b""), "not a readable Parquet file"),
    "weights another file": (
        replaced(WEIGHTS, lambda folder: (folder / "batches.parquet").read_bytes()),
        "expected columns kind, name, dtype, shape, data, sha256",
    ),
    "column missing": (table(WEIGHTS, lambda t: t.drop_columns(["sha256"])), "expected columns"),
    "column more": (table(WEIGHTS, lambda t: t.append_column("x", pa.array([0] * len(t)))), "expected columns"),
    "columns in another order": (table(WEIGHTS, lambda t: t.select(t.column_names[::-1])), "expected columns"),
    "weights of strings": (
        column_type("batches.parquet", "step", pa.string()),
        "expected columns step, indices, sha256",
    ),
    "indices of 32 bits": (column_type("batches.parquet", "indices", pa.list_(pa.int32())), "expected columns"),
    "indices as floats": (column_type("batches.parquet", "indices", pa.list_(pa.float64())), "expected columns"),
    "labels as floats": (column_type("points.parquet", "label", pa.float64()), "expected columns position, source"),
    "names as bytes": (column_type(WEIGHTS, "name", pa.binary()), "expected columns"),
    "shape of nulls": (column_type(WEIGHTS, "shape", pa.null()), "expected columns"),
    "names as a dictionary": (column_type(WEIGHTS, "name", pa.dictionary(pa.int32(), pa.string())), "expected columns"),
    "name not text": (bad_utf8, "not a readable Parquet file"),
    "name null": (row(WEIGHTS, 0, name=None), "unexpected or repeated tensor"),
    "kind null": (row(WEIGHTS, 0, kind=None), "unexpected or repeated tensor None"),
    "kind unknown": (row(WEIGHTS, 0, kind="gradient"), "unexpected or repeated tensor 'gradient'"),
    "kind with a line break": (row(WEIGHTS, 0, kind="a\nb"), "a\\nb"),
    "tensor twice": (rewrite(WEIGHTS, lambda rows: [*rows, rows[0]]), "unexpected or repeated tensor"),
    "tensor twice with other data": (
        rewrite(WEIGHTS, lambda rows: [*rows, {**rows[0], "data": bytes(len(rows[0]["data"]))}]),
        "unexpected or repeated tensor",
    ),
    "dtype null": (row(WEIGHTS, 0, dtype=None), "no usable dtype"),
    "dtype of objects": (row(WEIGHTS, 0, dtype="object"), "no usable dtype"),
    "dtype complex": (row(WEIGHTS, 0, dtype="complex64"), "bytes, its shape"),
    "dtype a program": (row(WEIGHTS, 0, dtype="__import__('os')\nsystem"), "no usable dtype"),
    "dtype without end": (row(WEIGHTS, 0, dtype="float32" * 10_000), "no usable dtype"),
    "data null": (row(WEIGHTS, 0, data=None), "no usable dtype"),
    "data too short": (row(WEIGHTS, 0, data=b"abc"), "has 3 bytes"),
    "data too long": (rewrite(WEIGHTS, lambda rows: rows[0].update(data=rows[0]["data"] + b"\0")), "needs"),
    "data of another dtype": (row(WEIGHTS, 0, dtype="float64"), "needs"),
    "shape null": (row(WEIGHTS, 0, shape=None), "no usable dtype and shape"),
    "shape with a null": (row(WEIGHTS, 0, shape=[3, None]), "no usable dtype and shape"),
    "shape negative": (row(WEIGHTS, 0, shape=[-27]), "no usable dtype and shape"),
    "shape twice negative": (row(WEIGHTS, 0, shape=[-3, -9]), "no usable dtype and shape"),
    "shape of another size": (row(WEIGHTS, 0, shape=[3, 1, 3, 2]), "needs"),
    "shape huge": (row(WEIGHTS, 0, shape=[2**40]), "needs"),
    "shape beyond 64 bits": (row(WEIGHTS, 0, shape=[2**62, 2**62]), "no usable dtype and shape"),
    "shape huge but empty": (row(WEIGHTS, 0, shape=[0, 2**62, 2**62], data=b""), "no usable dtype and shape"),
    "shape of 65 dimensions": (row(WEIGHTS, 0, shape=[1] * 65, data=b"abcd"), "no usable dtype and shape"),
    "shape of 100,000 dimensions": (row(WEIGHTS, 0, shape=[1] * 100_000, data=b"abcd"), "no usable dtype and shape"),
    "step null": (row("batches.parquet", 0, step=None), "column step has nulls"),
    "indices null": (row("batches.parquet", 0, indices=None), "column indices has nulls"),
    "an index null": (row("batches.parquet", 0, indices=[1, None]), "an index is null"),
    "digest null": (row("batches.parquet", 0, sha256=None), "column sha256 has nulls"),
    "pixels null": (row("points.parquet", 0, pixels=None), "column pixels has nulls"),
    "label null": (row("points.parquet", 0, label=None), "column label has nulls"),
    "points fewer than listed": (rewrite("points.parquet", lambda rows: rows[1:]), "points.parquet has"),
}


@pytest.mark.parametrize(("damage", "expected"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_not_a_proof_is_an_input_error_of_one_line(damage: Damage, expected: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(InputError) as caught, no_more_than(32 << 20):
        read_everything(ParquetProof(open_location(folder)))
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert len(message) < 1000
    with pytest.raises(InputError):
        judge(folder)


def test_endless_names_are_shortened_in_messages(folder: Path) -> None:
    put("recipe", "model", value="x" * 10**6)(folder)
    with pytest.raises(InputError, match="unknown model") as caught:
        judge(folder)
    assert len(str(caught.value)) < 500


# --- never a big allocation ----------------------------------------------------------------------------------------


_POOLS: list[pa.MemoryPool] = []  # a pool must outlive what was allocated from it


@contextmanager
def no_more_than(num_bytes: int) -> Iterator[None]:
    """Neither Arrow nor Python and numpy may hold more at any time inside."""
    own = pa.proxy_memory_pool(pa.default_memory_pool())
    _POOLS.append(own)
    before = pa.default_memory_pool()
    pa.set_memory_pool(own)
    tracemalloc.start()
    try:
        yield
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        pa.set_memory_pool(before)
        assert max(peak, own.max_memory() or 0) < num_bytes


@pytest.mark.parametrize(
    "bomb",
    [
        tensors_of_one_value,
        compressed_zeros,
        steps_of_one_value,
        one_endless_batch,
        points_of_one_value,
        zeros_behind_the_steps,
        repeated_row_groups,
    ],
)
def test_a_small_file_does_not_unfold_to_a_large_one(bomb: Damage, folder: Path) -> None:
    bomb(folder)
    assert sum(path.stat().st_size for path in folder.rglob("*.parquet")) < 50 << 20
    with pytest.raises(InputError, match="unfold") as caught, no_more_than(64 << 20):
        read_everything(ParquetProof(open_location(folder)))
    assert "\n" not in str(caught.value)


def test_a_manifest_without_end_is_not_read(folder: Path) -> None:
    with (folder / "manifest.json").open("wb") as file:
        file.truncate(1 << 33)  # sparse
    with pytest.raises(InputError, match="expected at most"), no_more_than(1 << 20):
        ParquetProof(open_location(folder))


# --- nothing is run ------------------------------------------------------------------------------------------------


class _Payload:
    """What a pickle can do when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "raypol.tensor", "arrow.fixed_shape_tensor"])
@pytest.mark.parametrize("column", ["data", "name", "indices"])
def test_an_extension_type_with_a_pickle_in_it_is_not_unpickled(column: str, name: str, folder: Path) -> None:
    trace = folder / "the payload ran"
    file = "batches.parquet" if column == "indices" else WEIGHTS
    metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": pickle.dumps(_Payload(trace))}
    pickle.loads(metadata["ARROW:extension:metadata"])  # type: ignore[arg-type]  # noqa: S301 - it would run, if opened
    trace.rmdir()

    def change(found: pa.Table) -> pa.Table:
        at = found.schema.get_field_index(column)
        field = found.schema.field(at).with_metadata(metadata)
        return found.replace_schema_metadata({"pandas": pickle.dumps(_Payload(trace))}).cast(
            found.schema.set(at, field).with_metadata({"pandas": pickle.dumps(_Payload(trace))})
        )

    table(file, change)(folder)
    with suppress(InputError):
        read_everything(ParquetProof(open_location(folder)))
    assert not trace.exists()


def test_a_pickle_in_place_of_a_file_is_not_unpickled(folder: Path) -> None:
    trace = folder / "the payload ran"
    for name in (WEIGHTS, "batches.parquet", "points.parquet", "manifest.json"):
        shutil.copy(folder / name, folder / "kept")
        (folder / name).write_bytes(pickle.dumps(_Payload(trace)))
        if name != "manifest.json":
            fix_sizes(folder)
        with pytest.raises(InputError):
            read_everything(ParquetProof(open_location(folder)))
        shutil.move(folder / "kept", folder / name)
        if name != "manifest.json":
            fix_sizes(folder)
    assert not trace.exists()


# --- what is well-formed but false ---------------------------------------------------------------------------------


def first_pixel(rows: Rows) -> None:
    pixels = bytearray(rows[0]["pixels"])
    pixels[7] ^= 1
    rows[0]["pixels"] = bytes(pixels)


def swap_data(rows: Rows) -> None:
    """Two rows of equal shape change places by name: scale and shift of the norm layer."""
    a, b = (next(r for r in rows if r["kind"] == "parameter" and r["name"] == f"1.{n}") for n in ("weight", "bias"))
    a["name"], b["name"] = b["name"], a["name"]


def one_bit_of_a_weight(rows: Rows) -> None:
    data = bytearray(rows[0]["data"])
    data[0] ^= 1
    rows[0]["data"] = bytes(data)


def swap_two_steps(rows: Rows) -> Rows:
    return [rows[1], rows[0], *rows[2:]]


FALSE: dict[str, tuple[Damage, str]] = {
    "one pixel": (rewrite("points.parquet", first_pixel), "hashes"),
    "one label": (rewrite("points.parquet", lambda rows: rows[0].update(label=(rows[0]["label"] + 1) % 3)), "hashes"),
    "two points swapped": (rewrite("points.parquet", lambda rows: [rows[1], rows[0], *rows[2:]]), "hashes"),
    "a label of no class": (row("points.parquet", 0, label=3), "indices"),
    "a label below all classes": (row("points.parquet", 0, label=-1), "indices"),
    "a source outside the dataset": (row("points.parquet", 0, source=48), "indices"),
    "one index": (
        rewrite("batches.parquet", lambda rows: rows[2].update(indices=[5, *rows[2]["indices"][1:]])),
        "hashes",
    ),
    "two indices swapped": (
        rewrite("batches.parquet", lambda rows: rows[2].update(indices=rows[2]["indices"][::-1])),
        "hashes",
    ),
    "an index beyond all points": (
        rewrite("batches.parquet", lambda rows: rows[2].update(indices=[10**15, *rows[2]["indices"][1:]])),
        "indices",
    ),
    "an index below zero": (
        rewrite("batches.parquet", lambda rows: rows[2].update(indices=[-1, *rows[2]["indices"][1:]])),
        "indices",
    ),
    "no indices": (row("batches.parquet", 2, indices=[]), "structure"),
    "an index too many": (rewrite("batches.parquet", lambda rows: rows[2]["indices"].append(0)), "structure"),
    "a digest": (row("batches.parquet", 2, sha256=bytes(32)), "hashes"),
    "two steps swapped": (rewrite("batches.parquet", swap_two_steps), "structure"),
    "a step less": (rewrite("batches.parquet", lambda rows: rows[:-1]), "structure"),
    "a step twice": (rewrite("batches.parquet", lambda rows: [*rows[:3], rows[2], *rows[3:-1]]), "structure"),
    "a step that runs backwards": (row("batches.parquet", 3, step=-3), "structure"),
    "one bit of a weight": (rewrite(WEIGHTS, one_bit_of_a_weight), "hashes"),
    "a tensor's digest": (row(WEIGHTS, 0, sha256=bytes(32)), "hashes"),
    "a tensor's digest null": (row(WEIGHTS, 0, sha256=None), "hashes"),
    "two tensors swapped": (rewrite(WEIGHTS, swap_data), "hashes"),
    "a tensor less": (rewrite(WEIGHTS, lambda rows: rows[1:]), "structure"),
    "no tensor at all": (rewrite(WEIGHTS, lambda rows: rows[:0]), "structure"),
    "a tensor more": (rewrite(WEIGHTS, lambda rows: [*rows, {**rows[0], "name": "extra"}]), "structure"),
    "a state that the optimizer does not have": (
        rewrite(WEIGHTS, lambda rows: [*rows, {**rows[0], "kind": "optimizer", "name": "nothing/of that kind"}]),
        "structure",
    ),
    "a state of another shape": (
        rewrite(WEIGHTS, lambda rows: next(r for r in rows if r["kind"] == "optimizer").update(shape=[27])),
        "structure",
    ),
    "a tensor with another name": (row(WEIGHTS, 0, name="a\nb"), "structure"),
    "a tensor of another shape": (row(WEIGHTS, 0, shape=[27]), "structure"),
    "a tensor of another dtype": (row(WEIGHTS, 0, dtype="int32"), "structure"),
    "checkpoints in another order": (put("checkpoint_steps", value=[0, 6, 3, 7]), "structure"),
    "a checkpoint twice": (put("checkpoint_steps", value=[0, 3, 3, 7]), "structure"),
    "a checkpoint less": (put("checkpoint_steps", value=[0, 3, 7]), "structure"),
    "no checkpoint": (put("checkpoint_steps", value=[]), "structure"),
    "another root": (put("root", value="0" * 64), "hashes"),
    "no root": (put("root", value=""), "hashes"),
    "another seed": (put("recipe", "seed", value=7), "hashes"),
    "another rate": (put("recipe", "optimizer", "options", "lr", value=0.04), "hashes"),
    "another batch size": (put("recipe", "batch_size", value=15), "structure"),
    "more steps": (put("recipe", "steps", value=8), "structure"),
    "fewer steps": (put("recipe", "steps", value=6), "structure"),
    "another interval": (put("recipe", "interval", value=2), "structure"),
}


@pytest.mark.parametrize(("damage", "check"), FALSE.values(), ids=FALSE.keys())
def test_what_is_well_formed_but_false_is_rejected_by_its_check(damage: Damage, check: str, folder: Path) -> None:
    damage(folder)
    verdict = judge(folder)
    assert check in verdict.rejected_by.split(",")


def test_a_changed_pixel_names_the_step_that_uses_it(folder: Path, spoof: MemoryProof) -> None:
    rewrite("points.parquet", first_pixel)(folder)
    step = next(record.step for record in spoof.records if (record.indices == len(DATA)).any())
    detail = next(check.detail for check in judge(folder).checks if check.name == "hashes")
    assert f"step {step}" in detail


@pytest.mark.parametrize("step", [0, 4, 12])
def test_a_forged_index_table_is_rejected_before_anything_is_looked_up_in_it(step: int, tmp_path: Path) -> None:
    write(prove(small_recipe(DATA, model="tests.scenes:reordering_net"), DATA), open_location(tmp_path))
    folder = tmp_path / "proofs" / "p"
    assert judge(folder).is_valid
    beyond = np.full(16, 10**6, np.int64).tobytes()
    rewrite(
        f"weights/step={step}.parquet", lambda rows: next(r for r in rows if r["name"] == "order").update(data=beyond)
    )(folder)
    assert "structure" in judge(folder).rejected_by.split(",")


# --- any byte ------------------------------------------------------------------------------------------------------


def assert_bound_parts_are_the_same(read: ParquetProof, written: MemoryProof) -> None:
    """What a verifier judges by. A point's source and the manifest's costs and sizes are told, not bound."""
    assert read.recipe == written.recipe
    assert read.root == written.root
    for position, checkpoint in enumerate(written.checkpoints):
        assert all_bits(read.checkpoint(position)) == all_bits(checkpoint)
    assert [(r.step, r.indices.tolist()) for r in read.batches(0, 7)] == [
        (r.step, r.indices.tolist()) for r in written.records
    ]
    ours, theirs = read.points(np.arange(read.num_points)), written.all_points()
    assert bits(ours.pixels) == bits(theirs.pixels)
    assert bits(ours.labels) == bits(theirs.labels)


@settings(max_examples=100)
@given(
    st.sampled_from(["manifest.json", "batches.parquet", "points.parquet", "weights/step=0.parquet", WEIGHTS]),
    st.floats(0.0, 1.0, exclude_max=True),
    st.integers(1, 255),
)
def test_any_changed_byte_is_refused_rejected_or_without_meaning(
    pristine: Path, spoof: MemoryProof, name: str, where: float, by: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(pristine, Path(place) / "p"))
        content = bytearray((folder / name).read_bytes())
        content[int(where * len(content))] ^= by
        (folder / name).write_bytes(content)
        with suppress(InputError):
            if judge(folder).is_valid:
                assert_bound_parts_are_the_same(ParquetProof(open_location(folder)), spoof)
