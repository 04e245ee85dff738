"""From the spelling of a device to a request to Ray; pure, tested without Ray.

Spellings: `cpu` (one core, one thread), `cpu:2`, `gpu`, `gpu:0.5` (a share of any GPU), and GPU models by any of their names:
`T4`, `V100:0.25`, `RTX2080Ti`.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from raypol.cluster.accelerators import canonical_accelerator, is_known
from raypol.core.errors import InputError

_SPELLING = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9_ -]*?) *(:(?P<amount>[0-9]*\.?[0-9]+))?$")
# A name missing from the table goes to Ray as it is.
_OTHER = re.compile(r"^[A-Za-z][A-Za-z0-9_-]*$")
# Ray's own amount of `accelerator_type:X` for an actor pinned to X: enough to pin, too little to run out.
_PIN: Final = 0.001
_MOST: Final = 1_000_000  # more than any node has; keeps numbers printable


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """Kind and amount of a device."""

    kind: Literal["cpu", "gpu"]
    amount: float = 1.0
    """Whole number of CPU cores, share of a GPU, or whole number of GPUs."""
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
        """Torch's name of the device inside the actor, where Ray shows only granted devices."""
        return "cpu" if self.kind == "cpu" else "cuda"

    @property
    def threads(self) -> int:
        """CPU threads of the actor: its own cores and no more, or actors slow each other down."""
        return int(self.amount) if self.kind == "cpu" else 1

    def bundle(self) -> dict[str, float]:
        """Resources that an actor takes out of a placement group."""
        if self.kind == "cpu":
            return {"CPU": int(self.amount)}
        return {"GPU": self.amount} | ({f"accelerator_type:{self.accelerator}": _PIN} if self.accelerator else {})


def parse_device(text: str) -> DeviceRequest:
    """Parse the spelling of a device.

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
    """Parse a list of spellings, such as "T4,P40,RTX2080Ti,V100:0.5".

    Raises:
        InputError: an empty or wrong part, or the same request twice, under whatever names.
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
    """Keyword arguments for `actor.options(...)`; environment variables fix the thread count before torch is imported."""
    threads = str(request.threads)
    options: dict[str, Any] = {
        "num_cpus": int(request.amount) if request.kind == "cpu" else 0,
        "num_gpus": request.amount if request.kind == "gpu" else 0,
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}},
    }
    if request.accelerator:
        options["accelerator_type"] = request.accelerator
    return options
