"""`raypol prove`: train honestly and record the proof."""

from dataclasses import dataclass, field

import tyro

from raypol.cli.console import ERR, print_last
from raypol.cli.options import RunnerOptions, WrittenResults, describe_proof
from raypol.cli.progress import progress
from raypol.core.training.train_config import TrainConfig
from raypol.runs.trials.honest_proof import honest_proofs
from raypol.store.location import writable_folder


@dataclass(frozen=True, kw_only=True)
class ProveCommand(RunnerOptions):
    """Train honestly and record the proof. Prints the proof's folder last. A proof that is there already is not made again."""

    train: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    """The honest training."""
    results: WrittenResults = "results"

    def run(self) -> int:
        """Run it."""
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
