"""Recognising the file of one row that raypol writes by its footer, without parsing it: such a file takes no more than its size.

Thousands of them are read together in little time, whatever is in them: one row, nothing compressed. Any other file is looked at
more closely, which takes several times longer.
"""

import io
import re
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from raypol.store.location import Location
from raypol.store.parquet.thrift import I64, Thrift
from raypol.store.results.columns import schema_of

_NUMBER: Final = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_ONE: Final = b"\x02"
_AT_MOST_ONE: Final = rb"[\x00\x02]"
"""Number of rows, of values, of values that are null."""


def is_plain_row(file: Location, row_type: type, options: tuple[tuple[str, Any], ...]) -> bool:
    """Whether a file has one row, with the columns of this version of raypol, and was written with these options."""
    pattern = _pattern(row_type, options)
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            size = stream.size()
            tail = stream.read_at(8, max(size - 8, 0))
            length = int.from_bytes(tail[:4], "little")
            if len(tail) < 8 or tail[4:] != b"PAR1" or not length <= min(size - 8, 2 * len(pattern.pattern)):
                return False
            return pattern.fullmatch(stream.read_at(length, size - 8 - length)) is not None
    except (OSError, pa.ArrowException):
        return False


@lru_cache(maxsize=8)
def _pattern(row_type: type, options: tuple[tuple[str, Any], ...]) -> re.Pattern[bytes]:
    """Footer of such a file, with any numbers for places and sizes."""
    schema, stream = schema_of(row_type), io.BytesIO()
    pq.write_table(pa.table([pa.nulls(1, one.type) for one in schema], schema=schema), stream, **dict(options))
    raw = stream.getvalue()
    footer = raw[-8 - int.from_bytes(raw[-8:-4], "little") : -8]
    reader = _Places(footer)
    reader.struct({})
    parts, at = [], 0
    for begin, end in reader.places:
        parts += [re.escape(footer[at:begin]), _AT_MOST_ONE if footer[begin:end] == _ONE else _NUMBER]
        at = end
    return re.compile(b"".join([*parts, re.escape(footer[at:])]), re.DOTALL)


class _Places(Thrift):
    """Where the numbers of 64 bits lie."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.places: list[tuple[int, int]] = []

    def _whole(self, kind: int) -> int:
        begin = self.position
        value = super()._whole(kind)
        if kind == I64:
            self.places.append((begin, self.position))
        return value
