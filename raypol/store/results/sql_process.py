"""Answers one SQL query in a process of its own, whose memory and time the operating system bounds: run as a script.

DuckDB alone bounds neither: a single `lpad('x', 2000000000, 'y')` takes 4 GB beside its memory limit and cannot be interrupted.
Its stdin holds a line of JSON and a stream of Arrow per table; its stdout a line of JSON, and the answer as a stream of Arrow.
Imports nothing of raypol, so that it starts in a third of a second.
"""

import io
import json
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, Final

import duckdb
import pyarrow as pa

_FETCHED: Final = 100
"""Rows at a time, so that the size of an answer is known before it fills the memory."""
_THREADS: Final = 2
TOO_LONG: Final = "too long"
TOO_LARGE: Final = "too large"
NO_MEMORY: Final = "no memory"
"""Reasons without an answer; any other is the message of a mistake in the query."""


def answer_query(query: dict[str, Any], tables: dict[str, pa.Table]) -> pa.Table | str:
    """The answer, or the reason why there is none.

    Args:
        query: text, max_rows (one more says that there are more), max_bytes, seconds, memory_bytes.
        tables: by name.
    """
    connection = _database(tables, query["memory_bytes"])
    try:
        statements = connection.extract_statements(query["text"])
    except duckdb.Error as err:
        return _first_lines(err)
    allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if len(statements) != 1 or statements[0].type not in allowed:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        return f"expected one SELECT (or WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN), got {kinds}"
    connection.execute("BEGIN TRANSACTION READ ONLY")
    _end_after(query["seconds"], connection)
    try:
        connection.execute(statements[0])
        names = _distinct([column[0] for column in connection.description or ()])
        found: list[tuple[Any, ...]] = []
        size = 0
        while len(found) <= query["max_rows"]:
            some = connection.fetchmany(min(_FETCHED, query["max_rows"] + 1 - len(found)))
            if not some:
                break
            size += sum(len(cell) if isinstance(cell, str | bytes) else 8 for row in some for cell in row)
            if size > query["max_bytes"]:
                return TOO_LARGE
            found += some
        table = _plain_table(names, found)
    except duckdb.InterruptException:
        return TOO_LONG
    except (duckdb.OutOfMemoryException, MemoryError):
        return NO_MEMORY
    except duckdb.Error as err:
        return _first_lines(err)
    return table if table.nbytes <= query["max_bytes"] else TOO_LARGE


def _database(tables: dict[str, pa.Table], memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """A database in memory with these tables; it reads and writes no file, and its settings stay."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_bytes}B",
        "threads": _THREADS,
        "temp_directory": "",
        "max_temp_directory_size": "0B",
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    connection = duckdb.connect(config=config)
    for name, table in tables.items():
        connection.register("read", table)
        connection.execute(f'CREATE TABLE "{name}" AS FROM read')
        connection.unregister("read")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _end_after(seconds: float, connection: duckdb.DuckDBPyConnection) -> None:
    """Interrupt the query after this time; end this process half as much later, for one that does not look up."""
    watch = threading.Timer(seconds, connection.interrupt)
    watch.daemon = True
    watch.start()
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 1.5 * seconds)


def _bound_memory(num_bytes: int) -> None:
    with suppress(ImportError, OSError, ValueError):  # no such bound on this system
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))


def _plain_table(names: Sequence[str], found: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Table that a page can show: numbers, booleans and texts; anything else becomes text."""
    columns = []
    for cells in zip(*found, strict=True) if found else [()] * len(names):
        try:
            column = pa.array(cells)
        except (pa.ArrowException, OverflowError):
            column = pa.array([None if cell is None else str(cell) for cell in cells])
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_decimal(kind):
            column = pa.array([None if cell is None else str(cell) for cell in cells])
        columns.append(column)
    return pa.table(columns, names=list(names))


def _distinct(names: Sequence[str]) -> list[str]:
    """Names as given; a repeated one with a number."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return told


def _first_lines(err: duckdb.Error) -> str:
    return " ".join(str(err).split("\n\nLINE")[0].split())[:400]


def serve_query(given: IO[bytes], out: IO[bytes]) -> None:
    """Answer the query of one stream into another."""
    query = json.loads(given.readline())
    tables = {}
    for name in query["tables"]:
        with pa.ipc.open_stream(given) as stream:
            tables[name] = stream.read_all()
    _bound_memory(query["process_bytes"])
    try:
        found = answer_query(query, tables)
        if isinstance(found, str):
            out.write(json.dumps({"reason": found}).encode() + b"\n")
            return
        content = io.BytesIO()
        with pa.ipc.new_stream(content, found.schema) as stream:
            stream.write_table(found)
    except MemoryError:
        out.write(json.dumps({"reason": NO_MEMORY}).encode() + b"\n")
        return
    out.write(b"{}\n" + content.getvalue())


if __name__ == "__main__":
    serve_query(sys.stdin.buffer, sys.stdout.buffer)
