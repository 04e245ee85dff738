"""`raypol commit`: fix the prover's part of a bound seed; `raypol prove`: train honestly and record the proof."""

import secrets
from dataclasses import dataclass, field
from typing import Literal

import tyro

from raypol.cli.commands.verifiable.prove import prove_verifiably
from raypol.cli.console import ERR, print_facts, print_last
from raypol.cli.options import DataDir, Debug, RunnerOptions, WrittenResults, describe_proof, options_given
from raypol.cli.progress import progress
from raypol.core.arithmetic.precision import SAME_EVERYWHERE
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError, in_short
from raypol.core.models import build_model
from raypol.core.proof import Recipe
from raypol.core.seeds import check_seed, commitment_to
from raypol.core.training.train_config import TrainConfig
from raypol.core.verifiable.integer_model import LINEAR_INTEGER
from raypol.runs.trials.honest_proof import honest_proofs, proof_at
from raypol.runs.trials.verify import allow_names, check_names
from raypol.store.location import open_location, writable_folder


@dataclass(frozen=True, kw_only=True)
class CommitCommand:
    """Before training: draw the prover's part of a seed that neither party chooses alone, and print the commitment to it last.
    Send the commitment to the verifier; then he draws a share (`openssl rand -hex 16`) and sends it back; give seed and share to
    `raypol prove`; he judges by policy exact, with share and commitment.
    """

    dataset: str = "digits"
    """As of `raypol prove`."""
    data_dir: DataDir = None
    model: str = "resnet8"
    """As of `raypol prove`; linear_integer for --policy-target vc."""
    seed: int | None = None
    """Your own; None = drawn at random, which nobody can guess from the commitment."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        seed = secrets.randbits(63) if self.seed is None else self.seed
        check_seed(seed)
        with progress(ERR) as update:
            data = DataSource(name=self.dataset, folder=self.data_dir).load(update)
        if self.model != LINEAR_INTEGER:
            build_model(self.model, in_channels=data.image_shape[0], num_classes=data.num_classes)  # or it is no model
        print_facts([("seed", f"{seed} (keep it secret until the proof is handed over)")])
        print_last(commitment_to(data.sha256, self.model, str(seed)))
        return 0


@dataclass(frozen=True, kw_only=True)
class ProveCommand(RunnerOptions):
    """Train honestly and record the proof. Prints the proof's folder last. A proof that is there already is not made again."""

    again: str | None = None
    """Folder of a proof, yours or another's: train what it declares, bit for bit, as who challenges it in `raypol dispute` does.
    Of the options of training it takes --data-dir, and --model or --dataset where the proof names one by import path; --device
    must be as declared, but for --precision reproducible."""

    train: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    """The honest training."""
    results: WrittenResults = "results"
    policy_target: Literal["replay", "vc"] = "replay"
    """replay: record a proof that a verifier replays; vc: train a linear model in integers and prove every step by verifiable
    computation, for policy vc of `raypol verify` (needs groth16py). Of the training's options vc takes --dataset, --data-dir,
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
            if self.again is not None:
                raise InputError("--again is for proofs that are replayed; drop --policy-target vc")
            return prove_verifiably(self.train, self.results, keys=self.vc_keys, max_memory=self.max_memory)
        if self.vc_keys is not None or self.max_memory is not None:
            raise InputError("--vc-keys and --max-memory are for --policy-target vc")
        declared = self._declared()
        data = self.train.data if declared is None else DataSource(name=declared.dataset, folder=self.train.data_dir)
        with progress(ERR) as update:
            dataset = data.load(update)
        if declared is not None:
            check_names(declared, data)
        with self.open_runner() as runner:
            device, threads = runner.device("prover"), runner.request("prover").threads
            recipe = declared or self.train.recipe(dataset, device=device, threads=threads)
            _check_repeatable(recipe, device, threads)
            results = writable_folder(self.results)
            with progress(ERR) as update:
                (proof,) = honest_proofs(runner, results, [recipe], data, on_progress=update)
        if self.again is not None and proof.folder.is_same(open_location(self.again)):
            raise InputError(f"{proof.folder} is the proof that is to be made again; give --results of your own")
        describe_proof(proof.manifest, reused=proof.reused)
        print_last(str(proof.folder))
        return 0

    def _declared(self) -> Recipe | None:
        """The recipe to train again, if there is one."""
        if self.again is None:
            return None
        typed = self.train
        if options_given(typed, besides=("data_dir", "dataset", "model")):
            raise InputError("--again trains what the proof declares: drop the other options of training")
        recipe = proof_at(self.again).manifest.recipe
        allow_names(recipe, dataset=typed.dataset, model=typed.model)
        return recipe


def _check_repeatable(recipe: Recipe, device: str, threads: int) -> None:
    """Raise the InputError for a device or a number of threads on which a declared training would not give its bits."""
    is_same = recipe.device == device and (device != "cpu" or recipe.threads == threads)
    if is_same or recipe.precision in SAME_EVERYWHERE:
        return
    needed = f"cpu:{recipe.threads}" if recipe.device == "cpu" else "gpu"
    raise InputError(
        f"the proof declares device {in_short(recipe.device)} and threads {recipe.threads}, and its bits do not repeat on "
        f"{device}, threads {threads}; give --device {needed}"
    )
