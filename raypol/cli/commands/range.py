"""`raypol range` and `sweeps/success_range.py`: between which T' a spoof succeeds, found by bracketing and bisection."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import tyro

from raypol.cli.attack_options import Strength
from raypol.cli.sweep import SweepCommand, run_command
from raypol.core.attacks import find_attack
from raypol.core.errors import InputError
from raypol.core.scoring import CONTROLS
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.thresholds import RELATIVE, Thresholds
from raypol.runs.success_range.search import Span
from raypol.runs.sweeps.design import Design, Search, SizeName, Sweep
from raypol.runs.sweeps.plan import SweepOptions
from raypol.runs.sweeps.success_ranges import Policy, seeds_of, span_of

_SEARCHED: Final = {"train": ("interval", "seed"), "spoof": ("steps", "interval", "seed")}
"""Fields that options of the command itself stand for."""


@dataclass(frozen=True, kw_only=True)
class RangeCommand(SweepCommand):
    """How to search the range of T' in which spoofs succeed. Run the same command again to go on after an interruption."""

    search: Search = "range"
    """range: both ends by bisection. random: drawn T' instead, as in every sweep; optuna: proposed ones."""
    early_stop: bool = True
    """Stop a trial as soon as its first intervals rule success out; its row says so. No success is missed by it."""
    policy: Policy = "published"
    """Whose acceptance success is judged by. The other one may be asked afterwards under the same name, and shares the trials."""
    low: int | None = None
    """Smallest T' of the search; None = as declared."""
    high: int | None = None
    """Largest T' of the search; None = as declared."""
    resolution: int | None = None
    """Steps between neighbouring T', a multiple of k: how exactly the ends are found; None = as declared."""
    seeds: tuple[int, ...] | None = None
    """Seeds of proofs and spoofs; None = as declared."""
    scan_factor: float = 2.0
    """Ratio of neighbouring T' in the first scan; a range narrower than that can be missed."""

    def options(self, sweep: Sweep) -> SweepOptions:
        """As the runs layer takes them."""
        return replace(super().options(sweep), policy=self.policy, scan_factor=self.scan_factor)

    def design(self, sweep: Sweep) -> Design:
        """The sweep's at this size, with what was changed."""
        design = super().design(sweep)
        declared = span_of(design, self.scan_factor)
        low, high, resolution = (
            value if asked is None else asked
            for asked, value in zip(
                (self.low, self.high, self.resolution), (declared.low, declared.high, declared.resolution), strict=True
            )
        )
        return searched(design, low, high, resolution, seeds_of(design) if self.seeds is None else self.seeds)


@dataclass(frozen=True, kw_only=True)
class Range(RangeCommand):
    """Find between which T' an attack succeeds, and what binds at both ends; the controls' ranges beside it."""

    attack: str = "iii"
    """Preset: null, infinitesimal, forged_momentum, i, i_tail, ii, iii, iii_loss, iii_invisible, iii_select, zhang2022_i,
    zhang2022_ii, zhang2022_iii, zhang2022_iii_imagenet; or an own one by import path (my_pkg.attacks:METHOD)."""
    name: str = ""
    """Name of the search in the results folder; empty = range and the attack's name."""
    strength: tyro.conf.OmitArgPrefixes[Strength] = field(default_factory=Strength)
    """Hyperparameters of the attack."""
    interval: int = 10
    """k, steps between recorded weights, of proof and spoof alike."""
    low: int | None = None
    """Smallest T' of the search; None = k."""
    high: int | None = None
    """Largest T' of the search; None = T, the proof's own steps (--train.steps)."""
    resolution: int | None = None
    """Steps between neighbouring T', a multiple of k: how exactly the ends are found; None = k."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of proofs and spoofs."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The honest training; its k and seed are --interval and --seeds."""
    spoof: SpoofConfig = field(default_factory=SpoofConfig)
    """The adversary's other choices; T' is what is searched."""
    thresholds: Thresholds = field(default_factory=lambda: RELATIVE)
    """The verifier's slack."""
    # A range has neither sizes nor points to draw.
    size: tyro.conf.Suppress[SizeName] = "paper"
    dataset: tyro.conf.Suppress[str] = ""  # --train.dataset
    search: tyro.conf.Suppress[Search] = "range"
    samples: tyro.conf.Suppress[int] = 0
    search_seed: tyro.conf.Suppress[int] = 0

    def run(self) -> int:
        """Run it."""
        for part, names in _SEARCHED.items():
            given, default = getattr(self, part), (TrainConfig() if part == "train" else SpoofConfig())
            for name in names:
                if getattr(given, name) != getattr(default, name):
                    instead = {"steps": "--low and --high", "interval": "--interval", "seed": "--seeds"}[name]
                    raise InputError(f"--{part}.{name} has no meaning here; give {instead}")
        if self.train.data_dir is not None:
            raise InputError("--train.data-dir has no meaning here; give --data-dir")
        if self.interval < 1:
            raise InputError(f"expected --interval >= 1, got {self.interval}")
        low = self.interval if self.low is None else self.low
        high = self.train.steps if self.high is None else self.high
        resolution = self.interval if self.resolution is None else self.resolution
        design = Design(
            train=self.train,
            arms={self.attack: find_attack(self.attack, **self.strength.given())},
            space={"interval": self.interval},
            spoof=self.spoof,
            thresholds=self.thresholds,
        )
        design = searched(design, low, high, resolution, self.seeds)
        sweep = Sweep(
            name="range" if self.attack in CONTROLS else f"range-{self._short_name()}",
            question=f"For which T' does {self.attack} succeed on {self.train.dataset} with {self.train.model}?",
            paper=design,
            smoke=design,
        )
        name = self.name or sweep.name
        return run_command(
            sweep,
            replace(self, name=name, low=low, high=high, resolution=resolution),
            typed=shlex.join(["raypol", *sys.argv[1:]]),
        )

    def _short_name(self) -> str:
        """Of an own attack the module: a sweep's name is a folder's."""
        return self.attack.partition(":")[0].replace("_", "-")


def searched(design: Design, low: int, high: int, resolution: int, seeds: Sequence[int]) -> Design:
    """The design with these T' to be searched, for these seeds.

    Raises:
        InputError: see `Span`; no seed.
    """
    from ray import tune

    if not seeds:
        raise InputError("expected at least one seed, got none")
    if resolution < 1:
        raise InputError(f"expected a resolution >= 1, got {resolution}")
    Span(low=low, high=high, resolution=resolution)
    steps = tune.qrandint(low, high, resolution) if resolution > 1 else tune.randint(low, high + 1)
    space = {**design.space, "seed": tune.grid_search(list(seeds))}
    return replace(design, space=space, drawn={**design.drawn, "steps": steps})
