"""Crafted intervals on their way to the sealer: bit for bit, in order, whole or not at all."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.proof import Checkpoint, Cost, Interval
from raypol.core.spoofing.scene import Crafted, CraftedBatch
from raypol.core.spoofing.search import CraftStats
from raypol.store.location import open_location
from raypol.store.proofs.crafted_shards import read_shards, write_shard
from tests.scenes import bits

B = 3
STATS = CraftStats(
    loss_before=2.5,
    loss_after=0.1,
    grad_norm2_before=1e-300,
    grad_norm2_after=1 / 3,
    perturbation_norm2=7.0,
    perturbation_linf=8 / 255,
    retries=2,
    accepted=True,
)


def batch(kind: str, seed: int = 0) -> CraftedBatch:
    rng = torch.Generator().manual_seed(seed)
    sources = torch.randint(0, 1000, (B,), generator=rng).numpy()
    labels = torch.randint(0, 10, (B,), generator=rng)
    pixels = None
    if kind == "uint8":
        pixels = torch.randint(0, 256, (B, 2, 4, 5), generator=rng, dtype=torch.uint8)
    elif kind == "float32":
        pixels = torch.rand((B, 2, 4, 5), generator=rng)
        pixels[0, 0, 0, :4] = torch.tensor([math.nan, math.inf, -0.0, 1e-45])
    elif kind == "strided":
        pixels = torch.rand((B, 4, 5, 2), generator=rng).permute(0, 3, 1, 2)
    return CraftedBatch(sources, labels, pixels)


def crafted(index: int, kinds: Sequence[str], interval: int = 2) -> Crafted:
    start = index * interval
    return Crafted(
        interval=Interval(index, start, start + len(kinds)),
        batches=[batch(kind, seed=start + i) for i, kind in enumerate(kinds)],
        stats=(replace(STATS, retries=index), STATS) if index % 2 else (),
        cost=Cost(device_s=0.1 * index, wall_s=1 / 3, gradient_evals=index),
    )


def assert_same(found: Crafted, made: Crafted) -> None:
    assert (found.interval, found.stats, found.cost) == (made.interval, made.stats, made.cost)
    assert found.end is None
    assert found.start_state is None
    for one, other in zip(found.batches, made.batches, strict=True):
        assert np.array_equal(one.sources, other.sources)
        assert one.sources.dtype == np.int64
        assert torch.equal(one.labels, other.labels)
        assert one.labels.dtype == torch.int64
        if one.pixels is None or other.pixels is None:
            assert one.pixels is other.pixels
        else:
            assert bits(one.pixels) == bits(other.pixels)


END = Checkpoint(step=1, parameters={}, buffers={}, optimizer_state={})
KINDS = ("none", "uint8", "float32", "strided")


@given(
    shapes=st.lists(st.lists(st.sampled_from(KINDS), min_size=2, max_size=2), min_size=1, max_size=5),
    last=st.lists(st.sampled_from(KINDS), min_size=1, max_size=2),
    cut=st.integers(0, 6),
)
def test_what_is_read_is_what_was_written_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[str]], last: list[str], cut: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "shards"
    folder.mkdir(exist_ok=True)
    made = [crafted(i, kinds) for i, kinds in enumerate([*shapes, last])]
    places = [open_location(folder / name) for name in ("a.parquet", "b.parquet")]
    for place, part in zip(places, (made[:cut], made[cut:]), strict=True):
        write_shard(place, part)
    found = list(read_shards(places))
    assert len(found) == len(made)
    for one, other in zip(found, made, strict=True):
        assert_same(one, other)
    assert sorted(path.name for path in folder.iterdir()) == ["a.parquet", "b.parquet"]


def test_points_that_were_read_can_be_written_to(tmp_path: Path) -> None:
    place = open_location(tmp_path / "a.parquet")
    write_shard(place, [crafted(0, ["uint8"])])
    (found,) = read_shards([place])
    pixels = found.batches[0].pixels
    assert pixels is not None
    pixels.zero_()
    found.batches[0].sources[0] = 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0])
def test_statistics_that_are_no_numbers_survive(tmp_path: Path, value: float) -> None:
    place = open_location(tmp_path / "a.parquet")
    write_shard(place, [replace(crafted(1, ["none"]), stats=(replace(STATS, loss_after=value),))])
    (found,) = read_shards([place])
    assert repr(found.stats[0].loss_after) == repr(value)


@pytest.mark.parametrize("kinds", [[], ["none"], ["none"] * 3])
def test_an_attack_that_makes_another_number_of_batches_is_told_so(tmp_path: Path, kinds: list[str]) -> None:
    made = replace(crafted(1, kinds), interval=Interval(1, 2, 4))
    with pytest.raises(ValueError, match=rf"steps 2\.\.3: expected 2 crafted batches, the attack made {len(kinds)}"):
        write_shard(open_location(tmp_path / "a.parquet"), [crafted(0, ["none", "none"]), made])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"end": END}, {"start_state": {}}])
def test_intervals_that_need_the_one_before_are_not_stored(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(AssertionError, match="while sealing"):
        write_shard(open_location(tmp_path / "a.parquet"), [replace(crafted(0, ["none"]), **change)])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_shard_written_again_is_replaced(tmp_path: Path) -> None:
    place = open_location(tmp_path / "a.parquet")
    for kinds in (["uint8", "uint8"], ["none"]):
        write_shard(place, [crafted(0, kinds)])
    (found,) = read_shards([place])
    assert_same(found, crafted(0, ["none"]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_shard_is_plain_parquet(tmp_path: Path) -> None:
    write_shard(open_location(tmp_path / "a.parquet"), [crafted(1, ["uint8", "none"])])
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.num_rows == 2
    assert table.column("start").to_pylist() == [2, 2]
    assert set(json.loads(table.schema.metadata[b"raypol"])) == {"shape", "stats", "cost"}


def test_shards_are_read_one_at_a_time(tmp_path: Path) -> None:
    write_shard(open_location(tmp_path / "a.parquet"), [crafted(0, ["none"])])
    read = read_shards([open_location(tmp_path / "a.parquet"), open_location(tmp_path / "not there yet")])
    assert next(read).interval.index == 0
    with pytest.raises(FileNotFoundError):
        next(read)
