"""The adversary's choices besides the attack, and the recipe that follows from them."""

from dataclasses import dataclass, field, replace
from typing import Literal

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError, check_whole, reject_choice
from raypol.core.proof import MAX_BATCH, MAX_STEPS, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.seeds import check_seed, derive_seed
from raypol.core.spoofing.trajectory import TrajectoryConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoofConfig:
    """A's choices besides the attack's own hyperparameters."""

    steps: int = 200
    """T', updates that the spoof claims."""
    interval: int = 10
    """k, steps between recorded weights."""
    dataset: str = ""
    """A's data, which the spoof claims to be trained on; empty = the honest proof's dataset. An import path (my_pkg.data:load) is
    only run if it is given here, even where the proof names it."""
    batch_size: int = 0
    """Points per update; 0 = the honest proof's."""
    trajectory: TrajectoryConfig = field(default_factory=TrajectoryConfig)
    """The intermediate models."""
    hyperparameters: Literal["published", "honest_schedule"] = "honest_schedule"
    """What A declares: published = SGD lr 0.01, momentum 0.9, weight decay 1e-4, constant; honest_schedule = the proof's own
    optimizer and schedule, stretched to T'."""
    carry: Literal["exact", "restart", "none"] = "exact"
    """Optimizer state: exact = the true one, by one pass in order; restart = empty at every checkpoint (published); none = A
    declares an optimizer without momentum."""
    seed: int = 0
    """Seeds W_0, batches and noise."""

    def __post_init__(self) -> None:
        if self.hyperparameters not in ("published", "honest_schedule"):
            reject_choice("hyperparameters", self.hyperparameters, ("published", "honest_schedule"))
        if self.carry not in ("exact", "restart", "none"):
            reject_choice("carry", self.carry, ("exact", "restart", "none"))
        check_whole("steps (T')", self.steps, 1, MAX_STEPS)
        check_whole("interval (k)", self.interval, 1, MAX_STEPS)
        check_whole("batch_size", self.batch_size, 0, MAX_BATCH)
        check_seed(self.seed)


def declare(honest: Recipe, config: SpoofConfig, dataset: Dataset | None = None) -> Recipe:
    """The recipe that a spoof claims to have followed, before the attack's own changes to it.

    Args:
        honest: of the proof whose W_T is stolen. Its normalisation is kept whatever A's data: it belongs to W_T.
        config: A's choices.
        dataset: A's, needed only if `config` names one.

    Raises:
        InputError: a choice that contradicts another, or `dataset` is not what `config` names.
    """
    name, sha256 = honest.dataset, honest.dataset_sha256
    if config.dataset:
        if dataset is None or dataset.name != config.dataset:
            raise InputError(
                f"the spoof names dataset {config.dataset!r}; expected it, got {dataset.name if dataset else 'none'}"
            )
        name, sha256 = dataset.name, dataset.sha256
    optimizer, schedule = honest.optimizer, honest.schedule
    if config.hyperparameters == "published":
        optimizer = OptimizerConfig(name="SGD", options={"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4})
        schedule = ScheduleConfig()
    elif schedule.name != "constant":
        schedule = replace(schedule, base_steps=schedule.base_steps or honest.steps)
    if config.carry == "none":
        if optimizer.name != "SGD":
            raise InputError(f"carry none needs an optimizer that can go without state (SGD), got {optimizer.name}")
        # torch takes nesterov only with momentum, and dampening applies to the momentum's buffer.
        options = {key: value for key, value in optimizer.options.items() if key not in ("nesterov", "dampening")}
        optimizer = replace(optimizer, options={**options, "momentum": 0.0})
    return replace(
        honest,
        dataset=name,
        dataset_sha256=sha256,
        steps=config.steps,
        interval=config.interval,
        batch_size=config.batch_size or honest.batch_size,
        optimizer=optimizer,
        schedule=schedule,
        transform=honest.transform.without_augmentation(),
        seed=derive_seed(config.seed, "spoof"),
    )
