"""What a sweep file declares: a typed base configuration, arms, and axes in Ray Tune's own vocabulary."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from raypol.core.attacks import find_attack, import_path_of
from raypol.core.datasets.load import half_of
from raypol.core.errors import InputError
from raypol.core.scoring import CONTROLS
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.policies import Policy, published, strict
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import RELATIVE, Thresholds
from raypol.runs.designs.axes import axis_text, changed_axes
from raypol.runs.trials.verify import Examination
from raypol.store.results.rows import HONEST

Search = Literal["grid", "random", "optuna", "range", "adaptive"]
SizeName = Literal["paper", "standard", "smoke"]


@dataclass(frozen=True, slots=True)
class Arm:
    """An attack together with choices of its own, which win over the sweep's axes."""

    attack: Any
    """A configuration, the name of a preset, or an import path."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """Axis -> value, as in `Design.space`: {"spoof.declares": "no_momentum"}."""
    searched: Mapping[str, Any] = field(default_factory=dict)
    """Axis -> values or distribution that an adaptive search varies; other searches leave it alone."""
    first: tuple[Mapping[str, Any], ...] = ()
    """Points of that space that an adaptive search tries first."""
    budget: int = 0
    """Points that an adaptive search tries of it at most, for arms that cost more than others; 0 = as many as the sweep says."""
    knows_envelope: bool = False
    """True if the attack's field `envelope` is to be the calibrated policy's limits in l2, once there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """A sweep at one size."""

    train: TrainConfig
    """Base of the honest training."""
    arms: Mapping[str, Any]
    """Arm -> attack: a configuration, the name of a preset, an import path, or one of these as an `Arm` with choices of its own.
    Controls that are missing are added."""
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
    policies: tuple[Policy, ...] = ()
    """Judge every trial by these too, from the same evidence; `published` and `strict` are always among them."""
    samples: int = 16
    """Points that a random or Optuna search draws; each is run under every arm. Of an adaptive search the budget of each arm."""
    repeats: int = 1
    """Seeds of the axis `seed`, after the first, at which an adaptive search makes again what it found."""
    more_honest: tuple[int, ...] = ()
    """Seeds of further honest proofs that an adaptive search has judged, beside those of the axis `seed`."""
    proof: str = ""
    """Address of an honest proof that is there already, of the training and its own seed; empty = proofs are made."""
    calibrate_on: tuple[int, ...] = ()
    """Seeds of honest runs from which the policies `calibrated` and `bound` are made before the sweep begins, and which it has no
    other use for."""

    def __post_init__(self) -> None:
        names = [published.name, strict.name, *(policy.name for policy in self.policies)]
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"two policies are named {double[0]!r}; expected each once, besides published and strict")

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
        axes = {name for axis, values in self.space.items() for name in changed_axes(axis, values)}
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

    def attacks(self) -> dict[str, Any]:
        """Attack configuration by arm: first the controls that are missing, then the arms as declared.

        Raises:
            InputError: an attack is unknown, or an arm has the name of the honest proof.
        """
        if HONEST in self.arms:
            raise InputError(f"an arm may not be called {HONEST!r}: that is the name of the proof's own rows")
        plain = {arm: attack.attack if isinstance(attack, Arm) else attack for arm, attack in self.arms.items()}
        declared = {arm: find_attack(attack) if isinstance(attack, str) else attack for arm, attack in plain.items()}
        there = set(map(type, declared.values()))
        missing = {name: find_attack(name) for name in CONTROLS}
        return {name: attack for name, attack in missing.items() if type(attack) not in there} | declared

    def choices(self, arm: str) -> Mapping[str, Any]:
        """What an arm chooses for itself, by axis."""
        found = self.arms.get(arm)
        return found.choices if isinstance(found, Arm) else {}

    def searched_axes(self, arm: str) -> Mapping[str, Any]:
        """What an adaptive search varies of an arm, by axis."""
        found = self.arms.get(arm)
        return found.searched if isinstance(found, Arm) else {}

    def first_points(self, arm: str) -> tuple[Mapping[str, Any], ...]:
        """What an adaptive search tries first of an arm."""
        found = self.arms.get(arm)
        return found.first if isinstance(found, Arm) else ()

    def budget(self, arm: str, samples: int) -> int:
        """Points that an adaptive search tries of an arm, where the sweep asks for so many of each."""
        found = self.arms.get(arm)
        return min(found.budget, samples) if isinstance(found, Arm) and found.budget else samples

    @property
    def every_policy_name(self) -> tuple[str, ...]:
        """Policies that judge every trial, `published` and `strict` first."""
        return (published.name, strict.name, *(policy.name for policy in self.policies))

    def as_text(self) -> dict[str, str]:
        """Every part as text by its name, which a resumed sweep is compared with."""
        text = {f"arm {arm}": f"{attack!r} {import_path_of(attack)}".rstrip() for arm, attack in self.attacks().items()}
        text |= {f"choices {arm}": repr(dict(own)) for arm in self.arms if (own := self.choices(arm))}
        for arm in self.arms:
            text |= {f"searched {arm} {axis}": axis_text(values) for axis, values in self.searched_axes(arm).items()}
            text |= {
                f"budget {arm}": str(one.budget) for one in [self.arms[arm]] if isinstance(one, Arm) and one.budget
            }
            text |= {
                f"first {arm}": repr([dict(point) for point in first]) for first in [self.first_points(arm)] if first
            }
        text |= {f"axis {axis}": axis_text(values) for axis, values in self.space.items()}
        train = replace(self.train, data_dir=None).stated()
        parts = {"train": train, "spoof": asdict(self.spoof), "thresholds": asdict(self.thresholds)}
        for name, part in parts.items():
            text |= {f"{name}.{key}": repr(value) for key, value in part.items()}
        text |= {f"policy {policy.name}": policy.sha256 for policy in self.policies}
        text |= {"proof": self.proof} if self.proof else {}
        return text | {"examination": repr(self.examination)}


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
    standard: Design | None = None
    """On two CPU cores in an hour or two, where a sweep has such a size."""

    def at(self, size: SizeName) -> Design:
        """The design of a size.

        Raises:
            InputError: the sweep has no such size.
        """
        found = {"paper": self.paper, "standard": self.standard, "smoke": self.smoke}[size]
        if found is None:
            raise InputError(f"sweep {self.name} has no size {size}; possible: paper, smoke")
        return found


def is_control_attack(attack: object) -> bool:
    """True for the configuration of a control, whatever its arm is called."""
    return type(attack) in {type(find_attack(name)) for name in CONTROLS}
