"""The options of sweep files and of `raypol range`, and what they make of a sweep."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Final

import tyro

from raypol.cli.options import Debug
from raypol.cluster.connection import running_cluster
from raypol.cluster.placement import parse_devices
from raypol.cluster.runners import PATIENCE_S, ROLES
from raypol.core.errors import InputError
from raypol.runs.designs.design import Design, Search, SizeName, Sweep
from raypol.runs.success_range.search import SearchGrid
from raypol.runs.sweeps.plan import SweepOptions, SweepPlan, plan_sweep
from raypol.runs.sweeps.success_ranges import PolicyName, search_grid, seeds_of
from raypol.runs.trials.study import Keep
from raypol.store.escaping import without_secrets
from raypol.store.policies import open_policy

_AS_THEY_ARE: Final = [
    "search",
    "samples",
    "search_seed",
    "max_concurrent",
    "workers",
    "early_stop",
    "estimate",
    "keep",
    "patience_s",
]
"""Options that the runs layer takes under the same names."""
Size = Annotated[
    SizeName,
    tyro.conf.arg(
        help="paper: the published numbers; smoke: two CPU cores, minutes; standard: an hour or two, where a sweep has it."
    ),
]
OtherDataset = Annotated[
    str,
    tyro.conf.arg(
        help="Another dataset than the declared one, such as a stand-in for one that cannot be had (fashion_mnist_32x32x3 for "
        "CIFAR). Halves stay halves; every row names the dataset used. Empty = as declared."
    ),
]
SampledIntervals = Annotated[
    int,
    tyro.conf.arg(
        help="Craft and replay only this many intervals of each spoof, drawn by seed: errors are those of the sample, with a "
        "stated confidence; times and sizes are extrapolated; every such row is marked estimated. 0 = all intervals."
    ),
]


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """What each party computes on: cpu, cpu:2, gpu, gpu:0.5 (a share), or a GPU model by any of its names: V100, RTX2080Ti.
    Several, separated by commas, are swept. Empty = as the sweep declares.
    """

    prover: str = ""
    """Devices that make the honest proofs."""
    spoofer: str = ""
    """Devices that make the spoofs."""
    verifier: str = ""
    """Devices that replay both."""

    def apply(self, design: Design) -> Design:
        """The design on these devices."""
        given = {role: parse_devices(text) if (text := getattr(self, role)) else [] for role in ROLES}
        return design.with_devices(**{role: list(map(str, requests)) for role, requests in given.items()})


def _default_hint(default: str) -> str:
    return f"(default: {without_secrets(default)})"


@dataclass(frozen=True, kw_only=True)
class SweepCommand:
    """How to run the sweep. Run the same command again to go on after an interruption: finished trials are not run again."""

    size: Size = "paper"
    results: Annotated[str, tyro.conf.arg(help_behavior_hint=_default_hint)] = field(
        default_factory=lambda: os.environ.get("RAYPOL_RESULTS") or "results"
    )
    """Results folder that every node sees: a local path, s3://... or gs://... Default: $RAYPOL_RESULTS, else results."""
    name: str = ""
    """Name of the sweep in the results folder; empty = the experiment's name and the size."""
    resume: bool = False
    """Fail unless there is a sweep of this name to resume. Without it one that is there is resumed, else one is begun."""
    address: str = "auto"
    """Ray cluster: auto = $RAY_ADDRESS, else one that runs on this machine, else this machine alone; local; or host:port."""
    devices: tyro.conf.OmitArgPrefixes[DeviceOptions] = field(default_factory=DeviceOptions)
    """What each party computes on."""
    search: Search = "grid"
    """grid: every combination; random: drawn points; optuna: points proposed by multi-objective search, error against cost;
    range: the ends of the T' between which each arm succeeds, by bisection; adaptive: under every policy the cheapest spoof of
    each arm that it accepts, for sweeps that say what an arm may change."""
    samples: int = 0
    """random, optuna: number of points; adaptive: forgeries of each arm's search; 0 = as the sweep declares."""
    search_seed: int = 0
    """random, optuna, adaptive: seed of the draw."""
    max_concurrent: int = 0
    """Trials at once; 0 = as many as fit."""
    workers: int = 1
    """Actors per device and trial; they share the intervals of a spoof."""
    early_stop: bool = False
    """Stop a trial as soon as its first intervals rule success out; its row says so."""
    estimate: SampledIntervals = 0
    keep: Keep = "all"
    """Which spoofs stay in the results folder once they are judged; rows stay in any case."""
    patience_s: float = PATIENCE_S
    """Seconds to wait for a device that no node has free, or whose node was lost."""
    dataset: OtherDataset = ""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place. Every node needs it there."""
    policies: tuple[str, ...] = ()
    """Judge every trial by these policies too, from the same evidence: names, or files that `raypol calibrate` wrote. What they
    say stands in RESULTS/verdicts; published and strict are always among them."""
    figures: bool = True
    """Draw the figures at the end, into RESULTS/figures/<name>; `raypol report` draws them at any time."""
    dry_run: bool = False
    """Show the trials and what they need of the cluster, and run nothing."""
    yes: bool = False
    """Run even if there are suspiciously many trials."""
    debug: Debug = False

    def options(self, sweep: Sweep) -> SweepOptions:
        """As the runs layer takes them."""
        for name, least in (("samples", 0), ("max_concurrent", 0), ("workers", 1), ("patience_s", 1)):
            if getattr(self, name) < least:
                raise InputError(f"expected --{name.replace('_', '-')} >= {least}, got {getattr(self, name)}")
        dataset = re.sub(r"[^\w.-]", "_", self.dataset)
        name = self.name or "-".join(filter(None, (sweep.name, self.size, dataset)))
        if not re.fullmatch(r"[\w-][\w.-]*", name):  # it is a folder's
            raise InputError(f"expected --name of letters, digits, - _ and ., got {name!r}")
        return SweepOptions(
            name=name,
            resume="must" if self.resume else "if there",
            confirmed=self.yes,
            **{option: getattr(self, option) for option in _AS_THEY_ARE},
        )

    def cluster_address(self) -> str | None:
        """None for this machine alone."""
        return running_cluster() if self.address == "auto" else None if self.address == "local" else self.address

    def design(self, sweep: Sweep) -> Design:
        """The sweep's at this size, on these devices and this dataset."""
        design = self.devices.apply(sweep.at(self.size))
        design = replace(design, policies=(*design.policies, *map(open_policy, self.policies)))
        if self.dataset:
            design = design.on_dataset(self.dataset)
        return design if self.data_dir is None else replace(design, train=replace(design.train, data_dir=self.data_dir))

    def plan(self, sweep: Sweep) -> SweepPlan:
        """The sweep with these options."""
        return plan_sweep(sweep, self.size, self.design(sweep), self.options(sweep))


@dataclass(frozen=True, kw_only=True)
class AdaptiveSweepCommand(SweepCommand):
    """How to search the cheapest spoof that each policy accepts. Run the same command again to go on after an interruption."""

    search: Search = "adaptive"
    """adaptive: Optuna proposes, policies take turns; random, optuna, grid: as in every sweep."""
    keep: Keep = "none"
    """Which spoofs stay in the results folder once they are judged; rows stay in any case."""


@dataclass(frozen=True, kw_only=True)
class RangeSweepCommand(SweepCommand):
    """How to search the range of T' in which spoofs succeed. Run the same command again to go on after an interruption."""

    search: Search = "range"
    """range: both ends by bisection. random: drawn T' instead, as in every sweep; optuna: proposed ones."""
    early_stop: bool = True
    """Stop a trial as soon as its first intervals rule success out; its row says so. No success is missed by it."""
    policy: PolicyName = "published"
    """Whose acceptance success is judged by. Ask for the other one afterwards under the same name: the trials are shared."""
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
        declared = search_grid(design, self.scan_factor)
        low, high, resolution = (
            getattr(declared, name) if getattr(self, name) is None else getattr(self, name)
            for name in ("low", "high", "resolution")
        )
        return search_steps(design, low, high, resolution, seeds_of(design) if self.seeds is None else self.seeds)


def search_steps(design: Design, low: int, high: int, resolution: int, seeds: Sequence[int]) -> Design:
    """The design with the axis T' to be searched, for these seeds.

    Raises:
        InputError: see `SearchGrid`; no seed.
    """
    from ray import tune

    if not seeds:
        raise InputError("expected at least one seed, got none")
    if resolution < 1:
        raise InputError(f"expected a resolution >= 1, got {resolution}")
    SearchGrid(low=low, high=high, resolution=resolution)
    steps = tune.qrandint(low, high, resolution) if resolution > 1 else tune.randint(low, high + 1)
    space = {**design.space, "seed": tune.grid_search(list(seeds))}
    return replace(design, space=space, drawn={**design.drawn, "steps": steps})
