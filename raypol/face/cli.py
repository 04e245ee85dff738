"""The command line, `raypol COMMAND`; the commands are the classes behind `Command`.

Exit codes: 0 done (verify: accepted), 1 rejected by verify, 2 bad input, 3 failed for another reason (the traceback tells),
130 interrupted. Results go to stdout, progress and errors to stderr.
"""

import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal

import tyro
from rich.console import Console

from raypol import __version__
from raypol.cluster.jobs import DataSource, remove_workshop, spoof_recipe
from raypol.cluster.placement import parse_device
from raypol.cluster.runners import ROLES, LocalRunner, RayRunner
from raypol.core.allocator import keep_freed_memory
from raypol.core.attacks import find_attack
from raypol.core.distances import METRICS
from raypol.core.imports import is_import_path
from raypol.core.policies import RELATIVE, Thresholds, find_policy
from raypol.core.precision import Precision
from raypol.core.spoofing import SpoofConfig
from raypol.core.verifier import Conditions
from raypol.face.cluster import Cluster
from raypol.face.demo import show_demo
from raypol.face.explore import Explore
from raypol.face.guard import guarded, parse
from raypol.face.interchange import Export, Import
from raypol.face.join import Join
from raypol.face.models import Models
from raypol.face.plan import Plan
from raypol.face.progress import progress
from raypol.face.range import Range
from raypol.face.relatives import Relatives
from raypol.face.report import ReportCommand
from raypol.face.strength import Strength
from raypol.face.sync import Sync
from raypol.face.tables import plain, verdict_table
from raypol.face.top import Top
from raypol.runs.forging import forge, spoof_id
from raypol.runs.honest import TrainConfig, check_recipe, honest_proofs, reference_distance
from raypol.runs.locking import only_maker
from raypol.runs.study import Trial
from raypol.runs.verify import Examination, Selection, allow_names, examine_proof
from raypol.store.location import open_location, writable_folder
from raypol.store.proof_format import Manifest
from raypol.store.proofs import read_manifest

# No markup: what is shown comes from proofs and from users, whose brackets mean brackets.
_out = Console(highlight=False, markup=False)
_err = Console(stderr=True, highlight=False, markup=False)
_MAX_ASSERTED: Final = 500
"""Characters of what a hostile manifest may make us print."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Work(Common):
    """Where the work runs."""

    device: str = "cpu"
    """What each worker computes on: cpu (one core, one thread), cpu:2, gpu, gpu:0.5 (a share), or an accelerator type: T4."""
    runner: Literal["local", "ray"] = "local"
    """local: in this process; ray: one actor per device slot."""
    address: str | None = None
    """ray only: address of a running cluster; None starts Ray on this machine for this command."""

    def open_runner(self) -> AbstractContextManager[LocalRunner | RayRunner]:
        """The runner that these options name."""
        request = parse_device(self.device)
        devices = dict.fromkeys(ROLES, request)
        if self.runner == "local":
            keep_freed_memory()
            return LocalRunner(devices)
        with progress(_err) as update:
            update("starting Ray", 0, 0)
            return RayRunner(devices, address=self.address)


@dataclass(frozen=True, kw_only=True)
class Demo(Work):
    """The whole loop on real data: an honest proof, eight kinds of spoofs, two verifiers, tables, figures. About 3 minutes."""

    results: str = "results/demo"
    """Results folder: a local path."""
    runner: Literal["local", "ray"] = "ray"
    """local: in this process; ray: one actor per device slot."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> int:
        """Run it."""
        results = writable_folder(self.results)
        command = shlex.join(["raypol", "demo", "--results", self.results, "--seed", str(self.seed)])
        with self.open_runner() as runner:
            show_demo(runner, results, TrainConfig(seed=self.seed), out=_out, err=_err, command=command)
        return 0


@dataclass(frozen=True, kw_only=True)
class Prove(Work):
    """Train honestly and record the proof. Prints the proof's folder last. A proof that is there already is not made again."""

    train: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    """The honest training."""
    results: str = "results"
    """Results folder: a local path, s3://... or gs://...; the proof goes to RESULTS/proofs/<proof_id>."""

    def run(self) -> int:
        """Run it."""
        with progress(_err) as update:
            dataset = self.train.data.load(update)
        with self.open_runner() as runner:
            threads = runner.request("prover").threads
            recipe = self.train.recipe(dataset, device=runner.device("prover"), threads=threads)
            results = writable_folder(self.results)
            with progress(_err) as update:
                (proof,) = honest_proofs(
                    runner,
                    results,
                    [recipe],
                    self.train.data,
                    on_progress=lambda done, of: update("training, steps", done, of),
                )
        _describe(proof.manifest, reused=proof.reused)
        _print_last(proof.folder.uri)
        return 0


@dataclass(frozen=True, kw_only=True)
class Spoof(Work):
    """Forge a proof for the final weights of another one. Prints the spoof's folder last; judge it with `raypol verify`."""

    proof_dir: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROOF_DIR")]
    """Folder of the honest proof whose final weights are stolen: RESULTS/proofs/<proof_id>."""
    attack: str = "iii"
    """Preset: null, infinitesimal, forged_momentum, i, i_tail, ii, iii, iii_loss, iii_invisible, iii_select, zhang2022_i,
    zhang2022_ii, zhang2022_iii, zhang2022_iii_imagenet; or an own one by import path (my_pkg.attacks:METHOD)."""
    strength: tyro.conf.OmitArgPrefixes[Strength] = field(default_factory=Strength)
    """Hyperparameters of the attack."""
    spoof: tyro.conf.OmitArgPrefixes[SpoofConfig] = field(default_factory=SpoofConfig)
    """The adversary's other choices."""
    results: str = "results"
    """Results folder; the spoof goes to RESULTS/proofs/<proof_id>."""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place."""
    model: str | None = None
    """Needed only if the proof names a model by import path: the same path, to allow running it."""

    def run(self) -> int:
        """Run it."""
        target = open_location(self.proof_dir)
        honest = read_manifest(target)
        data = DataSource(name=honest.recipe.dataset, folder=self.data_dir).of(self.spoof)
        allow_names(replace(honest.recipe, dataset=data.name), dataset=self.spoof.dataset, model=self.model)
        attack = find_attack(self.attack, **self.strength.given())
        trial = Trial(
            arm=self.attack,
            attack=attack,
            spoof=self.spoof,
            attack_path=self.attack if is_import_path(self.attack) else "",
        )
        recipe = spoof_recipe(honest.recipe, self.spoof, attack, data)
        check_recipe(recipe, data.load())
        results = writable_folder(self.results)
        with self.open_runner() as runner:
            proof_id = spoof_id(trial, honest.root, runner.facts("spoofer").name)
            folder = results / "proofs" / proof_id
            with only_maker(results, [proof_id]):
                if (folder / "manifest.json").exists():
                    _describe(read_manifest(folder), reused=True)
                    _print_last(folder.uri)
                    return 0
                with progress(_err) as update:
                    update("crafting intervals", 0, recipe.num_intervals)
                    forged = forge(
                        runner,
                        results,
                        proof_id=proof_id,
                        target=target,
                        trial=trial,
                        recipe=recipe,
                        data=data,
                        on_progress=update,
                    )
                remove_workshop(results, proof_id)
        _describe(replace(forged.manifest, generation=forged.cost), reused=False)
        stats = forged.stats
        if stats:
            accepted = sum(s.accepted for s in stats)
            _out.print(
                f"searches         {len(stats)}, {accepted} accepted, {sum(s.retries for s in stats)} retries\n"
                f"perturbation     largest |R|_inf {max(s.perturbation_linf for s in stats) * 255:.1f}/255"
            )
        _print_last(folder.uri)
        return 0


@dataclass(frozen=True, kw_only=True)
class Verify(Work):
    """Verify a proof folder. Prints each check with its numbers. Exit code 0 accepted, 1 rejected, 2 bad input."""

    proof_dir: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROOF_DIR")]
    """Folder of the proof, wherever it was copied to."""
    policy: str = "strict"
    """published (what the published verifier looks at), strict, strict_trend (accuracy must rise too), or an own one by import
    path (my_pkg.checks:judge)."""
    select: Selection = "all"
    """Which intervals to replay: all; top_q = the Q largest moves per epoch; random = Q per epoch."""
    query_budget: int = 1
    """Q, intervals per epoch, for top_q and random."""
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
    seed: int = 1
    """The verifier's own seed, for fresh augmentation and random intervals."""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place."""
    dataset: str | None = None
    """The verifier's dataset; None = the built-in one that the proof names. An import path must be given here to be run."""
    model: str | None = None
    """Needed only if the proof names a model by import path: the same path, to allow running it."""

    def run(self) -> int:
        """Run it."""
        folder = open_location(self.proof_dir)
        manifest = read_manifest(folder)
        allow_names(manifest.recipe, dataset=self.dataset, model=self.model)
        policy = find_policy(self.policy)
        d_ref = reference_distance(*map(open_location, self.reference)) if self.reference else None
        thresholds = self._thresholds()
        thresholds.at(0.0, d_ref)  # bad combinations end here, not after the replay
        data = DataSource(name=self.dataset or manifest.recipe.dataset, folder=self.data_dir)
        examination = Examination(
            conditions=Conditions(augmentation=self.augmentation, precision=self.precision, seed=self.seed),
            selection=self.select,
            query_budget=self.query_budget,
            expected_root=self.root,
            accuracy=self.policy not in ("published", "strict"),
        )
        with self.open_runner() as runner, progress(_err) as update:
            update("reading checkpoints", 0, len(manifest.checkpoint_steps))
            evidence, seconds = examine_proof(
                runner,
                folder,
                data,
                examination,
                on_progress=lambda done, of: update("replaying intervals", done, of),
                on_read=lambda done, of: update("reading checkpoints", done, of),
            )
        verdict = policy(evidence, thresholds, d_ref)
        recipe = manifest.recipe
        _out.print(
            f"{folder}: {recipe.model} on {recipe.dataset}, {recipe.steps} steps, k = {recipe.interval}, "
            f"batch {recipe.batch_size}, {recipe.optimizer.name} lr {recipe.optimizer.lr:g}",
            soft_wrap=True,
        )
        if manifest.asserted:
            asserted = ", ".join(manifest.asserted)[:_MAX_ASSERTED]
            said = f"imported: the hashes are the importer's, and so is what the prover did not record: {asserted}"
            if "seed" in manifest.asserted and manifest.recipe.transform.is_random and self.augmentation == "recorded":
                said += "; its crops and flips are not known, so --augmentation fresh is what can be asked"
            _out.print(plain(said), soft_wrap=True)
        _out.print(verdict_table(verdict))
        if evidence.replays:
            buffers = max(replay.buffer_error.l2 for replay in evidence.replays)
            _out.print(f"norm statistics (reported, not judged): largest l2 distance {buffers:.3g}", soft_wrap=True)
        _out.print(
            f"{'ACCEPTED' if verdict.is_valid else 'REJECTED by ' + verdict.rejected_by} in {seconds:.1f} s "
            f"({len(evidence.replays)} of {recipe.num_intervals} intervals replayed, {self.augmentation} augmentation, "
            f"{self.thresholds} thresholds)",
            style="bold green" if verdict.is_valid else "bold red",
            soft_wrap=True,
        )
        return 0 if verdict.is_valid else 1

    def _thresholds(self) -> Thresholds:
        base = Thresholds() if self.thresholds == "static" else replace(RELATIVE, kind=self.thresholds)
        given = {m: getattr(self, f"delta_{m}") for m in METRICS if getattr(self, f"delta_{m}") is not None}
        return replace(base, **given)


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Prove, tyro.conf.subcommand("prove")]
    | Annotated[Spoof, tyro.conf.subcommand("spoof")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Range, tyro.conf.subcommand("range")]
    | Annotated[Relatives, tyro.conf.subcommand("relatives")]
    | Annotated[Cluster, tyro.conf.subcommand("cluster")]
    | Annotated[Join, tyro.conf.subcommand("join")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Models, tyro.conf.subcommand("models")]
    | Annotated[Plan, tyro.conf.subcommand("plan")]
    | Annotated[ReportCommand, tyro.conf.subcommand("report")]
    | Annotated[Sync, tyro.conf.subcommand("sync")]
    | Annotated[Explore, tyro.conf.subcommand("explore")]
    | Annotated[Top, tyro.conf.subcommand("top")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        _out.print(f"raypol {__version__}")
        sys.exit(0)
    name = arguments[0] if arguments and arguments[0] in _COMMANDS else ""
    about = "Which proof-of-learning spoofs pass which verifier, for which T', k and strength, at what cost."
    command = parse(Command, "raypol", about, arguments, help_words=" ".join(filter(None, ("raypol", name))))
    sys.exit(guarded(command.run, debug=command.debug))


_COMMANDS: Final = (
    "demo",
    "prove",
    "spoof",
    "verify",
    "range",
    "relatives",
    "cluster",
    "join",
    "models",
    "plan",
    "import",
    "export",
    "report",
    "sync",
    "explore",
    "top",
)


def _describe(manifest: Manifest, *, reused: bool) -> None:
    recipe, sizes, cost = manifest.recipe, manifest.sizes, manifest.generation
    note = " (it was there already; nothing was computed)" if reused else ""
    steps = ", ".join(map(str, manifest.taken_up_at))
    parts = f" (of all parts: interrupted and taken up at step {steps})" if steps else ""
    _out.print(
        f"claims           {recipe.model} on {recipe.dataset}, {recipe.steps} steps, k = {recipe.interval}, "
        f"batch {recipe.batch_size}{note}\n"
        f"cost             {cost.device_s:.2f} device seconds, {cost.wall_s:.2f} s wall, {cost.gradient_evals} gradient "
        f"evaluations{parts}\n"
        f"size             {sizes.total / 1e6:.2f} MB: weights {sizes.weights / 1e6:.2f}, optimizer state "
        f"{sizes.optimizer_state / 1e6:.2f}, indices and hashes {sizes.indices_and_hashes / 1e6:.2f}, own points "
        f"{sizes.points / 1e6:.2f} ({manifest.points.count})\n"
        f"root             {manifest.root}",
        soft_wrap=True,
    )


def _print_last(text: str) -> None:
    """The line that scripts read: plain, unwrapped."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
