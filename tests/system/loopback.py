"""This machine as the only node of a cluster that `ray up` starts through ssh: an sshd of our own, a home of our own.

The cluster file is derived from cluster.yaml: its environment, start commands and MLflow server are run as they stand there.
"""

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.system import private_ray
from tests.system.private_ray import RAY, eventually, free_port, short_folder

_ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "rsync": "rsync"}

# Takes the place of `ray` in the home's PATH. All but `stop` goes to Ray: that would end every Ray on this machine.
_RAY: Final = """#!/bin/bash
if [ "$1" = stop ]; then exec {python} {stop} {folder}; fi
exec {python} -m ray.scripts.scripts "$@"
"""
# ssh's own way to another port: Ray's schema has no ssh_port.
_TUNNEL: Final = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port}
cat <&3 & cat >&3
kill $!
"""
_SSHD: Final = """ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
SetEnv HOME={home}
"""


@dataclass(frozen=True, kw_only=True)
class Loopback:
    """A cluster of this machine alone, not yet started."""

    folder: Path
    """Everything lies in it; every process of the cluster names it."""
    config: Path
    """The derived cluster file."""
    results: Path
    """Where drivers write by default: RAYPOL_RESULTS."""
    dashboard: str
    """URL for `ray job submit`."""
    mlflow: str
    """URL of the MLflow server."""
    environment: Mapping[str, str]
    """For `ray` on the calling side."""

    def ray(self, *words: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
        """Run a `ray` command in the root of the repository; its output is kept."""
        return subprocess.run(
            [*RAY, *words],
            cwd=_ROOT,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def missing_packages() -> list[str]:
    """Debian's packages that this machine lacks."""
    return sorted({package for command, package in _PACKAGES.items() if _find(command) is None})


@contextmanager
def loopback(cluster_file: Path) -> Iterator[Loopback]:
    """Start the sshd and derive the cluster file; at the end nothing of it is left, whatever `ray down` did."""
    with short_folder() as folder:
        home = folder / "home"
        (home / ".ray").mkdir(parents=True)
        tools = folder / "bin"
        tools.mkdir()
        port = _start_sshd(folder, home)
        _write_tool(tools / "tunnel", _TUNNEL.format(port=port))
        _write_tool(tools / "ray", _RAY.format(python=sys.executable, stop=private_ray.__file__, folder=folder))
        results = folder / "results"
        ports = {name: free_port() for name in ("ray", "objects", "dashboard", "mlflow")}
        config = folder / "cluster.yaml"
        derived = derive(yaml.safe_load(cluster_file.read_text()), folder=folder, results=results, ports=ports)
        config.write_text(yaml.safe_dump(derived, sort_keys=False))
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
        environment |= {"HOME": str(home), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        # Where Ray's launcher keeps what it knows of a cluster.
        environment |= {"TMPDIR": str(folder), "RAY_TMPDIR": str(folder)}
        made = Loopback(
            folder=folder,
            config=config,
            results=results,
            dashboard=f"http://127.0.0.1:{ports['dashboard']}",
            mlflow=f"http://127.0.0.1:{ports['mlflow']}",
            environment=environment,
        )
        token = made.ray("get-auth-token", "--generate", timeout_s=60)
        assert token.returncode == 0, token.stdout
        yield made


def derive(config: dict[str, Any], *, folder: Path, results: Path, ports: Mapping[str, int]) -> dict[str, Any]:
    """cluster.yaml for this machine: another provider, other places and ports, nothing installed; the rest as it is.

    Args:
        config: cluster.yaml.
        folder: for everything.
        results: RAYPOL_RESULTS.
        ports: of ray, objects, dashboard and mlflow.
    """
    places = {
        r"RAYPOL_RESULTS=\S+?'": f"RAYPOL_RESULTS={results}'",
        r"RAYPOL_MLFLOW_ARTIFACTS=\S+?'": f"RAYPOL_MLFLOW_ARTIFACTS={folder}/artifacts'",
        r'PATH="\$HOME/raypol-env/bin:': f'PATH="{folder}/bin:{Path(sys.executable).parent}:',
        r"\b5000\b": str(ports["mlflow"]),
        r"\b6379\b": str(ports["ray"]),
        r"\b8076\b": str(ports["objects"]),
        r"--head\b": f"--head --temp-dir={folder} --dashboard-port={ports['dashboard']} {_own_ports()}",
    }

    def moved(commands: list[str]) -> list[str]:
        made = []
        for command in commands:
            if re.match(r"uv |command -v uv", command):
                continue  # what they would install is here; this project is what `ray up` copied
            for pattern, text in places.items():
                command = re.sub(pattern, text, command)
            made.append(command)
        return made

    derived = {key: value for key, value in config.items() if key not in ("available_node_types", "head_node_type")}
    derived["cluster_name"] = folder.name
    derived["max_workers"] = 0
    derived["provider"] = {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []}
    derived["auth"] = {
        "ssh_user": getpass.getuser(),
        "ssh_private_key": str(folder / "key"),
        "ssh_proxy_command": str(folder / "bin" / "tunnel"),
    }
    for key, value in config.items():
        if key.endswith("_commands"):
            derived[key] = moved(value)
    derived["setup_commands"].append(f"echo 'export RAY_TMPDIR={folder} PYTHONPATH=$HOME/raypol' >> ~/raypol.env")
    return derived


def _own_ports() -> str:
    """Of what else `ray start` would put on a fixed port, where another Ray may sit."""
    return f"--ray-client-server-port={free_port()} --dashboard-agent-listen-port=0 --min-worker-port=0 --max-worker-port=0"


def _start_sshd(folder: Path, home: Path) -> int:
    port = free_port()
    for name in ("key", "host_key"):
        made = [_find("ssh-keygen") or "", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(made, check=True, timeout=30)
    config = folder / "sshd_config"
    config.write_text(_SSHD.format(port=port, folder=folder, home=home))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd leaves its rights; Debian's service would make it
    log = (folder / "sshd.log").open("w")
    subprocess.Popen([_find("sshd") or "", "-D", "-e", "-f", str(config)], stdout=log, stderr=log)
    listening = eventually(lambda: "listening on" in (folder / "sshd.log").read_text(), within_s=20, every_s=0.1)
    assert listening is not None, (folder / "sshd.log").read_text()
    return port


def _write_tool(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _find(command: str) -> str | None:
    return shutil.which(command) or shutil.which(command, path="/usr/sbin:/usr/local/sbin")
