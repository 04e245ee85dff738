"""The words about a run: every arm is mentioned, every number is a row's."""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.distances import METRICS
from raypol.report.conclusions import tell
from raypol.store.results.rows import TrialRow
from tests.conftest import Shown
from tests.report.test_tables import measured, row


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


def told_numbers(story: str) -> set[str]:
    # Digits inside names (resnet8, l2, III-...) are not numbers.
    return set(re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?=x|\b)", story))


def test_the_demos_story_mentions_each_arm_with_numbers_of_its_rows(shown: Shown) -> None:
    rows = [outcome.row for outcome in shown.second.outcomes]
    story = tell(rows)
    for arm in {r.arm for r in rows} - {"honest"}:
        assert re.search(rf"(?<![\w-]){re.escape(arm)}(?![\w-])", story), arm
    assert "honest proof" in story
    assert told_numbers(story) <= numbers(rows), told_numbers(story) - numbers(rows)
    assert "nan" not in story
    assert "None" not in story


def test_the_honest_proof_in_a_sentence() -> None:
    story = tell([honest()])
    assert "resnet8 on digits for 1000 steps to 97.5 % test accuracy in 12.3 device seconds" in story
    assert "fresh augmentation its largest normalised l2 error is 0.25" in story
    assert "accepted by published and accepted by strict" in story
    assert "REJECTED by strict" in tell([honest(accepted_strict=False)])


@pytest.mark.parametrize(
    "changes",
    [
        {"device_s": None},
        {"accuracy_final": None},
        {"error_l2": None},
        {"error_l2": math.nan},
        {"accuracy_final": math.nan},
        {"replay_augmentation": ""},
    ],
)
def test_what_is_not_known_is_said_so(changes: dict[str, object]) -> None:
    story = tell([honest(**changes), spoof("null"), spoof("II", error_l2=None, device_s=None)])
    assert "nan" not in story
    assert "None " not in story
    assert "unknown" in story or "?" in story


def test_counts_per_policy() -> None:
    rows = [honest(), spoof("null"), spoof("II", accepted_strict=False), spoof("III", accepted_published=False)]
    story = tell(rows)
    assert "Published accepts 2 of 3 spoofs." in story
    assert "Strict accepts 2 of 3 spoofs." in story
    assert "No spoof succeeds under strict." in story


def test_who_succeeds_is_named_with_its_lengths() -> None:
    rows = [
        honest(),
        spoof("null", 0.2),
        spoof("null", 0.2, steps=100),
        spoof("II", success=True, success_strict=True),
        spoof("II", success=True, success_strict=True, steps=100),
        spoof("III", success=True),
    ]
    story = tell(rows)
    assert "II (T' = 50, 100)" in story
    assert "Under published alone also: III (T' = 50)" in story
    assert "II errs less than null" in story
    assert "succeeds under strict where null does not, at T' = 50, 100" in story


def test_an_attack_that_does_no_better_than_null_is_told_so() -> None:
    story = tell([honest(), spoof("null", 0.1), spoof("II", 0.1)])
    assert "II errs less than null in no metric (l2 error 1x" in story
    assert "changes no outcome" in story


def test_metrics_in_which_an_attack_errs_less_are_told_by_how_often() -> None:
    nulls = [spoof("null", 0.1, steps=steps) for steps in (10, 20, 30)]
    story = tell([honest(), *nulls, *(spoof("II", 0.05, steps=steps) for steps in (10, 20, 30))])
    assert "II errs less than null in all four metrics at 3 of 3 T' (l2 error 0.5x" in story
    spoofs = [spoof("II", 0.2, error_l1=0.05, error_cos=0.05, steps=10), spoof("II", 0.2, error_l1=0.05, steps=20)]
    story = tell([honest(), *nulls, *spoofs])
    assert "II errs less than null in l1 at 2, in cos at 1 of 2 T' (l2 error 2x" in story
    story = tell([honest(), nulls[0], spoofs[0]])
    assert "II errs less than null in l1 and cos (l2 error 2x" in story
    seeds = [spoof(arm, error, steps=10, seed=seed) for arm, error in (("null", 0.1), ("II", 0.05)) for seed in (0, 1)]
    assert "II errs less than null in all four metrics at 2 of 2 points (l2" in tell([honest(), *seeds])


def test_an_attack_that_changed_no_point_is_told_so() -> None:
    rows = [honest(), spoof("null"), spoof("II", attack="ii", num_points=0), spoof("III", attack="iii", num_points=7)]
    story = tell(rows)
    assert "II changed no data point in 1 of 1 trials: there its spoof is null's" in story
    assert "III changed" not in story


def test_what_an_attack_loses_is_told_with_its_reason() -> None:
    rows = [
        honest(),
        spoof("null", success=True, success_strict=True),
        spoof("II", accepted_strict=False, rejected_by="replay"),
        spoof("III", bound_by="time,size"),
    ]
    story = tell(rows)
    assert "there the trajectory passes, not the attack" in story
    assert "because of replay" in story
    assert "because of size, time" in story


def test_without_the_control_nothing_is_credited() -> None:
    assert "no null control in this run, so no attack can be credited" in tell([honest(), spoof("II")])


def test_an_arm_whose_control_is_missing_is_still_mentioned() -> None:
    story = tell([honest(), spoof("null"), spoof("II", steps=70), spoof("III", seed=1), spoof("I-tail")])
    assert "II: null was not measured" in story
    assert "III: null was not measured" in story
    assert "I-tail errs less" in story


def test_failed_trials_are_counted_and_named() -> None:
    story = tell([honest(), spoof("null"), row("II", status="error"), row("III", status="error", steps=70)])
    assert "2 trials failed" in story
    assert "II (T' = 50); III (T' = 70)" in story
    assert "of 1 spoofs" in story


def test_of_nothing_nothing_is_told() -> None:
    assert tell([]) == ""
    assert "1 trials failed" in tell([row("II", status="error")])


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
    story = tell([honest(), *rows])
    assert "nan" not in story
    for one in rows:
        if one.arm != "null":
            assert one.arm in story or (one.status == "ok" and "no null control" in story)
