"""Thrift's compact protocol, of which the footers and page headers of Parquet are made, read as Arrow reads it or not at all."""

from collections.abc import Mapping
from typing import Any, Final

_MAX_VALUES: Final = 2_000_000
_MAX_DEPTH: Final = 16
_MAX_FIELD: Final = 32767
"""Numbers of fields have 16 bits."""

_FALSE: Final = 2
BOOL, I32, I64, BINARY, LIST, STRUCT = 1, 5, 6, 8, 9, 12
"""Types of fields."""
_WHOLE: Final = {4: 16, I32: 32, I64: 64}
"""Bits of whole numbers by type."""

KnownFields = Mapping[int, "tuple[int, KnownFields]"]
"""Known fields of a struct that hold lists or structs: type of the list's elements, or of the field, and their own layout."""


class Thrift:
    """Reader of structs as dictionaries by (field number, type). Raises what indexing raises, or ValueError.

    Arrow takes a field of another type than the known one for unknown, and ignores it: hence the type in the key. It trusts the
    known type of a list's elements whatever the file says, so those must agree, and cuts numbers that are too long.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.position = 0
        self._left = _MAX_VALUES

    def struct(self, known: KnownFields, depth: int = 0) -> dict[tuple[int, int], Any]:
        """Read a struct.

        Args:
            known: its known fields.
            depth: of structs around it.
        """
        found: dict[tuple[int, int], Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._whole(4)
            kind = head & 15
            field = (number, BOOL if kind == _FALSE else kind)
            self._left -= 1
            if field in found or not 0 <= number <= _MAX_FIELD or self._left < 0:
                raise ValueError(f"field {number}, twice or too many")
            if kind in _WHOLE:
                found[field] = self._whole(kind)
            elif kind in (BOOL, _FALSE):
                found[field] = kind == BOOL
            else:
                found[field] = self._value(kind, depth + 1, known.get(number))
        return found

    def _value(self, kind: int, depth: int, known: "tuple[int, KnownFields] | None" = None) -> Any:  # noqa: ANN401 - any type
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise ValueError("too many values")
        match kind:
            case 1 | 2 | 3:  # booleans in lists take a byte
                return self._byte()
            case 4 | 5 | 6:
                return self._whole(kind)
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._varint(32))
            case 9 | 10:
                head = self._byte()
                size = head >> 4 if head >> 4 < 15 else self._varint(32)
                if known is not None and size and head & 15 != known[0]:
                    raise ValueError("a list of another type")
                inside = (STRUCT, known[1]) if known is not None else None
                return [self._value(head & 15, depth + 1, inside) for _ in range(size)]
            case 11:
                size = self._varint(32)
                kinds = self._byte() if size else 0
                return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(size)]
            case 12:
                return self.struct(known[1] if known is not None else {}, depth + 1)
            case _:
                raise ValueError(f"type {kind}")

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _bytes(self, size: int) -> bytes:
        begin, self.position = self.position, self.position + size
        if self.position > len(self._data):
            raise IndexError("end of the data")
        return bytes(self._data[begin : self.position])

    def _varint(self, bits: int) -> int:
        byte = self._data[self.position]
        if byte < 128:  # nearly all are
            self.position += 1
            return byte
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                if value >> bits:
                    break
                return value
        raise ValueError("a number that is too long")

    def _whole(self, kind: int) -> int:
        value = self._varint(_WHOLE[kind])
        return (value >> 1) ^ -(value & 1)  # zigzag
