"""A proof folder of the published PoL code becomes a raypol proof, one checkpoint in memory at a time.

What the folder records is taken from it; a flag that says otherwise is an error. What it does not record is asked for, and
the proof's manifest says that it was asserted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import nn

from raypol.cluster.jobs import DataSource
from raypol.core import hashing
from raypol.core.augment import Transform
from raypol.core.data import Dataset
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.proof import BatchRecord, Cost, OptimizerConfig, Recipe, Scalar, ScheduleConfig
from raypol.core.training import Trainer, build_optimizer, learning_rates, state_template
from raypol.runs.environment import versions
from raypol.runs.published_code import TRANSFORMS, TransformName
from raypol.store.location import Location, writable_folder
from raypol.store.proofs import Manifest, new_proof
from raypol.store.published import Declared, PublishedFolder, State, open_published

_IMPLEMENTATION: Final = {"foreach", "fused", "capturable", "differentiable"}
"""Options of torch's optimizers that choose a kernel, not a rule."""
_SAME_RATE: Final = 1e-9
"""Relative: another torch version may multiply a rate in another order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What a folder of the published code does not record, or what it must agree with."""

    dataset: str
    """The prover's dataset: a built-in one, or an own one by import path (my_pkg.data:load)."""
    model: str
    """The prover's model: a built-in one with the folder's tensor names, or an own one by import path
    (my_pkg.models:make_net)."""
    transform: TransformName | None = None
    """How pixels became inputs. The published code's own: cifar10 (crop after padding 4, mirror, ImageNet's mean and std),
    cifar100 (the same, rotation by 15 degrees, its own mean and std), mnist ((x - 0.5) / 0.5); or identity
    (pixels in [0, 1] as they are). The next five replace parts of it, or say all of it."""
    crop_padding: int | None = None
    """Zero padding in pixels before a random crop; 0 = no crop."""
    horizontal_flip: bool | None = None
    """Random mirror image."""
    rotation_degrees: float | None = None
    """Largest angle of a random rotation; 0 = none."""
    mean: tuple[float, ...] | None = None
    """Per channel, subtracted from pixels in [0, 1]."""
    std: tuple[float, ...] | None = None
    """Per channel, divides after that."""
    optimizer: str = "SGD"
    """Class in torch.optim; the published code has SGD, and Adam for other datasets than CIFAR and MNIST."""
    lr: float | None = None
    """Initial learning rate. This and the next four: needed only where the folder records none, checked where it does."""
    momentum: float | None = None
    """SGD's momentum."""
    weight_decay: float | None = None
    """Weight decay."""
    milestones: tuple[int, ...] | None = None
    """Steps after which the learning rate falls."""
    gamma: float | None = None
    """What it is multiplied with at each."""
    interval: int | None = None
    """k, if you know it. It is found from the names, but where a folder has few checkpoints one that is missing may not show."""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place."""

    @property
    def data(self) -> DataSource:
        """Where the dataset comes from."""
        return DataSource(name=self.dataset, folder=self.data_dir)

    def declared_transform(self) -> Transform:
        """All that the flags say about the pixels.

        Raises:
            InputError: they say nothing.
        """
        parts = ("crop_padding", "horizontal_flip", "rotation_degrees", "mean", "std")
        given = {name: getattr(self, name) for name in parts if getattr(self, name) is not None}
        if self.transform is None and not given:
            raise InputError(
                "the folder does not record how pixels became inputs; give --transform "
                f"({', '.join(TRANSFORMS)}), or --crop-padding, --horizontal-flip, --rotation-degrees, --mean and --std"
            )
        return replace(TRANSFORMS[self.transform or "identity"], **given)


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """A proof that came from a published folder."""

    folder: Location
    manifest: Manifest
    has_hash: bool
    """Whether there was a hash.txt."""
    several_gpus: bool
    """Whether its tensors were named as torch's DataParallel names them."""


def import_published(
    source: Path,
    results: str,
    claims: Claims,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Imported:
    """Read, check and record a folder of the published code.

    Args:
        source: the folder.
        results: the proof goes to RESULTS/proofs/imported-<beginning of its root>; made once the folder looks right.
        claims: what the folder does not record.
        on_progress: told how many checkpoints are read, of how many.

    Raises:
        InputError: the folder is damaged, hostile, of another model or dataset, or contradicts itself or the claims.
    """
    transform = claims.declared_transform()
    if claims.interval is not None and claims.interval < 1:
        raise InputError(f"expected an interval (k) >= 1 step, got {claims.interval}")
    dataset = claims.data.load()
    found = open_published(source, len(dataset), interval=claims.interval)
    declared, fixed = _declare(claims.model, dataset)
    start = found.state(0, declared)
    optimizer, schedule, asserted = _rule(start, claims)
    recipe = Recipe(
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        model=claims.model,
        steps=found.steps,
        interval=found.interval,
        batch_size=found.batch_size,
        optimizer=optimizer,
        schedule=schedule,
        transform=transform,
        channels_last=False,
    )
    kinds = state_template(Trainer(replace(recipe, steps=recipe.interval), dataset))
    rates = learning_rates(replace(recipe, steps=recipe.steps + 1))
    steps = recipe.checkpoint_steps()
    place = writable_folder(results)
    with new_proof(place, "imported-{root}", recipe, len(dataset)) as writer:
        for position, step in enumerate(steps):
            state = start if step == 0 else found.state(step, declared)
            _check_rule(state, start, float(rates[step]))
            if step > 0:
                writer.write_batches(_records(found, dataset, steps[position - 1], step))
            writer.write_checkpoint(state.checkpoint(declared, kinds, fixed))
            on_progress(position + 1, len(steps))
        manifest = writer.finish(Cost(), {**versions(), "imported from": "published layout"}, asserted=asserted)
    return Imported(
        folder=place / "proofs" / f"imported-{manifest.root[:12]}",
        manifest=manifest,
        has_hash=found.has_hash,
        several_gpus=start.several_gpus,
    )


def _declare(model_name: str, dataset: Dataset) -> tuple[Declared, dict[str, torch.Tensor]]:
    """What the model's state dict has, and the buffers that it leaves out."""
    model = build_model(model_name, in_channels=dataset.image_shape[0], num_classes=dataset.num_classes)
    net = {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    buffers = dict(model.named_buffers())
    declared = Declared(
        model=model_name,
        net={name: (tensor.shape, tensor.dtype) for name, tensor in net.items()},
        parameters=tuple(name for name, _ in model.named_parameters()),
        buffers=tuple(name for name in buffers if name in net),
    )
    return declared, {name: buffer.detach().clone() for name, buffer in buffers.items() if name not in net}


def _records(found: PublishedFolder, dataset: Dataset, start: int, stop: int) -> list[BatchRecord]:
    """I as it is recorded, H computed from the dataset."""
    digests = dataset.point_digests
    return [
        BatchRecord(step, indices, hashing.step_digest(step, digests[indices]))
        for step, indices in enumerate(found.rows(start, stop), start=start)
    ]


# --- the update rule: what the folder says, what the flags say -----------------------------------------------------


def _rule(start: State, claims: Claims) -> tuple[OptimizerConfig, ScheduleConfig, tuple[str, ...]]:
    """Optimizer, schedule, and the parts of the recipe that nothing but the flags says."""
    flags = {"lr": claims.lr, "momentum": claims.momentum, "weight_decay": claims.weight_decay}
    given = {name: value for name, value in flags.items() if value is not None}
    asserted = ["dataset", "model", "loss", "transform", "seed", "optimizer.name"]
    if start.options is None:
        known = _defaults(claims.optimizer)
        missing = [name for name in flags if name in known and name not in given]
        if missing:
            wanted = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
            raise InputError(f"{start.file} records no optimizer; give {wanted} (it will be recorded as asserted)")
        options: dict[str, Scalar] = {**given}
        asserted += [f"optimizer.{name}" for name in given]
    else:
        options = _recorded_options(start, claims.optimizer)
        for name, value in given.items():
            if name not in options:
                raise InputError(f"--{name.replace('_', '-')} {value:g}: optimizer {claims.optimizer} has no {name}")
            _agree(start, name, options[name], value)
    optimizer = OptimizerConfig(name=claims.optimizer, options=options)
    schedule = _recorded_schedule(start, optimizer, claims)
    if start.schedule is None and (claims.milestones is not None or start.options is None):
        asserted.append("schedule")
    return optimizer, schedule, tuple(asserted)


def _recorded_options(start: State, name: str) -> dict[str, Scalar]:
    """The constructor's arguments, as far as they are not its defaults."""
    assert start.options is not None
    defaults = _defaults(name)
    recorded = {k: v for k, v in start.options.items() if k not in {*_IMPLEMENTATION, "initial_lr"}}
    recorded["lr"] = start.options.get("initial_lr", start.options.get("lr"))
    foreign = sorted(recorded.keys() - defaults.keys())
    if foreign:
        fitting = [other for other in ("SGD", "Adam") if recorded.keys() <= _defaults(other).keys()]
        hint = f"; give --optimizer {fitting[0]}" if fitting else ""
        raise InputError(f"{start.file}: its optimizer has {', '.join(foreign)[:80]}, torch.optim.{name} has not{hint}")
    options: dict[str, Scalar] = {}
    for key, value in recorded.items():
        if key not in ("lr", "momentum", "weight_decay") and value == defaults[key]:
            continue
        if not isinstance(value, bool | int | float | str):
            raise InputError(f"{start.file}: optimizer option {key} is {value!r:.40}; a proof declares numbers only")
        options[key] = value
    return options


def _defaults(name: str) -> Mapping[str, object]:
    """Options of an optimizer's constructor with their defaults."""
    optimizer = build_optimizer(OptimizerConfig(name=name, options={"lr": 1e-3}), [nn.Parameter(torch.zeros(1))])
    return optimizer.defaults


def _recorded_schedule(start: State, optimizer: OptimizerConfig, claims: Claims) -> ScheduleConfig:
    recorded = start.schedule
    if recorded is not None:
        _agree(start, "milestones", recorded.milestones, claims.milestones and tuple(sorted(claims.milestones)))
        _agree(start, "gamma", recorded.gamma, claims.gamma)
        if recorded.base_lr != optimizer.lr:
            raise InputError(
                f"{start.file} contradicts itself: its scheduler starts at lr {recorded.base_lr:g}, its optimizer at "
                f"{optimizer.lr:g}"
            )
        options: dict[str, Scalar | Sequence[int]] = {"milestones": [*recorded.milestones], "gamma": recorded.gamma}
        return ScheduleConfig(name="MultiStepLR", options=options)
    if claims.milestones is None and claims.gamma is None:
        return ScheduleConfig()
    if claims.milestones is None or claims.gamma is None:
        raise InputError("expected --milestones and --gamma together")
    return ScheduleConfig(name="MultiStepLR", options={"milestones": sorted(claims.milestones), "gamma": claims.gamma})


def _agree(start: State, name: str, recorded: object, claimed: object) -> None:
    if claimed is not None and claimed != recorded:
        flag = name.replace("_", "-")
        raise InputError(f"--{flag} {claimed} contradicts {start.file}, which records {name} {recorded}")


def _check_rule(state: State, start: State, lr: float) -> None:
    """One proof declares one rule: every checkpoint must have that of the first, at the place of its own step.

    The published verifier loads what each file says and looks at none of it, so a file that says lr 0 reproduces itself.
    """
    if (state.options is None) != (start.options is None) or (state.schedule is None) != (start.schedule is None):
        raise InputError(f"{state.file} and {start.file} do not record the same parts of optimizer and scheduler")
    if state.options is not None and start.options is not None:
        changed = [
            name
            for name in start.options.keys() | state.options.keys()
            if name not in {"lr", *_IMPLEMENTATION} and state.options.get(name) != start.options.get(name)
        ]
        if changed:
            name = sorted(changed)[0]
            raise InputError(
                f"{state.file} says {name} {state.options.get(name)!r:.40}, {start.file} says "
                f"{start.options.get(name)!r:.40}; a proof has one update rule"
            )
        said = state.options.get("lr")
        if (
            isinstance(said, bool)
            or not isinstance(said, int | float)
            or not math.isclose(said, lr, rel_tol=_SAME_RATE)
        ):
            raise InputError(
                f"{state.file} says lr {said!r:.40}, the declared schedule gives {lr:g} at step {state.step}"
                f"{'' if state.schedule else '; give --milestones and --gamma if it fell'}"
            )
    if state.schedule is not None and start.schedule is not None:
        if replace(state.schedule, last_step=0) != replace(start.schedule, last_step=0):
            raise InputError(f"{state.file} and {start.file} record different schedules; a proof has one")
        if state.schedule.last_step != state.step:
            raise InputError(f"{state.file}: its scheduler stands at step {state.schedule.last_step}")
