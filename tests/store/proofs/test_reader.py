"""Proofs as folders: what is read is what was written, bit for bit, wherever the folder goes; and whole or not there."""

import itertools
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs
from torch import Tensor

from raypol import prove
from raypol.core import hashing
from raypol.core.augment import Transform
from raypol.core.errors import InputError
from raypol.core.proof import BatchRecord, Checkpoint, Cost, MemoryProof, Points, Recipe
from raypol.core.training.prover import record_training
from raypol.core.verification.policies import strict
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import examine
from raypol.store.location import Location, open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.writer import new_proof
from tests.scenes import RECORDED, all_bits, bits, sgd, small_recipe, tiny, zero
from tests.store.conftest import write

DATA = tiny()
RECIPE = small_recipe(DATA, batch_size=3)
FREE = Cost()
NO_SLACK = Thresholds(l1=0.0, l2=0.0, linf=0.0, cos=0.0)


def assert_same(read: ParquetProof, written: MemoryProof) -> None:
    """Bit for bit, hence the same root."""
    assert read.recipe == written.recipe
    assert read.root == written.root
    assert list(read.checkpoint_steps) == written.checkpoint_steps
    for position, checkpoint in enumerate(written.checkpoints):
        found = read.checkpoint(position)
        assert found.step == checkpoint.step
        assert all_bits(found) == all_bits(checkpoint)
        assert found.claimed_digests == checkpoint.tensor_digests()
    records = read.batches(0, read.recipe.steps)
    assert [(r.step, r.indices.tolist(), r.sha256) for r in records] == [
        (r.step, r.indices.tolist(), r.sha256) for r in written.records
    ]
    assert all(record.indices.dtype == np.int64 for record in records)
    assert read.num_points == written.num_points
    if read.num_points:
        ours, theirs = read.points(np.arange(read.num_points)), written.all_points()
        assert bits(ours.pixels) == bits(theirs.pixels)
        assert bits(ours.labels) == bits(theirs.labels)
        assert bits(ours.sources) == bits(theirs.sources)


# --- checkpoints ---------------------------------------------------------------------------------------------------

DTYPES = [
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
    torch.uint16,
    torch.uint64,
]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any bits at all: NaN payloads, negative zeros, subnormals; scalars and empty tensors included."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    size = int(np.prod(shape)) * dtype.itemsize
    if size == 0:
        return torch.empty(shape, dtype=dtype)
    raw = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        return torch.frombuffer(bytearray(b & 1 for b in raw), dtype=torch.bool).view(shape)
    return torch.frombuffer(raw, dtype=dtype).view(shape)


NAMED = st.dictionaries(st.text(max_size=8), tensors(), max_size=4)


def stored(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    with new_proof(open_location(folder), "p", RECIPE, len(DATA)) as writer:
        writer.write_checkpoint(checkpoint)
        writer.write_batches([])
        writer.finish(FREE, {})
    return ParquetProof(open_location(folder / "proofs" / "p")).checkpoint(0)


@settings(max_examples=60)
@given(NAMED, NAMED, NAMED, st.integers(0, 10**8))
def test_checkpoints_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    parameters: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    step: int,
) -> None:
    written = Checkpoint(
        step=step,
        parameters={"always one": torch.ones(1), **parameters},
        buffers=buffers,
        optimizer_state=state,
    )
    read = stored(written, tmp_path_factory.mktemp("checkpoint"))
    assert read.step == step
    assert all_bits(read) == all_bits(written)
    assert list(read.tensors()) == list(written.tensors())  # in order, too
    assert read.claimed_digests == written.tensor_digests()


@pytest.mark.parametrize(
    "bit_pattern",
    [0x7FC00000, 0x7FC00001, 0x7F800001, 0xFFC0BEEF, 0x80000000, 0x00000001, 0x7F800000, 0xFF800000],
    ids=["quiet NaN", "NaN payload", "signalling NaN", "negative NaN", "-0", "subnormal", "inf", "-inf"],
)
def test_every_float_keeps_its_bits(bit_pattern: int, tmp_path: Path) -> None:
    tensor = torch.tensor([bit_pattern - (1 << 32 if bit_pattern >> 31 else 0)], dtype=torch.int32).view(torch.float32)
    checkpoint = Checkpoint(step=0, parameters={"w": tensor}, buffers={}, optimizer_state={})
    assert bits(stored(checkpoint, tmp_path).parameters["w"]) == bits(tensor)


def test_tensors_are_stored_row_major_whatever_their_memory_layout(tmp_path: Path) -> None:
    plain = torch.arange(48.0).view(2, 4, 2, 3)
    layouts = {
        "transposed": plain.permute(3, 1, 0, 2),
        "channels last": plain.contiguous(memory_format=torch.channels_last),
        "every other": plain[:, ::2],
        "repeated": torch.tensor(2.0).expand(3, 2),
        "gradient": plain.clone().requires_grad_(),
    }
    read = stored(Checkpoint(step=0, parameters=layouts, buffers={}, optimizer_state={}), tmp_path)
    for name, tensor in layouts.items():
        assert torch.equal(read.parameters[name], tensor), name
        assert not read.parameters[name].requires_grad


def test_tensors_that_are_read_are_the_readers_own(spoof: MemoryProof, folder: Path) -> None:
    proof = ParquetProof(open_location(folder))
    for tensor in proof.checkpoint(1).parameters.values():
        tensor.zero_()
    proof.points(np.array([0, 1])).pixels.zero_()
    assert_same(proof, spoof)


# --- batches -------------------------------------------------------------------------------------------------------

NUM_STEPS = 2500


def record(step: int) -> BatchRecord:
    rng = np.random.default_rng(step)
    return BatchRecord(step, rng.integers(0, 1 << 40, size=step % 4), rng.bytes(32))


@pytest.fixture(scope="session")
def many_batches(tmp_path_factory: pytest.TempPathFactory) -> ParquetProof:
    """2,500 steps of 0 to 3 indices, handed over in uneven portions."""
    results = open_location(tmp_path_factory.mktemp("batches"))
    with new_proof(results, "p", RECIPE, len(DATA)) as writer:
        steps = iter(range(NUM_STEPS))
        for portion in itertools.cycle([1, 0, 700, 3, 1024, 50]):
            part = list(itertools.islice(steps, portion))
            writer.write_batches([record(step) for step in part])
            if part and part[-1] == NUM_STEPS - 1:
                break
        writer.finish(FREE, {})
    return ParquetProof(results / "proofs" / "p")


def test_batches_are_flushed_in_row_groups(many_batches: ParquetProof) -> None:
    metadata = pq.read_metadata(Path(many_batches.folder.path) / "batches.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [1024, 1024, 452]


@given(st.integers(0, NUM_STEPS + 10), st.integers(0, NUM_STEPS + 10))
def test_any_run_of_batches_can_be_read(many_batches: ParquetProof, start: int, stop: int) -> None:
    found = many_batches.batches(start, stop)
    expected = [record(step) for step in range(start, min(stop, NUM_STEPS))]
    assert [(r.step, r.indices.tolist(), r.sha256) for r in found] == [
        (r.step, r.indices.tolist(), r.sha256) for r in expected
    ]


@pytest.mark.parametrize("at", [1023, 1024, 1025, 2047, 2048, 2499])
def test_a_run_of_batches_may_cross_row_groups(many_batches: ParquetProof, at: int) -> None:
    assert [r.step for r in many_batches.batches(at - 2, at + 2)] == list(range(at - 2, min(at + 2, NUM_STEPS)))


def test_the_root_is_that_of_the_same_records_in_memory(many_batches: ParquetProof) -> None:
    memory = MemoryProof(RECIPE, len(DATA))
    memory.write_batches([record(step) for step in range(NUM_STEPS)])
    assert memory.seal() == many_batches.root


# --- points --------------------------------------------------------------------------------------------------------

NUM_POINTS = 9000


def point(position: int) -> tuple[list[int], int, int]:
    """Pixels of a 1x2x2 image, label, source: all different, all told by the position."""
    return list(position.to_bytes(4, "little")), position % 3, position * 7 % 48


def points(positions: list[int]) -> Points:
    made = [point(position) for position in positions]
    return Points(
        pixels=torch.tensor([p for p, _, _ in made], dtype=torch.uint8).view(-1, 1, 2, 2),
        labels=torch.tensor([label for _, label, _ in made]),
        sources=torch.tensor([source for _, _, source in made]),
    )


@pytest.fixture(scope="session")
def many_points(tmp_path_factory: pytest.TempPathFactory) -> ParquetProof:
    """9,000 tiny points, handed over in uneven portions."""
    results = open_location(tmp_path_factory.mktemp("points"))
    with new_proof(results, "p", RECIPE, len(DATA)) as writer:
        writer.write_batches([])
        begin = 0
        for portion in itertools.cycle([1, 17, 5000, 300]):
            part = list(range(begin, min(begin + portion, NUM_POINTS)))
            assert writer.add_points(points(part)).tolist() == [48 + p for p in part]
            begin += portion
            if begin >= NUM_POINTS:
                break
        writer.finish(FREE, {})
    return ParquetProof(results / "proofs" / "p")


def test_points_are_flushed_in_row_groups(many_points: ParquetProof) -> None:
    metadata = pq.read_metadata(Path(many_points.folder.path) / "points.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4096, 4096, 808]
    assert many_points.num_points == NUM_POINTS


POSITIONS = st.one_of(st.integers(0, NUM_POINTS - 1), st.sampled_from([0, 4095, 4096, 8191, 8192, NUM_POINTS - 1]))


@given(st.lists(POSITIONS, min_size=1, max_size=30))
def test_points_are_found_in_any_order_and_repeatedly(many_points: ParquetProof, positions: list[int]) -> None:
    found, expected = many_points.points(np.array(positions)), points(positions)
    assert bits(found.pixels) == bits(expected.pixels)
    assert bits(found.labels) == bits(expected.labels)
    assert bits(found.sources) == bits(expected.sources)


def test_a_point_is_written_once_whenever_it_comes_again(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    with new_proof(results, "p", RECIPE, len(DATA)) as writer:
        writer.write_batches([])
        assert writer.add_points(points([5, 6, 5])).tolist() == [48, 49, 48]
        assert writer.add_points(points(list(range(5000)))).tolist()[3:8] == [53, 54, 48, 49, 55]
        assert writer.add_points(points([4999, 6])).tolist() == [48 + 4999, 49]
        other_label = replace(points([5]), labels=torch.tensor([0]))
        assert writer.add_points(other_label).tolist() == [48 + 5000]  # a point is its pixels and its label
        writer.finish(FREE, {})
    proof = ParquetProof(results / "proofs" / "p")
    assert proof.num_points == 5001
    assert proof.points(np.array([5000, 0])).labels.tolist() == [0, 2]


def test_float_points_keep_their_bits(tmp_path: Path) -> None:
    raw = torch.randint(-(2**31), 2**31, (6, 1, 2, 2), generator=torch.Generator().manual_seed(0), dtype=torch.int64)
    pixels = raw.to(torch.int32).view(torch.float32)  # not in [0, 1]: to say so is the verifier's part
    results = open_location(tmp_path)
    with new_proof(results, "p", RECIPE, len(DATA)) as writer:
        writer.write_batches([])
        writer.add_points(Points(pixels=pixels, labels=torch.arange(6), sources=torch.arange(6)))
        writer.finish(FREE, {})
    read = ParquetProof(results / "proofs" / "p").points(np.arange(6))
    assert bits(read.pixels) == bits(pixels)


def test_large_points_are_cut_into_row_groups_that_the_reader_takes(tmp_path: Path) -> None:
    """Nine images of 8 MiB: a reader holds several row groups, so none may be as large as 4,096 such points."""
    size = (8 << 20) // 4
    pixels = torch.zeros(9, 1, 1024, size // 1024, dtype=torch.float32)
    pixels[:, 0, 0, 0] = torch.arange(9.0) / 9.0
    results = open_location(tmp_path)
    with new_proof(results, "p", RECIPE, len(DATA)) as writer:
        writer.write_batches([])
        writer.add_points(Points(pixels=pixels, labels=torch.zeros(9, dtype=torch.int64), sources=torch.arange(9)))
        writer.finish(FREE, {})
    metadata = pq.read_metadata(tmp_path / "proofs" / "p" / "points.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [8, 1]
    read = ParquetProof(results / "proofs" / "p").points(np.array([8, 3]))
    assert torch.equal(read.pixels, pixels[[8, 3]])


# --- whole proofs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_an_honest_proof_read_back_is_the_same_and_replays_with_error_exactly_zero(
    precision: str, tmp_path: Path
) -> None:
    recipe = small_recipe(
        DATA,
        model="resnet8",
        precision=precision,
        optimizer=sgd(momentum=0.9, weight_decay=1e-3),
        transform=Transform(crop_padding=1, horizontal_flip=True, mean=(0.5,), std=(0.25,)),
        steps=7,
        interval=3,
    )
    results = open_location(tmp_path)
    with new_proof(results, "honest", recipe, len(DATA)) as writer:
        cost = record_training(recipe, DATA, writer)
        manifest = writer.finish(cost, {"torch": torch.__version__})
    read = ParquetProof(results / "proofs" / "honest")
    assert read.manifest == manifest
    assert_same(read, prove(recipe, DATA))
    evidence = examine(read, DATA, replace(RECORDED, precision=recipe.precision), expected_root=manifest.root)
    assert all(zero(replay.error) and zero(replay.state_error) for replay in evidence.replays)
    assert len(evidence.replays) == 3
    verdict = strict(evidence, NO_SLACK, None)
    assert verdict.is_valid, verdict.rejected_by


def test_a_spoof_read_back_is_the_same_and_judged_the_same(spoof: MemoryProof, folder: Path) -> None:
    read = ParquetProof(open_location(folder))
    assert_same(read, spoof)
    ours, theirs = examine(read, DATA, RECORDED), examine(spoof, DATA, RECORDED)
    assert ours.replays == theirs.replays
    assert ours.survey == theirs.survey
    assert ours.computed_root == theirs.computed_root == read.root
    assert all(zero(replay.state_error) for replay in ours.replays)


@pytest.mark.parametrize("how", ["path", "string", "uri", "uri with a slash"])
def test_a_folder_copied_elsewhere_verifies_there(how: str, spoof: MemoryProof, pristine: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(pristine, tmp_path / "some where else" / "renamed #2"))
    uri = elsewhere.as_uri()
    ways: dict[str, str | Path] = {
        "path": elsewhere,
        "string": str(elsewhere),
        "uri": uri,
        "uri with a slash": f"{uri}/",
    }
    where = ways[how]
    read = ParquetProof(open_location(where))
    assert_same(read, spoof)
    assert examine(read, DATA, RECORDED).computed_root == spoof.root


def test_a_proof_in_an_object_store_is_the_same(spoof: MemoryProof) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory")
    filesystem = memory.MemoryFileSystem()
    filesystem.store.clear()
    results = Location(fs.PyFileSystem(fs.FSSpecHandler(filesystem)), "/results", "memory://results")
    for _ in range(2):  # replaced by itself
        assert_same(ParquetProof(write(spoof, results)), spoof)
    assert all(name.startswith("proofs/p/") for name, _ in results.files())


def test_two_readers_of_one_proof_do_not_disturb_each_other(spoof: MemoryProof, folder: Path) -> None:
    one, other = ParquetProof(open_location(folder)), ParquetProof(open_location(folder))
    one.batches(0, 2)
    assert_same(other, spoof)
    assert_same(one, spoof)


def test_sizes_by_part_add_up_to_the_files(spoof: MemoryProof, folder: Path) -> None:
    sizes = ParquetProof(open_location(folder)).manifest.sizes
    on_disk = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*.parquet")}
    assert sizes.total == sum(on_disk.values())
    assert sizes.points == on_disk["points.parquet"]
    assert sizes.indices_and_hashes == on_disk["batches.parquet"]
    tensors = [(kind, t.nbytes) for c in spoof.checkpoints for kind, t in c.tensors().items()]
    assert sizes.optimizer_state == sum(n for kind, n in tensors if kind.startswith("optimizer/"))
    assert sizes.weights == sum(n for kind, n in tensors if not kind.startswith("optimizer/"))


def test_the_manifest_says_what_generation_cost_and_where(folder: Path) -> None:
    manifest = ParquetProof(open_location(folder)).manifest
    assert manifest.generation == Cost(device_s=1.5, wall_s=0.5, gradient_evals=7)
    assert manifest.environment == {"torch": "2"}
    assert json.loads((folder / "manifest.json").read_text())["format"] == "raypol-proof"


def test_the_files_can_be_read_with_pyarrow_alone(spoof: MemoryProof, folder: Path) -> None:
    rows = pq.read_table(folder / "weights" / "step=3.parquet").to_pylist()
    assert {"kind", "name", "dtype", "shape", "data", "sha256"} == set(rows[0])
    row = next(row for row in rows if row["name"] == "0.weight" and row["kind"] == "parameter")
    array = np.frombuffer(row["data"], dtype="<f4").reshape(row["shape"])
    assert np.array_equal(array, spoof.checkpoints[1].parameters["0.weight"].numpy())
    assert row["sha256"] == hashing.tensor_digest(spoof.checkpoints[1].parameters["0.weight"])
    first = pq.read_table(folder / "batches.parquet").to_pylist()[0]
    assert first == {"step": 0, "indices": spoof.records[0].indices.tolist(), "sha256": spoof.records[0].sha256}
    own = pq.read_table(folder / "points.parquet").to_pylist()
    assert [row["position"] for row in own] == list(range(spoof.num_points))
    assert own[0]["pixels"] == spoof.all_points().pixels[0].numpy().tobytes()


# --- whole or not there --------------------------------------------------------------------------------------------


def everything_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("progress", ["nothing", "checkpoint", "batches", "points", "finished"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("replacing", [False, True])
def test_a_block_that_fails_leaves_nothing_behind(
    replacing: bool, error: type[BaseException], progress: str, spoof: MemoryProof, tmp_path: Path
) -> None:
    results = open_location(tmp_path)
    if replacing:
        write(spoof, results)
    before = everything_below(tmp_path)

    def fail() -> None:
        with new_proof(results, "p", spoof.recipe, len(DATA)) as writer:
            if progress != "nothing":
                writer.write_checkpoint(spoof.checkpoints[0])
            if progress in ("batches", "points", "finished"):
                writer.write_batches([spoof.records[0]] * 3000)  # flushed in part
            if progress in ("points", "finished"):
                writer.add_points(points(list(range(5000))))
            if progress == "finished":
                writer.finish(FREE, {})
            assert not (tmp_path / "proofs" / "p").exists() or replacing
            raise error

    with pytest.raises(error):
        fail()
    assert everything_below(tmp_path) == before
    assert not list((tmp_path / ".staging").iterdir())
    if replacing:
        assert_same(ParquetProof(results / "proofs" / "p"), spoof)
    else:
        assert not (tmp_path / "proofs").exists()


def test_a_block_that_forgets_to_finish_leaves_nothing_behind(spoof: MemoryProof, tmp_path: Path) -> None:
    def forget() -> None:
        with new_proof(open_location(tmp_path), "p", spoof.recipe, len(DATA)) as writer:
            writer.write_checkpoint(spoof.checkpoints[0])

    with pytest.raises(AssertionError, match="finish"):
        forget()
    assert everything_below(tmp_path) == []


def test_a_proof_is_replaced_as_a_whole(spoof: MemoryProof, tmp_path: Path) -> None:
    results = open_location(tmp_path)
    write(spoof, results)
    honest = prove(small_recipe(DATA, steps=2, interval=1), DATA)
    write(honest, results)
    assert_same(ParquetProof(results / "proofs" / "p"), honest)
    assert not (tmp_path / "proofs" / "p" / "points.parquet").exists()
    assert everything_below(tmp_path) == [
        "proofs/p/batches.parquet",
        "proofs/p/manifest.json",
        "proofs/p/weights/step=0.parquet",
        "proofs/p/weights/step=1.parquet",
        "proofs/p/weights/step=2.parquet",
    ]


def test_proofs_beside_each_other_do_not_touch(spoof: MemoryProof, tmp_path: Path) -> None:
    results = open_location(tmp_path)
    other = prove(small_recipe(DATA, seed=4), DATA)
    write(spoof, results, "a")
    write(other, results, "ab")
    write(spoof, results, "a")
    assert_same(ParquetProof(results / "proofs" / "ab"), other)


def test_a_tensor_of_a_kind_that_no_proof_records_is_named(spoof: MemoryProof, tmp_path: Path) -> None:
    odd = torch.zeros(3, dtype=torch.float8_e4m3fn)
    with new_proof(open_location(tmp_path), "p", spoof.recipe, len(DATA)) as writer:
        first = spoof.checkpoints[0]
        with pytest.raises(InputError, match=r"cannot record buffer/odd, of torch.float8_e4m3fn; possible: float16, "):
            writer.write_checkpoint(replace(first, buffers={**first.buffers, "odd": odd}))
        writer.finish(FREE, {})


def test_a_place_without_a_proof_is_said_to_be_one(tmp_path: Path) -> None:
    for where in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"RESULTS/proofs/<proof_id>.* no manifest.json"):
            ParquetProof(open_location(where))


def test_a_recipe_of_every_kind_survives_the_manifest(spoof: MemoryProof, tmp_path: Path) -> None:
    recipe: Recipe = replace(
        spoof.recipe,
        seed=2**62,
        threads=3,
        device="cuda",
        channels_last=False,
        transform=Transform(crop_padding=3, horizontal_flip=True, mean=(0.1, 1e-17), std=(1 / 3, 1e300)),
        optimizer=replace(spoof.recipe.optimizer, options={"lr": 0.1 + 0.2, "nesterov": True, "momentum": 1}),
        schedule=replace(spoof.recipe.schedule, name="MultiStepLR", options={"milestones": [1, 2], "gamma": 1e-300}),
        given={"body.weight": "ab" * 32},
    )
    results = open_location(tmp_path)
    with new_proof(results, "p", recipe, len(DATA)) as writer:
        writer.write_batches([])
        writer.finish(FREE, {})
    read = ParquetProof(results / "proofs" / "p").recipe
    assert read.canonical() == recipe.canonical()  # what the root binds
