"""The page docs/results.md, made from the descriptions of the columns: `python -m raypol.store.results.describe`."""

import sys
from typing import Final, get_args

from raypol.store.results.cell_rows import CellRow
from raypol.store.results.columns import Group, columns_of
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow

_INTRODUCTION: Final = """# Results

A results folder holds Parquet files that any reader opens with a glob, such as DuckDB, pandas or Polars:

| files | rows |
|---|---|
| `trials/*.parquet` | one for each trial of an arm, and for each honest proof |
| `intervals/*.parquet` | one for each verified interval of a trial and each metric |
| `verdicts/*.parquet` | one for each trial and policy: what it says, and the verdict itself as JSON |
| `cells/*.parquet` | one for each attack and policy of an arena: what its trials come to |
| `ranges/*.parquet` | one for each arm and policy of a range search over all seeds, and one for each seed |

    SELECT arm, steps, error_l2, success
    FROM read_parquet('RESULTS/trials/*.parquet', hive_partitioning = false) WHERE status = 'ok'

The option matters where the path has a part such as `seed=5`, which DuckDB would put in the place of the column. Write `[*]`,
`[?]` and `[[]` for these characters in a path. raypol leaves out other programs' files in these folders, and names them; a glob
does not.

An empty cell (NULL) does not apply or was not reached. Times and sizes are the proof's or the spoof's; `d_ref` is the distance
between the final weights of two honest runs in the same metric. Files of older versions, with the conditions of the replay and
the thresholds in one text each (`replay`, `thresholds`), are read as if they had the columns below.

This page is made from the descriptions beside the fields in `raypol/store/results/`.
"""


def describe_results() -> str:
    """Markdown: every column of the results by table and topic, with its type, unit and meaning."""
    tables = [
        ("trials", TrialRow),
        ("intervals", IntervalRow),
        ("verdicts", VerdictRow),
        ("cells", CellRow),
        ("ranges", RangeRow),
    ]
    return "\n".join([_INTRODUCTION, *(part for name, row_type in tables for part in _describe(name, row_type))])


def _describe(name: str, row_type: type) -> list[str]:
    parts = [f"## Columns of {name}\n"]
    for group in get_args(Group):
        lines = [
            f"| `{one.name}` | {one.kind.__name__} | {one.unit} | {one.meaning.replace('|', chr(92) + '|')} |"
            for one in columns_of(row_type)
            if one.group == group
        ]
        if lines:
            parts += [
                f"### {name.capitalize()}: {group}\n",
                "| column | type | unit | meaning |",
                "|---|---|---|---|",
                *lines,
                "",
            ]
    return parts


if __name__ == "__main__":
    sys.stdout.write(describe_results())
