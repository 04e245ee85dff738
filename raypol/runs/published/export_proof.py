"""Export of a raypol proof as a folder for the published verifier, one checkpoint in memory at a time.

That layout records less than a proof. The missing parts are returned, shown and written beside the files; a folder that would
contradict the proof is written only if the caller accepts that.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch

from raypol.core.arithmetic.precision import base_precision
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import MAX_STEPS, Recipe, ScheduleConfig
from raypol.core.training.optimizers import learning_rates
from raypol.core.training.trainer import Trainer
from raypol.core.verification.survey import Survey, survey
from raypol.runs.published.published_defaults import OTHER_DATASET, PUBLISHED_DATASETS, RESNET20, TRANSFORMS
from raypol.runs.trials.verify import check_names
from raypol.store.location import Location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.published.folder import new_folder, printed_hash
from raypol.store.quoting import command_line

NOTE_NAME: Final = "NOT_EXPORTED.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Part of a proof that the published layout does not record."""

    part: str
    what: str
    false: bool = False
    """True if the folder would contradict the proof, so that the published verifier could not replay it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """Result of an export."""

    gaps: tuple[Gap, ...]
    command: str
    """Command that judges the folder with the published code."""
    import_command: str
    """Command that reads the folder back."""


def export_published(
    proof: Location,
    target: Path,
    data: DataSource,
    *,
    lossy: bool = False,
    with_hash: bool = True,
    on_progress: Progress = no_progress,
) -> Exported:
    """Write a proof in the published layout.

    Args:
        proof: folder of the proof; its names must be allowed (`allow_names`).
        target: folder to be made.
        data: the public dataset.
        lossy: also if the layout cannot express the proof.
        with_hash: write hash.txt; without it the published verifier stops before it replays anything.
        on_progress: called as checkpoints are written and images printed.

    Raises:
        InputError: not a readable proof, one whose tensors or indices are not the declared model's and dataset's, a target
            that exists, or one that the layout cannot express and `lossy` is not given.
    """
    source = ParquetProof(proof)
    check_names(source.recipe, data)
    dataset = data.load()
    recipe = source.recipe
    schedule = expressed_schedule(recipe)
    found = gaps(recipe, dataset, source.num_points, schedule, asserted=source.manifest.asserted)
    false = [gap for gap in found if gap.false]
    if false and not lossy:
        raise InputError(
            f"the published layout cannot express this proof: {'; '.join(f'{gap.part}: {gap.what}' for gap in false)}; "
            "give --lossy to export the rest (its verifier will then not reproduce the proof)"
        )
    trainer = Trainer(
        replace(
            recipe,
            channels_last=False,
            precision=base_precision(recipe.precision),
            schedule=schedule or ScheduleConfig(),
        ),
        dataset,
    )
    left_out = set(trainer.buffers) - set(trainer.model.state_dict())
    if left_out:
        found.append(
            Gap(part="buffers", what=f"the state dict of {recipe.model} leaves out {', '.join(sorted(left_out))}")
        )
    with new_folder(target) as folder:
        found += _write_checkpoints(folder, source, trainer, schedule, on_progress)
        if with_hash:
            text = printed_hash(dataset, on_progress)
            (folder / "hash.txt").write_text(text)
        else:
            found.append(Gap(part="hash.txt", what="not written, as asked; the published verifier stops without it"))
        done = Exported(
            gaps=tuple(found),
            command=_verify_command(recipe, target),
            import_command=_import_command(recipe, target),
        )
        (folder / NOTE_NAME).write_text(_note(done, source.root))
    return done


def expressed_schedule(recipe: Recipe) -> ScheduleConfig | None:
    """The recipe's learning rates as a MultiStepLR or constant; None if no such schedule gives exactly these."""
    schedule = recipe.schedule
    if schedule.name == "constant":
        return ScheduleConfig()
    rates = learning_rates(recipe)  # raises if torch refuses the options
    milestones = schedule.options.get("milestones")
    if schedule.name != "MultiStepLR" or isinstance(milestones, str) or not isinstance(milestones, Sequence):
        return None
    steps = [m for m in milestones if isinstance(m, int) and 0 <= m <= MAX_STEPS]
    if len(steps) < len(milestones):
        return None
    if schedule.base_steps == 0:
        return schedule
    squeezed = [-(-m * recipe.steps // schedule.base_steps) for m in steps]
    plainly = ScheduleConfig(name="MultiStepLR", options={**schedule.options, "milestones": squeezed})
    return plainly if np.array_equal(rates, learning_rates(replace(recipe, schedule=plainly))) else None


def gaps(
    recipe: Recipe, dataset: Dataset, num_points: int, schedule: ScheduleConfig | None, *, asserted: Sequence[str] = ()
) -> list[Gap]:
    """List the parts of a proof that the published layout, or its verifier, does not have."""
    built_in = PUBLISHED_DATASETS.get(recipe.dataset, OTHER_DATASET)
    flag, transform = built_in.flag or recipe.dataset, recipe.transform
    found: list[Gap] = []

    def lacks(part: str, what: str, *, false: bool = False) -> None:
        found.append(Gap(part=part, what=what, false=false))

    lacks("root and hashes", "hash.txt binds 3.5 % of a colour image's pixels, no label, index or checkpoint")
    lacks("names", f"model {recipe.model}, dataset {recipe.dataset} and its SHA-256: flags of the verifier")
    lacks("k and B", f"{recipe.interval} and {recipe.batch_size}: flags of the verifier")
    lacks("generation", "cost, versions and device")
    if (recipe.model, dataset.image_shape[0], dataset.num_classes) != RESNET20:
        lacks("model", f"the verifier has no {recipe.model} with these tensor names; add it to model.py")
    if not built_in.flag:
        lacks("dataset", f"the verifier loads no {recipe.dataset}; add it to utils.py")
    if transform != TRANSFORMS[built_in.transform]:
        theirs = _words(TRANSFORMS[built_in.transform])
        lacks("transform", f"{_words(transform)}; for {flag} the verifier has {theirs}; change utils.py")
    if transform.is_random:
        lacks("augmentation", f"the draws of seed {recipe.seed}; the verifier makes its own")
    if recipe.optimizer.name != built_in.optimizer:
        lacks(
            "optimizer", f"{recipe.optimizer.name}; for {flag} the verifier has {built_in.optimizer}; change train.py"
        )
    if recipe.channels_last:
        lacks("channels_last", "the verifier uses torch's default memory format, which rounds differently")
    if recipe.precision in ("tf32", "bf16", "reproducible"):
        lacks("precision", f"{recipe.precision}; the verifier computes as torch does by default")
    if recipe.precision == "float64":
        lacks("precision", "float64; the verifier's model has float32 weights", false=True)
    if recipe.given:
        what = f"that {len(recipe.given)} tensors of W_0 are given; the verifier tests every random one as if it were drawn"
        lacks("given", what)
    if asserted:
        lacks("asserted", f"that {', '.join(asserted)[:200]} were asserted at an earlier import")
    if num_points:
        what = f"{num_points}, which no index of the dataset names; with --lossy: the points from which they were made"
        lacks("own points", what, false=True)
    if schedule is None:
        name = f"{'stretched ' if recipe.schedule.base_steps else ''}{recipe.schedule.name}"
        what = f"{name} is no MultiStepLR; with --lossy: each checkpoint's learning rate, constant in its interval"
        lacks("schedule", what, false=True)
    elif schedule != recipe.schedule:
        milestones = schedule.options["milestones"]
        lacks("schedule", f"stretched from {recipe.schedule.base_steps} steps; written as milestones {milestones}")
    if schedule is not None and schedule.name != "constant" and not built_in.scheduled:
        lacks("schedule", f"for {flag} the verifier keeps the learning rate inside an interval; change train.py")
    return found


def _write_checkpoints(
    folder: Path,
    source: ParquetProof,
    trainer: Trainer,
    schedule: ScheduleConfig | None,
    on_progress: Progress,
) -> list[Gap]:
    """Write model_step_<t> from torch's own objects, and indices.npy; returns what raypol's verifier would find wrong."""
    recipe, optimizer = source.recipe, trainer.optimizer
    scheduler = None
    if schedule is not None and schedule.name == "MultiStepLR":
        options = cast("dict[str, Any]", dict(schedule.options))
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, **options)
        optimizer.step()  # without gradients it changes nothing, but keeps the scheduler from warning
    rates = learning_rates(recipe) if schedule is None else None
    indices: np.memmap[Any, Any] = np.lib.format.open_memmap(
        folder / "indices.npy", mode="w+", dtype=np.int64, shape=(recipe.steps, recipe.batch_size)
    )
    steps = recipe.checkpoint_steps()
    found = Survey()
    for position, step in enumerate(steps):
        seen = survey(source, trainer, position, position + 1, accuracy=False)
        for problem in (*seen.structure, *seen.indices):
            raise InputError(f"{source.folder} is not a proof that can be exported: {problem}")
        found += Survey(finite=seen.finite[:1], hashes=seen.hashes[:1])
        if position > 0:
            start = steps[position - 1]
            indices[start:step] = _dataset_indices(source, start, step, len(trainer.dataset))
        trainer.load(source.checkpoint(position))
        while scheduler is not None and scheduler.last_epoch < step:
            scheduler.step()
        if rates is not None:
            for group in optimizer.param_groups:
                group["lr"] = float(rates[min(step, recipe.steps - 1)])
        state = {"net": trainer.model.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {} if scheduler is None else {"scheduler": scheduler.state_dict()}
        torch.save(state, folder / f"model_step_{step}")
        on_progress("writing checkpoints", position + 1, len(steps))
    indices.flush()
    wrong = (*found.finite[:1], *found.hashes[:1])
    return [Gap(part="already false", what=f"{problem}; the layout does not show it") for problem in wrong]


def _dataset_indices(source: ParquetProof, start: int, stop: int, num_points: int) -> npt.NDArray[np.int64]:
    """Indices of these steps; one of the proof's own points becomes the dataset's point from which it was made."""
    rows = np.stack([record.indices for record in source.batches(start, stop)])
    own = rows >= num_points
    if own.any():
        rows[own] = source.points(rows[own] - num_points).sources.numpy()
    return rows


def _words(transform: Transform) -> str:
    parts = {name: value for name, value in asdict(transform).items() if value}
    return ", ".join(f"{name} {value}" for name, value in parts.items()) or "none"


def _verify_command(recipe: Recipe, target: Path) -> str:
    built_in = PUBLISHED_DATASETS.get(recipe.dataset)
    words = ["python", "verify.py", "--model", recipe.model, "--dataset", built_in.flag if built_in else recipe.dataset]
    words += ["--batch-size", str(recipe.batch_size), "--save-freq", str(recipe.interval), "--q", "0", "--model-dir"]
    return command_line(*words, target)


def _import_command(recipe: Recipe, target: Path) -> str:
    transform = recipe.transform
    words: list[object] = [
        *("raypol", "import", "--layout", "published", target),
        "--dataset",
        recipe.dataset,
        "--model",
        recipe.model,
    ]
    name = next((name for name, other in TRANSFORMS.items() if other == transform), None)
    if name is not None:
        words += ["--transform", name]
    else:
        words += ["--crop-padding", transform.crop_padding, "--rotation-degrees", f"{transform.rotation_degrees:g}"]
        words += ["--horizontal-flip", transform.horizontal_flip]
        if transform.mean:
            words += ["--mean", *transform.mean, "--std", *transform.std]
    words += ["--interval", recipe.interval]
    if recipe.optimizer.name != "SGD":
        words += ["--optimizer", recipe.optimizer.name]
    return command_line(*words)


def _note(exported: Exported, root: str) -> str:
    lines = [
        f"Exported by raypol from the proof with root {root}.",
        "",
        "Parts of the proof that this layout does not record:",
        *(f"- {gap.part}: {gap.what}{' [LOST]' if gap.false else ''}" for gap in exported.gaps),
        "",
        f"Judge it with the published code:  {exported.command}",
        f"Read it back:  {exported.import_command}",
    ]
    return "\n".join(lines) + "\n"
