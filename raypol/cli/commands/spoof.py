"""`raypol spoof`: forge a proof for the final weights of another one."""

from dataclasses import dataclass, field, replace
from typing import Any

import tyro

from raypol.cli.attack_options import AttackConfig, AttackName
from raypol.cli.console import ERR, print_facts, print_last
from raypol.cli.options import AllowedModel, DataDir, RunnerOptions, StolenProofDir, WrittenResults, describe_proof
from raypol.cli.progress import progress
from raypol.cluster.jobs import recipe_of_spoof
from raypol.core.attacks import find_attack
from raypol.core.datasets.source import DataSource
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import check_recipe
from raypol.runs.trials.make_spoof import forge, may_be_resumed, spoof_id, spoof_job
from raypol.runs.trials.verify import allow_names
from raypol.store.location import open_location, writable_folder
from raypol.store.locks import only_maker
from raypol.store.proofs.reader import read_manifest
from raypol.store.proofs.staging import crafted_intervals
from raypol.store.results_folder import ResultsFolder


@dataclass(frozen=True, kw_only=True)
class SpoofCommand(RunnerOptions):
    """Forge a proof for the final weights of another one. Prints the spoof's folder last; judge it with `raypol verify`."""

    proof_dir: StolenProofDir
    attack: AttackName = "iii"
    attack_config: AttackConfig = field(default_factory=dict[str, Any])
    """Hyperparameters of the attack."""
    spoof: tyro.conf.OmitArgPrefixes[SpoofConfig] = field(default_factory=SpoofConfig)
    """The adversary's other choices."""
    results: WrittenResults = "results"
    data_dir: DataDir = None
    model: AllowedModel = None

    def run(self) -> int:
        """Run it."""
        target = open_location(self.proof_dir)
        honest = read_manifest(target)
        data = DataSource(name=honest.recipe.dataset, folder=self.data_dir).or_named(self.spoof.dataset)
        allow_names(replace(honest.recipe, dataset=data.name), dataset=self.spoof.dataset, model=self.model)
        attack = find_attack(self.attack, **self.attack_config)
        recipe = recipe_of_spoof(honest.recipe, self.spoof, attack, data)
        check_recipe(recipe, data.load())
        results = writable_folder(self.results)
        with self.open_runner() as runner:
            device = runner.facts("spoofer").name
            proof_id = spoof_id(self.attack, attack, self.spoof, target=honest.root, device=device)
            paths = ResultsFolder(results)
            folder = paths.proof(proof_id)
            with only_maker(results, [proof_id]):
                if paths.has_proof(proof_id):
                    describe_proof(read_manifest(folder), reused=True)
                    print_last(str(folder))
                    return 0
                with crafted_intervals(results, proof_id, keep_if=may_be_resumed), progress(ERR) as update:
                    update("crafting intervals", 0, recipe.num_intervals)
                    job = spoof_job(runner, results, proof_id, target, attack, self.spoof, data)
                    forged = forge(runner, job, recipe, on_progress=update)
        describe_proof(replace(forged.manifest, generation=forged.cost), reused=False)
        stats = forged.stats
        if stats:
            accepted = sum(s.accepted for s in stats)
            largest = max(s.perturbation_linf for s in stats) * 255
            searches = f"{len(stats)}, {accepted} accepted, {sum(s.retries for s in stats)} retries"
            print_facts([("searches", searches), ("perturbation", f"largest |R|_inf {largest:.1f}/255")])
        print_last(str(folder))
        return 0
