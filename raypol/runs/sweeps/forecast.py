"""The forecast of a sweep's cost: trials, checkpoints, bytes and device hours, from counted work and a throughput.

The work of a step is counted (`raypol.core.costs`), not assumed. Seconds follow by one of three throughputs, which the forecast
names: measured here by training for a moment, given as honest steps per second, or assumed of a named GPU.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.placement import parse_device
from raypol.core.attacks import method_of
from raypol.core.clock import synchronise
from raypol.core.costs import StepCost, crafting_step_cost, training_step_cost
from raypol.core.datasets.load import half_of, random_points, shape_of
from raypol.core.datasets.shapes import Shape
from raypol.core.errors import InputError
from raypol.core.models import ModelSize, build_model, model_size
from raypol.core.proof import Recipe
from raypol.core.spoofing.declarations import declared_rule
from raypol.core.spoofing.sampling import lead_in
from raypol.core.training.optimizers import state_depends_on
from raypol.core.training.train_config import TrainConfig
from raypol.core.training.trainer import Trainer
from raypol.runs.sweeps.plan import SweepPlan
from raypol.runs.trials.study import Trial

PEAK_TFLOPS: Final[Mapping[str, float]] = {
    "K80": 4.1, "M60": 4.8, "P4": 5.5, "P40": 11.8, "P100": 9.5, "V100": 15.7, "T4": 8.1, "A10": 31.2, "A10G": 31.5, "A30": 10.3,
    "A40": 37.4, "A100": 19.5, "L4": 30.3, "L40": 90.5, "L40S": 91.6, "H100": 66.9, "H200": 66.9, "GTX-1080": 8.9,
    "GTX-1080-Ti": 11.3, "TITAN-V": 14.9, "TITAN-RTX": 16.3, "RTX-2080": 10.1, "RTX-2080-Ti": 13.4, "RTX-3080": 29.8,
    "RTX-3090": 35.6, "RTX-4090": 82.6, "RTX-6000": 16.3, "A5000": 27.8, "A6000": 38.7,
}  # fmt: skip
"""Makers' peak rates in float32 without tensor cores, 10^12 operations per second."""
UTILISATION: Final = 0.3
"""Share of the peak that convolutions of these sizes are assumed to reach."""
LAUNCH_S: Final = 10e-6
"""Host time per operation assumed of eager torch, which bounds a small model on a fast GPU."""
_MEASURE_S: Final = 3.0
_log = logging.getLogger(__name__)
_INDEX_BYTES: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """The speed of a device."""

    flops_per_s: float
    launch_s: float = 0.0
    """Host time per launched operation; 0 where the rate was measured, which has it in it."""
    source: str
    """How the rate was obtained, for people."""

    def seconds(self, work: StepCost, *, steps: float, batch_size: int) -> float:
        """Time of these steps: the device's arithmetic or the host's launches, whichever takes longer."""
        return steps * max(work.flops * batch_size / self.flops_per_s, work.launches * self.launch_s)


_FLOPS_ALONE: Final = Speed(flops_per_s=1e9, source="of no device: to compare pieces of work")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastLine:
    """The cost of all proofs of one kind."""

    what: str
    of: str = ""
    """Model and dataset, whichever half of it."""
    device: str
    proofs: int = 0
    intervals: int = 0
    checkpoints: int = 0
    num_bytes: int = 0
    make_s: float = 0.0
    """Device seconds of training, or of crafting and sealing."""
    verify_s: float = 0.0
    """Device seconds of replaying, a spoof's unperturbed reference among them."""
    verifier: str = ""

    def __add__(self, other: "ForecastLine") -> "ForecastLine":
        numbers = ("proofs", "intervals", "checkpoints", "num_bytes", "make_s", "verify_s")
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in numbers})


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """The costs of a sweep, and the speeds that they rest on."""

    lines: tuple[ForecastLine, ...]
    speeds: Mapping[str, Speed]
    """By device."""
    retries: int
    """The most tries that any attack may repeat its search with; the lines count one."""
    steps_per_s: Mapping[str, float]
    """Honest steps per second that follow, by "model on dataset, batch B, device"."""

    def total(self) -> ForecastLine:
        """Of all lines."""
        return sum(self.lines, ForecastLine(what="", device=""))


def assumed_speed(device: str, utilisation: float = UTILISATION) -> Speed:
    """The rate of a named GPU.

    Raises:
        InputError: no peak rate is known for it.
    """
    name = canonical_accelerator(device)
    if name not in PEAK_TFLOPS:
        raise InputError(
            f"no throughput is known for {device!r}: name a GPU with --gpu ({', '.join(PEAK_TFLOPS)}), give --steps-per-s, or "
            "--measure on this machine"
        )
    source = f"assumed: {utilisation:.0%} of {name}'s peak of {PEAK_TFLOPS[name]:g} TFLOP/s in float32, at least "
    return Speed(
        flops_per_s=PEAK_TFLOPS[name] * 1e12 * utilisation,
        launch_s=LAUNCH_S,
        source=source + f"{LAUNCH_S * 1e6:g} us per operation",
    )


def given_speed(steps_per_s: float, work: StepCost, batch_size: int) -> Speed:
    """The speed that a number of honest steps per second means."""
    return Speed(
        flops_per_s=steps_per_s * work.flops * batch_size, source=f"given: {steps_per_s:g} honest steps per second"
    )


def measured_speed(recipe: Recipe, shape: Shape, work: StepCost, device: str, *, threads: int) -> Speed:
    """The rate at which this machine trains the model on random points for a moment."""
    data = random_points(shape, 4 * recipe.batch_size)
    trainer = Trainer(replace(_still(recipe), dataset=data.name, dataset_sha256=data.sha256, steps=10**6), data, device)
    pixels = trainer.dataset.pixels.view(4, recipe.batch_size, *shape.image_shape)
    labels = trainer.dataset.labels.view(4, recipe.batch_size)
    before, steps = torch.get_num_threads(), 0
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            trainer.run(0, pixels[:1], labels[:1])
            synchronise(trainer.device)
            started = time.perf_counter()
            while steps == 0 or time.perf_counter() - started < _MEASURE_S:
                trainer.run(steps, pixels, labels)
                synchronise(trainer.device)
                steps += 4
            rate = steps / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    where = f"{device}, {threads} threads" if device == "cpu" else device
    return Speed(
        flops_per_s=rate * work.flops * recipe.batch_size,
        source=f"measured here on {where}: {rate:.3g} honest steps per second of {recipe.model} at batch {recipe.batch_size}",
    )


def _still(recipe: Recipe) -> Recipe:
    return replace(recipe, schedule=replace(recipe.schedule, name="constant", options={}, base_steps=0), interval=1)


@dataclass
class Forecaster:
    """Counts each distinct piece of work once, and puts a sweep's pieces together."""

    gpu: str = ""
    """GPU model to assume where the sweep names none: V100, T4, H100, ..."""
    steps_per_s: float | None = None
    """Honest training steps per second of your GPU, instead of an assumed rate."""
    measure: bool = False
    """Measure the rate on this machine, on random points, instead of assuming one; takes seconds per model."""
    utilisation: float = UTILISATION
    """Share of its peak that a named GPU is assumed to reach."""
    threads: int = 1
    """CPU threads to measure with."""

    def __post_init__(self) -> None:
        self._training: dict[str, StepCost] = {}
        self._crafting: dict[str, StepCost] = {}
        self._recipes: dict[str, tuple[Recipe, Shape, ModelSize]] = {}
        self._speeds: dict[str, Speed] = {}
        self._rates: dict[str, float] = {}

    def of(self, plan: SweepPlan) -> Forecast:
        """The forecast of a plan whose trials are all known."""
        lines: dict[tuple[str, ...], ForecastLine] = {}
        for line in self._lines(plan):
            key = (line.what, line.of, line.device, line.verifier)
            lines[key] = lines[key] + line if key in lines else line
        retries = max((getattr(trial.attack, "retries", 0) for trial in plan.examples()), default=0)
        return Forecast(
            lines=tuple(lines.values()), speeds=dict(self._speeds), retries=retries, steps_per_s=dict(self._rates)
        )

    def _lines(self, plan: SweepPlan) -> Iterator[ForecastLine]:
        trials = plan.examples()
        honest = {trial.honest_key(): trial for trial in trials}
        trained = {(replace(trial.train, interval=1), trial.prover) for trial in honest.values()}
        references = {(replace(trial.train.reference(), interval=1), trial.prover) for trial in honest.values()}
        made = {(trial.train, trial.prover): trial for trial in honest.values()}
        for (train, prover), trial in made.items():
            yield self._honest(train, prover, trial, verify=True)
        for train, prover in sorted(references - trained, key=repr):
            yield replace(
                self._honest(replace(train, interval=train.steps), prover, trials[0], verify=False),
                what="references for d_ref",
            )
        for trial in trials:
            yield self._spoof(trial, plan.options.estimate)

    def _honest(self, train: TrainConfig, prover: str, trial: Trial, *, verify: bool) -> ForecastLine:
        recipe, _, size = self._recipe(train)
        work, device, judge = self._train_work(train), self._device(prover), self._device(trial.verifier)
        steps_per_s = 1.0 / self._speed(device, train).seconds(work, steps=1, batch_size=recipe.batch_size)
        self._rates[f"{train.model} on {train.dataset}, batch {train.batch_size}, {device}"] = steps_per_s
        return ForecastLine(
            what="honest proofs",
            of=f"{train.model} on {half_of(train.dataset)[0]}",
            device=device,
            proofs=1,
            intervals=recipe.num_intervals,
            checkpoints=recipe.num_intervals + 1,
            num_bytes=_proof_bytes(recipe, size),
            make_s=recipe.steps / steps_per_s,
            verify_s=self._speed(judge, train).seconds(work, steps=recipe.steps, batch_size=recipe.batch_size)
            if verify
            else 0.0,
            verifier=judge if verify else "",
        )

    def _spoof(self, trial: Trial, estimate: int) -> ForecastLine:
        train, spoof = trial.train, trial.spoof
        honest, shape, size = self._recipe(train)
        recipe = replace(
            honest, steps=spoof.steps, interval=spoof.interval, batch_size=spoof.batch_size or honest.batch_size
        )
        step, device, judge = self._train_work(train), self._device(trial.spoofer), self._device(trial.verifier)
        method = method_of(trial.attack)
        craft = self._craft_work(trial, recipe, shape)
        recipe = method.declare(declared_rule(recipe, spoof.declares), trial.attack)
        carried = spoof.carry == "exact" and not method.forges_state
        follows = (carried and state_depends_on(recipe) == "gradients") or not method.independent
        crafted = float(recipe.steps) if method.independent else float(recipe.interval)  # or in the last interval alone
        share, lead = 1.0, 0
        if 0 < estimate < recipe.num_intervals and method.independent:
            share = estimate / recipe.num_intervals
            lead = lead_in(recipe, spoof, forges_state=method.forges_state)
        B, speed = recipe.batch_size, self._speed(device, train)
        perturbs = hasattr(trial.attack, "crafting")
        kept = getattr(trial.attack, "points", None)  # of an attack that crafts each point once, for all intervals
        num_points = crafted * B if kept is None else min(crafted * B, kept or shape.num_points)
        own_points = num_points * (math.prod(shape.image_shape) + 48) if perturbs else 0.0
        making = speed.seconds(craft, steps=crafted, batch_size=B)
        if follows:
            making += speed.seconds(step, steps=recipe.steps, batch_size=B)
        return ForecastLine(
            what=trial.arm,
            of=f"{train.model} on {half_of(spoof.dataset or train.dataset)[0]}",
            device=device,
            proofs=1,
            intervals=round(recipe.num_intervals * share),
            checkpoints=round(recipe.num_intervals * share) + 1,
            num_bytes=0 if share < 1.0 else _proof_bytes(recipe, size) + round(own_points),
            make_s=making * min(share * (1 + lead), 1.0),
            verify_s=2 * share * self._speed(judge, train).seconds(step, steps=recipe.steps, batch_size=B),
            verifier=judge,
        )

    def _recipe(self, train: TrainConfig) -> tuple[Recipe, Shape, ModelSize]:
        key = repr(train)
        if key not in self._recipes:
            shape = shape_of(train.dataset, train.data_dir)
            recipe = train.recipe(random_points(shape, train.batch_size), device="cpu", threads=1)
            model = build_model(train.model, in_channels=shape.image_shape[0], num_classes=shape.num_classes)
            self._recipes[key] = (recipe, shape, model_size(model))
        return self._recipes[key]

    def _train_work(self, train: TrainConfig) -> StepCost:
        key = repr((train.model, train.dataset, train.optimizer))
        if key not in self._training:
            recipe, shape, _ = self._recipe(train)
            self._training[key] = training_step_cost(recipe, shape)
        return self._training[key]

    def _craft_work(self, trial: Trial, recipe: Recipe, shape: Shape) -> StepCost:
        train = trial.train
        chosen: Sequence[Any] = (trial.attack, trial.spoof.carry, trial.spoof.declares)
        # Crafting costs the same per point, whatever k and B are, unless the attack says what all of it costs.
        size = (recipe.steps, recipe.interval, recipe.batch_size) if method_of(trial.attack).work else ()
        key = repr((train.model, train.dataset, train.optimizer, *size, *chosen))
        if key not in self._crafting:
            self._crafting[key] = crafting_step_cost(recipe, shape, trial.spoof, trial.attack)
        return self._crafting[key]

    def _device(self, spelling: str) -> str:
        """The device that a trial means: the GPU it names, else the one that was given."""
        request = parse_device(spelling)
        if self.measure or self.steps_per_s is not None:
            return "this machine" if self.measure else "the given device"
        return canonical_accelerator(request.accelerator or self.gpu or spelling)

    def _speed(self, device: str, train: TrainConfig) -> Speed:
        if self.steps_per_s is None and not self.measure:
            if device not in self._speeds:
                self._speeds[device] = assumed_speed(device, self.utilisation)
            return self._speeds[device]
        key = f"{train.model} on {train.dataset}"
        if key not in self._speeds:
            recipe, shape, _ = self._recipe(train)
            work = self._train_work(train)
            if self.steps_per_s is not None:
                self._speeds[key] = given_speed(self.steps_per_s, work, recipe.batch_size)
            else:
                where = "cuda" if torch.cuda.is_available() else "cpu"
                self._speeds[key] = measured_speed(recipe, shape, work, where, threads=self.threads)
        return self._speeds[key]


class _WorkCounter(Forecaster):
    """Tells pieces of work apart, whatever device does them."""

    def _device(self, spelling: str) -> str:
        return spelling

    def _speed(self, _device: str, _train: TrainConfig) -> Speed:
        return _FLOPS_ALONE


def trial_seconds(trials: Sequence[Trial], estimate: int, *, within_s: float = 20.0) -> list[float]:
    """Seconds of device time that each trial takes, to compare them with each other.

    A trial whose work cannot be counted, or not in time, gets the mean of the others for its T'.

    Args:
        trials: of any sweep.
        estimate: see `SweepOptions.estimate`.
        within_s: seconds after which counting ends.
    """
    counter, began = _WorkCounter(), time.monotonic()
    found: list[float] = []
    for trial in trials:
        seconds = math.nan
        if time.monotonic() - began < within_s:
            try:
                line = counter._spoof(trial, estimate)
                seconds = line.make_s + line.verify_s
            except Exception as err:  # code of the user's own, which fails again in its trial and is told there
                _log.debug("the work of %s cannot be counted: %s", trial, err)
        found.append(seconds)
    known = [(seconds, trial.spoof.steps) for seconds, trial in zip(found, trials, strict=True) if seconds > 0.0]
    per_step = sum(seconds for seconds, _ in known) / sum(steps for _, steps in known) if known else 1.0
    return [s if s > 0.0 else per_step * trial.spoof.steps for s, trial in zip(found, trials, strict=True)]


def _proof_bytes(recipe: Recipe, size: ModelSize) -> int:
    """At most: weights, buffers and momentum of every checkpoint, indices before compression, a hash per step."""
    checkpoints = recipe.num_intervals + 1
    momentum = size.momentum_bytes if recipe.optimizer.options.get("momentum") else 0
    weights = checkpoints * (size.weight_bytes + size.buffer_bytes) + (checkpoints - 1) * momentum
    return weights + recipe.steps * (recipe.batch_size * _INDEX_BYTES + 32)
