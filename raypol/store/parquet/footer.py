"""Memory that the row groups of a Parquet file would take, read from its footer before anything else.

pyarrow shows the same numbers (`metadata.row_group(i).column(j)`), but a forged footer makes it end the whole process
instead of raising: a C++ exception meets a function that may not throw.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from raypol.core.errors import InputError
from raypol.store.parquet.thrift import BINARY, I32, I64, LIST, STRUCT, KnownFields, Thrift

_MAX_FOOTER_BYTES: Final = 8 << 20
# Encodings of values, RLE (3) of levels, and a codec. A dictionary could repeat a value of any size for a few bits.
PLAIN: Final = 0
UNCOMPRESSED: Final = 0
RLE: Final = 3
_WIDTHS: Final = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8}
"""Bytes of a value by physical type; BYTE_ARRAY is of any length."""
_FIXED_BYTES: Final = 7
_MAX_GROUPS: Final = 100

_SIZES: Final[KnownFields] = {2: (I64, {}), 3: (I64, {})}
_COLUMN: Final[KnownFields] = {
    2: (I32, {}),
    3: (BINARY, {}),
    8: (STRUCT, {}),
    13: (STRUCT, {}),
    16: (STRUCT, _SIZES),
    17: (STRUCT, {2: (I32, {})}),
}
_GROUP: Final[KnownFields] = {1: (STRUCT, {3: (STRUCT, _COLUMN)}), 4: (STRUCT, {})}
_FOOTER: Final[KnownFields] = {2: (STRUCT, {}), 4: (STRUCT, _GROUP), 5: (STRUCT, {}), 7: (STRUCT, {})}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column of a row group, as the footer describes it."""

    start: int
    stop: int
    """Where its pages lie in the file."""
    codec: int
    num_values: int
    width: int | None
    """Bytes of one value; None for values of any length."""
    unfolded_bytes: int
    """Of its pages, uncompressed."""
    is_plain: bool
    """Values of any length, each of which is in the file as it is."""

    @property
    def most_bytes(self) -> int:
        """Bound on the memory that its values take."""
        if self.width is not None:
            return self.num_values * self.width
        return self.unfolded_bytes * (1 if self.is_plain else max(self.num_values, 1))


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group, as the file itself describes it."""

    num_rows: int
    unfolded_bytes: int
    """Memory that its columns take, in bytes; -1 if the encoding of a column of free length does not tell."""
    chunks: tuple[Chunk, ...] = field(default=(), compare=False, repr=False)


def read_row_groups(file: pa.NativeFile, *, where: str) -> list[RowGroup]:
    """Read the row groups of an open Parquet file.

    Args:
        file: open for reading; its position is not changed.
        where: its name in messages.

    Raises:
        InputError: no footer, or a damaged one.
    """
    size = file.size()
    tail = file.read_at(8, max(size - 8, 0))
    length = int.from_bytes(tail[:4], "little")
    if len(tail) < 8 or tail[4:] != b"PAR1" or length > min(size - 8, _MAX_FOOTER_BYTES):
        raise InputError(f"{where}: not a readable Parquet file (no footer of at most {_MAX_FOOTER_BYTES} bytes)")
    footer = file.read_at(length, size - 8 - length)
    try:
        found = Thrift(footer).struct(_FOOTER)
        widths = _widths(found[2, LIST])
        groups = [_row_group(group, widths) for group in found[4, LIST]]
    except (IndexError, KeyError, TypeError, ValueError) as err:
        raise InputError(f"{where}: not a readable Parquet file (damaged footer)") from err
    if sum(chunk.stop - chunk.start for group in groups for chunk in group.chunks) > size:
        raise InputError(f"{where}: not a readable Parquet file (its row groups share their bytes)")
    return groups


def _row_group(group: dict[tuple[int, int], Any], widths: Sequence[int | None]) -> RowGroup:
    num_rows, columns = group[3, I64], group[1, LIST]
    if len(columns) != len(widths) or num_rows < 0:
        raise ValueError
    total, chunks, is_told = 0, [], True
    for column, width in zip(columns, widths, strict=True):
        if (1, BINARY) in column or (8, STRUCT) in column:  # the pages lie in another file, or are encrypted
            raise ValueError
        about = column[3, STRUCT]
        encodings, codec, num_values = about[2, LIST], about[4, I32], about[5, I64]
        unfolded, packed, start = about[6, I64], about[7, I64], about[9, I64]
        if 0 < about.get((11, I64), 0) < start:  # the dictionary
            start = about[11, I64]
        if min(num_values, unfolded, packed, start, width or 0) < 0:
            raise ValueError
        is_plain = width is None and codec == UNCOMPRESSED and {PLAIN, RLE}.issuperset(encodings)
        chunks.append(Chunk(start, start + packed, codec, num_values, width, unfolded, is_plain))
        is_told &= is_plain or width is not None
        total += unfolded if width is None else max(num_values, num_rows) * width
    return RowGroup(num_rows, total if is_told else -1, tuple(chunks))


def _widths(elements: Sequence[dict[tuple[int, int], Any]]) -> list[int | None]:
    """Bytes of a value of each column; None for values of any length."""
    leaves = [one for one in elements if not one.get((5, I32))]
    if len(elements) - len(leaves) > _MAX_GROUPS:  # Arrow follows groups in groups on the C stack
        raise ValueError
    return [one[2, I32] if one[1, I32] == _FIXED_BYTES else _WIDTHS.get(one[1, I32]) for one in leaves]
