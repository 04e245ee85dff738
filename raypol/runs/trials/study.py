"""What trials are about: one to be made, what all of a run share, and what came of one."""

from dataclasses import dataclass
from typing import Any, Literal

from raypol.core.datasets.source import DataSource
from raypol.core.distances import Distances
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Verdict
from raypol.runs.trials.honest_proof import HonestProof
from raypol.runs.trials.verify import Examination
from raypol.store.location import Location
from raypol.store.results.rows import IntervalRow, TrialRow

Keep = Literal["all", "successful", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One spoof to be made and judged."""

    arm: str
    """Name in tables and figures."""
    attack: Any
    """The attack's configuration, one of `raypol.core.attacks.PRESETS` or its like."""
    spoof: SpoofConfig
    """T', k, trajectory, declared hyperparameters, carry, seed."""
    trial_id: str = ""
    """Name of its row; empty = from its content and the study's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What all trials of a run share."""

    sweep_id: str
    results: Location
    data: DataSource
    """The prover's, and the adversary's where he names no other."""
    proof: HonestProof
    prover_device: str
    """As asked for."""
    d_ref: Distances
    examination: Examination
    thresholds: Thresholds
    early_stop: bool = False
    """Stop a trial whose first intervals, replayed before the rest is crafted, already rule success out."""
    estimate: int = 0
    """Craft and replay so many intervals of each spoof, drawn by seed, and extrapolate; 0 = all of them."""
    keep: Keep = "all"
    """Which spoofs stay in the results folder once they are judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything about one arm: what is recorded, and what figures need."""

    row: TrialRow
    intervals: tuple[IntervalRow, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    lost: bool = False
    """True if a worker or the storage was lost: the trial is worth another try, which goes on where this one stood."""
