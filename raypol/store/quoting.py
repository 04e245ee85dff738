"""Results folders in what people copy: an SQL query for DuckDB, a command line for a shell. Any path means itself there."""

import re
import shlex
from pathlib import Path
from typing import Literal

from raypol.store.escaping import without_secrets
from raypol.store.location import Location

_PATTERN = re.compile(r"[*?\[]")


def sql_rows(
    results: str | Path, kind: Literal["trials", "intervals", "ranges"] = "trials", *, by_name: bool = False
) -> str:
    """DuckDB's table of the rows of a local results folder, for the FROM of a query; `by_name`: of files of several versions.

    Without `hive_partitioning = false` a part of the path such as `seed=5` would stand in the place of the column `seed`.
    """
    folder = _PATTERN.sub(r"[\g<0>]", str(results).rstrip("/"))
    files = f"{folder}/{kind}/*.parquet".replace("'", "''")
    more = ", union_by_name = true" if by_name else ""
    return f"read_parquet('{files}', hive_partitioning = false{more})"


def command_line(*words: object) -> str:
    """A command to paste into a shell; a path or location that begins with a dash is no option. Secrets are to be filled in."""
    return " ".join(
        _quoted(re.sub("^-", "./-", str(word)) if isinstance(word, Path | Location) else without_secrets(str(word)))
        for word in words
    )


def _quoted(word: str) -> str:
    # Readable where SQL has single quotes; an interactive bash takes ! between double ones for its history.
    if "'" in word and "!" not in word:
        return '"' + re.sub(r'[\\"$`]', r"\\\g<0>", word) + '"'
    return shlex.quote(word)
