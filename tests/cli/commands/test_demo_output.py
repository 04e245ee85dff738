"""What the demo prints: its conclusions, the same as in MLflow; and a query and a command that work when they are copied."""

import re
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

from raypol.report.conclusions import conclude
from raypol.store.results.verdict_rows import VerdictRow
from tests.conftest import Shown
from tests.studies import query


def printed(shown: Shown, label: str) -> str:
    """The line that begins with a label, without it."""
    (line,) = [line for line in shown.out.splitlines() if line.startswith(f"{label}: ")]
    return line.removeprefix(f"{label}: ").strip()


def words(line: str) -> list[str]:
    """As bash takes the line apart."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def judged(shown: Shown) -> list[VerdictRow]:
    return [verdict for outcome in shown.second.outcomes for verdict in outcome.judged]


def test_the_output_says_it_all(shown: Shown) -> None:
    rows = [outcome.row for outcome in shown.second.outcomes]
    found = conclude(rows, judged(shown))
    words_of_it = " ".join(shown.out.split())
    for sentence in found.summary:
        assert sentence in words_of_it
    table, fronts = found.tables
    assert {line[1] for line in fronts.lines} <= {row.arm for row in rows}
    for arm, points, *_ in table.lines:
        assert re.search(rf"^{re.escape(arm)} +{points} ", shown.out, flags=re.MULTILINE), arm
    assert "Traceback" not in shown.out + shown.err
    assert "warning" not in shown.err
    assert str(shown.folder) in shown.out


def test_mlflow_has_the_same_conclusions(shown: Shown) -> None:
    *_, store = words(printed(shown, "MLflow"))
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("raypol-demo")
    assert experiment is not None
    sweep = f"tags.`raypol.sweep_id` = '{shown.second.study.sweep_id}'"
    (summary,) = client.search_runs([experiment.experiment_id], f"tags.`raypol.summary` = 'true' AND {sweep}")
    note = summary.data.tags["mlflow.note.content"]
    assert conclude([outcome.row for outcome in shown.second.outcomes], judged(shown)).markdown() in note
    assert "| null |" in note


def test_the_printed_query_runs_in_a_shell_and_shows_this_runs_rows(shown: Shown) -> None:
    done = subprocess.run(
        ["bash", "-c", printed(shown, "query")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    arms = re.findall(r"^│ *(\S+) +│ +\d", done.stdout, flags=re.MULTILINE)
    assert sorted(arms) == sorted(outcome.row.arm for outcome in shown.second.outcomes)


def test_the_printed_query_names_real_columns_and_only_this_run(shown: Shown) -> None:
    program, flag, code = words(printed(shown, "query"))
    assert (Path(program).absolute(), flag) == (Path(sys.executable).absolute(), "-c")
    sql = code.removeprefix('import duckdb; print(duckdb.sql("').removesuffix('"))').replace('\\"', '"')
    rows = query(sql)
    every = query(sql.replace(f"= '{shown.second.study.sweep_id}'", "LIKE '%'"))
    assert len(rows) == len(shown.second.outcomes) < len(every)
    by_arm = {(arm, steps, interval): rest for arm, steps, interval, *rest in rows}
    for outcome in shown.second.outcomes:
        row = outcome.row
        error_l2, device_s, success, success_strict, rejected_by = by_arm[row.arm, row.steps, row.interval]
        assert row.error_l2 is not None
        assert row.device_s is not None
        assert error_l2 == round(row.error_l2, 4)
        assert device_s == round(row.device_s, 2)
        assert (success, success_strict, rejected_by) == (row.success, row.success_strict, row.rejected_by)
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)


def test_the_printed_store_is_the_one_that_was_written(shown: Shown) -> None:
    program, command, option, store = words(printed(shown, "MLflow"))
    assert (Path(program).name, command, option) == ("mlflow", "ui", "--backend-store-uri")
    assert Path(program).exists()
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("raypol-demo")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(shown.second.outcomes) + 1  # and the summary
