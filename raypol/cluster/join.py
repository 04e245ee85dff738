"""Joining a machine to a running Ray cluster: finding its GPUs, and offering them as resources and labels that requests match.

Ray itself derives a resource from the driver's product name, but not always under the name that people ask for, and its
on-premise provider has no node types that could name it.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from raypol.cluster.accelerators import canonical_accelerator
from raypol.core.errors import InputError

_PORT: Final = 6379
_DRIVER_S: Final = 30.0
_ADDRESS = re.compile(r"^(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9_.-]*)(:(?P<port>[0-9]{1,5}))?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU of this machine."""

    name: str
    """Name that the driver reports."""
    capability: tuple[int, int] | None = None
    """CUDA compute capability; None = unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Joining:
    """Offer of this machine to a cluster."""

    address: str
    """HOST:PORT of the head."""
    num_gpus: int
    resources: dict[str, int]
    labels: dict[str, str]

    def arguments(self) -> list[str]:
        """Arguments of the `ray` command."""
        words = ["start", f"--address={self.address}", f"--num-gpus={self.num_gpus}"]
        if self.resources:
            inner = ", ".join(f'"{key}": {value}' for key, value in self.resources.items())
            words.append("--resources={" + inner + "}")
        if self.labels:
            words.append("--labels=" + ",".join(f"{key}={value}" for key, value in self.labels.items()))
        return words


def find_gpus() -> list[Gpu]:
    """NVIDIA GPUs visible to this process; asked of the driver's command if this PyTorch has no CUDA.

    Raises:
        InputError: the driver's command fails, or CUDA_VISIBLE_DEVICES does not fit its answer.
    """
    if torch.cuda.is_available():
        return [
            Gpu(name=torch.cuda.get_device_name(i), capability=torch.cuda.get_device_capability(i))
            for i in range(torch.cuda.device_count())
        ]
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_DRIVER_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as err:
        raise InputError(f"nvidia-smi does not answer: {err}") from err
    if done.returncode != 0:
        reason = " ".join((done.stdout + done.stderr).split())
        raise InputError(f"nvidia-smi failed: {reason or f'exit code {done.returncode}'}")
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return [Gpu(name=name) for name in visible_gpus(names, os.environ.get("CUDA_VISIBLE_DEVICES"))]


def visible_gpus(names: list[str], setting: str | None) -> list[str]:
    """GPUs that CUDA_VISIBLE_DEVICES selects by number; nvidia-smi itself ignores it."""
    if setting is None:
        return names
    chosen = [part.strip() for part in setting.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) < len(names) for part in chosen):
        raise InputError(f"CUDA_VISIBLE_DEVICES={setting!r}: expected numbers below {len(names)}, such as 0,1")
    return [names[int(part)] for part in chosen]


def check_kernels(gpus: Sequence[Gpu]) -> None:
    """Make sure that this PyTorch can compute on these GPUs.

    Raises:
        InputError: it has no code for one of them, or no CUDA at all.
    """
    built_for = torch.cuda.get_arch_list() if torch.cuda.is_available() else []
    for gpu in gpus:
        if built_for and gpu.capability and not has_kernels(gpu.capability, built_for):
            raise InputError(
                f"PyTorch {torch.__version__} has no code for {gpu.name} (compute capability {gpu.capability[0]}."
                f"{gpu.capability[1]}), only for {', '.join(built_for)}; older GPUs need a build for CUDA 12.6"
            )
    if gpus and not torch.cuda.is_available():
        raise InputError(
            f"the driver shows {gpus[0].name}, but PyTorch {torch.__version__} cannot use it (no CUDA build?)"
        )


def plan_joining(address: str, gpus: Sequence[Gpu]) -> Joining:
    """Describe a machine with these GPUs to Ray.

    Args:
        address: HOST or HOST:PORT of the head.
        gpus: found on the machine; none = the machine offers its CPU cores.

    Raises:
        InputError: no address, or GPUs of several models, of which Ray could not tell which one an actor gets.
    """
    match = _ADDRESS.match(address)
    port = int((match and match["port"]) or _PORT)
    if match is None or not 0 < port < 1 << 16:
        raise InputError(f"address {address!r}: expected HOST or HOST:PORT of the head, such as 10.0.0.1:{_PORT}")
    # A model that the table does not have keeps its name, in the letters that Ray allows in a label.
    models = sorted({re.sub(r"[^A-Za-z0-9.]+", "-", canonical_accelerator(gpu.name)).strip("-.") for gpu in gpus})
    if len(models) > 1:
        raise InputError(
            f"this machine has {' and '.join(models)}; a Ray node offers one model: set CUDA_VISIBLE_DEVICES to the GPUs of "
            "one of them"
        )
    return Joining(
        address=f"{match['host']}:{port}",
        num_gpus=len(gpus),
        # One per node, not per GPU, like Ray's own: actors take 0.001 of it beside the GPU itself.
        resources={f"accelerator_type:{model}": 1 for model in models},
        labels={"raypol/market": "on-prem"} | ({"ray.io/accelerator-type": models[0]} if models else {}),
    )


def has_kernels(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """True if a PyTorch build has code for a GPU.

    Args:
        capability: the GPU's, (7, 0) for V100.
        built_for: `torch.cuda.get_arch_list()`: sm_XY is machine code for X.Y and later X.*, compute_XY for all later ones.
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
