"""The plan of a sweep: its trials, expanded and checked before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from raypol.cluster.placement import DeviceRequest, parse_device
from raypol.cluster.runners import PATIENCE_S
from raypol.core.errors import InputError
from raypol.core.seeds import check_seed
from raypol.runs.designs.axes import listed
from raypol.runs.designs.design import Design, Search, SizeName, Sweep
from raypol.runs.designs.points import check_space, controls_beside, count_points, expand, honest_points, trial_at
from raypol.runs.sweeps.success_ranges import PolicyName, count_ranges, search_grid
from raypol.runs.trials.study import Keep, Trial

MANY_TRIALS: Final = 10_000
"""A larger number is taken for a mistake until it is confirmed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOptions:
    """How a sweep is run; everything that decides numbers is in its design."""

    name: str
    """Name of the sweep in the results folder; the same name in the same folder resumes."""
    search: Search = "grid"
    samples: int = 0
    """Points of a random or Optuna search; 0 = the design's."""
    search_seed: int = 0
    policy: PolicyName = "published"
    """Of a range search: the policy whose success is searched for. The other one can be asked later in the same sweep."""
    scan_factor: float = 2.0
    """Of a range search: ratio of neighbouring T' in its first scan."""
    resume: Literal["if there", "must"] = "if there"
    confirmed: bool = False
    """Run even more than `MANY_TRIALS` trials."""
    max_concurrent: int = 0
    """Trials at once; 0 = as many as fit."""
    workers: int = 1
    """Actors per device and trial."""
    early_stop: bool = False
    estimate: int = 0
    """Intervals of each spoof that are crafted and replayed, the rest extrapolated; 0 = all."""
    keep: Keep = "all"
    patience_s: float = PATIENCE_S
    """Seconds to wait for a device that is away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """A sweep that is ready to run."""

    sweep_id: str
    question: str
    """What the sweep asks, in one sentence."""
    design: Design
    options: SweepOptions
    trials: tuple[Trial, ...]
    """All of them; empty if a searcher proposes them as it goes."""
    num_trials: int
    """Of a search: at most."""
    asked: Mapping[str, str]
    """Everything that decides numbers, as text by name; a resumed sweep must have the same."""

    def examples(self) -> Sequence[Trial]:
        """All trials; of a search one at least for each honest side and set of devices."""
        if self.trials:
            return self.trials
        points = honest_points(self.design)
        more = [{**points[0], "seed": seed} for seed in self.design.more_honest]
        return [trial_at(self.design, point) for point in (*points, *more)]

    def check(self) -> None:
        """Load every dataset that a prover or an adversary uses, and declare every honest training, which rehearses its model.

        Raises:
            InputError: a dataset does not exist here, or a training cannot be made.
        """
        trials = self.examples()
        for data in dict.fromkeys(data for trial in trials for data in (trial.train.data, trial.data)):
            data.load()
        # Neither the seed nor how often weights are recorded decides whether a training can be made.
        distinct = {repr(t): t for t in (replace(trial.train, seed=0, interval=trial.train.steps) for trial in trials)}
        for train in distinct.values():
            train.recipe(train.data.load(), device="cpu", threads=1)

    def groups(self) -> list[tuple[DeviceRequest, ...]]:
        """Every distinct set of devices that a trial, or a baseline, needs at once."""
        found: dict[tuple[DeviceRequest, ...], None] = {}
        for trial in self.examples():
            found[trial_group(trial, self.options.workers)] = None
            found[honest_group(trial)] = None
        return list(found)


def plan_sweep(sweep: Sweep, size: SizeName, design: Design, options: SweepOptions) -> SweepPlan:
    """Expand a design.

    Args:
        sweep: what is asked.
        size: at which size; of the record only.
        design: the sweep's at this size, with whatever was changed on the command line.
        options: how to run it.

    Raises:
        InputError: a bad axis or value, too many trials for an unconfirmed sweep, options that contradict each other.
    """
    check_seed(options.search_seed, "search_seed")
    design = design.searched(options.search)
    check_space(design, options.search)
    if options.early_stop and design.examination.selection != "all":
        raise InputError("--early-stop looks at the first intervals, which this sweep's examination may never verify")
    options = replace(options, samples=options.samples or design.samples)
    count = _count(design, options)
    if count > MANY_TRIALS and not options.confirmed:
        raise InputError(f"this sweep has up to {count:,} trials; give --yes to run them all")
    asked = {"sweep": sweep.name, "size": size, "search": options.search, **design.as_text()}
    asked |= {"early stop": str(options.early_stop)}
    if options.estimate == 1 or options.estimate < 0:
        raise InputError(f"expected --estimate >= 2 intervals per spoof (0 = all of them), got {options.estimate}")
    if options.estimate:
        asked |= {"estimate": f"{options.estimate} intervals"}
    if options.search == "range":
        # A sweep is resumed by comparing texts: the word is that of the first record.
        asked |= {"range": repr(search_grid(design, options.scan_factor)).replace("SearchGrid", "Span")}
    elif options.search != "grid":
        asked |= {"samples": str(options.samples), "search seed": str(options.search_seed)}
    trials: list[Trial] = []
    if options.search == "optuna":
        if options.early_stop:
            raise InputError("--early-stop leaves Optuna without numbers to compare; expected only one of the two")
        points = honest_points(design)
        count = options.samples * (1 + len(controls_beside(design, points[:1])))
    elif options.search in ("grid", "random"):
        trials = expand(design, options.search, samples=options.samples, seed=options.search_seed)
        count = len(trials)
    if options.search == "adaptive" and (options.early_stop or options.estimate == 1):
        raise InputError(
            "--early-stop leaves an adaptive search without verdicts to compare; expected only one of the two"
        )
    return SweepPlan(
        sweep_id=options.name,
        question=sweep.question,
        design=design,
        options=options,
        trials=tuple(trials),
        num_trials=count,
        asked=asked,
    )


def _count(design: Design, options: SweepOptions) -> int:
    """The number of trials at most; of an adaptive search, whose trials follow from each other, if each arm ends as another."""
    if options.search == "range":
        return count_ranges(design, options.scan_factor)
    if options.search == "adaptive":
        seeds = len(listed("seed", design.space["seed"])) if "seed" in design.space else 1
        arms = design.attacks()
        return sum(
            seeds + design.budget(arm, options.samples) * (1 + design.repeats) * bool(design.searched_axes(arm))
            for arm in arms
        )
    return count_points(design, options.search, options.samples)


def trial_group(trial: Trial, workers: int) -> tuple[DeviceRequest, ...]:
    """The devices that a trial reserves: `workers` of each that it names."""
    distinct = dict.fromkeys(map(parse_device, (trial.spoofer, trial.verifier)))
    return tuple(request for request in distinct for _ in range(workers))


def honest_group(trial: Trial) -> tuple[DeviceRequest, ...]:
    """The devices that proving and judging the honest proof need."""
    return tuple(dict.fromkeys(map(parse_device, (trial.prover, trial.verifier))))
