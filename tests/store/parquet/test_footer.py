"""The footer of a Parquet file: the same numbers as pyarrow's own, and no forged footer does worse than be refused."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypol.core.errors import InputError
from raypol.store.parquet.footer import RowGroup, read_row_groups

SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("indices", pa.list_(pa.int64())),
        ("text", pa.string()),
        ("blob", pa.large_binary()),
        ("sha256", pa.binary(32)),
    ]
)


def table(num_rows: int, blob_bytes: int) -> pa.Table:
    columns = {
        "step": list(range(num_rows)),
        "indices": [list(range(i % 5)) for i in range(num_rows)],
        "text": [str(i) for i in range(num_rows)],
        "blob": [bytes([i % 256]) * blob_bytes for i in range(num_rows)],
        "sha256": [bytes(32)] * num_rows,
    }
    return pa.table(columns, schema=SCHEMA)


def written(content: pa.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    pq.write_table(content, stream, **options)
    return stream.getvalue()


def groups_of(raw: bytes) -> list[RowGroup]:
    return read_row_groups(pa.BufferReader(raw), where="here")


def by_pyarrow(raw: bytes) -> list[RowGroup]:
    metadata = pq.read_metadata(pa.BufferReader(raw))
    found = []
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        widths = [8, 8, None, None, 32]
        total = 0
        for at, width in enumerate(widths):
            column = group.column(at)
            if width is None:
                assert column.compression == "UNCOMPRESSED"
                total += column.total_uncompressed_size
            else:
                total += max(column.num_values, group.num_rows) * width
        found.append(RowGroup(group.num_rows, total))
    return found


@settings(max_examples=25)
@given(
    st.integers(0, 300),
    st.integers(0, 200),
    st.integers(1, 120),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["1.0", "2.0"]),
)
def test_the_numbers_are_pyarrows(
    num_rows: int, blob_bytes: int, per_group: int, statistics: bool, with_schema: bool, page_version: str
) -> None:
    raw = written(
        table(num_rows, blob_bytes),
        compression="none",
        use_dictionary=False,
        row_group_size=per_group,
        write_statistics=statistics,
        store_schema=with_schema,
        data_page_version=page_version,
        write_page_index=statistics,
    )
    assert groups_of(raw) == by_pyarrow(raw)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd", "use_dictionary": False},
        {"compression": "none", "use_dictionary": True},
        {"compression": "none", "use_dictionary": ["blob"]},
        {"compression": "none", "use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}},
        {"compression": "none", "use_dictionary": False, "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY"}},
    ],
)
def test_columns_of_free_length_that_could_unfold_to_anything_are_told(options: dict[str, object]) -> None:
    assert [group.unfolded_bytes for group in groups_of(written(table(50, 9), **options))] == [-1]


def test_fixed_columns_are_counted_however_they_are_stored() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.binary(100))])
    content = pa.table(
        {"a": np.zeros(1000, np.int64), "b": pa.array([bytes(100)] * 1000, pa.binary(100))}, schema=schema
    )
    raw = written(content, compression="zstd")
    assert len(raw) < 5_000
    assert groups_of(raw) == [RowGroup(1000, 108_000)]


def test_a_nest_of_columns_is_refused() -> None:
    kind = pa.int64()
    for _ in range(200):
        kind = pa.struct([("x", kind)])
    raw = written(pa.table({"x": pa.nulls(1, kind)}))
    with pytest.raises(InputError, match="damaged footer"):
        groups_of(raw)


RAW = written(table(5, 5), compression="none", use_dictionary=False)
FOOTER_BYTES = int.from_bytes(RAW[-8:-4], "little")


@pytest.mark.parametrize("num_bytes", [0, 1, 4, 7, 8, 11, 12, 100, len(RAW) - 1])
def test_a_cut_file_is_refused(num_bytes: int) -> None:
    with pytest.raises(InputError, match="here: not a readable Parquet file") as caught:
        groups_of(RAW[:num_bytes])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "footer",
    [
        b"",
        b"\x00",
        b"\x1c" * 100_000,  # structs in structs without end
        b"\x49\xfc\xff\xff\xff\xff\x07",  # a list of 34 thousand million structs
        b"\x49\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # of more than a number can say
        b"\x48\xff\xff\xff\xff\x0f",  # four gibibytes of text
        b"\x49\xfc" + b"\x80\x80\x80\x04" + b"\x00" * (7 << 20),  # millions of empty structs
        b"\x19\x19" * 50_000,  # lists in lists
        b"\x1b\xff\xff\xff\xff\x0f\xcc",  # a map of structs to structs
    ],
)
def test_a_footer_that_claims_too_much_is_refused(footer: bytes) -> None:
    with pytest.raises(InputError, match="here: not a readable Parquet file"):
        groups_of(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, FOOTER_BYTES - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_changed_byte_of_a_footer_does_worse_than_be_refused(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(RAW)
    for at, value in changes:
        raw[len(raw) - 8 - FOOTER_BYTES + at] = value
    try:
        found = groups_of(bytes(raw))
    except InputError as err:
        found = []
        assert str(err).count("\n") == 0  # noqa: PT017 - either outcome is right
    assert all(group.num_rows >= 0 and group.unfolded_bytes >= -1 for group in found)


def test_a_footer_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # sparse
        file.seek((1 << 30) - 8)
        file.write(((1 << 30) - 20).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(InputError, match="no footer of at most"):
        read_row_groups(pa.OSFile(str(path)), where="here")
