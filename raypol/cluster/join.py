"""How a machine of one's own joins a running Ray cluster: its GPUs as resources and labels that requests can match.

Ray derives a resource from the driver's product name by itself, but not always the name that people ask for, and its on-premise
provider has no node types that could say so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from raypol.cluster.accelerators import canonical_accelerator
from raypol.core.errors import InputError

_PORT: Final = 6379
_ADDRESS = re.compile(r"^(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9_.-]*)(:(?P<port>[0-9]{1,5}))?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU of this machine."""

    name: str
    """As the driver reports it."""
    capability: tuple[int, int] | None = None
    """CUDA compute capability; None = unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Joining:
    """What this machine offers to a cluster."""

    address: str
    """HOST:PORT of the head."""
    num_gpus: int
    resources: dict[str, int]
    labels: dict[str, str]

    def arguments(self) -> list[str]:
        """Of the `ray` command."""
        words = ["start", f"--address={self.address}", f"--num-gpus={self.num_gpus}"]
        if self.resources:
            inner = ", ".join(f'"{key}": {value}' for key, value in self.resources.items())
            words.append("--resources={" + inner + "}")
        if self.labels:
            words.append("--labels=" + ",".join(f"{key}={value}" for key, value in self.labels.items()))
        return words


def plan_joining(address: str, gpus: Sequence[Gpu]) -> Joining:
    """What to tell Ray about a machine with these GPUs.

    Args:
        address: HOST or HOST:PORT of the head.
        gpus: as the driver reports them; none = the machine offers its CPU cores.

    Raises:
        InputError: no address, or GPUs of several models: Ray could not tell which of them an actor gets.
    """
    match = _ADDRESS.match(address)
    port = int((match and match["port"]) or _PORT)
    if match is None or not 0 < port < 1 << 16:
        raise InputError(f"address {address!r}: expected HOST or HOST:PORT of the head, such as 10.0.0.1:{_PORT}")
    # A model that the alias table does not have keeps its name, in the letters that Ray allows in a label.
    models = sorted({re.sub(r"[^A-Za-z0-9.]+", "-", canonical_accelerator(gpu.name)).strip("-.") for gpu in gpus})
    if len(models) > 1:
        raise InputError(
            f"this machine has {' and '.join(models)}; a Ray node offers one model: set CUDA_VISIBLE_DEVICES to the GPUs of "
            "one of them"
        )
    return Joining(
        address=f"{match['host']}:{port}",
        num_gpus=len(gpus),
        # One per node and not per GPU, as Ray's own: actors take 0.001 of it, beside the GPU itself.
        resources={f"accelerator_type:{model}": 1 for model in models},
        labels={"raypol/market": "on-prem"} | ({"ray.io/accelerator-type": models[0]} if models else {}),
    )


def has_kernels(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """True if a PyTorch build can run on a GPU.

    Args:
        capability: the GPU's, (7, 0) for V100.
        built_for: `torch.cuda.get_arch_list()`: sm_XY is machine code for X.Y and later X.*, compute_XY is for all later ones.
    """
    for entry in built_for:
        kind, _, digits = entry.partition("_")
        digits = digits.rstrip("af")
        if not digits.isdecimal():
            continue
        built = (int(digits[:-1]), int(digits[-1]))
        if built <= capability and (kind == "compute" or built[0] == capability[0]):
            return True
    return False
