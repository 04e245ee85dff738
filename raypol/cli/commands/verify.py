"""`raypol verify`: judge a proof folder."""

import secrets
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import tyro

from raypol.cli.budget import within_budget
from raypol.cli.console import ERR, print_tables, say
from raypol.cli.options import AllowedModel, BudgetOptions, DataDir, ProofDir, RunnerOptions, claims
from raypol.cli.progress import progress
from raypol.core.datasets.source import DataSource
from raypol.core.distances import METRICS
from raypol.core.precision import Precision
from raypol.core.seeds import check_seed
from raypol.core.verification.checks import CHECKS
from raypol.core.verification.policies import find_policy
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import RELATIVE, Thresholds
from raypol.core.verification.verifier import Selection
from raypol.report.trial_tables import verdict_table
from raypol.runs.trials.honest_proof import reference_distance
from raypol.runs.trials.verify import Examination, allow_names, examine_proof
from raypol.store.location import open_location
from raypol.store.proofs.reader import read_manifest

_MAX_ASSERTED: Final = 500
"""Characters that a hostile manifest may make us print."""
_POLICY: Final = (
    "published (what the published verifier looks at), strict, strict_trend (accuracy must rise too), or your own by import path "
    f"(my_pkg.checks:judge). Add checks by name or import path: strict+CHECK; checks: {', '.join(CHECKS)}."
)


@dataclass(frozen=True, kw_only=True)
class VerifyCommand(BudgetOptions, RunnerOptions):
    """Verify a proof folder. Prints each check with its numbers. Exit code 0 accepted, 1 rejected, 2 bad input."""

    proof_dir: ProofDir
    policy: Annotated[str, tyro.conf.arg(help=_POLICY)] = "strict"
    select: Selection = "all"
    """Which intervals to replay: all; top_q = the Q largest moves per epoch; random = Q per epoch, by the nonce; both = top_q and
    random together, for a forger can steer either."""
    query_budget: int = 1
    """Q, intervals per epoch, where not all are replayed."""
    augmentation: Literal["recorded", "fresh"] = "recorded"
    """recorded: repeat the prover's crops and flips; fresh: draw new ones, as the published verifier does."""
    precision: Precision | Literal["recorded"] = "recorded"
    """Of the replay: recorded = the proof's own; float64 has almost no rounding noise and costs several times more; tf32 and
    bf16 need a GPU with tensor cores (bf16 also runs, slowly, on a CPU)."""
    thresholds: Literal["static", "relative", "dynamic"] = "static"
    """static: delta in units of the weights; relative: delta times d_ref; dynamic: relative, falling with training progress.
    The last two need --reference."""
    reference: tuple[str, str] | None = None
    """Folders of two honest proofs that differ only in seed: d_ref is the distance between their final weights."""
    delta_l1: float | None = None
    """Slack in l1; None = 1000 (static) or 0.1 (relative, dynamic)."""
    delta_l2: float | None = None
    """Slack in l2; None = 10 (static) or 0.1."""
    delta_linf: float | None = None
    """Slack in linf; None = 0.1 (static) or 0.15."""
    delta_cos: float | None = None
    """Slack in cosine distance; None = 0.01 (static) or 0.02."""
    root: str | None = None
    """The root hash that the prover published, hex; the proof must have it."""
    nonce: int | None = None
    """The verifier's own random number, for fresh augmentation and random intervals; None = a fresh one, which is printed. A
    forger who can guess it knows which intervals are looked at: give one only to repeat a verdict."""
    data_dir: DataDir = None
    dataset: str | None = None
    """The verifier's dataset; None = the built-in one that the proof names. An import path must be given here to be run."""
    model: AllowedModel = None

    @within_budget
    def run(self) -> int:
        """Run it."""
        nonce = secrets.randbits(63) if self.nonce is None else self.nonce
        check_seed(nonce, "nonce")
        folder = open_location(self.proof_dir)
        manifest = read_manifest(folder)
        allow_names(manifest.recipe, dataset=self.dataset, model=self.model)
        policy = find_policy(self.policy)
        d_ref = reference_distance(*map(open_location, self.reference)) if self.reference else None
        thresholds = self._thresholds()
        thresholds.at(0.0, d_ref)  # bad combinations end here, not after the replay
        data = DataSource(name=self.dataset or manifest.recipe.dataset, folder=self.data_dir)
        examination = Examination(
            conditions=Conditions(augmentation=self.augmentation, precision=self.precision, seed=nonce),
            selection=self.select,
            query_budget=self.query_budget,
            expected_root=self.root,
            accuracy=self.policy not in ("published", "strict"),
        )
        with self.open_runner() as runner, progress(ERR) as update:
            update("reading checkpoints", 0, len(manifest.checkpoint_steps))
            evidence, seconds = examine_proof(runner, folder, data, examination, on_progress=update)
        verdict = policy(evidence, thresholds, d_ref)
        recipe = manifest.recipe
        say(f"{folder}: {claims(recipe)}, {recipe.optimizer.name} lr {recipe.optimizer.lr:g}")
        if manifest.asserted:
            asserted = ", ".join(manifest.asserted)[:_MAX_ASSERTED]
            note = f"imported: the importer made the hashes and asserts what the prover did not record: {asserted}"
            if "seed" in manifest.asserted and recipe.transform.is_random and self.augmentation == "recorded":
                note += "; its crops and flips are not known: use --augmentation fresh"
            say(note)
        print_tables(verdict_table(verdict))
        if evidence.replays:
            buffers = max(replay.buffer_error.l2 for replay in evidence.replays)
            judged = "" if any(check.name == "buffers" for check in verdict.checks) else " (reported, not judged)"
            say(f"norm statistics{judged}: largest l2 distance {buffers:.3g}")
        if self.augmentation == "fresh" or self.select in ("random", "both"):
            say(f"nonce {nonce}: give it with --nonce to repeat this verdict")
        if unseen := recipe.num_intervals - len(evidence.replays):
            say(f"{unseen} of {recipe.num_intervals} intervals were not replayed: nothing is established about them")
        say(
            f"{'ACCEPTED' if verdict.is_valid else 'REJECTED by ' + verdict.rejected_by} in {seconds:.1f} s "
            f"({len(evidence.replays)} of {recipe.num_intervals} intervals replayed, {self.augmentation} augmentation, "
            f"{self.thresholds} thresholds)",
            style="bold green" if verdict.is_valid else "bold red",
        )
        return 0 if verdict.is_valid else 1

    def _thresholds(self) -> Thresholds:
        base = Thresholds() if self.thresholds == "static" else replace(RELATIVE, kind=self.thresholds)
        given = {m: getattr(self, f"delta_{m}") for m in METRICS if getattr(self, f"delta_{m}") is not None}
        return replace(base, **given)
