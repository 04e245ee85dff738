"""`raypol calibrate`: measure a policy's slack on honest runs; `raypol policies`: what policies and checks there are."""

import secrets
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from raypol.cli.console import ERR, print_last, print_tables, say
from raypol.cli.options import Debug, RunnerOptions, WrittenResults
from raypol.cli.progress import progress
from raypol.core.errors import InputError, check_whole
from raypol.core.seeds import MAX_SEED, check_seed
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.policies import PolicyKind, calibrate
from raypol.core.verification.replay import Augmentation, Conditions, ReplayPrecision
from raypol.report.verdict_tables import checks_table, policy_table
from raypol.runs.trials.calibration import honest_evidence
from raypol.runs.trials.environment import versions_text
from raypol.store.location import open_location, writable_folder
from raypol.store.policies import ENDING, open_policy, write_policy


@dataclass(frozen=True, kw_only=True)
class CalibrateCommand(RunnerOptions):
    """Make a policy file from honest runs: train under several seeds, replay each, and take the slack from what is seen. Says how
    many of these proofs a policy made from the others rejects. Prints the file's name last; it is a --policy of `raypol verify`.
    The file is valid for this family of trainings alone: the same data, model, k, batch size, optimizer, schedule and
    augmentation, T from half to twice of it, and the same conditions of replay.
    """

    train: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    """The honest training; its seed is the first one."""
    seeds: int = 5
    """Number of honest runs, each of the next seed; at least 3."""
    kind: PolicyKind = "calibrated"
    """calibrated: errors, moves, norm statistics and accuracies by stage of training; bound: also a seed that the verifier had a
    share in (raypol prove --share), the cosine of W_0 and W_T, and no points but the public dataset's in a fresh order."""
    margin: float = 2.0
    """Slack over the largest honest error of a stage."""
    replay_augmentation: Augmentation = "fresh"
    """Of the replays. Under recorded augmentation honest runs on one machine have no error at all, and neither does the slack."""
    replay_precision: ReplayPrecision = "recorded"
    """Of the replays."""
    nonce: int | None = None
    """The verifier's random number, for fresh augmentation; None = a fresh one."""
    out: str | None = None
    """The policy file, *.json; None = KIND.json in the current folder."""
    results: WrittenResults = "results"

    def run(self) -> int:
        """Run it."""
        check_whole("seeds", self.seeds, 3, 1_000)
        check_whole("the last seed", self.train.seed + self.seeds - 1, 0, MAX_SEED)
        nonce = secrets.randbits(63) if self.nonce is None else self.nonce
        check_seed(nonce, "nonce")
        out = self.out or f"{self.kind}{ENDING}"
        if not out.endswith(ENDING):
            raise InputError(f"expected a policy file that ends in {ENDING}, got {out!r}")
        conditions = Conditions(augmentation=self.replay_augmentation, precision=self.replay_precision, seed=nonce)
        with progress(ERR) as update:
            self.train.data.load(update)
        seeds = [self.train.seed + i for i in range(self.seeds)]
        results = writable_folder(self.results)
        with self.open_runner() as runner, progress(ERR) as update:
            found = honest_evidence(runner, results, self.train, seeds, conditions, on_progress=update)
        policy = calibrate(found, kind=self.kind, margin=self.margin, versions=versions_text())
        file = open_location(out)
        write_policy(file, policy)
        assert policy.calibration is not None
        print_tables(policy_table(policy))
        rejected, of = policy.calibration.left_out_rejected, len(found)
        why = f" (by {', '.join(policy.calibration.rejected_by)})" if rejected else ""
        say(f"leave-one-out: {rejected} of {of} honest proofs rejected by the policy of the others{why}")
        say(f"policy {policy.name}, SHA-256 {policy.sha256}, replays under nonce {nonce}")
        print_last(out)
        return 0


@dataclass(frozen=True, kw_only=True)
class PoliciesCommand:
    """List the policies and checks, or show one policy with every parameter: a name, a file, POLICY+CHECK."""

    policy: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="POLICY")] = ""
    """The policy to show; none = list all."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        if not self.policy:
            print_tables(checks_table())
            return 0
        policy = open_policy(self.policy)
        print_tables(policy_table(policy))
        if policy.family:
            say(
                f"calibrated on {policy.family.recipe['model']} on {policy.family.recipe['dataset']}, T = {policy.family.steps}"
            )
        say(f"policy {policy.name}, SHA-256 {policy.sha256}")
        return 0
