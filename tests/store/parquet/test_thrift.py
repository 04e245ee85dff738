"""Structs that Arrow would read in another way are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.store.parquet.thrift import BINARY, BOOL, I32, I64, LIST, STRUCT, KnownFields, Thrift
from tests.store.parquet.forge import Tree, encode

NUMBERS = st.dictionaries(st.integers(1, 40), st.integers(-(2**31), 2**31 - 1), max_size=5)


def read(raw: bytes, known: KnownFields | None = None) -> Tree:
    return Thrift(raw).struct(known or {})


@given(NUMBERS, NUMBERS, st.binary(max_size=300), st.lists(st.integers(-9, 9), max_size=20), st.booleans())
def test_what_is_written_is_read(
    small: dict[int, int], inner: dict[int, int], text: bytes, many: list[int], truth: bool
) -> None:
    tree: dict[tuple[int, int], Any] = {(number, I32): value for number, value in small.items()}
    tree |= {(41, STRUCT): {(number, I64): value for number, value in inner.items()}}
    tree |= {(42, BINARY): text, (43, LIST): many, (44, BOOL): truth}
    thrift = Thrift(encode(tree) + b"and more")
    assert thrift.struct({}) == tree
    assert thrift.position == len(encode(tree))


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        (b"\x15\x02\x05\x02\x04\x00", {}),  # field 1 twice
        (b"\x10\x15\x02\x00", {}),  # an end that is none
        (b"\x15\x80\x80\x80\x80\x20\x00", {}),  # 32 bits that are 34
        (b"\x16\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x00", {}),  # 64 bits that are 65
        (b"\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", {}),  # a number without end
        (b"\x19\x28\x01a\x01b\x00", {1: (I32, {})}),  # a list of texts where Arrow reads numbers
        (b"\x1c\x19\x28\x01a\x01b\x00\x00", {1: (STRUCT, {1: (I32, {})})}),  # the same further inside
        (b"\x1d\x00", {}),  # an unknown type
        (b"\x05\x80\x80\x04\x02\x00", {}),  # field 32768
        (b"\x05\x01\x02\x00", {}),  # field -1
    ],
)
def test_what_arrow_reads_in_another_way_is_refused(raw: bytes, known: KnownFields) -> None:
    with pytest.raises((ValueError, IndexError)):
        read(raw, known)


def test_a_field_of_another_type_is_another_field() -> None:
    assert read(b"\x15\x02\x06\x02\x04\x00") == {(1, I32): 1, (1, I64): 2}
