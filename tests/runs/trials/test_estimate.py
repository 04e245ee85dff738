"""An estimated trial against the whole one: the same intervals give the same numbers, the rest is extrapolated and marked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from raypol.cluster.runners import LocalRunner
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.runs.trials.study import Study, TrialOutcome
from raypol.runs.trials.trial import run_honest, run_trial
from raypol.store.location import open_location
from raypol.store.results.files import read_trial
from raypol.store.results.rows import TrialRow
from tests.studies import prepare, trial

SPOOF = SpoofConfig(steps=60, interval=5, carry="restart", grants=("usual", "interval"))
SAMPLE = 5
COMPARED = ("null", "forged_momentum", "III-loss")
"""One of each way of making intervals; the rest differ in what is minimised."""


@pytest.fixture(scope="module")
def estimating(local: LocalRunner, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = prepare(local, open_location(tmp_path_factory.mktemp("estimates")), sweep_id="estimates")
    return replace(study, estimate=SAMPLE)


@pytest.fixture(scope="module")
def honest(local: LocalRunner, estimating: Study) -> TrialRow:
    return run_honest(local, estimating, trial("null")).row


@pytest.fixture(scope="module")
def both(honest: TrialRow, estimating: Study, local: LocalRunner) -> Mapping[str, tuple[TrialOutcome, TrialOutcome]]:
    """Arm -> (estimated, whole)."""

    def of(arm: str) -> tuple[TrialOutcome, TrialOutcome]:
        asked = trial(arm, spoof=SPOOF)
        whole = run_trial(local, replace(estimating, estimate=0, sweep_id="whole"), asked, honest)
        return run_trial(local, estimating, asked, honest), whole

    return {arm: of(arm) for arm in COMPARED}


@pytest.mark.parametrize("arm", COMPARED)
def test_what_was_looked_at_is_what_the_whole_spoof_shows(
    both: Mapping[str, tuple[TrialOutcome, TrialOutcome]], arm: str
) -> None:
    estimated, whole = both[arm]
    seen = {(one.step_from, one.metric): one for one in whole.intervals}
    assert len(estimated.intervals) == 4 * SAMPLE
    for one in estimated.intervals:
        twin = seen[one.step_from, one.metric]
        assert (one.distance, one.movement, one.control, one.state_distance) == (
            twin.distance, twin.movement, twin.control, twin.state_distance,
        )  # fmt: skip
        assert one.accuracy == twin.accuracy


@pytest.mark.parametrize("arm", COMPARED)
def test_errors_times_and_sizes_are_near_those_of_the_whole(
    both: Mapping[str, tuple[TrialOutcome, TrialOutcome]], arm: str
) -> None:
    estimated, whole = (outcome.row for outcome in both[arm])
    for metric in ("l1", "l2", "linf", "cos"):
        name = f"error_{metric}"
        assert 0.0 < getattr(estimated, name) <= getattr(whole, name)
        above = [
            one for one in both[arm][1].intervals if one.metric == metric and one.normalised > getattr(estimated, name)
        ]
        assert len(above) <= (estimated.estimate_beyond or 0), metric
    assert estimated.size_bytes == pytest.approx(whole.size_bytes, rel=0.1)
    assert estimated.size_weights_bytes == whole.size_weights_bytes
    assert estimated.gradient_evals == pytest.approx(whole.gradient_evals, rel=0.25)
    assert estimated.device_s is not None
    assert whole.device_s is not None
    # A busy machine times badly: this tells a sum that was not scaled up from one that was scaled twice, no more.
    assert 0.05 < estimated.device_s / whole.device_s < 20.0
    assert (estimated.accepted_published, estimated.accepted_strict) == (
        whole.accepted_published,
        whole.accepted_strict,
    )
    assert estimated.accuracy_final == whole.accuracy_final


def marks(row: TrialRow) -> tuple[object, ...]:
    return row.status, row.estimated, row.intervals_verified, row.num_intervals, row.proof_id


def test_the_row_says_that_it_is_an_estimate(
    both: Mapping[str, tuple[TrialOutcome, TrialOutcome]], estimating: Study
) -> None:
    estimated, whole = (outcome.row for outcome in both["null"])
    assert marks(estimated) == ("ok", True, 5, 12, "")
    assert marks(replace(whole, proof_id="")) == ("ok", False, 12, 12, "")
    assert (estimated.estimate_confidence, estimated.estimate_beyond) == (0.95, 4)
    assert estimated.message.startswith(
        "estimated from 5 of 12 intervals: with 95% confidence at most 4 of them err more in any one metric; device time +- "
    )
    assert whole.estimate_confidence is None
    stored = read_trial(estimating.results, estimated.trial_id)
    assert stored is not None
    assert stored[0].estimated


def test_nothing_is_left_of_an_estimate_but_its_row(
    both: Mapping[str, tuple[TrialOutcome, TrialOutcome]], estimating: Study
) -> None:
    assert both
    staging = Path(estimating.results.path) / ".staging"
    assert not [path for path in staging.rglob("*") if path.is_file()]


def test_a_carried_state_is_nearly_that_of_the_whole(honest: TrialRow, estimating: Study, local: LocalRunner) -> None:
    asked = trial("III-loss", spoof=replace(SPOOF, carry="exact", steps=120, interval=10))
    study = replace(estimating, estimate=4)
    estimated = run_trial(local, study, asked, honest)
    whole = run_trial(local, replace(study, estimate=0), asked, honest)
    assert estimated.row.status == "ok", estimated.row.message
    seen = {(one.step_from, one.metric): one for one in whole.intervals}
    for one in estimated.intervals:
        twin = seen[one.step_from, one.metric]
        assert one.movement == twin.movement
        assert one.distance == pytest.approx(twin.distance, rel=0.05)


@pytest.mark.parametrize(("arm", "estimate"), [("I-tail", SAMPLE), ("null", 12), ("null", 100)])
def test_what_cannot_or_need_not_be_sampled_is_run_whole(
    honest: TrialRow, estimating: Study, local: LocalRunner, arm: str, estimate: int
) -> None:
    row = run_trial(local, replace(estimating, estimate=estimate), trial(arm, spoof=SPOOF), honest).row
    assert (row.status, row.estimated, row.intervals_verified) == ("ok", False, 12)


def test_a_state_that_is_remembered_for_too_long_fails_with_its_reason(
    honest: TrialRow, estimating: Study, local: LocalRunner
) -> None:
    asked = trial("null", spoof=replace(SPOOF, carry="exact", interval=2))
    row = run_trial(local, estimating, asked, honest).row
    assert row.status == "error"
    assert "use carry restart, or no estimate" in row.message.partition("\n")[0]
