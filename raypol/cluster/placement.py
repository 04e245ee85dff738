"""From the device that a party names to what Ray is asked for; pure, tested without Ray.

Spellings: `cpu` (one core, one thread), `cpu:2`, `gpu`, `gpu:0.5` (a share of any GPU), and Ray's accelerator names: `T4`,
`V100:0.25`.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from raypol.core.errors import InputError

_SPELLING = re.compile(r"^(?P<name>[A-Za-z][A-Za-z0-9_-]*)(:(?P<amount>[0-9]*\.?[0-9]+))?$")
_MOST: Final = 1_000_000  # more of anything than a node has; keeps the numbers printable


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """A kind of device and how much of it."""

    kind: Literal["cpu", "gpu"]
    amount: float = 1.0
    """CPU cores (whole), or GPUs: a share of one, or a whole number."""
    accelerator: str = ""
    """Ray's accelerator type; empty = any."""

    def __str__(self) -> str:
        name = self.accelerator or self.kind
        if self.amount == 1.0:
            return name
        return f"{name}:{int(self.amount) if self.amount.is_integer() else self.amount}"

    @property
    def torch_device(self) -> str:
        """The device's name inside the actor, where Ray shows only what was granted."""
        return "cpu" if self.kind == "cpu" else "cuda"

    @property
    def threads(self) -> int:
        """CPU threads the actor computes with: its cores and no more, or actors slow each other down."""
        return int(self.amount) if self.kind == "cpu" else 1


def parse_device(text: str) -> DeviceRequest:
    """The request behind a spelling.

    Raises:
        InputError: not a spelling, or an amount that cannot be scheduled.
    """
    match = _SPELLING.match(text.strip())
    if match is None:
        raise InputError(f"unknown device {text!r}; possible: cpu, cpu:2, gpu, gpu:0.5, T4, V100:0.5")
    name, amount = match["name"], float(match["amount"] or 1)
    if amount > _MOST:
        raise InputError(f"device {text!r}: expected an amount of at most {_MOST}")
    if name.lower() == "cpu":
        if amount < 1 or not amount.is_integer():
            raise InputError(f"device {text!r}: expected a whole number of CPU cores >= 1")
        return DeviceRequest("cpu", amount)
    if amount <= 0 or (amount > 1 and not amount.is_integer()) or round(amount, 4) != amount:
        raise InputError(
            f"device {text!r}: expected a share of a GPU in (0, 1] to four digits, or a whole number of GPUs"
        )
    return DeviceRequest("gpu", amount, "" if name.lower() in ("gpu", "cuda") else name)


def ray_options(request: DeviceRequest) -> dict[str, Any]:
    """Keyword arguments for `actor.options(...)`; the thread count is fixed by environment before torch is imported."""
    threads = str(request.threads)
    options: dict[str, Any] = {
        "num_cpus": int(request.amount) if request.kind == "cpu" else 0,
        "num_gpus": request.amount if request.kind == "gpu" else 0,
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}},
    }
    if request.accelerator:
        options["accelerator_type"] = request.accelerator
    return options
