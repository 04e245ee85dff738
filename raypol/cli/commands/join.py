"""`raypol join`: this machine becomes a node of a running Ray cluster."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from raypol.cli.options import Debug
from raypol.cluster.join import Gpu, has_kernels, plan_joining
from raypol.core.errors import InputError

_DRIVER_S = 30.0
_CONNECT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class JoinCommand:
    """Let this machine join a running Ray cluster, with its GPUs as resources and labels. `ray stop` takes it out again."""

    head: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="HEAD")]
    """HOST or HOST:PORT (6379) of the cluster's head node."""
    auth: Literal["token", "disabled"] | None = None
    """As on the head: token needs its ~/.ray/auth_token here; None = RAY_AUTH_MODE, else token if there is one."""
    node_ip: str | None = None
    """Address under which the other nodes reach this machine, such as the VPN's; None = Ray's guess."""
    block: bool = False
    """Stay in the foreground until Ray ends, as a service manager wants it."""
    dry_run: bool = False
    """Only show what would be run."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        gpus = find_gpus()
        joining = plan_joining(self.head, gpus)
        auth = self.auth or os.environ.get("RAY_AUTH_MODE") or ("token" if _token_file().exists() else "disabled")
        if auth == "token" and not (_token_file().exists() or os.environ.get("RAY_AUTH_TOKEN")):
            raise InputError(
                f"the head wants a token: copy its ~/.ray/auth_token to {_token_file()}, or use --auth disabled"
            )
        words = joining.arguments()
        words += [f"--node-ip-address={self.node_ip}"] if self.node_ip else []
        words += ["--block"] if self.block else []
        sys.stdout.write(f"found {', '.join(gpu.name for gpu in gpus) or 'no GPU: offers its CPU cores'}\n")
        _check_kernels(gpus)
        sys.stdout.write(f"RAY_AUTH_MODE={auth} ray {shlex.join(words)}\n")
        sys.stdout.flush()
        if not self.dry_run:
            _knock(joining.address)
            command = [sys.executable, "-m", "ray.scripts.scripts", *words]
            os.execve(sys.executable, command, os.environ | {"RAY_AUTH_MODE": auth})  # noqa: S606 - Ray takes over
        return 0


def find_gpus() -> list[Gpu]:
    """The NVIDIA GPUs that are visible here; by their driver's command if this PyTorch has no CUDA."""
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
    return [Gpu(name=name) for name in visible(names, os.environ.get("CUDA_VISIBLE_DEVICES"))]


def visible(names: list[str], setting: str | None) -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, by their numbers; nvidia-smi itself ignores it."""
    if setting is None:
        return names
    chosen = [part.strip() for part in setting.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) < len(names) for part in chosen):
        raise InputError(f"CUDA_VISIBLE_DEVICES={setting!r}: expected numbers below {len(names)}, such as 0,1")
    return [names[int(part)] for part in chosen]


def _check_kernels(gpus: list[Gpu]) -> None:
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


def _knock(address: str) -> None:
    """Ray itself would go on trying for a long time."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as err:
        raise InputError(
            f"nobody answers at {address}: {err}; is the head running, and does it let this machine in?"
        ) from err


def _token_file() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
