"""Crafted intervals on their way from the workers that craft to the one that seals: one Parquet file per shard.

They never pass through the driver. A shard appears whole, so that a repeated job skips it.
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
from raypol.core.spoofing.scene import Crafted, CraftedBatch
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
    """Write a shard: one row per step, and in the file's metadata statistics and cost per interval."""
    rows: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    about: dict[str, Any] = {"shape": None, "stats": {}, "cost": {}}
    for made in crafted:
        inline = made.end is not None or made.start_state is not None
        assert not inline, "such intervals are crafted while sealing"
        if len(made.batches) != made.interval.num_steps:
            raise ValueError(
                f"steps {made.interval.start}..{made.interval.stop - 1}: expected {made.interval.num_steps} crafted "
                f"batches, the attack made {len(made.batches)}"
            )
        about["stats"][made.interval.index] = [asdict(stats) for stats in made.stats]
        about["cost"][made.interval.index] = asdict(made.cost)
        for batch in made.batches:
            rows["interval"].append(made.interval.index)
            rows["start"].append(made.interval.start)
            rows["stop"].append(made.interval.stop)
            rows["sources"].append(batch.sources)
            rows["labels"].append(batch.labels.numpy())
            rows["dtype"].append(None if batch.pixels is None else str(batch.pixels.dtype).removeprefix("torch."))
            rows["pixels"].append(None if batch.pixels is None else bytes(hashing.raw_bytes(batch.pixels)))
            if batch.pixels is not None:
                about["shape"] = list(batch.pixels.shape[1:])
    table = pa.table(rows, schema=_SCHEMA).replace_schema_metadata({b"raypol": json.dumps(about).encode()})
    with atomic_output(target) as stream:
        pq.write_table(table, stream, compression="zstd")


def read_shards(shards: Sequence[Location]) -> Iterator[Crafted]:
    """Crafted intervals of these shards, one at a time, in order."""
    for shard in shards:
        with shard.filesystem.open_input_file(shard.path) as stream:
            table = pq.read_table(stream)
        about = json.loads(table.schema.metadata[b"raypol"])
        rows = table.to_pylist()
        while rows:
            index, start, stop = rows[0]["interval"], rows[0]["start"], rows[0]["stop"]
            own, rows = rows[: stop - start], rows[stop - start :]
            yield Crafted(
                interval=Interval(index, start, stop),
                batches=[_batch(row, about["shape"]) for row in own],
                stats=tuple(CraftStats(**stats) for stats in about["stats"][str(index)]),
                cost=Cost(**about["cost"][str(index)]),
            )


def read_shard_costs(shard: Location) -> list[tuple[Cost, tuple[CraftStats, ...]]]:
    """Cost and statistics of each interval of a shard; its points are not read."""
    with shard.filesystem.open_input_file(shard.path) as stream:
        about = json.loads(pq.read_schema(stream).metadata[b"raypol"])
    return [
        (Cost(**cost), tuple(CraftStats(**stats) for stats in about["stats"][index]))
        for index, cost in about["cost"].items()
    ]


def write_sealing(target: Location, cost: Cost, stats: Sequence[CraftStats]) -> None:
    """Record that a spoof is sealed, with cost and statistics; apart from the proof, which a verifier sees."""
    with atomic_output(target) as stream:
        stream.write(json.dumps({"cost": asdict(cost), "stats": [asdict(one) for one in stats]}).encode())


def read_sealing(record: Location) -> tuple[Cost, tuple[CraftStats, ...]]:
    """Read what `write_sealing` wrote."""
    with record.filesystem.open_input_file(record.path) as stream:
        about = json.loads(stream.read())
    return Cost(**about["cost"]), tuple(CraftStats(**stats) for stats in about["stats"])


def _batch(row: dict[str, Any], shape: list[int]) -> CraftedBatch:
    sources = np.asarray(row["sources"], dtype=np.int64)
    pixels = None
    if row["pixels"] is not None:
        flat = torch.frombuffer(bytearray(row["pixels"]), dtype=getattr(torch, row["dtype"]))
        pixels = flat.view(len(sources), *shape)
    return CraftedBatch(sources, torch.tensor(row["labels"], dtype=torch.int64), pixels)
