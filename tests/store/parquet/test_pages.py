"""Pages that are not what the footer says: refused before one of them is decompressed."""

import io
import time
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypol.core.errors import InputError
from raypol.store.parquet.footer import read_row_groups
from raypol.store.parquet.pages import check_pages
from raypol.store.parquet.thrift import I32, I64, LIST, STRUCT
from tests.store.parquet.forge import footer_of, one_column, page, with_footer

VALUES = list(range(100, 116))


def check(raw: bytes) -> None:
    file = pa.BufferReader(raw)
    for group in read_row_groups(file, where="here"):
        check_pages(file, group, where="here")


def refused(raw: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        check(raw)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("page_bytes", [1, 1000, 1 << 20])
def test_what_pyarrow_writes_passes(version: str, dictionary: bool, compression: str, page_bytes: int) -> None:
    n = 500
    content = pa.table(
        {
            "step": np.arange(n),
            "indices": pa.array([list(range(i % 7)) for i in range(n)], pa.list_(pa.int64())),
            "sha256": pa.array([bytes([i % 256]) * 32 for i in range(n)], pa.binary(32)),
            "none": pa.nulls(n, pa.int64()),
        }
    )
    stream = io.BytesIO()
    pq.write_table(
        content,
        stream,
        compression=compression,
        use_dictionary=dictionary,
        data_page_version=version,
        data_page_size=page_bytes,
        write_batch_size=7,
        row_group_size=333,
    )
    check(stream.getvalue())


def test_a_page_by_hand_is_read() -> None:
    raw = one_column([page(VALUES[:10]), page(VALUES[10:])], 16)
    assert pq.read_table(pa.BufferReader(raw))["x"].to_pylist() == VALUES
    check(raw)


@pytest.mark.parametrize("beside", [1 << 27, 1000])
def test_zeros_behind_the_values_are_refused(beside: int) -> None:
    raw = one_column([page([value], beside=beside) for value in VALUES[:2]], 2)
    assert pq.read_table(pa.BufferReader(raw))["x"].to_pylist() == VALUES[:2], "what pyarrow makes of it"
    tracemalloc.start()
    began = time.process_time()
    try:
        refused(raw, r"column 0: pages would unfold to \d+ bytes, their values need at most \d+")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5


def test_pages_larger_than_the_footer_says_are_refused() -> None:
    raw = one_column([page(VALUES)], 16, unfolded=127)
    refused(raw, "would unfold to 128 bytes, their values need at most 127")


ABOUT = {(1, I32): 16, (2, I32): 0, (3, I32): 3, (4, I32): 3}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (one_column([page(VALUES)], 16, codec=4), "codec 4, expected none or zstd"),
        (one_column([page(VALUES, codec=0)], 16, codec=0, packed=20), "a page that ends behind its column"),
        (one_column([page(VALUES)], 17), "a damaged page header"),
        (one_column([page(VALUES)], 15), "16 values, the footer says 15"),
        (one_column([page(VALUES)], 16, packed=5), "a damaged page header"),
        (one_column([page(VALUES)], 16, start=3), "a damaged page header|a page of type"),
        (one_column([page(VALUES)], 16, start=-3), "damaged footer"),
        (one_column([page(VALUES)], 16, packed=1 << 40), "share their bytes"),
        (one_column([page(VALUES, kind=1)], 16), "a page of type 1"),
        (one_column([page(VALUES, kind=2)], 16), "a damaged page header"),
        (one_column([page(VALUES, encoding=5)], 16), "values in encoding 5"),
        (one_column([page([]), page(VALUES)], 16), "pages without values"),
        (one_column([page(VALUES, changed={(2, I32): -1})], 16), "a page that ends behind its column"),
        (one_column([page(VALUES, changed={(3, I32): -1})], 16), "a page that ends behind its column"),
        (one_column([page(VALUES, changed={(2, I32): 1 << 31})], 16), "would unfold|a damaged page header"),
        (one_column([page(VALUES, codec=0, changed={(2, I32): 4000})], 16, codec=0), "without compression"),
        (one_column([page(VALUES, changed={(5, STRUCT): {**ABOUT, (1, I32): -5}})], 16), "pages without values"),
        (one_column([page(VALUES, changed={(5, STRUCT): {**ABOUT, (1, I32): 1 << 30}})], 16), "1073741824 values"),
        (one_column([page(VALUES, changed={(5, STRUCT): {(1, I32): 16}})], 16), "a damaged page header"),
    ],
)
def test_pages_that_are_not_as_told_are_refused(raw: bytes, said: str) -> None:
    refused(raw, said)


def test_a_dictionary_behind_the_footer_s_back_is_refused() -> None:
    """Values of free length, plain by the footer: a dictionary would repeat one of them for a few bits each."""
    stream = io.BytesIO()
    pq.write_table(pa.table({"x": ["a" * 5000] * 3000}), stream, compression="none", use_dictionary=True)
    raw = stream.getvalue()
    check(raw)
    footer = footer_of(raw)
    about = footer[4, LIST][0][1, LIST][0][3, STRUCT]
    about[2, LIST], about[9, I64] = [0, 3], about.pop((11, I64))
    refused(with_footer(raw[: -8 - int.from_bytes(raw[-8:-4], "little")], footer), "a page of type 2")


def test_row_groups_of_the_same_bytes_are_refused() -> None:
    raw = one_column([page(VALUES)], 16)
    footer = footer_of(raw)
    footer[4, LIST] *= 50
    body = raw[: -8 - int.from_bytes(raw[-8:-4], "little")]
    refused(with_footer(body, footer), "share their bytes")


RAW = one_column([page(VALUES[:10]), page(VALUES[10:])], 16)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(RAW) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_changed_byte_does_worse_than_be_refused(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(RAW)
    for at, value in changes:
        raw[at] = value
    try:
        check(bytes(raw))
    except InputError as err:
        assert str(err).count("\n") == 0  # noqa: PT017 - either outcome is right
