"""`raypol prove`: train honestly and record the proof."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from raypol.cli.commands.verifiable.prove import prove_verifiably
from raypol.cli.console import ERR, print_last
from raypol.cli.options import RunnerOptions, WrittenResults, describe_proof
from raypol.cli.progress import progress
from raypol.core.errors import InputError
from raypol.core.training.train_config import TrainConfig
from raypol.runs.trials.honest_proof import honest_proofs
from raypol.store.location import writable_folder


@dataclass(frozen=True, kw_only=True)
class ProveCommand(RunnerOptions):
    """Train honestly and record the proof. Prints the proof's folder last. A proof that is there already is not made again."""

    train: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    """The honest training."""
    results: WrittenResults = "results"
    policy_target: Literal["replay", "vc"] = "replay"
    """replay: record a proof that a verifier replays; vc: train a linear model in integers and prove every step by verifiable
    computation, for `raypol verify --policy vc` (needs groth16py). Of the training's options vc takes --dataset, --data-dir,
    --steps, --batch-size (a power of two), --lr (a power of two; default 1/16), --seed and --share."""
    vc_keys: str | None = None
    """vc only: folder of the keys that the verifier made (`raypol vc-keys`). None = make own ones in RESULTS/vc, with which
    whoever makes them can forge: good for a trial alone."""
    max_memory: float | None = None
    """vc only: gigabytes that set-up and proving may take; more is refused before they start. None = 90 % of the machine's."""

    def run(self) -> int:
        """Run it."""
        if self.policy_target == "vc":
            if (self.device, self.runner) != ("cpu", "local"):
                raise InputError("--policy-target vc runs on this machine's CPU; drop --device and --runner")
            return prove_verifiably(self.train, self.results, keys=self.vc_keys, max_memory=self.max_memory)
        if self.vc_keys is not None or self.max_memory is not None:
            raise InputError("--vc-keys and --max-memory are for --policy-target vc")
        with progress(ERR) as update:
            dataset = self.train.data.load(update)
        with self.open_runner() as runner:
            threads = runner.request("prover").threads
            recipe = self.train.recipe(dataset, device=runner.device("prover"), threads=threads)
            results = writable_folder(self.results)
            with progress(ERR) as update:
                (proof,) = honest_proofs(runner, results, [recipe], self.train.data, on_progress=update)
        describe_proof(proof.manifest, reused=proof.reused)
        print_last(str(proof.folder))
        return 0
