"""`raypol range`: between which T' an attack succeeds, found by bracketing and bisection."""

import sys
from dataclasses import dataclass, field, replace
from typing import Any, Final

import tyro

from raypol.cli.attack_options import AttackConfig, AttackName
from raypol.cli.sweep import run_command
from raypol.cli.sweep_options import RangeSweepCommand, search_steps
from raypol.core.attacks import find_attack
from raypol.core.errors import InputError
from raypol.core.scoring import CONTROLS
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.thresholds import RELATIVE, Thresholds
from raypol.runs.designs.design import Design, Search, SizeName, Sweep
from raypol.store.quoting import command_line

_INSTEAD: Final = {
    "train.interval": "--interval",
    "train.seed": "--seeds",
    "train.data_dir": "--data-dir",
    "spoof.steps": "--low and --high",
    "spoof.interval": "--interval",
    "spoof.seed": "--seeds",
}
"""Fields that options of the command itself stand for."""


@dataclass(frozen=True, kw_only=True)
class RangeCommand(RangeSweepCommand):
    """Find between which T' an attack succeeds, and what binds at both ends; the controls' ranges beside it."""

    attack: AttackName = "iii"
    name: str = ""
    """Name of the search in the results folder; empty = range and the attack's name."""
    attack_config: AttackConfig = field(default_factory=dict[str, Any])
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
        for option, instead in _INSTEAD.items():
            part, name = option.split(".")
            if getattr(getattr(self, part), name) != getattr(type(getattr(self, part))(), name):
                raise InputError(f"--{option.replace('_', '-')} has no meaning here; give {instead}")
        if self.interval < 1:
            raise InputError(f"expected --interval >= 1, got {self.interval}")
        low = self.interval if self.low is None else self.low
        high = self.train.steps if self.high is None else self.high
        resolution = self.interval if self.resolution is None else self.resolution
        design = Design(
            train=self.train,
            arms={self.attack: find_attack(self.attack, **self.attack_config)},
            space={"interval": self.interval},
            spoof=self.spoof,
            thresholds=self.thresholds,
        )
        design = search_steps(design, low, high, resolution, self.seeds)
        module = self.attack.partition(":")[0].replace("_", "-")  # a sweep's name is a folder's
        sweep = Sweep(
            name="range" if self.attack in CONTROLS else f"range-{module}",
            question=f"For which T' does {self.attack} succeed on {self.train.dataset} with {self.train.model}?",
            paper=design,
            smoke=design,
        )
        command = replace(self, name=self.name or sweep.name, low=low, high=high, resolution=resolution)
        return run_command(sweep, command, typed=command_line("raypol", *sys.argv[1:]))
