"""`raypol relatives adversarial | unadversarial | dlg`: the attacks' optimiser on single points of a proof's model."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import tyro
from matplotlib.figure import Figure
from rich.table import Table

from raypol.cli.console import ERR, OUT
from raypol.cli.options import Debug
from raypol.cli.progress import progress
from raypol.cluster.placement import parse_device
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.allocator import keep_freed_memory
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.core.relatives.adversarial import Adversarial
from raypol.core.relatives.dlg import DLG, psnr
from raypol.core.relatives.perturbing import Perturbed
from raypol.core.relatives.points import Seen, Split
from raypol.core.relatives.unadversarial import Unadversarial
from raypol.figures import save
from raypol.figures.relatives import leak_picture, perturbed_picture
from raypol.figures.style.axes import number
from raypol.figures.style.images import in_255
from raypol.runs.relatives import Subject, run_leaking, run_perturbing
from raypol.runs.trials.verify import allow_names
from raypol.store.location import open_location
from raypol.store.proofs.reader import read_manifest

_KINDS: Final = (".png", ".pdf")


@dataclass(frozen=True, kw_only=True)
class OnProof:
    """Which model, which points, where to show them."""

    proof_dir: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROOF_DIR")]
    """Folder of the proof that recorded the model: RESULTS/proofs/<proof_id>."""
    split: Split = "test"
    """The dataset's test or training points."""
    out: str = ""
    """Picture to write: FILE.png or FILE.pdf; empty = none."""
    device: str = "cpu"
    """What to compute on: cpu (one core, one thread), cpu:2, gpu."""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place."""
    dataset: str | None = None
    """Needed only if the proof names a dataset by import path: the same path, to allow running it."""
    model: str | None = None
    """Needed only if the proof names a model by import path: the same path, to allow running it."""
    debug: Debug = False

    def subject(self, indices: tuple[int, ...], step: int | None, device: str) -> tuple[Subject, Recipe]:
        """What to work on; names in the proof that would run code must have been typed."""
        folder = open_location(self.proof_dir)
        recipe = read_manifest(folder).recipe
        allow_names(recipe, dataset=self.dataset, model=self.model)
        data = DataSource(name=self.dataset or recipe.dataset, folder=self.data_dir)
        subject = Subject(proof=folder.address, data=data, step=step, indices=indices, split=self.split, device=device)
        return subject, recipe

    def runner(self) -> LocalRunner:
        """This process, on the device asked for."""
        if self.out and Path(self.out).suffix not in _KINDS:  # before the work, not after it
            raise InputError(f"expected --out FILE{' or FILE'.join(_KINDS)}, got {self.out!r}")
        keep_freed_memory()
        return LocalRunner(dict.fromkeys(ROLES, parse_device(self.device)))

    def write(self, figure: Figure) -> None:
        """Save the picture, if one is asked for, and say where."""
        if self.out:
            path = Path(self.out)
            save.save_figure(figure, path.with_suffix(""), kinds=[path.suffix[1:]])
            OUT.print(f"picture: {path}", soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class OnPoints(OnProof):
    """Examples of several points."""

    index: tuple[int, ...] = (0,)
    """Which points; the picture shows the first four."""
    at: int | None = None
    """Recorded step whose weights are taken; None = the last."""

    def perturb(self, config: Adversarial | Unadversarial) -> tuple[Perturbed, str]:
        """Run it; prints a line per point. Also what the picture is called."""
        with self.runner() as runner:
            subject, recipe = self.subject(self.index, self.at, runner.device("spoofer"))
            with progress(ERR) as update:
                job = partial(run_perturbing, on_progress=update)
                result = runner.submit("spoofer", job, (subject, config)).result()
        where = f"{recipe.model} on {recipe.dataset}"
        step = recipe.steps if self.at is None else self.at
        limit = "" if config.linf_limit is None else f", |R|_inf <= {in_255(config.linf_limit)}"
        OUT.print(
            f"{where}, weights of step {step}; {self.split} points{limit}, {config.crafting}, {config.iterations} iterations",
            soft_wrap=True,
        )
        OUT.print(_points_table(self.index, result))
        return result, where


@dataclass(frozen=True, kw_only=True)
class AdversarialCommand(OnPoints):
    """Flip the model's prediction by a small perturbation of the pixels."""

    search: tyro.conf.OmitArgPrefixes[Adversarial] = field(default_factory=Adversarial)
    """The search."""

    def run(self) -> int:
        """Run it."""
        result, where = self.perturb(self.search)
        right = result.before.predictions == result.labels
        flipped, rounded = (
            int((right & (seen.predictions != result.labels)).sum()) for seen in (result.after, result.after_rounding)
        )
        OUT.print(
            f"right before: {int(right.sum())} of {len(right)}; of these flipped: {flipped} by X + R, {rounded} by X + R "
            "rounded to uint8",
            soft_wrap=True,
        )
        if self.search.target is not None:
            reached = int((result.after_rounding.predictions == self.search.target).sum())
            OUT.print(f"seen as {self.search.target} after rounding: {reached} of {len(right)}")
        self.write(perturbed_picture(result, f"Adversarial example: {where}"))
        return 0


@dataclass(frozen=True, kw_only=True)
class UnadversarialCommand(OnPoints):
    """Help the model's prediction by a small perturbation of the pixels."""

    search: tyro.conf.OmitArgPrefixes[Unadversarial] = field(default_factory=Unadversarial)
    """The search."""

    def run(self) -> int:
        """Run it."""
        result, where = self.perturb(self.search)
        sides = (result.before, result.after, result.after_rounding)
        right = [int((seen.predictions == result.labels).sum()) for seen in sides]
        fell = int((result.after_rounding.losses < result.before.losses).sum())
        OUT.print(
            f"right: {right[0]} of {len(result.labels)} before, {right[1]} by X + R, {right[2]} by X + R rounded to uint8; "
            f"loss fell after rounding: {fell}",
            soft_wrap=True,
        )
        self.write(perturbed_picture(result, f"Unadversarial example: {where}"))
        return 0


@dataclass(frozen=True, kw_only=True)
class DLGCommand(OnProof):
    """Recover a point and its label from its gradient."""

    index: int = 0
    """Which point."""
    at: int = 0
    """Recorded step whose weights are taken; 0 = the initial ones, where a gradient tells most."""
    search: tyro.conf.OmitArgPrefixes[DLG] = field(default_factory=DLG)
    """The search."""

    def run(self) -> int:
        """Run it."""
        with self.runner() as runner:
            subject, recipe = self.subject((self.index,), self.at, runner.device("spoofer"))
            with progress(ERR) as update:
                job = partial(run_leaking, on_progress=update)
                leak = runner.submit("spoofer", job, (subject, self.search)).result()
        found = leak.recovered
        OUT.print(
            f"{recipe.model} on {recipe.dataset}, weights of step {self.at}; {self.split} point {self.index}\n"
            f"mismatch of gradients  {number(found.objective, 3)} (best of {found.restarts} restarts, "
            f"{len(found.trace)} evaluations)\n"
            f"label                  {found.label}, true {leak.label}\n"
            f"PSNR                   {psnr(leak.truth, found.image):.1f} dB",
            soft_wrap=True,
        )
        self.write(leak_picture(leak, _leak_title(recipe, self.at)))
        return 0


@dataclass(frozen=True, kw_only=True)
class RelativesCommand:
    """Relatives of the attacks (AE4PoL section VI): adversarial and unadversarial examples, and DLG, on a proof's model."""

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


def _leak_title(recipe: Recipe, step: int) -> str:
    when = "initial weights" if step == 0 else f"weights of step {step:,}"
    return f"Deep leakage from a gradient: {recipe.model} on {recipe.dataset}, {when}"


def _points_table(indices: tuple[int, ...], result: Perturbed) -> Table:
    """A line per point; what the model says is the predicted class, its probability, and the loss against the label."""
    table = Table(box=None, pad_edge=False, caption="class, its probability, loss against the label (nats)")
    table.caption_justify = "left"
    for name in ("index", "label", "before", "X + R", "X + R uint8", "|R|_inf", "|R|_2"):
        table.add_column(name, justify="right")
    for i, index in enumerate(indices):
        cells: list[Any] = [index, int(result.labels[i])]
        cells += [_said(seen, i) for seen in (result.before, result.after, result.after_rounding)]
        cells += [in_255(float(result.linf[i])), number(float(result.l2[i]), 2)]
        table.add_row(*map(str, cells))
    return table


def _said(seen: Seen, i: int) -> str:
    said = int(seen.predictions[i])
    return f"{said} {float(seen.probabilities[i, said]):.1%} {number(float(seen.losses[i]), 2)}"
