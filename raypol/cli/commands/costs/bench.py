"""`raypol bench`: what each attack costs per claimed step, in honest steps of the same process."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import tyro

from raypol.cli.console import ERR, print_tables, say, warn
from raypol.cli.options import DataDir, Debug
from raypol.cli.progress import progress
from raypol.cluster.placement import parse_device
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.allocator import keep_freed_memory
from raypol.core.attacks import PRESETS, find_attack
from raypol.core.errors import InputError
from raypol.core.progress import Progress
from raypol.core.spoofing.declarations import Declares
from raypol.core.training.train_config import TrainConfig
from raypol.report.tables import Table, TableColumn, shown, words
from raypol.runs.bench import BenchPlan, measure_costs, this_computer
from raypol.store.location import open_location, writable_folder
from raypol.store.step_costs import BenchFile, MeasuredCost, check_comparable, read_bench_file, write_bench_file


@dataclass(frozen=True, kw_only=True)
class BenchCommand:
    """Measure what each attack costs per claimed step, in honest steps on the same clock. Both are run in turn in one process,
    into memory; medians count. All attacks on digits take some minutes.
    """

    attack: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]")] = ()
    """Presets, or your own attacks by import path; none = all presets."""
    dataset: str = "digits"
    """As of `raypol prove`."""
    data_dir: DataDir = None
    model: str = "resnet8"
    """As of `raypol prove`."""
    steps: int = 100
    """T = T': of the proof whose W_T is stolen, and of the claims."""
    interval: int = 10
    """k, steps between recorded weights."""
    batch_size: int = 64
    """B, points per update."""
    declares: Declares = "honest_schedule"
    """Optimizer and schedule that A declares, as of `raypol spoof`; it decides what carrying the state costs."""
    intervals: int = 2
    """Measured intervals, the first ones, of an attack whose intervals are alike; of others all T'/k are."""
    retries: int = 0
    """Most retries of a search that is not accepted; 0 = costs of one try, which each retry costs again."""
    repeats: int = 5
    """Runs of each attack; medians count."""
    device: str = "cpu"
    """What to compute on: cpu (one core, one thread), cpu:2, gpu, cuda."""
    out: str | None = None
    """File to write the measured costs to, as JSON."""
    against: str | None = None
    """File of an earlier run (--out) to compare with, of the same machine and settings."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        before = read_bench_file(open_location(self.against)) if self.against else None
        train = TrainConfig(
            dataset=self.dataset,
            data_dir=self.data_dir,
            model=self.model,
            steps=self.steps,
            interval=self.interval,
            batch_size=self.batch_size,
        )
        plan = BenchPlan(
            train=train,
            attacks={name: find_attack(name) for name in self.attack or PRESETS},
            declares=self.declares,
            intervals=self.intervals,
            repeats=self.repeats,
            retries=self.retries,
        )
        request = parse_device("gpu" if self.device == "cuda" else self.device)
        keep_freed_memory()
        if self.out:
            writable_folder(self.out.rpartition("/")[0] or ".")
        refused: dict[str, InputError] = {}
        with LocalRunner(dict.fromkeys(ROLES, request)) as runner, progress(ERR) as update:
            job = _Job(plan, request.torch_device, before, self.against or "", refused, bool(self.attack))
            made = runner.submit("spoofer", partial(_measure, on_progress=update), job).result()
        print_tables(costs_table(made, before))
        say(*_explanations(made), is_prose=True)
        for name, reason in refused.items():
            warn(f"{name} is left out: {reason}")
        if self.out:
            write_bench_file(open_location(self.out), made)
            say(f"costs written to {self.out}")
        return 0


@dataclass(frozen=True, slots=True)
class _Job:
    """A run in the thread with the device's number of threads."""

    plan: BenchPlan
    device: str
    before: BenchFile | None
    where: str
    refused: dict[str, InputError]
    is_asked: bool
    """True if the attacks were named: then none is left out."""

    def refuse(self, name: str, reason: InputError) -> None:
        """Note an attack that cannot run so."""
        if self.is_asked:
            raise InputError(f"attack {name}: {reason}") from reason
        self.refused[name] = reason


def _measure(job: _Job, on_progress: Progress) -> BenchFile:
    data = job.plan.train.data.load(on_progress)
    if job.before:
        check_comparable(job.before, this_computer(job.device), job.plan.settings(data), job.where)
    return measure_costs(job.plan, data, job.device, on_progress=on_progress, on_refused=job.refuse)


def costs_table(made: BenchFile, before: BenchFile | None = None) -> Table:
    """Table with a line per attack, the cheapest first."""
    earlier = {cost.attack: cost.median for cost in before.costs} if before else {}
    time, work, rest = "time", "work", "rest"
    columns = [
        *words("attack"),
        TableColumn("device time", "honest steps", group=time),
        TableColumn("lowest .. highest", "honest steps", group=time),
        TableColumn("device time", "ms / step", group=time),
        TableColumn("gradients", "1 / step", group=work),
        TableColumn("forward\npasses", "1 / step", group=work),
        TableColumn("hashes", "1 / step", group=work),
        TableColumn("operations", "MFLOP / step", group=work),
        TableColumn("of matrix\nrate", "%", group=work),
        TableColumn("once", "honest steps", group=rest),
        TableColumn("once / T'", "honest steps", group=rest),
        TableColumn("granted\nbeyond usual", is_number=False, group=rest),
        *([TableColumn("now / before", "ratio", group=rest)] if before else []),
    ]
    lines = [_line(cost, made, earlier, compares=before is not None) for cost in made.costs]
    return Table(
        columns=columns, lines=lines, title=f"costs per claimed step, medians of {len(made.costs[0].equivalents)}"
    )


def _line(cost: MeasuredCost, made: BenchFile, earlier: Mapping[str, float], *, compares: bool) -> list[str]:
    per_step = cost.once / made.settings.steps
    ratio: Any = cost.median / earlier[cost.attack] if cost.attack in earlier else None
    return [
        cost.attack,
        f"{cost.median:.3g}",
        f"{min(cost.equivalents):.3g} .. {max(cost.equivalents):.3g}",
        f"{cost.device_ms:.3g}",
        f"{cost.gradient_evals:.4g}",
        f"{cost.forward_passes:.4g}",
        f"{cost.hashes:.4g}",
        f"{cost.flops / 1e6:.4g}",
        f"{100 * cost.rate_share:.2g}",
        f"{cost.once:.2f}" if cost.once >= 0.01 else "-",
        f"{per_step:.2g}" if cost.once >= 0.01 else "-",
        ", ".join(cost.granted) or "-",
        *([shown(ratio, ".3f")] if compares else []),
    ]


def _explanations(made: BenchFile) -> list[str]:
    asked, honest = made.settings, made.honest_ms
    return [
        f"{made.machine}; {asked.model} on {asked.dataset}, T = T' = {asked.steps}, k = {asked.interval}, B = "
        f"{asked.batch_size}, declares {asked.declares}; an honest step takes {honest:.3g} ms, a matrix product runs at "
        f"{made.matrix_gflops:.3g} GFLOP/s in float32",
        f"once: what is made once for the whole proof, and beside it the same over the T' = {asked.steps} claimed steps; it "
        "is in no other column. Times leave out waiting for writes. A search that is not accepted has at most "
        f"{asked.retries} retries here. honest: the prover's training against itself.",
    ]
