"""Parquet files by hand: footers and page headers with any numbers in them."""

import struct
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from raypol.store.parquet.thrift import BINARY, I32, I64, LIST, STRUCT, Thrift

Tree = dict[tuple[int, int], Any]
ZSTD = 6


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def whole(value: int) -> bytes:
    return varint(value * 2 if value >= 0 else -value * 2 - 1)


def encode(tree: Tree) -> bytes:
    """A struct in thrift's compact protocol."""
    out, before = b"", 0
    for (number, kind), value in sorted(tree.items()):
        short = 0 < number - before < 16
        code = (1 if value else 2) if kind == 1 else kind
        out += bytes([(number - before) << 4 | code]) if short else bytes([code]) + whole(number)
        out, before = out + (b"" if kind == 1 else _value(kind, value)), number
    return out + b"\0"


def _value(kind: int, value: Any) -> bytes:  # noqa: ANN401 - any of the types
    if kind in (I32, I64):
        return whole(value)
    if kind == BINARY:
        return varint(len(value)) + bytes(value)
    if kind == STRUCT:
        return encode(value)
    assert kind == LIST, kind
    inside = next(({int: I32, bytes: BINARY, dict: STRUCT}[type(one)] for one in value), I32)
    head = bytes([len(value) << 4 | inside]) if len(value) < 15 else bytes([0xF0 | inside]) + varint(len(value))
    return head + b"".join(_value(inside, one) for one in value)


def footer_of(raw: bytes) -> Tree:
    """The footer of a Parquet file, without statistics."""
    size = int.from_bytes(raw[-8:-4], "little")
    found = Thrift(raw[-8 - size : -8]).struct({})
    for group in found[4, LIST]:
        for column in group[1, LIST]:
            about = column[3, STRUCT]
            column[3, STRUCT] = {key: about[key] for key in about if key[0] <= 11}
    return found


def with_footer(body: bytes, footer: Tree) -> bytes:
    packed = encode(footer)
    return body + packed + len(packed).to_bytes(4, "little") + b"PAR1"


def page(
    values: Sequence[int],
    *,
    beside: int = 0,
    codec: int = ZSTD,
    kind: int = 0,
    encoding: int = 0,
    changed: Tree | None = None,
    levels: bytes = b"",
) -> bytes:
    """A data page of 64-bit numbers, followed inside by this many zeros; `changed` are fields of its header."""
    raw = levels + struct.pack(f"<{len(values)}q", *values) + bytes(beside)
    packed = pa.Codec("zstd").compress(raw, asbytes=True) if codec == ZSTD else raw
    about = {(1, I32): len(values), (2, I32): encoding, (3, I32): 3, (4, I32): 3}
    header: Tree = {(1, I32): kind, (2, I32): len(raw), (3, I32): len(packed), (5, STRUCT): about, **(changed or {})}
    return encode(header) + packed


def one_column(pages: Sequence[bytes], num_values: int, *, codec: int = ZSTD, **changed: int) -> bytes:
    """A file of one required column of 64-bit numbers."""
    start, body = 4, b"PAR1" + b"".join(pages)
    about: Tree = {
        (1, I32): 2,
        (2, LIST): [0, 3],
        (3, LIST): [b"x"],
        (4, I32): codec,
        (5, I64): num_values,
        (6, I64): changed.get("unfolded", 1 << 30),
        (7, I64): changed.get("packed", len(body) - start),
        (9, I64): changed.get("start", start),
    }
    column: Tree = {(2, I64): start, (3, STRUCT): about}
    group: Tree = {(1, LIST): [column], (2, I64): len(body), (3, I64): num_values}
    schema: list[Tree] = [
        {(4, BINARY): b"schema", (5, I32): 1},
        {(1, I32): 2, (3, I32): 0, (4, BINARY): b"x"},
    ]
    return with_footer(body, {(1, I32): 2, (2, LIST): schema, (3, I64): num_values, (4, LIST): [group]})


def with_column(raw: bytes, number: int, pages: Sequence[bytes]) -> bytes:
    """A file of one row group with other pages in one of its columns."""
    footer = footer_of(raw)
    body = raw[: -8 - int.from_bytes(raw[-8:-4], "little")]
    about = footer[4, LIST][0][1, LIST][number][3, STRUCT]
    about[7, I64], about[9, I64] = sum(map(len, pages)), len(body)
    about.pop((11, I64), None)
    return with_footer(body + b"".join(pages), footer)
