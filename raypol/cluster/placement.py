"""From the device that a party names to what Ray is asked for; pure, tested without Ray.

Spellings: `cpu` (one core, one thread), `cpu:2`, `gpu`, `gpu:0.5` (a share of any GPU), and GPU models by any of their names:
`T4`, `V100:0.25`, `RTX2080Ti`.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from raypol.cluster.accelerators import canonical_accelerator, is_known
from raypol.core.errors import InputError

__all__ = ["DeviceRequest", "canonical_accelerator", "parse_device", "parse_devices", "ray_options"]

_SPELLING = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9_ -]*?) *(:(?P<amount>[0-9]*\.?[0-9]+))?$")
# A name that the table does not have goes to Ray as it is.
_OTHER = re.compile(r"^[A-Za-z][A-Za-z0-9_-]*$")
# What Ray itself takes of `accelerator_type:X` for an actor pinned to X: enough to pin, too little to ever run out.
_PIN: Final = 0.001
_MOST: Final = 1_000_000  # more of anything than a node has; keeps the numbers printable


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """A kind of device and how much of it."""

    kind: Literal["cpu", "gpu"]
    amount: float = 1.0
    """CPU cores (whole), or GPUs: a share of one, or a whole number."""
    accelerator: str = ""
    """GPU model, canonical or as some node spells it (see `inventory.resolve`); empty = any."""

    def __str__(self) -> str:
        """The spelling with the canonical name."""
        name = canonical_accelerator(self.accelerator) or self.kind
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

    def bundle(self) -> dict[str, float]:
        """What an actor with this request takes out of a placement group."""
        if self.kind == "cpu":
            return {"CPU": int(self.amount)}
        return {"GPU": self.amount} | ({f"accelerator_type:{self.accelerator}": _PIN} if self.accelerator else {})


def parse_device(text: str) -> DeviceRequest:
    """The request behind a spelling.

    Raises:
        InputError: not a spelling, or an amount that cannot be scheduled.
    """
    match = _SPELLING.match(text.strip())
    if match is None or not (is_known(match["name"]) or _OTHER.match(match["name"])):
        raise InputError(f"unknown device {text!r}; possible: cpu, cpu:2, gpu, gpu:0.5, T4, V100:0.5, RTX2080Ti")
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
    return DeviceRequest("gpu", amount, "" if name.lower() in ("gpu", "cuda") else canonical_accelerator(name))


def parse_devices(text: str) -> tuple[DeviceRequest, ...]:
    """The requests behind a list of spellings, as in "T4,P40,RTX2080Ti,V100:0.5".

    Raises:
        InputError: an empty part, a wrong one, or the same request twice, under whatever names.
    """
    parts = text.split(",")
    if not all(part.strip() for part in parts):
        raise InputError(
            f"devices {text!r}: expected spellings between commas, got an empty one; possible: T4,V100:0.5,cpu:2"
        )
    requests = tuple(parse_device(part) for part in parts)
    twice = sorted({str(request) for request in requests if requests.count(request) > 1})
    if twice:
        raise InputError(f"devices {text!r}: expected each once, got {', '.join(twice)} more than once")
    return requests


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
