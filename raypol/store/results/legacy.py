"""Trials of older results: texts that are several columns now, and columns of another name, put right when a file is read."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

from raypol.store.results.columns import columns_of, schema_of
from raypol.store.results.rows import TrialRow

_TEXTS: Final = {"replay": "replay_", "thresholds": "threshold_"}
"""Columns of an old file, with the first letters of those that replace them. Such a text is "augmentation=fresh precision=float32
device=cpu threads=1", or "dynamic l1=0.1 l2=0.1 linf=0.15 cos=0.02 late=0.1"."""
RENAMED: Final[Mapping[str, str]] = {"hyperparameters": "declares"}
"""Columns of an old file, with their present names."""
_KINDS: Final = {
    text: {one.name: one.kind for one in columns_of(TrialRow) if one.name.startswith(begin)}
    for text, begin in _TEXTS.items()
}


def legacy_fields(row_type: type) -> list[pa.Field]:
    """Columns that an old file may have beside those of `schema_of(row_type)`."""
    return [pa.field(name, pa.string()) for name in (*_TEXTS, *RENAMED)] if row_type is TrialRow else []


def upgrade(table: pa.Table) -> pa.Table:
    """The table with typed columns in place of the old texts; a cell that has a value already keeps it."""
    columns = dict(zip(table.column_names, table.columns, strict=True))
    for old, new in RENAMED.items():
        if old in columns:
            cells = columns.pop(old).to_pylist()
            there = columns[new].to_pylist() if new in columns else [None] * len(table)
            merged = [cell if cell is not None else was for cell, was in zip(there, cells, strict=True)]
            columns[new] = pa.array(merged, pa.string())
    for text in columns.keys() & _TEXTS.keys():
        parsed = [_cells_of(text, cell) if isinstance(cell, str) else {} for cell in columns.pop(text).to_pylist()]
        if any(parsed):
            for name in _KINDS[text]:
                there = columns[name].to_pylist() if name in columns else [None] * len(table)
                cells = [cell if cell is not None else old.get(name) for cell, old in zip(there, parsed, strict=True)]
                columns[name] = pa.array(cells, schema_of(TrialRow).field(name).type)
    return pa.table(columns)


@lru_cache(maxsize=256)
def _cells_of(text: str, cell: str) -> Mapping[str, Any]:
    """Columns that an old text fills; words of another form are passed over."""
    found: dict[str, Any] = {}
    for word in cell.split():
        key, mark, value = word.partition("=")
        name = _TEXTS[text] + (key if mark else "kind")
        kind = _KINDS[text].get(name)
        try:
            if kind is not None:
                found[name] = pa.scalar(kind(value if mark else key), schema_of(TrialRow).field(name).type).as_py()
        except (ValueError, OverflowError):
            continue
    return found
