"""SQL that a person typed reads the tables and nothing else, in bounded time and memory."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import duckdb
import pytest

from raypol.core.errors import InputError
from raypol.store.results.free_sql import free_sql
from raypol.store.results.queries import OneOf, count, open_database, select
from tests.store.results.test_queries import NUM, ROWS, table_of


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_database(table_of(ROWS)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got nothing"),
        ("DROP TABLE trials", "got DROP"),
        ("SELECT 1; DROP TABLE trials", "got SELECT, DROP"),
        ("DELETE FROM trials", "got DELETE"),
        ("INSERT INTO trials SELECT * FROM trials", "got INSERT"),
        (
            "WITH gone AS (DELETE FROM trials RETURNING *) SELECT * FROM gone",
            "read-only|CTE needs a SELECT",
        ),  # DuckDB 2 | 1
        ("EXPLAIN ANALYZE DELETE FROM trials", "read-only"),
        ("SET memory_limit = '100GB'", "got SET"),
        ("ATTACH 'x.db'", "got ATTACH"),
        ("COPY trials TO 'x.csv'", "got COPY"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM glob('/*')", "disabled"),
        ("SELECT * FROM ROWS", "does not exist"),  # a variable of Python
        ("SELECT nothing FROM trials", "not found"),
        ("SELEKT 1", "syntax error"),
        ("SELECT error('x\ny')", "x"),
    ],
)
def test_free_sql_can_only_read_the_tables(database: duckdb.DuckDBPyConnection, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        free_sql(database, text, more={}, max_rows=10)
    assert any(words in str(caught.value) for words in said.split("|"))
    assert "\n" not in str(caught.value)
    assert count(database).trials == NUM


def test_free_sql_that_takes_too_long_is_given_up(database: duckdb.DuckDBPyConnection) -> None:
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"no answer within 0\.3 s"):
        free_sql(
            database,
            "SELECT sum(hash(a.trial_id, b.trial_id, c.trial_id, d.trial_id)) FROM trials a, trials b, trials c, trials d",
            more={},
            max_rows=10,
            seconds=0.3,
        )
    assert time.monotonic() - begin < 60, "10^12 rows would take hours"
    assert count(database).trials == NUM


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SELECT arm, count(*) AS n FROM trials GROUP BY arm", ["arm", "n"]),
        ("FROM trials SELECT arm, arm LIMIT 1", ["arm", "arm_1"]),
        ("SELECT 1 AS a, [1, 2] AS b, {'x': 1} AS c, 1.5::DECIMAL(9, 1) AS d, NULL AS e, 1::HUGEINT << 100 AS f", list("abcdef")),
        ("SELECT arm FROM trials WHERE false", ["arm"]),
        ("DESCRIBE trials", None),
        ("SUMMARIZE trials", None),
        ("EXPLAIN SELECT 1", None),
        ("SELECT count(*) AS n FROM selected", ["n"]),
    ],
)  # fmt: skip
def test_free_sql_answers(database: duckdb.DuckDBPyConnection, text: str, names: list[str] | None) -> None:
    more = {"selected": lambda: select(database, [OneOf("arm", ("II",))])}
    found = free_sql(database, text, more=more, max_rows=1000)
    if names is not None:
        assert len(set(found.column_names)) == len(names)
    if "selected" in text:
        assert found["n"].to_pylist() == [sum(row.arm == "II" for row in ROWS)]


def test_free_sql_stops_at_one_row_more_than_asked_for(database: duckdb.DuckDBPyConnection) -> None:
    assert len(free_sql(database, "FROM trials, trials AS other SELECT trials.arm", more={}, max_rows=7)) == 8


# --- time and memory ---------------------------------------------------------------------------------------------------

GREEDY = (
    "SELECT lpad('x', 2000000000, 'y')",
    "SELECT repeat('x', 4000000000)",
    "SELECT repeat('x', 2000000000) || repeat('y', 2000000000)",
    "SELECT count(*) FROM range(1000000000000)",
    "SELECT list(range) FROM range(3000000000)",
    "SELECT list_sort(range(200000000))[1]",
    "SELECT repeat('x', 1000000) FROM range(10000)",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    "WITH RECURSIVE t(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
    "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
)
MOST_MB = 3500
"""2 GB for data, beside code and what the process had before."""


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS bounds no process's memory")
@pytest.mark.parametrize("text", GREEDY)
def test_greedy_sql_is_given_up(database: duckdb.DuckDBPyConnection, text: str) -> None:
    begin = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with pytest.raises(InputError, match=r"no answer within|larger than|Out of Memory"):
        free_sql(database, text, more={}, max_rows=10_000, seconds=2.0)
    assert time.monotonic() - begin < 60, "with the start of the process on a loaded machine"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "KB; the app itself takes none of it"
    # A child of an earlier test may have had more.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(MOST_MB * 1000, others)


def test_an_answer_that_no_page_can_hold_is_refused(database: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(InputError, match="the answer is larger than 16 MB"):
        free_sql(database, "SELECT repeat('x', 3000) || range FROM range(10000)", more={}, max_rows=10_000)


@pytest.mark.parametrize(
    "text",
    ["SELECT getenv('AWS_SECRET_ACCESS_KEY')", "SELECT * FROM duckdb_secrets()", "PRAGMA version", "LOAD httpfs"],
)
def test_the_machine_is_not_there(
    database: duckdb.DuckDBPyConnection, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SEN7INEL")
    with pytest.raises(InputError) as caught:
        free_sql(database, text, more={}, max_rows=10)
    assert "SEN7INEL" not in str(caught.value)


def test_the_process_starts_without_raypol() -> None:
    code = "import sys, raypol.store.results.sql_process; print([m for m in ('torch', 'ray', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
