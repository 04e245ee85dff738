"""`raypol relatives adversarial | unadversarial | dlg`: the attacks' optimiser on single points of a proof's model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Final, TypeVar

import tyro
from matplotlib.figure import Figure

from raypol.cli.console import ERR, print_tables, say
from raypol.cli.options import AllowedDataset, AllowedModel, DataDir, Debug, ProofDir
from raypol.cli.progress import progress
from raypol.cluster.placement import parse_device
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.allocator import keep_freed_memory
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError, local_path
from raypol.core.proof import Recipe
from raypol.core.relatives.adversarial import Adversarial
from raypol.core.relatives.dlg import DLG, psnr
from raypol.core.relatives.perturbing import Perturbed
from raypol.core.relatives.points import Seen, Split
from raypol.core.relatives.unadversarial import Unadversarial
from raypol.figures import save
from raypol.figures.relatives import leak_picture, perturbed_picture
from raypol.figures.style.axes import short_number
from raypol.figures.style.images import in_255
from raypol.report.tables import Table, TableColumn
from raypol.runs.relatives import Subject, run_leaking, run_perturbing
from raypol.runs.trials.verify import allow_names
from raypol.store.location import open_location
from raypol.store.proofs.reader import read_manifest

_KINDS: Final = (".png", ".pdf")
_R = TypeVar("_R")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model, which points, where to show them."""

    proof_dir: ProofDir
    split: Split = "test"
    """The dataset's test or training points."""
    out: str = ""
    """Picture to write: FILE.png or FILE.pdf; empty = none."""
    device: str = "cpu"
    """Device to compute on: cpu (one core, one thread), cpu:2, gpu."""
    data_dir: DataDir = None
    dataset: AllowedDataset = None
    model: AllowedModel = None
    debug: Debug = False

    def search_on(
        self, search: Callable[..., _R], config: object, indices: tuple[int, ...], step: int | None
    ) -> tuple[_R, Recipe]:
        """Run a search on the recorded model; returns its outcome and the proof's recipe."""
        if self.out and local_path(self.out).suffix not in _KINDS:  # before the work, not after it
            raise InputError(f"expected --out FILE{' or FILE'.join(_KINDS)}, got {self.out!r}")
        keep_freed_memory()
        with LocalRunner(dict.fromkeys(ROLES, parse_device(self.device))) as runner, progress(ERR) as update:
            folder = open_location(self.proof_dir)
            recipe = read_manifest(folder).recipe
            allow_names(recipe, dataset=self.dataset, model=self.model)
            subject = Subject(
                proof=folder.address,
                data=DataSource(name=self.dataset or recipe.dataset, folder=self.data_dir),
                step=step,
                indices=indices,
                split=self.split,
                device=runner.device("spoofer"),
            )
            return runner.submit("spoofer", partial(search, on_progress=update), (subject, config)).result(), recipe

    def write(self, figure: Figure) -> None:
        """Save the picture, if one is asked for, and say where."""
        if self.out:
            path = local_path(self.out)
            save.save_figure(figure, path.with_suffix(""), kinds=[path.suffix[1:]])
            say(f"picture: {path}")


@dataclass(frozen=True, kw_only=True)
class PointOptions(ModelOptions):
    """Examples of several points."""

    index: tuple[int, ...] = (0,)
    """Which points; the picture shows the first four."""
    at: int | None = None
    """Recorded step whose weights are taken; None = the last."""
    search: Adversarial | Unadversarial

    def run(self) -> int:
        """Craft an example of each point and print a line for each, then the summary."""
        config = self.search
        result, recipe = self.search_on(run_perturbing, config, self.index, self.at)
        where = f"{recipe.model} on {recipe.dataset}"
        step = recipe.steps if self.at is None else self.at
        limit = "" if config.linf_limit is None else f", |R|_inf <= {in_255(config.linf_limit)}"
        say(
            f"{where}, weights of step {step}; {self.split} points{limit}, {config.crafting}, {config.iterations} iterations"
        )
        print_tables(_points_table(self.index, result))
        say(*self.summary(result))
        self.write(perturbed_picture(result, f"{type(config).__name__} example: {where}"))
        return 0

    def summary(self, result: Perturbed) -> list[str]:
        """Points whose prediction is right, and points whose loss fell."""
        before, after, rounded = (
            int((seen.predictions == result.labels).sum())
            for seen in (result.before, result.after, result.after_rounding)
        )
        fell = int((result.after_rounding.losses < result.before.losses).sum())
        return [
            f"right: {before} of {len(result.labels)} before, {after} by X + R, {rounded} by X + R rounded to uint8; "
            f"loss fell after rounding: {fell}"
        ]


@dataclass(frozen=True, kw_only=True)
class AdversarialCommand(PointOptions):
    """Flip the model's prediction by a small perturbation of the pixels."""

    search: tyro.conf.OmitArgPrefixes[Adversarial] = field(default_factory=Adversarial)
    """The search."""

    def summary(self, result: Perturbed) -> list[str]:
        """Points whose right prediction was flipped, and points that are seen as the target."""
        right = result.before.predictions == result.labels
        flipped, rounded = (
            int((right & (seen.predictions != result.labels)).sum()) for seen in (result.after, result.after_rounding)
        )
        lines = [
            f"right before: {int(right.sum())} of {len(right)}; of these flipped: {flipped} by X + R, {rounded} by X + R "
            "rounded to uint8"
        ]
        target = self.search.target
        if target is not None:
            reached = int((result.after_rounding.predictions == target).sum())
            lines.append(f"seen as {target} after rounding: {reached} of {len(right)}")
        return lines


@dataclass(frozen=True, kw_only=True)
class UnadversarialCommand(PointOptions):
    """Help the model's prediction by a small perturbation of the pixels."""

    search: tyro.conf.OmitArgPrefixes[Unadversarial] = field(default_factory=Unadversarial)
    """The search."""


@dataclass(frozen=True, kw_only=True)
class DLGCommand(ModelOptions):
    """Recover a point and its label from its gradient."""

    index: int = 0
    """Which point."""
    at: int = 0
    """Recorded step whose weights are taken; 0 = the initial ones, where a gradient tells most."""
    search: tyro.conf.OmitArgPrefixes[DLG] = field(default_factory=DLG)
    """The search."""

    def run(self) -> int:
        """Run it."""
        leak, recipe = self.search_on(run_leaking, self.search, (self.index,), self.at)
        found = leak.recovered
        where = f"{recipe.model} on {recipe.dataset}"
        tries = f"best of {found.restarts} restarts, {len(found.trace)} evaluations"
        say(
            f"{where}, weights of step {self.at}; {self.split} point {self.index}",
            f"mismatch of gradients  {short_number(found.objective, 3)} ({tries})",
            f"label                  {found.label}, true {leak.label}",
            f"PSNR                   {psnr(leak.truth, found.image):.1f} dB",
        )
        when = "initial weights" if self.at == 0 else f"weights of step {self.at:,}"
        self.write(leak_picture(leak, f"Deep leakage from a gradient: {where}, {when}"))
        return 0


@dataclass(frozen=True, kw_only=True)
class RelativesCommand:
    """Relatives of the attacks (Zhang et al. 2022, section VI): adversarial and unadversarial examples, and deep leakage from
    gradients (DLG), on a proof's model.
    """

    which: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[
            Annotated[AdversarialCommand, tyro.conf.subcommand("adversarial")]
            | Annotated[UnadversarialCommand, tyro.conf.subcommand("unadversarial")]
            | Annotated[DLGCommand, tyro.conf.subcommand("dlg")]
        ]
    ]
    """What to search."""

    @property
    def debug(self) -> bool:
        """Show the traceback of an error."""
        return self.which.debug

    def run(self) -> int:
        """Run it."""
        return self.which.run()


def _points_table(indices: tuple[int, ...], result: Perturbed) -> Table:
    """A line per point; the model's answer is the predicted class, its probability, and the loss against the label."""
    lines = []
    for i, index in enumerate(indices):
        answers = [_answer(seen, i) for seen in (result.before, result.after, result.after_rounding)]
        sizes = in_255(float(result.linf[i])), short_number(float(result.l2[i]), 2)
        lines.append((str(index), str(int(result.labels[i])), *answers, *sizes))
    names = ("index", "label", "before", "X + R", "X + R uint8", "|R|_inf", "|R|_2")
    note = "class, its probability, loss against the label (nats)"
    return Table(columns=list(map(TableColumn, names)), lines=lines, note=note)


def _answer(seen: Seen, i: int) -> str:
    predicted = int(seen.predictions[i])
    return f"{predicted} {float(seen.probabilities[i, predicted]):.1%} {short_number(float(seen.losses[i]), 2)}"
