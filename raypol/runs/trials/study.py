"""The values that trials are made of: one trial as asked for, what the trials of one honest proof share, and one outcome."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from raypol.core.attacks import import_path_of
from raypol.core.datasets.source import DataSource
from raypol.core.distances import Distances
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.core.seeds import commitment_to
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.policies import Policy, published, strict
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import RELATIVE, Thresholds
from raypol.core.verification.verdict import Verdict
from raypol.runs.trials.honest_proof import HonestProof, proof_id_of
from raypol.runs.trials.verify import Examination
from raypol.store.location import Location
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow

Keep = Literal["all", "successful", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One spoof to be made and judged: everything that decides its numbers."""

    train: TrainConfig
    """The honest training whose proof it is compared with."""
    arm: str
    """Name in tables and figures."""
    attack: Any
    """The attack's configuration, one of `raypol.core.attacks.PRESETS` or its like."""
    spoof: SpoofConfig
    """T', k, trajectory, declared hyperparameters, carry, seed."""
    examination: Examination = field(default_factory=lambda: Examination(conditions=Conditions()))
    thresholds: Thresholds = RELATIVE
    policies: tuple[Policy, ...] = field(default=(), repr=False)
    """Judge by these too, from the same evidence."""
    prover: str = "cpu"
    """Device as asked for, like the next two."""
    spoofer: str = "cpu"
    verifier: str = "cpu"

    @property
    def every_policy(self) -> tuple[Policy, ...]:
        """`published` and `strict`, whose words are columns of the trial's row, and the others."""
        return (published, strict, *self.policies)

    def asked_of_proof(self, recipe: Recipe) -> Examination:
        """How its honest proof, of this recipe, is examined: also for what only some of its policies look at."""
        return self._asked(recipe, self.train.share)

    def asked_of_spoof(self, recipe: Recipe) -> Examination:
        """How its spoof is examined: the verifier expects the share that it gave to the thief."""
        return self._asked(recipe, self.spoof.share or self.train.share)

    def _asked(self, recipe: Recipe, share: str) -> Examination:
        """Seeds are drawn before any share is known, so whoever gets one has committed to his own beforehand."""
        commitment = commitment_to(recipe.dataset_sha256, recipe.model, recipe.shares[0]) if recipe.shares else None
        return replace(
            self.examination,
            wanted=self.examination.wanted.union(*(policy.wanted for policy in self.policies)),
            exact=any(policy.needs_exact for policy in self.policies),
            expected_share=share or None,
            expected_commitment=commitment,
        )

    @property
    def data(self) -> DataSource:
        """The adversary's dataset."""
        return self.train.data.or_named(self.spoof.dataset)

    def trial_id(self, sweep_id: str) -> str:
        """Name of its row: a digest of its content and the sweep, the same in every run."""
        # The words are those of the type that this was when results folders were first written.
        names = ("examination", "thresholds", "prover", "spoofer", "verifier")
        parts = {"train": self._train, "arm": self.arm, "attack": self.attack}
        parts |= {"attack_path": self._attack_path, "spoof": self.spoof}
        parts |= {name: getattr(self, name) for name in names}
        if self.policies:
            parts["policies"] = [policy.sha256 for policy in self.policies]
        text = ", ".join(f"{name}={part!r}" for name, part in parts.items())
        return proof_id_of("trial", {"sweep": sweep_id, "setup": f"Setup({text})"})

    def honest_key(self) -> str:
        """Name of its baseline: the honest proof under the same conditions."""
        honest = (self._train, self.prover, self.verifier, self.examination, self.thresholds)
        key = {"key": repr(honest)}
        if self.policies:
            key["policies"] = repr([policy.sha256 for policy in self.policies])
        return proof_id_of("honest", key)

    @property
    def _train(self) -> TrainConfig:
        """Without the place of the dataset's files, which another machine has elsewhere."""
        return replace(self.train, data_dir=None)

    @property
    def _attack_path(self) -> str:
        try:
            return import_path_of(self.attack)
        except InputError:  # of no attack at all, which the row of this trial will say
            return ""

    def __str__(self) -> str:
        return f"{self.arm}, T' = {self.spoof.steps}, k = {self.spoof.interval}, seed {self.spoof.seed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What all trials beside one honest proof share."""

    sweep_id: str
    results: Location
    proof: HonestProof
    d_ref: Distances
    early_stop: bool = False
    """Stop a trial whose first intervals, replayed before the rest is crafted, already rule success out."""
    estimate: int = 0
    """Number of intervals of each spoof that are crafted and replayed, drawn by seed, the rest extrapolated; 0 = all."""
    keep: Keep = "all"
    """Which spoofs stay in the results folder once they are judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialOutcome:
    """The rows of a trial, and what figures need beside them."""

    row: TrialRow
    intervals: tuple[IntervalRow, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """Of `Trial.every_policy`, in order."""
    judged: tuple[VerdictRow, ...] = ()
    """The rows of these verdicts."""
    lost: bool = False
    """True if a worker or the storage was lost: another try goes on where this one stood."""
