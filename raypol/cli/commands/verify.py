"""`raypol verify`: judge a proof folder."""

import secrets
from dataclasses import dataclass, fields, replace
from typing import Annotated, Final, Literal

import tyro

from raypol.cli.budget import within_budget
from raypol.cli.commands.verifiable.verify import verify_verifiably
from raypol.cli.console import ERR, print_tables, say
from raypol.cli.options import AllowedModel, BudgetOptions, DataDir, ProofDir, RunnerOptions, claims, options_given
from raypol.cli.progress import progress
from raypol.cluster.ray_runner import RayRunner
from raypol.cluster.runners import LocalRunner
from raypol.core.datasets.source import DataSource
from raypol.core.distances import METRICS, Distances
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.core.seeds import check_commitment, check_seed, check_share
from raypol.core.verifiable.judging import VC_POLICY
from raypol.core.verification.checks import CHECKS
from raypol.core.verification.policies import Policy
from raypol.core.verification.replay import Augmentation, Conditions, ReplayPrecision
from raypol.core.verification.stages import STAGES
from raypol.core.verification.thresholds import RELATIVE, Thresholds, slack_in_moves
from raypol.core.verification.verdict import FAMILY, Verdict
from raypol.core.verification.verifier import Evidence, Selection
from raypol.report.verdict_tables import verdict_table
from raypol.runs.trials.environment import environment_of
from raypol.runs.trials.honest_proof import checked_reference
from raypol.runs.trials.verify import Examination, allow_names, examine_proof
from raypol.store.location import open_location
from raypol.store.policies import open_policy
from raypol.store.proofs.format import Manifest
from raypol.store.proofs.reader import read_manifest
from raypol.store.verdicts import VerdictFile, differences, read_verdict, verdict_file, verdict_outcome, write_verdict

_MAX_ASSERTED: Final = 500
"""Characters that a hostile manifest may make us print."""
_POLICY: Final = (
    "published (what the published verifier looks at), strict, strict_trend (accuracy must rise too), exact (every bit, and a "
    "seed that neither party chose alone: needs --share and --commitment), a file that `raypol "
    "calibrate` wrote (calibrated.json), vc (for proofs of `raypol prove --policy-target vc`), or your own by import path "
    "(my_pkg.checks:judge). Add checks by name or import path: "
    f"strict+CHECK; checks: {', '.join(CHECKS)}."
)
_STYLES: Final = {
    "accepted": "bold green",
    "rejected": "bold red",
    "not calibrated": "bold yellow",
    "inexact": "bold yellow",
}
_EXIT_CODES: Final = {"accepted": 0, "rejected": 1, "not calibrated": 2, "inexact": 2}


@dataclass(frozen=True, kw_only=True)
class VerifyCommand(BudgetOptions, RunnerOptions):
    """Verify a proof folder. Prints each check with its numbers. Exit code 0 accepted, 1 rejected, 2 bad input, not calibrated
    (the slack cannot tell training from its absence, or the policy was calibrated on another family of trainings), or inexact
    (other bits than the recorded ones on another class of machine, and nothing else wrong).
    """

    proof_dir: ProofDir
    policy: Annotated[str, tyro.conf.arg(help=_POLICY)] = "strict"
    select: Selection | None = None
    """Which intervals to replay: all; top_q = the Q largest moves per epoch; random = Q per epoch, by the nonce; both = top_q and
    random together, for a forger can steer either. None = as the policy says, else all."""
    query_budget: int = 1
    """Q, intervals per epoch, where not all are replayed."""
    augmentation: Augmentation | None = None
    """recorded: repeat the prover's crops and flips; fresh: draw new ones, as the published verifier does. None = as the policy
    was calibrated, else recorded."""
    precision: ReplayPrecision | None = None
    """Of the replay: recorded = the proof's own; float64 has almost no rounding noise and costs several times more; tf32 and
    bf16 need a GPU with tensor cores (bf16 also runs, slowly, on a CPU). None = as the policy was calibrated, else recorded."""
    thresholds: Literal["static", "relative", "dynamic", "moves"] | None = None
    """moves: delta times the move that each interval claims; static: delta in units of the weights; relative: delta times d_ref;
    dynamic: relative, falling with training progress (these two need --reference). None = static for policy published, else
    moves, which bears rounding but no fresh augmentation: for that, `raypol calibrate` measures the slack."""
    reference: tuple[str, str] | None = None
    """Folders of two honest proofs that differ only in seed: d_ref is the distance between their final weights."""
    delta_l1: float | None = None
    """Slack in l1; None = 1000 (static) or 0.1; moves: more with k, up to 0.5 at k = 50."""
    delta_l2: float | None = None
    """Slack in l2; None = 10 (static) or 0.1; moves: as l1."""
    delta_linf: float | None = None
    """Slack in linf; None = 0.1 (static) or 0.15; moves: as l1."""
    delta_cos: float | None = None
    """Slack in cosine distance; None = 0.01 (static), 0.02 (relative, dynamic), 0.05 (moves: more with k)."""
    root: str | None = None
    """The root hash that the prover published, hex; the proof must have it."""
    share: str | None = None
    """The share of the seed that you gave the prover for this training, hex (check bound_seed)."""
    commitment: str | None = None
    """What the prover sent you before you gave him that share: the last line of `raypol commit` (check commitment)."""
    nonce: int | None = None
    """The verifier's own random number, for fresh augmentation and random intervals; None = a fresh one, which is printed. A
    forger who can guess it knows which intervals are looked at: give one only to repeat a verdict."""
    verdict: str | None = None
    """File to write the verdict to, as JSON: root, policy, nonce, conditions and the numbers of every check."""
    recheck: str | None = None
    """Repeat the verdict in this file, under its own policy and conditions, and say what differs. Exit code 0 = the same outcome
    of every check, 1 = not."""
    data_dir: DataDir = None
    dataset: str | None = None
    """The verifier's dataset; None = the built-in one that the proof names. An import path must be given here to be run."""
    model: AllowedModel = None
    vc_keys: str | None = None
    """Policy vc only: folder of the keys that you made for this prover (`raypol vc-keys`)."""
    vc_key_sha256: str | None = None
    """Policy vc only, instead of --vc-keys or beside it: what `raypol vc-keys` printed, if you know who made the keys and trust
    them."""

    @within_budget
    def run(self) -> int:
        """Run it."""
        if self.policy == VC_POLICY:
            return self._verify_verifiably()
        if self.vc_keys is not None or self.vc_key_sha256 is not None:
            raise InputError("--vc-keys and --vc-key-sha256 are for --policy vc")
        before = read_verdict(open_location(self.recheck)) if self.recheck else None
        folder = open_location(self.proof_dir)
        manifest = read_manifest(folder)
        allow_names(manifest.recipe, dataset=self.dataset, model=self.model)
        data = DataSource(name=self.dataset or manifest.recipe.dataset, folder=self.data_dir)
        policy = self._policy(before)
        if policy.needs_exact and self.precision not in (None, "recorded", manifest.recipe.precision):
            raise InputError(
                f"policy {policy.name} compares bits, which a replay in {self.precision} has none of; drop --precision"
            )
        examination = self._repeated(before, policy) if before else self._examination(policy)
        thresholds = (
            before.slack() if before else self._thresholds(policy, examination.conditions, manifest.recipe.interval)
        )
        with self.open_runner() as runner, progress(ERR) as update:
            d_ref = before.reference() if before else self._d_ref(runner, manifest.recipe, data)
            thresholds.at(0.0, d_ref)  # bad combinations end here, not after the replay
            update("reading checkpoints", 0, len(manifest.checkpoint_steps))
            evidence, seconds = examine_proof(runner, folder, data, examination, on_progress=update)
            environment = environment_of(runner, "verifier")
        verdict = policy(evidence, thresholds, d_ref)
        written = verdict_file(verdict, policy, evidence, thresholds, d_ref, environment)
        if self.verdict:
            write_verdict(open_location(self.verdict), written)
        self._show(str(folder), manifest, policy, evidence, verdict, thresholds, seconds)
        if self.verdict:
            say(f"verdict written to {self.verdict}, SHA-256 {written.sha256}")
        return _confirmed(before, written) if before else _EXIT_CODES[written.outcome]

    def _verify_verifiably(self) -> int:
        taken = {
            "policy",
            "proof_dir",
            "share",
            "commitment",
            "data_dir",
            "dataset",
            "vc_keys",
            "vc_key_sha256",
            "debug",
        }
        taken |= {part.name for part in fields(BudgetOptions)}
        if others := options_given(self, besides=taken):
            raise InputError(f"{others[0]} says nothing to policy vc, which replays nothing; drop it")
        return verify_verifiably(
            self.proof_dir,
            share=self.share,
            commitment=self.commitment,
            dataset=self.dataset,
            data_dir=self.data_dir,
            keys=self.vc_keys,
            key_sha256=self.vc_key_sha256,
        )

    def _policy(self, before: VerdictFile | None) -> Policy:
        if before is None:
            return open_policy(self.policy)
        if self.policy == "strict":
            return before.own_policy()
        policy = open_policy(self.policy)  # the verdict's policy has checks of one's own, which a file may not name
        if policy.sha256 != before.policy_sha256:
            raise InputError(f"policy {self.policy} is not the one of {self.recheck}: another SHA-256")
        return policy

    def _examination(self, policy: Policy) -> Examination:
        nonce = secrets.randbits(63) if self.nonce is None else self.nonce
        check_seed(nonce, "nonce")
        if self.share is not None:
            check_share(self.share)
        if self.commitment is not None:
            check_commitment(self.commitment)
        for check, option, given in (
            ("bound_seed", "--share", self.share),
            ("commitment", "--commitment", self.commitment),
        ):
            if given is None and check in {use.check for use in policy.checks}:
                raise InputError(f"policy {policy.name} needs {option}: without it no proof can pass check {check}")
        augmentation = self.augmentation or (policy.family.augmentation if policy.family else "recorded")
        precision = self.precision or (policy.family.precision if policy.family else "recorded")
        own = policy.selection is not None and self.select is None
        return Examination(
            conditions=Conditions(augmentation=augmentation, precision=precision, seed=nonce),
            selection=policy.selection if policy.selection and own else self.select or "all",
            query_budget=policy.query_budget if own else self.query_budget,
            expected_root=self.root,
            expected_share=self.share,
            expected_commitment=self.commitment,
            accuracy=policy.needs_accuracy,
            accuracy_stages=STAGES,
            wanted=policy.wanted,
            exact=policy.needs_exact,
        )

    def _repeated(self, before: VerdictFile, policy: Policy) -> Examination:
        typed = [
            "select",
            "augmentation",
            "precision",
            "thresholds",
            "reference",
            "root",
            "share",
            "commitment",
            "nonce",
        ]
        typed += [f"delta_{m}" for m in METRICS]
        if said := [f"--{name.replace('_', '-')}" for name in typed if getattr(self, name) is not None]:
            raise InputError(f"{said[0]} is as the verdict says where one is rechecked; drop it")
        return Examination(
            conditions=before.conditions(),
            selection=before.selection,
            query_budget=before.query_budget,
            expected_root=before.expected_root,
            expected_share=before.share,
            expected_commitment=before.commitment,
            accuracy=policy.needs_accuracy,
            accuracy_stages=STAGES,
            wanted=policy.wanted,
            exact=policy.needs_exact,
        )

    def _thresholds(self, policy: Policy, conditions: Conditions, interval: int) -> Thresholds:
        given = {m: getattr(self, f"delta_{m}") for m in METRICS if getattr(self, f"delta_{m}") is not None}
        if (given or self.thresholds) and (policy.thresholds is not None or not policy.uses_slack):
            raise InputError(f"policy {policy.name} has slack of its own; drop --thresholds and --delta-*")
        if self.thresholds is None:
            return replace(policy.slack(conditions, interval), **given)
        base = {"static": Thresholds(), "moves": slack_in_moves(interval)}.get(self.thresholds, RELATIVE)
        return replace(base, kind=self.thresholds, **given)

    def _d_ref(self, runner: LocalRunner | RayRunner, recipe: Recipe, data: DataSource) -> Distances | None:
        if self.reference is None:
            return None
        with progress(ERR) as update:
            first, second = map(open_location, self.reference)
            return checked_reference(runner, first, second, recipe, data, on_progress=update)

    def _show(
        self,
        folder: str,
        manifest: Manifest,
        policy: Policy,
        evidence: Evidence,
        verdict: Verdict,
        thresholds: Thresholds,
        seconds: float,
    ) -> None:
        recipe, conditions = evidence.recipe, evidence.conditions
        say(f"{folder}: {claims(recipe)}, {recipe.optimizer.name} lr {recipe.optimizer.lr:g}")
        if manifest.asserted:
            asserted = ", ".join(manifest.asserted)[:_MAX_ASSERTED]
            note = f"imported: the importer made the hashes and asserts what the prover did not record: {asserted}"
            if "seed" in manifest.asserted and recipe.transform.is_random and conditions.augmentation == "recorded":
                note += "; its crops and flips are not known: use --augmentation fresh"
            say(note)
        print_tables(verdict_table(verdict))
        if evidence.replays and not any(check.name == "buffers" for check in verdict.checks):
            buffers = max(replay.buffer_error.l2 for replay in evidence.replays)
            say(f"norm statistics (reported, not judged): largest l2 distance {buffers:.3g}")
        if conditions.augmentation == "fresh" or evidence.selection in ("random", "both"):
            say(f"nonce {conditions.seed}: give it with --nonce to repeat this verdict")
        replayed = len(evidence.replays)
        if unseen := recipe.num_intervals - replayed:
            say(f"{unseen} of {recipe.num_intervals} intervals were not replayed: nothing is established about them")
        if policy.calibration is None and not policy.is_published and thresholds.kind != "moves":
            say(f"not calibrated: the slack ({thresholds.kind}) was given, not measured on honest runs")
        if verdict.unjudged:
            say(
                f"in {verdict.unjudged} of {replayed} replayed intervals the slack is at least the claimed move: a replay that "
                "goes nowhere passes, so they establish nothing"
            )
        outcome = verdict_outcome(verdict, policy)
        words = {"accepted": "ACCEPTED", "rejected": f"REJECTED by {verdict.rejected_by}"}
        words["inexact"] = (
            "INEXACT: no fraud is shown and nothing is accepted; replay on the class of machine named above"
        )
        why = ": calibrate (raypol calibrate), or use --thresholds moves"
        if verdict.foreign:
            others = [check.name for check in verdict.checks if not check.passed and check.name != FAMILY]
            why = f" for this proof: {verdict.foreign}" + (f"; {', '.join(others)} would say no" if others else "")
        slack = f", {thresholds.kind} thresholds" if any(check.name == "replay" for check in verdict.checks) else ""
        say(
            f"{words.get(outcome, f'NOT CALIBRATED{why}')} in {seconds:.1f} s "
            f"({replayed} of {recipe.num_intervals} intervals replayed, {conditions.augmentation} augmentation{slack})",
            style=_STYLES[outcome],
        )


def _confirmed(before: VerdictFile, now: VerdictFile) -> int:
    """Say what differs; 0 if proof, outcome and checks are the same."""
    lines = list(differences(before, now))
    for line in lines:
        say(line)
    same = (before.root, before.outcome, before.rejected_by) == (now.root, now.outcome, now.rejected_by)
    word = "CONFIRMED" if same else "NOT CONFIRMED"
    numbers = "every number is the same" if not lines else f"{len(lines)} differences"
    say(f"{word}: the verdict was {before.outcome}; {numbers}", style="bold green" if same else "bold red")
    return 0 if same else 1
