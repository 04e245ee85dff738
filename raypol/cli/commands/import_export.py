"""`raypol import` and `raypol export`: proofs in the layout of the published PoL code."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from raypol.cli.budget import within_budget
from raypol.cli.console import ERR, print_facts, print_last, say
from raypol.cli.options import AllowedDataset, AllowedModel, BudgetOptions, DataDir, Debug, ProofDir, claims
from raypol.cli.progress import progress
from raypol.core.datasets.source import DataSource
from raypol.core.errors import local_path
from raypol.core.proof import OptimizerConfig, ScheduleConfig
from raypol.runs.published.export_proof import NOTE_NAME, export_published
from raypol.runs.published.import_options import Claims
from raypol.runs.published.import_proof import import_published
from raypol.runs.trials.verify import allow_names
from raypol.store.location import open_location
from raypol.store.proofs.reader import read_manifest

Layout = Literal["published"]


@dataclass(frozen=True, kw_only=True)
class ImportCommand(BudgetOptions):
    """Turn a proof folder of the published PoL code (model_step_<t>, indices.npy, hash.txt) into a raypol proof. No code in it is
    run. Prints the proof's folder last; judge it with `raypol verify --augmentation fresh`.

    Facts that the folder does not record are given by flags and marked as asserted in the proof.
    """

    dir: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """The folder: a local path."""
    claims: tyro.conf.OmitArgPrefixes[Claims]
    """What the folder does not record."""
    layout: Layout = "published"
    """published: that of the code of Jia et al. 2021, cleverhans-lab/Proof-of-Learning."""
    results: str = "results"
    """Results folder; the proof goes to RESULTS/proofs/imported-<root>."""
    debug: Debug = False

    @within_budget
    def run(self) -> int:
        """Run it."""
        with progress(ERR) as update:
            done = import_published(local_path(self.dir), self.results, self.claims, on_progress=update)
        manifest, recipe = done.manifest, done.manifest.recipe
        facts = {
            "claims": claims(recipe),
            "update rule": f"{_rule(recipe.optimizer)}, {_rule(recipe.schedule)}",
            "asserted": f"{', '.join(manifest.asserted)} (the folder does not record them)",
            "hash.txt": (
                "there, but not comparable: it is of the printed images, 3.5 % of a colour image's pixels and no label"
                if done.has_hash
                else "missing; the published verifier would stop"
            ),
        }
        if done.several_gpus:
            facts["names"] = "the tensors of a DataParallel model; its prefix module. was taken away"
        if recipe.transform.is_random:
            facts["augmentation"] = "the prover's crops and flips are not recorded; verify with --augmentation fresh"
        facts["root"] = manifest.root
        print_facts(facts.items())
        print_last(str(done.folder))
        return 0


@dataclass(frozen=True, kw_only=True)
class ExportCommand:
    """Write a raypol proof in the layout of the published PoL code, for its verifier to read as it is. Lists what that layout
    does not say of the proof, also in DIR/NOT_EXPORTED.txt. Prints DIR last.
    """

    proof_dir: ProofDir
    dir: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Folder to be made: a local path where nothing is yet."""
    layout: Layout = "published"
    """published: that of the code of Jia et al. 2021, cleverhans-lab/Proof-of-Learning."""
    lossy: bool = False
    """Export also a proof that the layout cannot express (own data points, other schedules than MultiStepLR, float64): what is
    lost is listed, and the published verifier will not reproduce it."""
    hash: bool = True
    """Write hash.txt, for which every image is printed (0.2 ms each, 1.6 ms if gray).
    Without it the published verifier stops before it replays."""
    data_dir: DataDir = None
    dataset: AllowedDataset = None
    model: AllowedModel = None
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        target, proof = local_path(self.dir), open_location(self.proof_dir)
        recipe = read_manifest(proof).recipe
        allow_names(recipe, dataset=self.dataset, model=self.model)
        with progress(ERR) as update:
            done = export_published(
                proof,
                target,
                DataSource(name=self.dataset or recipe.dataset, folder=self.data_dir),
                lossy=self.lossy,
                with_hash=self.hash,
                on_progress=update,
            )
        say(claims(recipe), f"the published layout does not say (also in {NOTE_NAME}):")
        gaps = [(gap.part, f"{gap.what}{' [LOST]' if gap.false else ''}") for gap in done.gaps]
        print_facts([*gaps, ("judge it", done.command), ("read it back", done.import_command)])
        print_last(self.dir)
        return 0


def _rule(rule: OptimizerConfig | ScheduleConfig) -> str:
    options = ", ".join(f"{name} {value}" for name, value in rule.options.items())
    return f"{rule.name} ({options})" if options else rule.name
