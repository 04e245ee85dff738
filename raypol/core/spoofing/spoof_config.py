"""The adversary's choices besides the attack, and the recipe that follows from them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Final, Literal, get_args

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError, check_whole, reject_choice
from raypol.core.proof import MAX_BATCH, MAX_STEPS, Recipe
from raypol.core.seeds import bound_seed, check_seed, check_share, derive_seed
from raypol.core.spoofing.declarations import DECLARES, Declares, declared_rule
from raypol.core.spoofing.grants import USUAL, Grant, grants_of
from raypol.core.spoofing.trajectory import BOUND_STARTS, TrajectoryConfig

Carry = Literal["exact", "restart"]
Buffers = Literal["linear", "exact"]
Order = Literal["own", "declared"]
Augments = Literal["none", "honest"]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SpoofConfig:
    """A's choices besides the attack's own hyperparameters."""

    steps: int = 200
    """T', updates that the spoof claims."""
    interval: int = 10
    """k, steps between recorded weights; the verifier's is that of the honest proof, another one has to be granted."""
    dataset: str = ""
    """A's data, which the spoof claims to be trained on; empty = the honest proof's dataset. An import path (my_pkg.data:load) is
    only run if it is given here, even where the proof names it."""
    batch_size: int = 0
    """Points per update; 0 = the honest proof's."""
    trajectory: TrajectoryConfig = field(default_factory=TrajectoryConfig)
    """The intermediate models."""
    declares: Declares = "honest_schedule"
    """Optimizer and schedule that A declares: honest_schedule = the proof's own, stretched to T'; published = SGD lr 0.01,
    momentum 0.9, weight decay 1e-4, constant; no_momentum = the proof's own without momentum; vanishing = a rate of 1e-6;
    accumulator = Adagrad whose accumulator starts at 1e16."""
    augmentation: Augments = "none"
    """What A declares: none, or honest = the proof's own, which a replay with fresh augmentation draws anew."""
    carry: Carry = "exact"
    """Optimizer state: exact = the true one, by one pass in order where it depends on gradients; restart = empty at every
    checkpoint (published)."""
    buffers: Buffers = "linear"
    """Statistics of norm layers: linear = on the straight way from fresh ones to W_T's; exact = as the declared training leaves
    them, by forward passes where nothing else trains."""
    data_order: Order = "own"
    """Batches: own = A's choice; declared = those of the declared seed, as an honest prover takes them."""
    share: str = ""
    """The verifier's share of a bound seed, 16 to 128 hex digits; W_0 `bound` needs one."""
    grants: tuple[str, ...] = USUAL
    """What A is granted: usual = what published attacks are, but for k; or any of weights, data, other_data, policy, interval,
    selection, nonce, initial, order, own_points, optimizer, augmentation, batch_size, trace, seed; no_X takes one away."""
    seed: int = 0
    """Seeds W_0, batches and noise."""

    def __post_init__(self) -> None:
        for name, possible in (
            ("declares", DECLARES),
            ("augmentation", get_args(Augments)),
            ("carry", get_args(Carry)),
            ("buffers", get_args(Buffers)),
            ("data_order", get_args(Order)),
        ):
            if getattr(self, name) not in possible:
                reject_choice(name, getattr(self, name), possible)
        check_whole("steps (T')", self.steps, 1, MAX_STEPS)
        check_whole("interval (k)", self.interval, 1, MAX_STEPS)
        check_whole("batch_size", self.batch_size, 0, MAX_BATCH)
        check_seed(self.seed)
        object.__setattr__(self, "grants", grants_of(self.grants))
        if self.share:
            check_share(self.share)

    def __repr__(self) -> str:
        """Trials are named by this text: fields that came later are left out where they say nothing."""
        later = [name for name, absent in _LATER.items() if getattr(self, name) == absent]
        shown = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name not in later]
        return f"SpoofConfig({', '.join(f'{_FIRST_NAMES.get(name, name)}={value!r}' for name, value in shown)})"


_LATER: Final = {"augmentation": "none", "buffers": "linear", "data_order": "own", "share": "", "grants": USUAL}
_FIRST_NAMES: Final = {"declares": "hyperparameters"}
"""Fields under the name that the first results folders have in the digests of their trials."""


def check_together(config: SpoofConfig) -> None:
    """Raise the InputError for choices of which each is possible, but not both: it names them."""
    path = config.trajectory
    if path.start == "bound" and not config.share:
        raise InputError("start bound needs a share, the verifier's part of the seed")
    if config.share and path.start != "bound":
        raise InputError(f"a share binds W_0: it contradicts start {path.start}, expected start bound")
    if path.start in BOUND_STARTS and path.initial == "published":
        raise InputError(
            f"start {path.start} contradicts initial published: an honest W_0 has the constants of its laws"
        )


def used_by_choices(
    config: SpoofConfig, *, interval: int, batch_size: int, is_augmented: bool
) -> Iterator[tuple[Grant, str]]:
    """What A's choices use, each grant with the choice that uses it.

    Args:
        config: the choices.
        interval: k of the honest training.
        batch_size: its points per update.
        is_augmented: whether it draws crops, flips or angles.
    """
    yield ("other_data", f"dataset {config.dataset}") if config.dataset else ("data", "the honest proof's dataset")
    if config.interval != interval:
        yield "interval", f"k = {config.interval} where the verifier's is {interval}"
    if config.batch_size not in (0, batch_size):
        yield "batch_size", f"batch size {config.batch_size} where the honest proof's is {batch_size}"
    if config.declares != "honest_schedule":
        yield "optimizer", f"declares {config.declares}"
    if config.augmentation == "none" and is_augmented:
        yield "augmentation", "declaring no augmentation where the honest proof declares one"
    if config.trajectory.start not in BOUND_STARTS:
        yield "initial", f"start {config.trajectory.start}"
        yield "weights", f"start {config.trajectory.start}"
    if config.data_order == "own":
        yield "order", "an own order of the data"


def declare(honest: Recipe, config: SpoofConfig, dataset: Dataset | None = None) -> Recipe:
    """The recipe that a spoof claims to have followed, before the attack's own changes to it.

    Args:
        honest: of the proof whose W_T is stolen. Its normalisation is kept whatever A's data: it belongs to W_T.
        config: A's choices.
        dataset: A's, needed only if `config` names one.

    Raises:
        InputError: a choice that contradicts another, or `dataset` is not what `config` names.
    """
    check_together(config)
    name, sha256 = honest.dataset, honest.dataset_sha256
    if config.dataset:
        if dataset is None or dataset.name != config.dataset:
            raise InputError(
                f"the spoof names dataset {config.dataset!r}; expected it, got {dataset.name if dataset else 'none'}"
            )
        name, sha256 = dataset.name, dataset.sha256
    schedule = honest.schedule
    if schedule.name != "constant":
        schedule = replace(schedule, base_steps=schedule.base_steps or honest.steps)
    seed = derive_seed(config.seed, "spoof")
    shares = (str(seed), config.share) if config.share else ()
    return declared_rule(
        replace(
            honest,
            dataset=name,
            dataset_sha256=sha256,
            steps=config.steps,
            interval=config.interval,
            batch_size=config.batch_size or honest.batch_size,
            schedule=schedule,
            transform=honest.transform if config.augmentation == "honest" else honest.transform.without_augmentation(),
            seed=bound_seed(sha256, honest.model, shares) if shares else seed,
            shares=shares,
        ),
        config.declares,
    )


def declare_as_recorded(honest: Recipe, config: SpoofConfig) -> Recipe:
    """The honest recipe itself, which a forgery of the honest proof declares.

    Raises:
        InputError: a choice that contradicts it.
    """
    asked: dict[str, tuple[object, object]] = {
        "steps": (config.steps, honest.steps),
        "interval": (config.interval, honest.interval),
        "batch_size": (config.batch_size or honest.batch_size, honest.batch_size),
        "dataset": (config.dataset or honest.dataset, honest.dataset),
        "declares": (config.declares, "honest_schedule"),
        "augmentation": (config.augmentation, "honest" if honest.transform.is_random else config.augmentation),
        "carry": (config.carry, "exact"),
        "data_order": (config.data_order, "own"),
        "share": (config.share or "none", honest.shares[1] if config.share and honest.shares else "none"),
    }
    for name, (chosen, recorded) in asked.items():
        if chosen != recorded:
            raise InputError(f"a forgery of the honest proof contradicts {name} {chosen}, expected {recorded}")
    return honest
