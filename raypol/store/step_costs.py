"""Files of `raypol bench`: what each attack costs per claimed step, on which machine and under which settings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from raypol.core.errors import InputError, in_short
from raypol.store.json_files import problem_of, read_json, strict_form
from raypol.store.location import Location, atomic_output

_FORMAT: Final = "raypol-bench"
_VERSION: Final = 1
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Positive = Annotated[float, Field(gt=0.0)]
_Count = Annotated[int, Field(gt=0)]
_Amount = Annotated[float, Field(ge=0.0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Where costs were measured: times of two machines do not compare."""

    processor: _Name
    """Model, as the kernel reports it."""
    cores: _Count
    """That the process may use."""
    threads: _Count
    """Of torch."""
    torch: _Name
    """Version."""
    device: _Name
    """Model of what was computed on, as the driver reports it; on a CPU the processor's."""

    def __str__(self) -> str:
        """In one line."""
        on = "" if self.device == self.processor else f", {self.device}"
        return f"{self.processor}, {self.cores} cores{on}, torch {self.torch}, threads {self.threads}"


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSettings:
    """What was measured: costs under two settings do not compare."""

    dataset: _Name
    dataset_sha256: _Name
    model: _Name
    steps: _Count
    """T = T'."""
    interval: _Count
    """k."""
    batch_size: _Count
    """B."""
    declares: _Name
    """Optimizer and schedule that A declares."""
    intervals: _Count
    """Intervals measured of an attack whose intervals are alike."""
    retries: Annotated[int, Field(ge=0)]
    """Most retries of a search that is not accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredCost:
    """What an attack costs. All but `once` is per claimed step and without it."""

    attack: _Name
    """Preset or import path; `honest` is the honest training against itself."""
    equivalents: Annotated[tuple[_Positive, ...], Field(min_length=1, max_length=1_000)]
    """Device seconds, without waiting for writes, over those of an honest step; one per repeat."""
    median: _Positive
    """Of `equivalents`."""
    device_ms: _Positive
    """Device milliseconds, without waiting for writes; the median."""
    gradient_evals: _Amount
    forward_passes: _Amount
    hashes: _Amount
    flops: _Amount
    """Floating-point operations of matrix products and convolutions."""
    rate_share: _Amount
    """Share of the device's rate at matrix products."""
    once: _Amount = 0.0
    """What the whole proof costs once, in honest steps; the median."""
    steps: _Count
    """Claimed steps that were measured, in each repeat."""
    granted: Annotated[tuple[_Name, ...], Field(min_length=0, max_length=100)] = ()
    """What A was granted beyond the usual."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchFile:
    """Costs of attacks, with all that decides whether they compare."""

    machine: Machine
    settings: BenchSettings
    matrix_gflops: _Positive
    """Billions of floating-point operations per second of a square matrix product in float32, on the same device and threads."""
    honest_ms: _Positive
    """Device milliseconds of an honest step, the median."""
    costs: Annotated[tuple[MeasuredCost, ...], Field(min_length=1, max_length=1_000)]
    versions: Annotated[Mapping[_Name, _Name], Field(min_length=0, max_length=100)] = field(default_factory=dict)
    """Of raypol and what it needs; they are what is compared, and told apart by nothing else."""


FILE: Final = strict_form(BenchFile, allow_inf_nan=False)


def write_bench_file(file: Location, content: BenchFile) -> None:
    """Write measured costs as JSON."""
    with atomic_output(file) as stream:
        stream.write(json.dumps({"format": _FORMAT, "version": _VERSION, **asdict(content)}, indent=1).encode() + b"\n")


def read_bench_file(file: Location) -> BenchFile:
    """Read measured costs.

    Raises:
        InputError: missing, too large, or no such file of this version.
    """
    content = read_json(file, _FORMAT, _VERSION)
    try:
        return FILE.validate_json(json.dumps(content), strict=True)
    except (ValidationError, ValueError, RecursionError) as err:
        problem = problem_of(err) if isinstance(err, ValidationError) else "nested too deeply"
        raise InputError(f"{file}: not measured costs: {problem}") from err


def check_comparable(earlier: BenchFile, machine: Machine, settings: BenchSettings, where: str) -> None:
    """Raise the InputError for costs of another machine, or measured under other settings."""
    if earlier.machine != machine:
        raise InputError(f"{where} was measured on {_short(earlier.machine)}; this machine is {machine}")
    for name, (before, now) in _differences(earlier.settings, settings).items():
        raise InputError(f"{where} was measured with {name} {in_short(before)}, this run has {in_short(now)}")


def _short(machine: Machine) -> str:
    text = str(machine)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _differences(before: BenchSettings, now: BenchSettings) -> dict[str, tuple[Any, Any]]:
    pairs = {one.name: (getattr(before, one.name), getattr(now, one.name)) for one in fields(now)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
