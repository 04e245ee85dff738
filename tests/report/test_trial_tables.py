"""The demo's table at any width, and a verdict's, whatever a proof may call its tensors."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from raypol.core.verification.verdict import Check, Verdict
from raypol.report.trial_tables import demo_table
from raypol.report.verdict_tables import verdict_table
from tests.conftest import Shown
from tests.report.demo_rows import measured, printed, row

HEADERS = [
    *(
        "arm",
        "T'",
        "k",
        "verified",
        "l1",
        "l2",
        "linf",
        "cos",
        "removed",
        "share",
        "device",
        "s",
        "time",
        "step",
        "equiv.",
    ),
    *("size", "MB", "published", "verdict", "strict", "success", "bound by"),
]


@pytest.mark.parametrize("width", [80, 100, 120, 160, 180, 200, 400])
def test_no_column_and_no_row_is_dropped_at_any_width(shown: Shown, width: int) -> None:
    rows = [outcome.row for outcome in shown.second.outcomes]
    text = printed(demo_table(rows), width)
    assert max(map(len, text.splitlines())) <= width
    for header in HEADERS:
        assert re.search(rf"(?<!\w){re.escape(header)}(?!\w)", text), header
    assert "…" not in text
    tables = sum(line.startswith("arm ") for line in text.splitlines())
    assert tables == 1 if width == 400 else tables >= 1
    for arm in {r.arm for r in rows}:
        assert len(re.findall(rf"^{re.escape(arm)} ", text, flags=re.MULTILINE)) == tables * sum(
            r.arm == arm for r in rows
        )


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_longest_verdict_can_be_read_in_full(width: int) -> None:
    worst = measured(
        accepted_published=False,
        rejected_by_published="structure,hashes,initial_state,replay",
        rejected_by="structure,hashes,initial_state,replay,optimizer_state",
        bound_by="rejected:initial_state,rejected:replay,error_l1,error_l2,error_linf,error_cos,time,size",
    )
    words = " ".join(printed(demo_table([measured("null"), worst]), width).split())
    for word in ("structure,", "optimizer_state", "errors,", "rejected by initial_state,", "time,"):
        assert word in words
    assert "…" not in words


def test_numbers_stand_in_their_columns() -> None:
    (line,) = [line for line in printed(demo_table([measured()]), 300).splitlines() if line.startswith("II ")]
    assert line.split()[:12] == [
        "II",
        "50",
        "10",
        "5/5",
        "0.12",
        "0.12",
        "0.12",
        "0.12",
        "0.25",
        "12.50",
        "1.75",
        "9.5",
    ]
    assert "7.25" in line
    assert "accepted" in line
    assert "rejected: initial_state, replay, optimizer_state" in line
    assert line.split()[-3:] == ["no", "no", "time"]
    assert line.rstrip().endswith("time")


def test_jump_is_told_once_per_point_and_not_for_the_honest_proof() -> None:
    rows = [
        measured("honest", steps=1000),
        measured("null"),
        measured("II"),
        measured("II", steps=90),
        measured("II", steps=90, interval=9),
        row("III", steps=99, status="error", message="broken"),
    ]
    text = printed(demo_table(rows), 300)
    jumps = [line.split() for line in text.splitlines() if line.startswith("jump (no update)")]
    assert [line[3:5] for line in jumps] == [["50", "10"], ["90", "10"], ["90", "9"]]
    assert all(line[5:9] == ["0.38"] * 4 for line in jumps)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"success": True, "success_strict": False, "bound_by": "size"}, "yes        no "),
        ({"success": True, "success_strict": True, "bound_by": "size"}, "closest: size"),
        ({"success": None, "success_strict": None, "bound_by": None}, " -  "),
        (
            {"bound_by": "rejected:replay,error_l1,error_l2,error_linf,error_cos,time"},
            "rejected by replay, all errors, time",
        ),
        ({"bound_by": "error_l1,time"}, "error_l1, time"),
        ({"status": "error", "message": "ValueError: this\nTraceback"}, "ValueError: this"),
        ({"status": "error", "message": ""}, "error"),
        ({"status": "stopped", "message": "by ASHA"}, "stopped"),
        ({"accepted_strict": None}, " -  "),
        ({"error_l2": math.nan}, " -  "),
        ({"error_l2": math.inf}, " inf "),
        ({"error_l2": 1e-12}, " 1e-12 "),
    ],
)
def test_each_outcome_has_its_words(changes: dict[str, Any], shown: str) -> None:
    text = printed(demo_table([measured(**changes)]), 300)
    assert shown in text
    assert "nan" not in text
    assert "None" not in text


@pytest.mark.parametrize("words", ["[/red]", "[bold]x", "[link=http://x]y[/link]", "a [3, 4] b", "[", "\\[x]"])
def test_brackets_in_names_and_messages_are_brackets(words: str) -> None:
    text = printed(demo_table([measured(words), row("II", status="error", message=f"KeyError: {words}")]), 300)
    assert text.count(words) >= 2
    verdict = Verdict(policy="strict", checks=(Check(name=words, passed=False, detail=f"the model has no {words}"),))
    assert printed(verdict_table(verdict), 200).count(words) == 2


def test_what_a_proof_says_cannot_steer_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07 \r accepted \x9b31m ok\u202e"
    verdict = Verdict(policy="strict", checks=(Check(name="finite", passed=False, detail=f"tensor {hostile} is NaN"),))
    text = printed(verdict_table(verdict), 300)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert r"\x1b[2J\x1b]0;owned\x07 \r accepted \x9b31m ok\u202e" in text


def test_a_verdict_names_each_check_with_what_was_seen() -> None:
    verdict = Verdict(
        policy="strict",
        checks=(
            Check(name="hashes", passed=True, detail="40 steps"),
            Check(name="replay", passed=False, detail="l2 3.5 against 1 in steps 10..20"),
        ),
    )
    lines = [line.split() for line in printed(verdict_table(verdict), 100).splitlines()]
    assert lines[0] == ["policy", "strict"]
    assert ["hashes", "passed", "40", "steps"] in lines
    assert ["replay", "FAILED", *["l2", "3.5", "against", "1", "in", "steps", "10..20"]] in lines


def test_no_rows_no_table_but_its_header() -> None:
    assert "arm" in printed(demo_table([]), 200)
    assert "II" in printed(demo_table([replace(measured(), num_intervals=0)]), 200)
