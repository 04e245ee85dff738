"""The conclusions about a run: every arm has its line, every number is a row's, controls are known by their attack."""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from raypol.core.distances import METRICS
from raypol.report.conclusions import Conclusions, conclude
from raypol.store.results.rows import TrialRow
from tests.conftest import Shown
from tests.report.demo_rows import measured, row


def honest(**changes: object) -> TrialRow:
    known: dict[str, object] = {
        "steps": 1000,
        "accepted_published": True,
        "accepted_strict": True,
        "accuracy_final": 0.975,
        "device_s": 12.34,
        "replay_augmentation": "fresh",
        **{f"error_{m}": 0.25 for m in METRICS},
    }
    return row("honest", **{**known, **changes})


def spoof(arm: str, error: float = 0.1, **changes: object) -> TrialRow:
    known: dict[str, object] = {
        "accepted_published": True,
        "accepted_strict": True,
        "rejected_by": "",
        "success": False,
        "success_strict": False,
        **{f"error_{m}": error for m in METRICS},
    }
    return measured(arm, **{**known, **changes})


def won(arm: str, error: float = 0.1, **changes: object) -> TrialRow:
    return spoof(arm, error, **{"success": True, "success_strict": True, "bound_by": "size", **changes})


def words_of(found: Conclusions) -> str:
    """All of it, as one text."""
    lines = (" | ".join(line) for table in found.tables for line in table.lines)
    return "\n".join((*found.summary, *found.remarks, *lines))


def line_of(arm: str, *rows: TrialRow) -> dict[str, str]:
    """An arm's line of the table."""
    (table,) = conclude(rows).tables
    (line,) = [line for line in table.lines if line[0] == arm]
    return dict(zip((column.heading for column in table.columns), line, strict=True))


def numbers(rows: Iterable[TrialRow]) -> set[str]:
    """Every number that the rows give as words might put it: as it is, as a percentage, as a ratio, as a count."""
    values: set[float] = set(range(len(list(rows)) + 1)) | {float(part) for part in ["1", "2"]}
    for one in rows:
        own = asdict(one).values()
        values |= {float(v) for v in own if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)}
    for a, b in itertools.permutations(rows, 2):
        for name in ("error_l2", "device_s"):
            x, y = getattr(a, name), getattr(b, name)
            if x is not None and y:
                values.add(x / y)
    return {form.format(v) for v in values for form in ("{:.2g}", "{:.0f}", "{:.1f}")} | {
        f"{100 * v:.1f}" for v in values
    }


def told_numbers(text: str) -> set[str]:
    # Digits inside names (resnet8, l2, III-...) are not numbers.
    return set(re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?=x|\b)", text))


def test_the_demo_is_told_in_a_line_per_arm_and_five_sentences_with_numbers_of_its_rows(shown: Shown) -> None:
    rows = [outcome.row for outcome in shown.second.outcomes]
    found = conclude(rows)
    (table,) = found.tables
    assert sorted(line[0] for line in table.lines) == sorted({r.arm for r in rows} - {"honest"})
    assert 3 <= len(found.summary) <= 5
    assert found.remarks == []
    text = words_of(found)
    assert told_numbers(text) <= numbers(rows), told_numbers(text) - numbers(rows)
    assert "nan" not in text
    assert "None" not in text


def test_the_honest_proof_in_a_sentence() -> None:
    (text,) = conclude([honest()]).summary
    assert "(resnet8 on digits, 1000 steps, 97.5 % test accuracy, 12.3 device seconds)" in text
    assert "errs by at most 0.25 in l2 under fresh augmentation" in text
    assert "published accepts it, strict accepts it" in text
    assert "strict REJECTS it" in conclude([honest(accepted_strict=False)]).summary[0]
    assert "reused" in conclude([honest(message="proof reused from an earlier run")]).summary[0]
    assert conclude([honest(), honest(accepted_strict=False)]).summary == [
        "2 honest proofs (medians: 97.5 % test accuracy, 12.3 device seconds) err by at most 0.25 in l2; published accepts 2, "
        "strict accepts 1."
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"device_s": None},
        {"accuracy_final": None},
        {"error_l2": None},
        {"error_l2": math.nan},
        {"accuracy_final": math.nan},
    ],
)
def test_what_is_not_known_is_said_so(changes: dict[str, object]) -> None:
    text = words_of(conclude([honest(**changes), spoof("null"), spoof("II", error_l2=None, device_s=None)]))
    assert "nan" not in text
    assert "None" not in text
    assert "unknown" in text


def test_counts_per_policy() -> None:
    rows = [
        honest(),
        spoof("null"),
        won("II", accepted_strict=False, success_strict=False),
        spoof("III", accepted_published=False),
    ]
    text = " ".join(conclude(rows).summary)
    assert "Of 3 spoofs published accepts 2 and strict 2; successes: 1 under published, 0 under strict." in text


def test_who_succeeds_where_null_fails_is_named_with_its_lengths() -> None:
    rows = [
        honest(),
        *(spoof("null", 0.2, steps=steps) for steps in (50, 100)),
        *(won("II", steps=steps) for steps in (50, 100)),
        won("III", success_strict=False, rejected_by="optimizer_state"),
    ]
    text = " ".join(conclude(rows).summary)
    assert (
        "Where null fails, these succeed under strict: II (T' = 50, 100); under published alone: III (T' = 50)." in text
    )
    assert line_of("II", *rows) | {"outcome": "succeeds at 50, 100", "bound by": "closest: size"} == line_of(
        "II", *rows
    )
    assert line_of("III", *rows)["outcome"] == "succeeds under published alone at 50"
    assert line_of("III", *rows)["bound by"] == "rejected by optimizer_state"


def test_an_attack_is_held_against_null_in_error_and_time() -> None:
    nulls = [spoof("null", 0.1, steps=steps) for steps in (10, 20, 30)]
    spoofs = [spoof("II", error, steps=steps, device_s=25.0) for error, steps in ((0.05, 10), (0.2, 20))]
    line = line_of("II", honest(), *nulls, *spoofs)
    assert line["points T'"] == "10, 20"
    assert line["error l2 / null's"] == "0.5 to 2"
    assert line["time / null's"] == "2"
    assert line_of("null", honest(), *nulls, *spoofs)["error l2 / null's"] == "1"
    assert line_of("III", honest(), *nulls, spoof("III", steps=70))["error l2 / null's"] == "-"


def test_an_attack_that_changed_no_point_is_told_so() -> None:
    rows = [honest(), spoof("null"), spoof("II", attack="ii", num_points=0), spoof("III", attack="iii", num_points=7)]
    assert "changed no data point in 1 of 1 trials, where its spoof is null's" in line_of("II", *rows)["outcome"]
    assert "changed" not in line_of("III", *rows)["outcome"]


def test_what_stops_an_arm_is_told_with_its_lengths() -> None:
    rows = [
        honest(),
        *(won("null", steps=steps) for steps in (10, 20, 30)),
        spoof("II", steps=10, accepted_strict=False, rejected_by="replay", bound_by="rejected:replay,error_l2,time"),
        spoof("II", steps=20, bound_by="time"),
        won("II", steps=30),
        spoof("III", bound_by="error_l1,error_l2,error_linf,error_cos"),
    ]
    assert "there the trajectory passes, not the attack" in " ".join(conclude(rows).summary)
    line = line_of("II", *rows)
    assert line["outcome"] == "succeeds at 30; fails at 10, 20"
    assert line["bound by"] == "time; rejected by replay, error_l2 at 10"
    assert line_of("III", *rows)["bound by"] == "all errors"


def test_many_lengths_and_seeds_are_put_together() -> None:
    rows = [won("null", steps=steps, seed=seed) for steps in range(10, 90, 10) for seed in (0, 1)]
    rows += [spoof("II", steps=50, seed=1), won("II", steps=50, seed=0), won("II", steps=60)]
    line = line_of("null", honest(), *rows)
    assert line["points T'"] == "8: 10 to 80"
    assert line["outcome"] == "succeeds at 10 to 80 (16 of 16 trials)"
    assert line_of("II", honest(), *rows)["outcome"] == "succeeds at 50 (1 of 2), 60; fails at 50 (1 of 2)"


def test_controls_are_known_by_their_attack_not_by_their_name() -> None:
    rows = [honest(), won("baseline", attack="null"), spoof("null", attack="ii")]
    text = " ".join(conclude(rows).summary)
    assert (
        "The control baseline, ordinary batches with no perturbation, itself succeeds under strict at T' = 50" in text
    )
    assert "Where baseline fails, no attack succeeds under strict." in text
    assert line_of("null", *rows)["error l2 / baseline's"] == "1"


def test_without_the_control_nothing_is_credited() -> None:
    found = conclude([honest(), won("II")])
    assert "no null control in this run, so no attack can be credited" in " ".join(found.summary)
    assert [column.heading for column in found.tables[0].columns] == ["arm", "points T'", "outcome", "bound by"]


def test_a_control_that_was_measured_elsewhere_compares_with_nothing() -> None:
    found = conclude([honest(), spoof("null"), spoof("II", steps=70), spoof("III", seed=1)])
    assert "No attack was measured at a point where null was." in found.summary


def test_trials_without_a_result_are_told() -> None:
    rows = [
        honest(),
        spoof("null"),
        row("II", status="error", message="ValueError: broken\nTraceback"),
        row("III", status="stopped", steps=70),
    ]
    found = conclude(rows)
    assert "; 2 did not run to the end." in " ".join(found.summary)
    assert found.remarks == ["Failed 1x: ValueError: broken"]
    assert line_of("II", *rows)["outcome"] == "no result at 50"
    assert line_of("III", *rows)["outcome"] == "stopped early at 70"


def test_a_sweep_says_how_far_it_is_and_what_limits_it() -> None:
    rows = [honest(), spoof("null", estimated=True, estimate_beyond=3, simulated=True), row("II", status="error")]
    found = conclude(rows, planned=6, resumed=1, stopped="the storage is full")
    assert found.summary[0] == "2 of 6 trials have a row (1 were finished before): 1 ran to the end, 1 failed."
    assert len(found.summary) <= 5
    ended, estimated, simulated, *_ = found.remarks
    assert ended == "The sweep ended early: the storage is full."
    assert "1 trials are estimated from 5 of 5 intervals" in estimated
    assert "at most 3 intervals of a spoof err more" in estimated
    assert "Some devices are simulated" in simulated
    assert conclude(rows, planned=0).summary[0].startswith("2 trials have a row: ")


def test_of_nothing_nothing_is_told() -> None:
    assert conclude([]) == Conclusions(summary=[], remarks=[], tables=[])
    assert "1 did not run to the end" in conclude([row("II", status="error")]).summary[0]


def test_names_stay_names_in_markdown() -> None:
    evil = "[x](http://evil) <b> |"
    found = conclude([honest(), spoof("null"), won(evil), row(evil, status="error", message=evil, steps=70)])
    page = MarkdownIt("commonmark").enable("table").render(found.markdown(evil))
    assert not re.search(r"<(a|b)\b", page)
    assert page.count("[x](http://evil) &lt;b&gt; |") == 4


@given(
    st.lists(
        st.builds(
            spoof,
            st.sampled_from(["null", "infinitesimal", "II", "my [attack]"]),
            st.sampled_from([0.0, 0.5, math.inf, math.nan]),
            steps=st.sampled_from([10, 20]),
            interval=st.sampled_from([5, 10]),
            success=st.booleans(),
            success_strict=st.booleans(),
            status=st.sampled_from(["ok", "error"]),
            device_s=st.sampled_from([None, 0.0, 2.0]),
            bound_by=st.sampled_from([None, "time", "rejected:replay,error_l1"]),
        ),
        max_size=6,
    )
)
def test_any_rows_can_be_told(rows: list[TrialRow]) -> None:
    found = conclude([honest(), *rows])
    text = words_of(found)
    assert "nan" not in text
    assert {line[0] for table in found.tables for line in table.lines} == {one.arm for one in rows}
    assert len(found.summary) <= 5
    assert found.markdown()
