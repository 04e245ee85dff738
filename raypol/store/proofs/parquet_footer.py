"""Memory that the row groups of a Parquet file would take, read from its footer before anything else.

pyarrow shows the same numbers (`metadata.row_group(i).column(j)`), but a forged footer makes it end the whole process
instead of raising: a C++ exception meets a function that may not throw. The footer is thrift, compact protocol.
"""

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from raypol.core.errors import InputError

_MAX_FOOTER_BYTES: Final = 8 << 20
_MAX_VALUES: Final = 2_000_000
_MAX_DEPTH: Final = 16
# Encodings of values, RLE (3) of levels, and a codec. A dictionary could repeat a value of any size for a few bits.
_PLAIN, _RLE, _UNCOMPRESSED = 0, 3, 0


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group, as the file itself describes it."""

    num_rows: int
    unfolded_bytes: int
    """Memory that its columns take, in bytes; -1 if the encoding of a column of free length does not tell."""


def read_row_groups(file: pa.NativeFile, schema: pa.Schema, *, where: str) -> list[RowGroup]:
    """Read the row groups of an open Parquet file.

    Args:
        file: open for reading; its position is changed.
        schema: its known columns.
        where: its name in messages.

    Raises:
        InputError: no footer, or a damaged one.
    """
    size = file.size()
    file.seek(max(size - 8, 0))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if len(tail) < 8 or tail[4:] != b"PAR1" or length > min(size - 8, _MAX_FOOTER_BYTES):
        raise InputError(f"{where}: not a readable Parquet file (no footer of at most {_MAX_FOOTER_BYTES} bytes)")
    file.seek(size - 8 - length)
    footer = file.read(length)
    try:
        return [_row_group(group, schema) for group in _Thrift(footer).struct()[4]]
    except (IndexError, KeyError, TypeError, ValueError) as err:
        raise InputError(f"{where}: not a readable Parquet file (damaged footer)") from err


def _row_group(group: dict[int, Any], schema: pa.Schema) -> RowGroup:
    num_rows, chunks = group[3], [chunk[3] for chunk in group[1]]
    if len(chunks) != len(schema) or num_rows < 0:
        raise ValueError
    total = 0
    for chunk, field in zip(chunks, schema, strict=True):
        width = _width(field.type)
        encodings, codec, num_values, num_bytes = chunk[2], chunk[4], chunk[5], chunk[6]
        if num_values < 0 or num_bytes < 0:
            raise ValueError
        if width is not None:
            total += max(num_values, num_rows) * width
        elif codec == _UNCOMPRESSED and {_PLAIN, _RLE}.issuperset(encodings):
            total += num_bytes
        else:
            return RowGroup(num_rows, -1)
    return RowGroup(num_rows, total)


def _width(kind: pa.DataType) -> int | None:
    """Bytes of one value; None for values of any length."""
    if pa.types.is_list(kind):
        return _width(kind.value_type)
    if pa.types.is_fixed_size_binary(kind):
        return int(kind.byte_width)
    return int(kind.bit_width) // 8 if pa.types.is_integer(kind) else None


class _Thrift:
    """Reader of thrift's compact protocol: structs as dictionaries by field number. Raises what indexing raises."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._left = _MAX_VALUES

    def struct(self, depth: int = 0) -> dict[int, Any]:
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth + 1)
        return found

    def _value(self, kind: int, depth: int) -> Any:  # noqa: ANN401 - any of thrift's types
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise ValueError
        match kind:
            case 1 | 2 | 3:  # booleans in lists take a byte
                return self._byte()
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._varint())
            case 9 | 10:
                head = self._byte()
                size = head >> 4 if head >> 4 < 15 else self._varint()
                return [self._value(head & 15, depth + 1) for _ in range(size)]
            case 11:
                size = self._varint()
                kinds = self._byte() if size else 0
                return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(size)]
            case 12:
                return self.struct(depth + 1)
            case _:
                raise ValueError

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        begin, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise IndexError
        return self._data[begin : self._at]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)  # zigzag
