"""Answers SQL that a person typed about the trials, in a process whose time and memory are bounded."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Final

import duckdb
import pyarrow as pa

from raypol.core.errors import InputError
from raypol.store.results import sql_process

_SECONDS: Final = 20.0
_MEMORY_BYTES: Final = 1 << 30
"""For DuckDB's tables and states."""
_PROCESS_BYTES: Final = 2 << 30
"""For the whole process: a text is not DuckDB's to bound."""
_ANSWER_BYTES: Final = 16 << 20
_START_S: Final = 120.0
"""Longest that a loaded machine takes to start the process and bring it the tables."""


def free_sql(
    database: duckdb.DuckDBPyConnection,
    text: str,
    *,
    more: Mapping[str, Callable[[], pa.Table]],
    max_rows: int,
    seconds: float = _SECONDS,
) -> pa.Table:
    """Answer a question that a person typed, with at most `max_rows` + 1 rows.

    Args:
        database: of `open_database`.
        text: one SELECT (also WITH, FROM, DESCRIBE, SUMMARIZE) or EXPLAIN.
        more: makers of further tables by name. They, and `trials`, are there if the text contains the name.
        max_rows: rows that are wanted; one more row says that there are more.
        seconds: time limit.

    Raises:
        InputError: another statement, a mistake in it, out of time or memory, or too large an answer.
    """
    makers = {"trials": lambda: database.cursor().sql("FROM trials").to_arrow_table(), **more}
    tables = {name: make() for name, make in makers.items() if name in text.lower()}
    size = sum(table.nbytes for table in tables.values())
    query = {
        "text": text,
        "tables": list(tables),
        "max_rows": max_rows,
        "max_bytes": _ANSWER_BYTES,
        "seconds": seconds,
        "memory_bytes": _MEMORY_BYTES + 2 * size,
        "process_bytes": _PROCESS_BYTES + 4 * size,
    }
    answered, problem = _ask_process(query, tables, patience_s=_START_S + 2 * seconds)
    if answered is not None:
        return answered
    less = "ask for less, or use DuckDB outside the app"
    told = {
        sql_process.TOO_LONG: f"no answer within {seconds:g} s; {less}",
        sql_process.NO_MEMORY: f"no answer within {_PROCESS_BYTES >> 30} GB of memory; {less}",
        sql_process.TOO_LARGE: f"the answer is larger than {_ANSWER_BYTES >> 20} MB; {less}",
    }
    raise InputError(told.get(problem, problem))


def _ask_process(
    query: Mapping[str, object], tables: Mapping[str, pa.Table], *, patience_s: float
) -> tuple[pa.Table | None, str]:
    """The answer, or the reason why there is none."""
    given = pa.BufferOutputStream()
    given.write(json.dumps(query).encode() + b"\n")
    for table in tables.values():
        with pa.ipc.new_stream(given, table.schema) as stream:
            stream.write_table(table)
    command = [sys.executable, "-P", sql_process.__file__]
    try:
        done = subprocess.run(  # noqa: S603 - our own script; the query is data
            command, input=given.getvalue(), capture_output=True, timeout=patience_s, check=False
        )
    except subprocess.TimeoutExpired:
        return None, sql_process.TOO_LONG
    head, mark, body = done.stdout.partition(b"\n")
    if not mark:  # its clock or the operating system ended it
        is_late = hasattr(signal, "SIGALRM") and done.returncode == -signal.SIGALRM
        return None, sql_process.TOO_LONG if is_late else sql_process.NO_MEMORY
    if reason := json.loads(head).get("reason", ""):
        return None, str(reason)
    return pa.ipc.open_stream(body).read_all(), ""
