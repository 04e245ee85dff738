"""Pages of a Parquet file, held against its footer before any of them is decoded.

A footer may be honest and its pages not: a page of a few bytes that unfolds to gigabytes is decompressed as a whole, and what its
values do not need is dropped in silence.
"""

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from raypol.core.errors import InputError
from raypol.store.parquet.footer import PLAIN, RLE, UNCOMPRESSED, Chunk, RowGroup
from raypol.store.parquet.thrift import I32, STRUCT, Thrift

CODECS: Final = {0: "none", 6: "zstd"}
"""Codecs that raypol writes."""
_ENCODINGS: Final = {PLAIN, 2, RLE, 8}
"""Of values: plain, numbers in a dictionary, and runs of truths."""
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
"""Types of pages."""
_BLOCK: Final = 1 << 16
_MAX_HEADER: Final = 1 << 20
_MAX_PAGES: Final = 100_000
_BYTES_BESIDE: Final = 8
"""Of a value besides itself and its dictionary's entry: its place in the dictionary and its levels."""
_PAGE_BYTES_BESIDE: Final = 64


def check_pages(file: pa.NativeFile, group: RowGroup, *, where: str, codecs: Mapping[int, str] = CODECS) -> None:
    """Walk the page headers of a row group; nothing is decompressed.

    Args:
        file: open for reading; its position is not changed.
        group: from its footer.
        where: its name in messages.
        codecs: those allowed.

    Raises:
        InputError: a page that is not what the footer says, would unfold to more than its values need, or is stored in a way
            that raypol does not write.
    """
    headers = _Headers(file)
    for number, chunk in enumerate(group.chunks):
        try:
            problem = _problem(headers, chunk, codecs)
        except (IndexError, KeyError, TypeError, ValueError):
            problem = "a damaged page header"
        if problem:
            raise InputError(f"{where}: not a readable Parquet file (column {number}: {problem})")


def _problem(headers: "_Headers", chunk: Chunk, codecs: Mapping[int, str]) -> str:
    """What is wrong with the pages of a column; "" if nothing is."""
    if chunk.codec not in codecs:
        return f"codec {chunk.codec}, expected {' or '.join(codecs.values())}"
    at, values, unfolded, pages = chunk.start, 0, 0, 0
    while values < chunk.num_values:
        header, length = headers.read(at, chunk.stop)
        kind, size, packed = header[1, I32], header[2, I32], header[3, I32]
        at += length + packed
        pages, unfolded = pages + 1, unfolded + size
        if size < 0 or packed < 0 or at > chunk.stop:
            return "a page that ends behind its column"
        if chunk.codec == UNCOMPRESSED and size != packed:
            return f"a page of {packed} bytes that would unfold to {size} without compression"
        most = chunk.unfolded_bytes
        if chunk.width is not None:
            most = min(most, chunk.num_values * (2 * chunk.width + _BYTES_BESIDE) + pages * _PAGE_BYTES_BESIDE)
        if unfolded > most:
            return f"pages would unfold to {unfolded} bytes, their values need at most {most}"
        if kind in (_DATA, _DATA_2):
            about = header[5 if kind == _DATA else 8, STRUCT]
            if about[1, I32] < 1 or pages > _MAX_PAGES:
                return "pages without values"
            values += about[1, I32]
            encoding = about[2 if kind == _DATA else 4, I32]
        elif kind == _DICTIONARY and not chunk.is_plain and pages == 1:
            encoding = header[7, STRUCT][2, I32]
        else:
            return f"a page of type {kind}"
        if encoding not in _ENCODINGS or (chunk.is_plain and encoding != PLAIN):
            return f"values in encoding {encoding}"
    return "" if values == chunk.num_values else f"{values} values, the footer says {chunk.num_values}"


class _Headers:
    """Page headers of a file, of which blocks are read as needed."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._start, self._block = 0, memoryview(b"")

    def read(self, at: int, stop: int) -> tuple[dict[tuple[int, int], Any], int]:
        """The header at a position before `stop`, and its length."""
        found = self._parsed(at, stop)
        for size in (_BLOCK, _MAX_HEADER):
            if found is None:
                self._start, self._block = at, memoryview(self._file.read_at(min(size, max(stop - at, 0)), at))
                found = self._parsed(at, stop)
        if found is None:
            raise IndexError("no whole header")
        return found

    def _parsed(self, at: int, stop: int) -> tuple[dict[tuple[int, int], Any], int] | None:
        """The header, None if the block does not hold it."""
        begin = at - self._start
        if not 0 <= begin < len(self._block):
            return None
        thrift = Thrift(self._block[begin : begin + stop - at])
        try:
            return thrift.struct({}), thrift.position
        except IndexError:
            return None
