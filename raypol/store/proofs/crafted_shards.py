"""Crafted intervals on their way from the actors that craft to the one that seals: one Parquet file per shard.

They never pass through the driver. A shard that is there is complete, so a repeated job skips it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raypol.core import hashing
from raypol.core.proof import Cost, Interval
from raypol.core.spoofing.method import Crafted, CraftedBatch
from raypol.core.spoofing.search import CraftStats
from raypol.store.location import Location, atomic_output

_SCHEMA = pa.schema(
    [
        ("interval", pa.int64()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("sources", pa.list_(pa.int64())),
        ("labels", pa.list_(pa.int64())),
        ("dtype", pa.string()),
        ("pixels", pa.large_binary()),
    ]
)


def write_shard(target: Location, crafted: Sequence[Crafted]) -> None:
    """Write one shard: a row per step; statistics and costs per interval in the file's metadata."""
    rows: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    notes: dict[str, Any] = {"shape": None, "stats": {}, "cost": {}}
    for made in crafted:
        inline = made.follow or made.start_state is not None
        assert not inline, "such intervals are crafted while sealing"
        if len(made.batches) != made.interval.num_steps:
            raise ValueError(
                f"steps {made.interval.start}..{made.interval.stop - 1}: expected {made.interval.num_steps} crafted "
                f"batches, the attack made {len(made.batches)}"
            )
        notes["stats"][made.interval.index] = [asdict(stats) for stats in made.stats]
        notes["cost"][made.interval.index] = asdict(made.cost)
        for batch in made.batches:
            rows["interval"].append(made.interval.index)
            rows["start"].append(made.interval.start)
            rows["stop"].append(made.interval.stop)
            rows["sources"].append(batch.sources)
            rows["labels"].append(batch.labels.numpy())
            rows["dtype"].append(None if batch.pixels is None else str(batch.pixels.dtype).removeprefix("torch."))
            rows["pixels"].append(None if batch.pixels is None else bytes(hashing.raw_bytes(batch.pixels)))
            if batch.pixels is not None:
                notes["shape"] = list(batch.pixels.shape[1:])
    table = pa.table(rows, schema=_SCHEMA).replace_schema_metadata({b"raypol": json.dumps(notes).encode()})
    with atomic_output(target) as stream:
        pq.write_table(table, stream, compression="zstd")


def read_shards(shards: Sequence[Location]) -> Iterator[Crafted]:
    """The crafted intervals of shards that are given in order, one at a time."""
    for shard in shards:
        with shard.filesystem.open_input_file(shard.path) as stream:
            table = pq.read_table(stream)
        notes = json.loads(table.schema.metadata[b"raypol"])
        rows = table.to_pylist()
        while rows:
            index, start, stop = rows[0]["interval"], rows[0]["start"], rows[0]["stop"]
            own, rows = rows[: stop - start], rows[stop - start :]
            yield Crafted(
                interval=Interval(index, start, stop),
                batches=[_batch(row, notes) for row in own],
                stats=tuple(CraftStats(**stats) for stats in notes["stats"][str(index)]),
                cost=Cost(**notes["cost"][str(index)]),
            )


def read_notes(shard: Location) -> list[tuple[Cost, tuple[CraftStats, ...]]]:
    """Cost and statistics of a shard's intervals, without its points."""
    with shard.filesystem.open_input_file(shard.path) as stream:
        notes = json.loads(pq.read_schema(stream).metadata[b"raypol"])
    return [
        (Cost(**cost), tuple(CraftStats(**stats) for stats in notes["stats"][index]))
        for index, cost in notes["cost"].items()
    ]


def write_receipt(target: Location, cost: Cost, stats: Sequence[CraftStats]) -> None:
    """Say that a spoof is sealed, and what that cost and did; kept apart from the proof, which a verifier sees."""
    with atomic_output(target) as stream:
        stream.write(json.dumps({"cost": asdict(cost), "stats": [asdict(one) for one in stats]}).encode())


def read_receipt(receipt: Location) -> tuple[Cost, tuple[CraftStats, ...]]:
    """What `write_receipt` wrote."""
    with receipt.filesystem.open_input_file(receipt.path) as stream:
        notes = json.loads(stream.read())
    return Cost(**notes["cost"]), tuple(CraftStats(**stats) for stats in notes["stats"])


def _batch(row: dict[str, Any], notes: dict[str, Any]) -> CraftedBatch:
    sources = np.asarray(row["sources"], dtype=np.int64)
    pixels = None
    if row["pixels"] is not None:
        flat = torch.frombuffer(bytearray(row["pixels"]), dtype=getattr(torch, row["dtype"]))
        pixels = flat.view(len(sources), *notes["shape"])
    return CraftedBatch(sources, torch.tensor(row["labels"], dtype=torch.int64), pixels)
