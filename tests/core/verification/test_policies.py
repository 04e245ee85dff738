"""What evidence means: slack, checks by name, verdicts."""

import importlib
import itertools
import math
import pkgutil
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS, Distances, Metric
from raypol.core.errors import InputError
from raypol.core.proof import Interval, MemoryProof
from raypol.core.verification import checks
from raypol.core.verification.checks import CHECKS
from raypol.core.verification.checks.optimizer_state import STATE_SLACK
from raypol.core.verification.policies import POLICIES, Policy, Use, find_policy, published, strict, strict_trend
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.survey import InitialTest
from raypol.core.verification.thresholds import RELATIVE, Thresholds, within
from raypol.core.verification.verdict import Check, Verdict
from raypol.core.verification.verifier import Evidence, examine
from tests.toys import EXACT, RECORDED

NONE = Distances(0.0, 0.0, 0.0, 0.0)
D_REF = Distances(100.0, 10.0, 1.0, 0.5)
STATIC = Thresholds(l1=1.0, l2=1.0, linf=1.0, cos=1.0)


@pytest.fixture(scope="module")
def evidence(honest: MemoryProof, digits: Dataset) -> Evidence:
    return examine(honest, digits, RECORDED)


def alter(distances: Distances, metric: Metric, value: float) -> Distances:
    return Distances(**{**distances.as_dict(), metric: value})


def with_replays(evidence: Evidence, *errors: Distances, **changes: Any) -> Evidence:  # noqa: ANN401 - fields of a replay
    """The evidence with made-up errors of its first intervals."""
    replays = tuple(
        replace(replayed, error=error, **changes) for replayed, error in zip(evidence.replays, errors, strict=False)
    )
    return replace(evidence, replays=replays)


def check(verdict: Verdict, name: str) -> Check:
    (found,) = [c for c in verdict.checks if c.name == name]
    return found


# --- thresholds ------------------------------------------------------------------------------------------------------


@given(st.floats(0.0, 1.0))
def test_static_is_the_same_at_every_stage_and_needs_no_reference(progress: float) -> None:
    limit = Thresholds(l1=4.0, l2=3.0, linf=2.0, cos=1.0).at(progress, None)
    assert limit == Distances(4.0, 3.0, 2.0, 1.0)
    assert limit == Thresholds(l1=4.0, l2=3.0, linf=2.0, cos=1.0).at(progress, D_REF)


def test_defaults_are_the_published_slack() -> None:
    assert Thresholds().at(0.5, None) == Distances(1000.0, 10.0, 0.1, 0.01)


@given(st.floats(0.0, 1.0))
def test_relative_is_in_units_of_the_reference_at_every_stage(progress: float) -> None:
    limit = Thresholds(kind="relative", l1=0.1, l2=0.2, linf=0.3, cos=0.4).at(progress, D_REF)
    for metric, share in zip(METRICS, (0.1, 0.2, 0.3, 0.4), strict=True):
        assert limit[metric] == pytest.approx(share * D_REF[metric], rel=1e-15)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_dynamic_shrinks_from_relative_to_its_late_share(a: float, b: float, late: float) -> None:
    dynamic, relative = Thresholds(kind="dynamic", late=late), Thresholds(kind="relative")
    earlier, later = sorted((a, b))
    for metric in METRICS:
        first, last = dynamic.at(earlier, D_REF)[metric], dynamic.at(later, D_REF)[metric]
        assert first >= last >= 0.0
        whole = relative.at(0.0, D_REF)[metric]
        assert dynamic.at(0.0, D_REF)[metric] == whole
        assert dynamic.at(1.0, D_REF)[metric] == pytest.approx(late * whole, abs=4e-16 * whole)  # 1 - (1 - late)


@pytest.mark.parametrize("kind", ["relative", "dynamic"])
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_relative_thresholds_without_a_reference_are_an_error(
    kind: Literal["relative", "dynamic"], policy: Policy, evidence: Evidence
) -> None:
    with pytest.raises(InputError, match="need d_ref"):
        policy(evidence, Thresholds(kind=kind), None)


@pytest.mark.parametrize(
    "options",
    [{"kind": "absolute"}, *({name: value} for name in (*METRICS, "late") for value in (-1.0, math.nan, -math.inf))],
)
def test_impossible_thresholds_are_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"expected|possible"):
        Thresholds(**options)


@given(st.lists(st.floats(0.0, 2.0), min_size=4, max_size=4), st.lists(st.floats(0.0, 2.0), min_size=4, max_size=4))
def test_within_is_every_metric_at_most_its_limit(error: list[float], limit: list[float]) -> None:
    expected = all(e <= d for e, d in zip(error, limit, strict=True))
    assert within(Distances(*error), Distances(*limit)) == expected


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nothing_that_is_not_finite_is_within_anything(metric: Metric, value: float) -> None:
    infinite = Distances(math.inf, math.inf, math.inf, math.inf)
    assert not within(alter(NONE, metric, value), infinite)
    assert not within(NONE, alter(infinite, metric, math.nan))
    assert within(NONE, infinite)


# --- replay and optimizer state --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [published, strict])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_one_metric_beyond_its_slack_in_one_interval_rejects(
    policy: Policy, metric: Metric, at: int, evidence: Evidence
) -> None:
    errors = [NONE] * 3
    errors[at] = alter(NONE, metric, 1.0)
    assert policy(with_replays(evidence, *errors), STATIC, None).is_valid, "on the border is within"
    errors[at] = alter(NONE, metric, math.nextafter(1.0, 2.0))
    verdict = policy(with_replays(evidence, *errors), STATIC, None)
    assert verdict.rejected_by == "replay"
    found = check(verdict, "replay")
    interval = evidence.replays[at].interval
    assert f"{metric} 1 against 1 in steps {interval.start}..{interval.stop}" in found.detail
    assert found.numbers["failed_intervals"] == 1.0
    assert found.numbers[metric] > 1.0


@pytest.mark.parametrize("policy", [published, strict])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_distance_that_is_no_number_rejects_and_is_shown(
    policy: Policy, metric: Metric, value: float, at: int, evidence: Evidence
) -> None:
    lenient = Thresholds(l1=math.inf, l2=math.inf, linf=math.inf, cos=math.inf)
    errors = [alter(NONE, metric, 0.5)] * 3
    errors[at] = alter(NONE, metric, value)
    verdict = policy(with_replays(evidence, *errors), lenient, None)
    assert verdict.rejected_by == "replay"
    found = check(verdict, "replay")
    assert not math.isfinite(found.numbers[metric]), "a NaN must not hide behind a smaller number"
    assert metric in found.detail


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_rejects(loss: float, evidence: Evidence) -> None:
    assert published(with_replays(evidence, NONE, NONE, NONE, loss=loss), STATIC, None).rejected_by == "replay"


def test_no_replay_at_all_rejects(evidence: Evidence) -> None:
    nothing = replace(evidence, replays=())
    assert published(nothing, STATIC, None).rejected_by == "replay"
    assert strict(nothing, STATIC, None).rejected_by == "replay,optimizer_state"


def test_dynamic_slack_is_that_of_the_intervals_end(evidence: Evidence) -> None:
    # T = 22: the intervals end at 8/22, 16/22 and 1; a slack of 1 that falls to 0.
    thresholds = Thresholds(kind="dynamic", l1=1.0, l2=1.0, linf=1.0, cos=1.0, late=0.0)
    ones = Distances(1.0, 1.0, 1.0, 1.0)

    def judged(*errors: float) -> str:
        made_up = with_replays(evidence, *(Distances(e, e, e, e) for e in errors))
        return published(made_up, thresholds, ones).rejected_by

    left = [1 - 8 / 22, 1 - 16 / 22, 0.0]
    assert judged(left[0] - 1e-9, left[1] - 1e-9, 0.0) == ""
    for at in range(3):
        assert (
            judged(*(value + (1e-9 if i == at else -1e-9 if value else 0.0) for i, value in enumerate(left)))
            == "replay"
        )


@pytest.mark.parametrize("value", [1.01 * STATE_SLACK, math.nan, math.inf])
def test_the_state_is_judged_by_strict_alone(value: float, evidence: Evidence) -> None:
    off = with_replays(evidence, NONE, NONE, NONE, state_error=Distances(value, 0.0, 0.0, 0.0))
    assert published(off, STATIC, None).is_valid
    assert strict(off, STATIC, None).rejected_by == "optimizer_state"


def test_a_state_that_cannot_follow_is_rejected_whatever_its_distance(evidence: Evidence) -> None:
    off = with_replays(evidence, NONE, NONE, NONE, state_problem="entries missing")
    assert published(off, STATIC, None).is_valid
    verdict = strict(off, STATIC, None)
    assert verdict.rejected_by == "optimizer_state"
    assert "entries missing" in check(verdict, "optimizer_state").detail


# --- the initial state -----------------------------------------------------------------------------------------------


def with_initial(evidence: Evidence, *tests: InitialTest) -> Evidence:
    return replace(evidence, survey=replace(evidence.survey, initial=tests))


@pytest.mark.parametrize(
    ("test", "by_published", "by_strict"),
    [
        (InitialTest(tensor="w", p_value=0.01), "", ""),
        (InitialTest(tensor="w", p_value=0.0099), "initial_state", "initial_state"),
        (InitialTest(tensor="w", p_value=0.0), "initial_state", "initial_state"),
        (InitialTest(tensor="w", p_value=math.nan), "initial_state", "initial_state"),
        (InitialTest(tensor="w", deviation=0.0), "", ""),
        (InitialTest(tensor="w", deviation=1e-30), "", "initial_state"),
        (InitialTest(tensor="w", deviation=math.nan), "", "initial_state"),
        (InitialTest(tensor="w", deviation=math.inf), "", "initial_state"),
    ],
)
def test_laws_and_constants(test: InitialTest, by_published: str, by_strict: str, evidence: Evidence) -> None:
    lawful = InitialTest(tensor="v", p_value=0.5)
    found = with_initial(evidence, lawful, test)
    assert published(found, STATIC, None).rejected_by == by_published
    assert strict(found, STATIC, None).rejected_by == by_strict
    if by_strict:
        assert check(strict(found, STATIC, None), "initial_state").detail.startswith("w")


def test_a_start_that_was_never_tested_rejects(evidence: Evidence) -> None:
    assert published(with_initial(evidence), STATIC, None).rejected_by == "initial_state"


def test_a_model_of_constants_alone_has_nothing_to_test_by_law(evidence: Evidence) -> None:
    assert strict(with_initial(evidence, InitialTest(tensor="w", deviation=0.0)), STATIC, None).is_valid


# --- hashes, structure and the rest ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [published, strict, strict_trend])
@pytest.mark.parametrize("kind", ["structure", "indices", "finite", "hashes"])
def test_whatever_the_survey_found_rejects_under_every_policy(policy: Policy, kind: str, evidence: Evidence) -> None:
    problems: dict[str, Any] = {kind: ("first", "second", "third")}
    found = replace(evidence, survey=replace(evidence.survey, **problems))
    verdict = policy(found, STATIC, None)
    assert kind in verdict.rejected_by.split(",")
    assert check(verdict, kind).detail == "first (and 2 more)"
    assert check(verdict, kind).numbers == {"problems": 3.0}


def test_roots_are_compared(evidence: Evidence) -> None:
    assert strict(replace(evidence, recorded_root="0" * 64), EXACT, None).rejected_by == "hashes"
    assert strict(replace(evidence, expected_root="0" * 64), EXACT, None).rejected_by == "hashes"
    assert strict(replace(evidence, expected_root=evidence.recorded_root), EXACT, None).is_valid


def test_checks_bear_the_names_that_results_and_reports_use(evidence: Evidence) -> None:
    soundness = ["structure", "indices", "finite", "hashes", "initial_state", "replay"]
    assert [c.name for c in published(evidence, EXACT, None).checks] == soundness
    judged = [c.name for c in strict(evidence, EXACT, None).checks]
    assert judged == ["admissible", *soundness, "optimizer_state", "buffers"]
    assert [c.name for c in strict_trend(evidence, EXACT, None).checks][-1] == "performance_trend"
    for name, policy in POLICIES.items():
        assert policy(evidence, EXACT, None).policy == name


@given(st.lists(st.booleans(), max_size=5))
def test_a_verdict_is_valid_if_every_check_passed(outcomes: list[bool]) -> None:
    checks = tuple(Check(name=f"c{i}", passed=passed, detail="") for i, passed in enumerate(outcomes))
    verdict = Verdict(policy="p", checks=checks)
    assert verdict.is_valid == all(outcomes) == (verdict.rejected_by == "")
    assert verdict.rejected_by.split(",") == [c.name for c in checks if not c.passed] or verdict.is_valid


# --- the trend of performance ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracies", "rises"),
    [
        ([0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9], True),
        ([0.1, 0.3, 0.5, 0.45, 0.7, 0.8, 0.78], True),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1], False),
        ([0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.5], False),
        ([0.5] * 7, False),
        ([0.1, 0.9], False),
        ([], False),
        ([0.1, math.nan, 0.5, 0.6, 0.7, 0.8, 0.9], True),  # one was not measured
    ],
)
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_accuracy_must_rise_with_progress(accuracies: list[float], rises: bool, evidence: Evidence) -> None:
    found = replace(evidence, survey=replace(evidence.survey, accuracies=tuple(accuracies)))
    assert strict(found, EXACT, None).is_valid
    assert strict_trend(found, EXACT, None).rejected_by == ("" if rises else "performance_trend")


# --- by name ---------------------------------------------------------------------------------------------------------


def paranoid(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Verdict:
    del evidence, thresholds, d_ref
    return Verdict(policy="paranoid", checks=(Check(name="trust", passed=False, detail="nobody"),))


def steady(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Check:
    del thresholds, d_ref
    return Check(name="steady", passed=evidence.recipe.steps > 10**6, detail="")


HERE = "tests.core.verification.test_policies"


def test_policies_are_found_by_name_or_import_path() -> None:
    assert find_policy("strict") is strict
    assert find_policy(f"{HERE}:strict") is strict
    assert find_policy(f"{HERE}:paranoid").checks == (Use(check=f"{HERE}:paranoid"),)


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("strict+performance_trend", ["performance_trend"]),
        (f"strict+performance_trend+{HERE}:steady", ["performance_trend", "steady"]),
        (f"strict+{HERE}:paranoid", ["trust"]),
    ],
)
def test_checks_are_added_to_a_policy_by_name(name: str, added: list[str], evidence: Evidence) -> None:
    verdict = find_policy(name)(evidence, EXACT, None)
    assert verdict.policy == name
    assert [c.name for c in verdict.checks] == [*(c.name for c in strict(evidence, EXACT, None).checks), *added]
    assert ("steady" in verdict.rejected_by) == ("steady" in added)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("paranoid", "unknown policy 'paranoid'; possible: exact, published, strict, strict_trend, or an import path"),
        ("performance_trend", "unknown policy 'performance_trend'"),
        ("strict+trend", r"unknown check 'trend'; possible: .*hashes.*performance_trend.*, or an import path"),
        ("strict+", "unknown check ''"),
        ("strict+strict", "unknown check 'strict'"),
    ],
)
def test_an_unknown_policy_or_check_is_answered_with_the_known_ones(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_policy(name)


def test_each_check_name_belongs_to_one_module() -> None:
    found = pkgutil.walk_packages(checks.__path__, f"{checks.__name__}.")
    modules = [importlib.import_module(one.name) for one in found if not one.ispkg]
    assert sorted(name for module in modules for name in module.CHECKS) == sorted(CHECKS)


@pytest.mark.parametrize("name", ["tests.core.verification.test_policies:no_such_policy", "no_such_module:strict"])
def test_an_import_path_that_leads_nowhere_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="cannot import"):
        find_policy(name)


def test_an_own_policy_may_reject_what_strict_accepts(evidence: Evidence) -> None:
    assert strict(evidence, RELATIVE, D_REF).is_valid
    assert paranoid(evidence, RELATIVE, D_REF).rejected_by == "trust"


def test_made_up_evidence_needs_no_proof() -> None:
    # A policy is a function of evidence: intervals without overlap, in any number.
    replayed = [
        IntervalReplay(
            interval=Interval(i, i, i + 1),
            error=NONE,
            state_problem="",
            state_error=NONE,
            buffer_error=NONE,
            loss=1.0,
        )
        for i in range(3)
    ]
    assert [a.interval.stop for a, _ in itertools.pairwise(replayed)] == [1, 2]


_ASKED: list[str] = []


def noted(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """A check of one's own that notes that it was asked."""
    _ASKED.append(evidence.recorded_root)
    return Check(name="noted", passed=True, detail="")


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_accepting_is_what_the_verdict_says_and_ends_at_the_first_no(policy: Policy, evidence: Evidence) -> None:
    noting = replace(policy, checks=(*policy.checks, Use(check=f"{__name__}:noted")))
    far = with_replays(evidence, alter(NONE, "l1", math.nan))
    forged = replace(evidence, survey=replace(evidence.survey, finite=("a tensor has NaN entries",)))
    for found in (evidence, far, forged):
        is_valid = policy(found, STATIC, D_REF).is_valid
        _ASKED.clear()
        assert noting.accepts(found, STATIC, D_REF) == is_valid
        assert bool(_ASKED) == is_valid
