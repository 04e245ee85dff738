"""A trial that was interrupted goes on where it stood, one that cannot succeed ends early; neither changes a number."""

import errno
import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest

from raypol.cluster.jobs import DeviceFacts, run_craft, run_replay, run_seal, run_survey
from raypol.cluster.placement import DeviceRequest, parse_device
from raypol.cluster.runners import LocalRunner, Role, WorkerLostError
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import Thresholds
from raypol.runs.trials import make_spoof
from raypol.runs.trials.early_stop import EarlyStop
from raypol.runs.trials.study import Trial, TrialOutcome
from raypol.runs.trials.trial import run_trial
from raypol.runs.trials.verify import Examination
from raypol.store import retries
from raypol.store.results.rows import TrialRow
from tests.runs.conftest import Fresh
from tests.studies import QUICK_ARMS, trial

Job = Callable[..., Any]
Trouble = dict[Job, tuple[int, int, Exception]]

LONG = SpoofConfig(steps=16, interval=2, grants=("usual", "interval"))
TIMED = {
    "device_s",
    "wall_s",
    "writing_s",
    "verify_s",
    "step_equivalents",
    "ratio_time",
    "ratio_working",
    "started_at",
    "bound_by",
    "success",
}
TIMED |= {"success_strict", "message"}


@dataclass
class Troubled:
    """A real runner whose jobs fail as told: by function (first call that fails, number of failures, error)."""

    inner: LocalRunner
    trouble: Trouble
    calls: dict[Job, int] = field(default_factory=dict)

    name = "troubled"

    def submit(self, role: Role, function: Callable[[Any], Any], job: object) -> "Future[Any]":
        number = self.calls[function] = self.calls.get(function, 0) + 1
        start, times, err = self.trouble.get(function, (0, 0, RuntimeError()))
        if start <= number < start + times:
            failed: Future[Any] = Future()
            failed.set_exception(err)
            return failed
        return self.inner.submit(role, function, job)

    def device(self, role: Role) -> str:
        return self.inner.device(role)

    def request(self, role: Role) -> DeviceRequest:
        return self.inner.request(role)

    def facts(self, role: Role) -> DeviceFacts:
        return self.inner.facts(role)

    def begin(self) -> None:
        self.inner.begin()

    def num_workers(self, role: Role) -> int:
        return self.inner.num_workers(role)

    def close(self) -> None:
        pass


def values(row: TrialRow) -> dict[str, str]:
    return {f.name: repr(getattr(row, f.name)) for f in fields(row) if f.name not in TIMED}


def same(one: TrialOutcome, other: TrialOutcome) -> bool:
    return values(one.row) == values(other.row) and repr(one.intervals) == repr(other.intervals)


def staged(fresh: Fresh) -> list[str]:
    return sorted(path.name for path in (fresh.folder / ".staging").rglob("*") if path.is_file())


# --- taken up again --------------------------------------------------------------------------------------------------

LOST = WorkerLostError("gone")
WHERE: dict[str, tuple[Trouble, dict[Job, int]]] = {
    "while crafting": ({run_craft: (3, 99, LOST)}, {run_craft: 6}),
    "before sealing": ({run_seal: (1, 99, LOST)}, {run_craft: 0}),
    "before the survey": ({run_survey: (1, 99, LOST)}, {run_craft: 0, run_seal: 0}),
    "while replaying": ({run_replay: (2, 99, LOST)}, {run_craft: 0, run_seal: 0}),
}


@pytest.mark.parametrize("where", WHERE)
def test_a_lost_trial_goes_on_where_it_stood(
    fresh: Fresh, local: LocalRunner, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = trial("III-loss", spoof=LONG)
    whole = run_trial(local, replace(fresh.study, sweep_id="whole"), asked, fresh.honest.row)
    trouble, again = WHERE[where]
    lost = run_trial(Troubled(local, trouble), fresh.study, asked, fresh.honest.row)
    assert (lost.row.status, lost.lost) == ("error", True)
    assert staged(fresh), "what was finished is kept"

    worked: dict[Job, int] = {run_craft: 0, run_seal: 0}
    for function in worked:

        def counted(job: Any, real: Job = function) -> Any:  # noqa: ANN401 - any job
            outcome = real(job)
            worked[real] += not outcome.reused
            return outcome

        monkeypatch.setattr(make_spoof, function.__name__, counted)
    resumed = run_trial(local, fresh.study, asked, fresh.honest.row)
    assert same(_nameless(resumed), _nameless(whole))
    assert resumed.row.message.startswith("taken up after an interruption")
    assert {function: worked[function] for function in again} == again
    assert staged(fresh) == []
    (kept,) = pq.read_table(fresh.folder / "trials" / f"{resumed.row.trial_id}.parquet").to_pylist()
    assert kept["status"] == "ok"


def _nameless(outcome: TrialOutcome) -> TrialOutcome:
    """Two trials of equal content in two sweeps."""
    intervals = tuple(replace(one, sweep_id="", trial_id="", proof_id="") for one in outcome.intervals)
    return replace(outcome, row=replace(outcome.row, sweep_id="", trial_id="", proof_id=""), intervals=intervals)


def test_storage_that_is_away_for_a_moment_costs_no_trial(fresh: Fresh, local: LocalRunner) -> None:
    away = OSError(errno.EIO, "Input/output error")
    runner = Troubled(local, {run_craft: (2, 1, away), run_seal: (1, 1, away), run_replay: (1, 1, away)})
    outcome = run_trial(runner, fresh.study, trial("III-loss", spoof=LONG), fresh.honest.row)
    assert outcome.row.status == "ok", outcome.row.message
    assert staged(fresh) == []


def test_storage_that_stays_away_ends_the_trial_and_keeps_what_is_done(
    fresh: Fresh, local: LocalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_STORAGE_PATIENCE_S", 0.1)
    full = OSError(errno.ENOSPC, "No space left on device")
    asked = trial("III-loss", spoof=LONG)
    outcome = run_trial(Troubled(local, {run_seal: (1, 10**6, full)}), fresh.study, asked, fresh.honest.row)
    assert (outcome.row.status, outcome.lost) == ("error", True)
    assert "No space left on device" in outcome.row.message
    assert len(staged(fresh)) == 8
    assert run_trial(local, fresh.study, asked, fresh.honest.row).row.status == "ok"


def test_rows_that_cannot_be_written_are_told(
    fresh: Fresh, local: LocalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_STORAGE_PATIENCE_S", 0.1)
    (fresh.folder / "trials").rename(fresh.folder / "away")
    (fresh.folder / "trials").write_bytes(b"in the way")
    with pytest.raises(OSError, match="trials"):
        run_trial(local, fresh.study, trial("null"), fresh.honest.row)
    assert staged(fresh) == ["sealed.json"], "until the row is written, another try goes on from the sealed spoof"
    (fresh.folder / "trials").unlink()
    (fresh.folder / "away").rename(fresh.folder / "trials")
    again = run_trial(local, fresh.study, trial("null"), fresh.honest.row)
    assert again.row.message.startswith("taken up after an interruption")
    assert staged(fresh) == []


# --- stopped early ---------------------------------------------------------------------------------------------------


def judged_by(delta: float, arm: str = "III-loss") -> Trial:
    return trial(arm, spoof=LONG, thresholds=Thresholds(kind="relative", l1=delta, l2=delta, linf=delta, cos=delta))


def test_a_trial_that_cannot_succeed_any_more_is_stopped_and_says_so(fresh: Fresh, local: LocalRunner) -> None:
    asked = judged_by(1e-6)
    whole = run_trial(local, fresh.study, asked, fresh.honest.row)
    runner = Troubled(local, {})
    stopped = run_trial(runner, replace(fresh.study, early_stop=True, sweep_id="early"), asked, fresh.honest.row)
    row = stopped.row
    assert (row.status, row.success, row.accepted_published) == ("stopped", False, False)
    assert (row.rejected_by, row.bound_by) == ("replay", "rejected:replay")
    assert (row.intervals_verified, row.num_intervals) == (1, 8)
    assert row.message.startswith("stopped after 1 of 8 intervals: steps 0 to 2: above delta in l1, l2, linf, cos")
    # What was seen is exactly what replaying the sealed spoof shows.
    assert row.error_l2 == next(one.normalised for one in whole.intervals if one.metric == "l2" and one.step_from == 0)
    assert row.proof_id == ""
    assert run_seal not in runner.calls
    assert staged(fresh) == []
    (kept,) = pq.read_table(fresh.folder / "trials" / f"{row.trial_id}.parquet").to_pylist()
    assert kept["status"] == "stopped"


def test_an_accepted_trial_that_errs_more_than_the_proof_is_stopped_too(fresh: Fresh, local: LocalRunner) -> None:
    honest = replace(fresh.honest.row, error_l2=1e-12)
    row = run_trial(local, replace(fresh.study, early_stop=True), judged_by(1e6), honest).row
    assert (row.status, row.success, row.accepted_published, row.bound_by) == ("stopped", False, None, "error")
    assert "not below the honest proof's largest error in l2" in row.message


@pytest.mark.parametrize("arm", QUICK_ARMS)
def test_no_trial_that_would_have_succeeded_is_stopped(fresh: Fresh, local: LocalRunner, arm: str) -> None:
    asked = trial(arm, spoof=LONG)
    early = run_trial(local, replace(fresh.study, early_stop=True, sweep_id="early"), asked, fresh.honest.row)
    whole = run_trial(local, fresh.study, asked, fresh.honest.row)
    if early.row.status == "stopped":
        errors = [f"error_{m}" for m in ("l1", "l2", "linf", "cos")]
        seen = [(getattr(early.row, e), getattr(whole.row, e), getattr(fresh.honest.row, e)) for e in errors]
        assert all(part <= final for part, final, _ in seen)
        assert not whole.row.accepted_published or any(final >= honest for _, final, honest in seen)
    else:
        assert same(_nameless(early), _nameless(whole))


def test_nothing_is_looked_at_early_unless_it_is_asked_for(fresh: Fresh, local: LocalRunner) -> None:
    row = run_trial(local, fresh.study, judged_by(1e-9), fresh.honest.row).row
    assert (row.status, row.intervals_verified) == ("ok", 8)


# --- kept or not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "delta", "stays"), [("all", 1e-9, True), ("successful", 1e-9, False), ("none", 1e6, False)]
)
def test_which_spoofs_stay(fresh: Fresh, local: LocalRunner, keep: Any, delta: float, *, stays: bool) -> None:  # noqa: ANN401
    row = run_trial(local, replace(fresh.study, keep=keep), judged_by(delta, "null"), fresh.honest.row).row
    assert row.status == "ok"
    assert (fresh.folder / "proofs" / row.proof_id).exists() is stays
    assert not math.isnan(row.error_l2 or math.nan)


@pytest.mark.parametrize(
    ("spoofer", "carry", "selection", "sound"),
    [
        ("cpu", "exact", "all", True),
        ("cpu:2", "exact", "all", False),
        ("cpu:2", "restart", "all", True),
        ("cpu", "exact", "random", False),
    ],
)
def test_a_look_is_taken_only_where_it_shows_what_the_verdict_will_see(
    spoofer: str,
    carry: Literal["exact", "restart"],
    selection: Literal["all", "random"],
    *,
    sound: bool,
) -> None:
    class Where(Troubled):
        def request(self, role: Role) -> DeviceRequest:
            return parse_device(spoofer if role == "spoofer" else "cpu")

    examination = Examination(conditions=Conditions(), selection=selection)
    asked = trial("III-loss", spoof=replace(LONG, carry=carry), examination=examination)
    assert EarlyStop.is_sound(Where(None, {}), asked) is sound  # type: ignore[arg-type]


def test_patience_counts_from_the_first_failure_and_long_work_renews_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of our own: tries that last 100 s each before the storage fails are each given the whole patience."""
    now = [0.0]
    monkeypatch.setattr("raypol.store.retries.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(retries, "_STORAGE_PATIENCE_S", 60.0)
    tries: list[float] = []

    def work(lasting_s: float, failures: int) -> str:
        tries.append(now[0])
        now[0] += lasting_s
        if len(tries) <= failures:
            raise OSError(errno.EIO, "Input/output error")
        return "done"

    assert retries.storage_retries(work, 100.0, 5) == "done"
    assert len(tries) == 6
    tries.clear()
    with pytest.raises(OSError, match="Input/output"):
        retries.storage_retries(work, 0.0, 10**6)
    assert 60.0 <= tries[-1] - tries[0] < 100.0
