"""Sound early stopping: a spoof is held against bounds that it must keep, not against other trials."""

from collections.abc import Sequence
from typing import Final

from raypol.cluster.jobs import ProbeJob, SpoofJob, run_probe
from raypol.cluster.runners import Runner
from raypol.core.distances import METRICS
from raypol.core.proof import Recipe
from raypol.core.verification.replay import IntervalReplay
from raypol.runs.trials.rows import number_of
from raypol.runs.trials.study import Study, Trial
from raypol.store.results.rows import TrialRow

_SHARE: Final = 4
_FACTOR: Final = 4


class RuledOutError(Exception):
    """The first intervals already rule success out."""

    def __init__(self, reason: str, replays: Sequence[IntervalReplay], *, rejected: bool) -> None:
        super().__init__(reason)
        self.replays = replays
        self.rejected = rejected


class EarlyStop:
    """Replays a spoof's first intervals while the rest is crafted, and raises as soon as the spoof cannot succeed.

    As in successive halving, looks are taken at geometrically growing depths; but a trial is held against the verifier's own
    bound and the honest proof's error, not against other trials, so no trial that would have succeeded is ever stopped: the
    error of a spoof is the largest over its intervals, and an interval replays the same now as later.
    """

    @staticmethod
    def is_sound(runner: Runner, trial: Trial) -> bool:
        """True if a look shows what the verdict will see: all intervals, from the same recorded state, under one slack."""
        if trial.policies or trial.thresholds.kind == "moves":
            return False
        same = runner.request("spoofer") == runner.request("verifier")
        return trial.examination.selection == "all" and (same or trial.spoof.carry != "exact")

    def __init__(self, runner: Runner, study: Study, trial: Trial, honest: TrialRow, recipe: Recipe) -> None:
        self._runner, self._trial, self._honest, self._recipe = runner, trial, honest, recipe
        self._d_ref = study.d_ref
        # A quarter at most: what is replayed here is replayed again at the end.
        self._most = max(1, recipe.num_intervals // _SHARE)
        self._next, self._known = 1, 0
        self._replays: list[IntervalReplay] = []

    def __call__(self, job: SpoofJob, done: int) -> None:
        """Look, if enough is crafted for the next look: the `on_crafted` of `forge`.

        Raises:
            RuledOutError: the spoof cannot succeed.
        """
        first = min(done, self._most)
        if first < self._next or first <= self._known or done >= self._recipe.num_intervals:
            return
        probe = ProbeJob(
            spoof=job,
            first=first,
            known=self._known,
            device=self._runner.device("verifier"),
            conditions=self._trial.examination.conditions,
        )
        for replay in self._runner.submit("verifier", run_probe, probe).result():
            self._replays.append(replay)
            limit = self._trial.thresholds.at(replay.interval.stop / self._recipe.steps, self._d_ref)
            over = [m for m in METRICS if not replay.error[m] <= limit[m]]
            normalised = replay.error.normalised(self._d_ref)
            worse = [m for m in METRICS if not normalised[m] < number_of(getattr(self._honest, f"error_{m}"))]
            if over or worse:
                where = f"steps {replay.interval.start} to {replay.interval.stop}"
                reason = f"{where}: above delta in {', '.join(over)}" if over else ""
                reason = reason or f"{where}: not below the honest proof's largest error in {', '.join(worse)}"
                raise RuledOutError(reason, self._replays, rejected=bool(over))
        self._known, self._next = first, max(first + 1, _FACTOR * self._next)
