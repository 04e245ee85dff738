"""`raypol plan`: the trials, bytes and hours of an experiment, without running it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import tyro

from raypol.cli.console import ERR, print_tables, say
from raypol.cli.options import Debug
from raypol.cli.sweep import plan_of_file
from raypol.cli.sweep_options import OtherDataset, SampledIntervals, Size
from raypol.core.errors import InputError, local_path
from raypol.report.tables import Table, TableColumn, terminal_text, words
from raypol.runs.sweeps.forecast import Forecast, Forecaster, ForecastLine

_SWEEPS: Final = Path("sweeps")


@dataclass(frozen=True, kw_only=True)
class PlanCommand:
    """Estimate an experiment without running it: trials, checkpoints, bytes, device hours."""

    experiment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="EXPERIMENT")]
    """A sweep file, or the name of one in sweeps/, or its beginning: fig05."""
    size: Size = "paper"
    dataset: OtherDataset = ""
    rate: tyro.conf.OmitArgPrefixes[Forecaster] = field(default_factory=Forecaster)
    """The rate of the work: assumed, given or measured."""
    num_gpus: int = 1
    """Number of devices that work in parallel, for the time in days."""
    estimate: SampledIntervals = 0
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        rate = self.rate
        if self.num_gpus < 1 or not 0.0 < rate.utilisation <= 1.0 or rate.threads < 1:
            raise InputError("expected --num-gpus and --threads >= 1 and --utilisation in (0, 1]")
        if rate.steps_per_s is not None and not rate.steps_per_s > 0.0:
            raise InputError(f"expected --steps-per-s > 0, got {rate.steps_per_s}")
        if rate.measure + (rate.steps_per_s is not None) + bool(rate.gpu) > 1:
            raise InputError("--gpu, --steps-per-s and --measure are three ways to one rate; expected one of them")
        path = sweep_file(self.experiment)
        plan = plan_of_file(str(path), self.size, estimate=self.estimate, dataset=self.dataset)
        with ERR.status(terminal_text(f"counting the work of {path.stem}")):
            forecast = rate.of(plan)
        say(f"{path.stem} at size {self.size}: {plan.num_trials} trials. Estimated, nothing was run.")
        print_tables(forecast_table(forecast))
        say(*self._explanations(forecast))
        return 0

    def _explanations(self, forecast: Forecast) -> list[str]:
        total = forecast.total()
        seconds = total.make_s + total.verify_s
        devices = "1 device that never waits" if self.num_gpus == 1 else f"{self.num_gpus} devices that never wait"
        lines = [
            f"in all {_hours(seconds)} device hours, {seconds / 86400 / self.num_gpus:.2g} days on {devices}; "
            f"{total.num_bytes / 1e9:,.3g} GB at most (--keep none keeps only the honest proofs)"
        ]
        lines += [f"rate of {device}: {speed.source}" for device, speed in forecast.speeds.items()]
        lines += [
            f"that is {rate:.3g} honest steps per second of {what}" for what, rate in forecast.steps_per_s.items()
        ]
        if forecast.retries:
            lines.append(
                "crafting is counted as one search per batch or interval; a search that is not accepted is repeated, up to "
                f"{forecast.retries} times"
            )
        return lines


def sweep_file(experiment: str) -> Path:
    """Find the file of an experiment by its path or the beginning of its name in sweeps/.

    Raises:
        InputError: no file fits, or several do.
    """
    if local_path(experiment).is_file():
        return Path(experiment)
    there = sorted(_SWEEPS.glob("*.py"))
    found = [path for path in there if path.stem == experiment] or [p for p in there if p.stem.startswith(experiment)]
    if len(found) != 1:
        which = " and ".join(path.stem for path in found) or "none"
        names = ", ".join(path.stem for path in there) or "which is not here"
        raise InputError(
            f"expected a sweep file or the beginning of one name in {_SWEEPS}/ ({names}), got {experiment!r}, which fits {which}"
        )
    return found[0]


def forecast_table(forecast: Forecast) -> Table:
    """Table with a line per kind of proof and devices."""
    numbers = ("proofs", "check-\npoints", "GB\nat most", "make\ndevice h", "verify\ndevice h")
    several = len({line.of for line in forecast.lines}) > 1
    lines = [(f"{line.what}: {line.of}" if several else line.what, *_cells(line)) for line in forecast.lines]
    return Table(
        columns=[*words("what", wraps=True), *map(TableColumn, numbers), *words("on / verified on")],
        lines=[*lines, (), ("in all", *_cells(forecast.total()))],
    )


def _cells(line: ForecastLine) -> tuple[str, ...]:
    return (
        f"{line.proofs:,}",
        f"{line.checkpoints:,}",
        f"{line.num_bytes / 1e9:,.3g}",
        _hours(line.make_s),
        _hours(line.verify_s) if line.verifier or not line.device else "-",
        line.device if line.verifier in ("", line.device) else f"{line.device} / {line.verifier}",
    )


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
