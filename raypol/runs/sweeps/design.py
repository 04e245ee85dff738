"""What a sweep asks: a typed base configuration, arms, and axes in Ray Tune's own vocabulary.

A sweep file holds one `Sweep` and nothing else. Its points are expanded by Tune's own generator; each becomes a `Setup`, the
typed configuration of one trial, whose name is a digest of its content: the same trial has the same name in every run.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from itertools import product
from typing import Any, Final, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from raypol.cluster.placement import parse_device
from raypol.core.attacks import find_attack, import_path_of
from raypol.core.datasets.load import half_of
from raypol.core.errors import InputError
from raypol.core.scoring import CONTROLS
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import RELATIVE, Thresholds
from raypol.runs.trials.honest_proof import proof_id_of
from raypol.runs.trials.study import Trial
from raypol.runs.trials.verify import Examination

Search = Literal["grid", "random", "optuna", "range"]
SizeName = Literal["paper", "smoke"]
Point = Mapping[str, Any]
"""Axis -> value, and `arm`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """One trial as it was asked for: everything that decides its numbers."""

    train: TrainConfig
    arm: str
    attack: Any
    spoof: SpoofConfig
    examination: Examination
    thresholds: Thresholds
    prover: str = "cpu"
    spoofer: str = "cpu"
    verifier: str = "cpu"

    def trial_id(self, sweep_id: str) -> str:
        """The trial's name in a sweep."""
        # The path tells your own attacks of one class name apart; it stands where a field of that name stood when ids were fixed.
        path = f", attack_path={import_path_of(self.attack)!r}, spoof="
        setup = repr(self._portable()).replace(", spoof=", path, 1)
        return proof_id_of("trial", {"sweep": sweep_id, "setup": setup})

    def honest_key(self) -> str:
        """Name of what this trial is compared with: the honest proof under the same conditions."""
        honest = (
            self._portable().train, self.prover, self.verifier, self.examination, self.thresholds,
        )  # fmt: skip
        return proof_id_of("honest", {"key": repr(honest)})

    def trial(self, sweep_id: str) -> Trial:
        """What `run_trial` takes."""
        return Trial(
            arm=self.arm,
            attack=self.attack,
            spoof=self.spoof,
            trial_id=self.trial_id(sweep_id),
        )

    def _portable(self) -> "Setup":
        """Without the place of the dataset's files, which another machine has elsewhere."""
        return replace(self, train=replace(self.train, data_dir=None))


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """A sweep at one size."""

    train: TrainConfig
    """Base of the honest training."""
    arms: Mapping[str, Any]
    """Arm -> attack: a configuration, the name of a preset, or an import path. Controls that are missing are added."""
    space: Mapping[str, Any]
    """Axis -> values, as `ray.tune` writes them. Axes: `steps` (T'); `interval` (k) and `seed`, of proof and spoof alike;
    any field as train.X, spoof.X, trajectory.X, attack.X (for the arms that have it), conditions.X, thresholds.X; and the
    devices `prover`, `spoofer`, `verifier`. An axis of any other name whose values are mappings from axes to values changes
    those together; an axis of its own wins over it."""
    drawn: Mapping[str, Any] = field(default_factory=dict)
    """Axis -> distribution (`tune.loguniform`, `tune.qrandint`, ...) that a random or Optuna search draws from, and a range
    search takes the bounds of T' from; its grid in `space`, if it has one, is then left out."""
    spoof: SpoofConfig = field(default_factory=SpoofConfig)
    """Base of the adversary's choices."""
    examination: Examination = field(default_factory=lambda: Examination(conditions=Conditions()))
    """How proofs and spoofs are examined."""
    thresholds: Thresholds = RELATIVE
    """The verifier's slack."""
    samples: int = 16
    """Points that a random or Optuna search draws; each is run under every arm."""

    def with_devices(
        self, *, prover: Sequence[str] = (), spoofer: Sequence[str] = (), verifier: Sequence[str] = ()
    ) -> "Design":
        """The same on other devices; several of a kind become an axis."""
        asked = {"prover": prover, "spoofer": spoofer, "verifier": verifier}
        return replace(
            self, space={**self.space, **{name: {"grid_search": list(some)} for name, some in asked.items() if some}}
        )

    def on_dataset(self, name: str) -> "Design":
        """The same on another dataset, halves staying halves: a stand-in where the declared one cannot be had.

        Raises:
            InputError: the datasets are an axis, or `name` is itself a half.
        """
        axes = {axis for values in self.space.values() for axis in _changed_by(values)} | set(self.space)
        if axes & {"train.dataset", "spoof.dataset"}:
            raise InputError("the datasets are an axis of this sweep; --dataset is for sweeps with one")
        if half_of(name)[1]:
            raise InputError(f"expected a whole dataset, got {name!r}: which half is whose is the sweep's to say")

        def instead(declared: str) -> str:
            return name + half_of(declared)[1]

        train, spoof = self.train, self.spoof
        train = replace(train, dataset=instead(train.dataset))
        return replace(self, train=train, spoof=replace(spoof, dataset=spoof.dataset and instead(spoof.dataset)))

    def searched(self, search: Search) -> "Design":
        """The same with one space: as this search looks at it."""
        axes = {"grid": (), "range": ("steps",)}.get(search, tuple(self.drawn))
        drawn = {axis: values for axis, values in self.drawn.items() if axis in axes}
        return replace(self, space={**self.space, **drawn}, drawn={})

    def all_arms(self) -> dict[str, Any]:
        """The controls first, then the arms as declared."""
        given = {type(_attack(attack)) for attack in self.arms.values()}
        missing = {name: name for name in CONTROLS if type(find_attack(name)) not in given}
        return {**missing, **self.arms}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """One experiment: what a file in sweeps/ declares."""

    name: str
    """Name of the experiment in results and MLflow."""
    question: str
    """What it asks, in one sentence."""
    paper: Design
    """At the published numbers."""
    smoke: Design
    """On two CPU cores in about a minute."""

    def at(self, size: SizeName) -> Design:
        """The design of a size."""
        return self.paper if size == "paper" else self.smoke


def _changed_by(values: Any) -> set[str]:  # noqa: ANN401 - whatever an axis holds
    """The axes that the values of an axis of mappings change."""
    found = values.get("grid_search", ()) if isinstance(values, Mapping) else getattr(values, "categories", ())
    return {name for value in found if isinstance(value, Mapping) for name in value}


def setup_of(design: Design, point: Point) -> Setup:
    """The typed configuration of a point.

    Raises:
        InputError: an axis that no field has, a value of another type, T' below k.
    """
    arms = design.all_arms()
    arm = point["arm"]
    setup = Setup(
        train=design.train,
        arm=arm,
        attack=_attack(arms[arm]),
        spoof=design.spoof,
        examination=design.examination,
        thresholds=design.thresholds,
    )
    together = [pair for values in point.values() if isinstance(values, Mapping) for pair in values.items()]
    alone = [(axis, value) for axis, value in point.items() if not isinstance(value, Mapping) and axis != "arm"]
    for axis, value in [*together, *alone]:
        setup = _with(setup, axis, value.item() if isinstance(value, np.generic) else value)
    _check(setup)
    return setup


def count_points(design: Design, search: Search, samples: int) -> int:
    """How many points an expansion makes at most, without making them."""
    grids = math.prod(len(_values(axis, values)) for axis, values in design.space.items() if _is_grid(values))
    return len(design.all_arms()) * grids * (1 if search == "grid" else samples)


def expand(design: Design, search: Search, *, samples: int, seed: int) -> list[tuple[Point, Setup]]:
    """All distinct trials of a grid or random search, in order; deterministic.

    A sampled point is run under every arm. An arm without an attack's field is run once for all values of that axis.

    Raises:
        InputError: see `check_space` and `setup_of`.
    """
    from ray.tune.search.variant_generator import generate_variants

    check_space(design, search)
    spec = {"arm": {"grid_search": list(design.all_arms())}, **design.space}
    state = np.random.RandomState(seed)
    found: dict[str, tuple[Point, Setup]] = {}
    for _ in range(samples if search == "random" else 1):
        for _, point in generate_variants(spec, constant_grid_search=True, random_state=state):
            setup = setup_of(design, point)
            found.setdefault(repr(setup), (dict(point), setup))
    return list(found.values())


def searchable(design: Design) -> dict[str, Any]:
    """The space for a searcher that proposes points by itself: grids become choices. Controls are not searched."""
    from ray.tune.search.sample import Categorical

    arms = [arm for arm in design.all_arms() if arm in design.arms and not _is_control(design.arms[arm])]
    if not arms:
        raise InputError("a search needs an arm that is no control; add an attack to the sweep's arms")
    space = {axis: v if _is_domain(v) else Categorical(listed(axis, v)) for axis, v in design.space.items()}
    return {"arm": Categorical(arms), **space}


def honest_points(design: Design) -> list[Point]:
    """A point for every combination of the axes that decide the honest side, the devices and the datasets; other axes at some
    value.

    Raises:
        InputError: such an axis is a distribution: its proofs could not be made beforehand.
    """
    lists: dict[str, list[Any]] = {}
    for axis, values in design.space.items():
        if is_drawn(values):
            if _is_honest(axis):
                raise InputError(f"axis {axis} decides the honest proof: expected values to list, not a distribution")
            lists[axis] = [values.sample(random_state=np.random.RandomState(0))]
            continue
        found = listed(axis, values)
        names = {name for value in found for name in (value if isinstance(value, Mapping) else (axis,))}
        wanted = any(_is_honest(name) for name in names) or names & {"spoofer", "spoof.dataset"}
        lists[axis] = found if wanted else found[:1]
    first = next(iter(design.all_arms()))
    return [{"arm": first, **dict(zip(lists, values, strict=True))} for values in product(*lists.values())]


def _is_honest(axis: str) -> bool:
    return axis in ("interval", "seed", "prover", "verifier") or axis.startswith(
        ("train.", "conditions.", "thresholds.")
    )


def controls_beside(design: Design, points: Sequence[Point]) -> list[tuple[Point, Setup]]:
    """The controls at the points that a search visited, each once."""
    arms = design.all_arms()
    found: dict[str, tuple[Point, Setup]] = {}
    for point in points:
        for arm in (arm for arm in arms if arm in CONTROLS or _is_control(arms[arm])):
            beside = {**point, "arm": arm}
            setup = setup_of(design, beside)
            found.setdefault(repr(setup), (beside, setup))
    return list(found.values())


def check_space(design: Design, search: Search) -> None:
    """Raise InputError unless every axis can be expanded by this search."""
    for axis, values in design.space.items():
        if _is_grid(values):
            if not _values(axis, values):
                raise InputError(f"axis {axis} is empty; expected at least one value")
        elif _is_domain(values) and search == "grid":
            raise InputError(f"axis {axis} is a distribution; expected --search random or optuna, or tune.grid_search")
    attacks = [_attack(attack) for attack in design.all_arms().values()]
    together = {
        name for axis, values in design.space.items() for value in listed(axis, values) if isinstance(value, Mapping)
        for name in value
    }  # fmt: skip
    for axis in (*design.space, *together):
        if axis.startswith("attack.") and not any(hasattr(a, axis.removeprefix("attack.")) for a in attacks):
            known = sorted({f.name for a in attacks if is_dataclass(a) for f in fields(a)})
            raise InputError(f"axis {axis}: no arm's attack has this field; possible: {', '.join(known)}")


def describe(design: Design) -> dict[str, str]:
    """Every part of a design as text by its name: what a resumed sweep is compared with."""
    said = {
        f"arm {arm}": f"{attack!r} {import_path_of(attack)}".rstrip()
        for arm, attack in ((arm, _attack(named)) for arm, named in design.all_arms().items())
    }
    said |= {f"axis {axis}": _axis_text(values) for axis, values in design.space.items()}
    parts = {"train": replace(design.train, data_dir=None), "spoof": design.spoof, "thresholds": design.thresholds}
    for name, part in parts.items():
        said |= {f"{name}.{key}": repr(value) for key, value in asdict(part).items()}  # type: ignore[call-overload]
    return said | {"examination": repr(design.examination)}


def _attack(named: Any) -> Any:  # noqa: ANN401 - configurations have no common base
    return find_attack(named) if isinstance(named, str) else named


def _is_control(attack: Any) -> bool:  # noqa: ANN401 - as above
    return type(_attack(attack)) in {type(find_attack(name)) for name in CONTROLS}


def _with(setup: Setup, axis: str, value: Any) -> Setup:  # noqa: ANN401 - any field's type
    """The setup with one field changed."""
    if axis == "steps":
        return replace(setup, spoof=replace(setup.spoof, steps=value))
    if axis in ("interval", "seed"):
        both: dict[str, Any] = {axis: value}
        return replace(setup, train=replace(setup.train, **both), spoof=replace(setup.spoof, **both))
    if axis in ("prover", "spoofer", "verifier"):
        device: dict[str, Any] = {axis: str(parse_device(value))}
        return replace(setup, **device)
    part, _, name = axis.partition(".")
    match part:
        case "train":
            return replace(setup, train=_replaced(setup.train, axis, name, value))
        case "spoof":
            return replace(setup, spoof=_replaced(setup.spoof, axis, name, value))
        case "trajectory":
            path = _replaced(setup.spoof.trajectory, axis, name, value)
            return replace(setup, spoof=replace(setup.spoof, trajectory=path))
        case "attack":
            if not hasattr(setup.attack, name):
                return setup
            return replace(setup, attack=_replaced(setup.attack, axis, name, value))
        case "conditions":
            conditions = _replaced(setup.examination.conditions, axis, name, value)
            return replace(setup, examination=replace(setup.examination, conditions=conditions))
        case "thresholds":
            return replace(setup, thresholds=_replaced(setup.thresholds, axis, name, value))
    raise InputError(f"unknown axis {axis!r}; possible: {_AXES}")


_AXES: Final = (
    "steps, interval, seed, prover, spoofer, verifier, and fields as train.X, spoof.X, trajectory.X, attack.X, conditions.X, "
    "thresholds.X"
)


def _replaced(part: Any, axis: str, name: str, value: Any) -> Any:  # noqa: ANN401 - any dataclass
    known = [f.name for f in fields(part)]
    if name not in known:
        raise InputError(f"unknown axis {axis!r}: {type(part).__name__} has {', '.join(known)}")
    return replace(part, **{name: tuple(value) if isinstance(value, list) else value})  # JSON knows no tuples


def _check(setup: Setup) -> None:
    for name, part in (("train", setup.train), ("spoof", setup.spoof)):
        try:
            _CHECKS[name].validate_python(asdict(part))
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(word) for word in first["loc"])
            raise InputError(f"{name}.{where}: {first['msg']}, got {first['input']!r}") from err
        if part.interval < 1 or part.steps < part.interval:
            claimed = "T'" if name == "spoof" else "T"
            raise InputError(
                f"{claimed} = {part.steps} is not reachable with k = {part.interval}: expected {name}.steps >= interval >= 1"
            )


_CHECKS: Final[dict[str, TypeAdapter[Any]]] = {"train": TypeAdapter(TrainConfig), "spoof": TypeAdapter(SpoofConfig)}


def is_drawn(values: object) -> bool:
    """True for a distribution whose values cannot be listed."""
    from ray.tune.search.sample import Categorical

    return _is_domain(values) and not isinstance(values, Categorical)


def _is_domain(values: object) -> bool:
    # Imported where it is used: who declares no distributions, or no sweep at all, need not wait a second for Ray Tune.
    from ray.tune.search.sample import Domain

    return isinstance(values, Domain)


def _is_grid(values: object) -> bool:
    return isinstance(values, Mapping) and set(values) == {"grid_search"}


def listed(axis: str, values: Any) -> list[Any]:  # noqa: ANN401 - as below
    """The values of a grid, a choice or a constant."""
    if _is_domain(values) and not is_drawn(values):
        return list(values.categories)
    return _values(axis, values) if _is_grid(values) else [values]


def _values(axis: str, values: Any) -> list[Any]:  # noqa: ANN401 - Tune's grid is a dict of anything
    try:
        return list(values["grid_search"])
    except TypeError as err:
        raise InputError(f"axis {axis}: expected values to list, got {values['grid_search']!r}") from err


def _axis_text(values: Any) -> str:  # noqa: ANN401 - Tune's domains
    if _is_domain(values):
        sampler = values.get_sampler()
        inner = getattr(sampler, "sampler", None)
        numbers = {**vars(sampler), **(vars(inner) if inner is not None else {})}
        shown = ", ".join(
            f"{name} {value:g}" for name, value in sorted(numbers.items()) if isinstance(value, int | float)
        )
        kinds = " ".join(type(one).__name__.strip("_") for one in (inner, sampler) if one is not None)
        return f"{type(values).__name__}{values.domain_str} {kinds}{f' ({shown})' if shown else ''}"
    return repr(values)
