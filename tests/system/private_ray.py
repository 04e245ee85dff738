"""A Ray of one's own beside others on the same machine: its own folder and ports, and an end that leaves the others alone.

`ray stop` ends every Ray process that it can see, whoever started it.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

RAY: Final = (sys.executable, "-m", "ray.scripts.scripts")
_PATIENCE_S: Final = 3.0


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short name, as Ray's and ssh's sockets need it; the processes that use it end with it."""
    folder = Path(tempfile.mkdtemp(prefix="rp", dir="/tmp"))
    try:
        yield folder
    finally:
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A TCP port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_head(folder: Path, environment: dict[str, str], port: int, *more: str) -> str:
    """Start a head node whose files lie in the folder; returns its address."""
    words = [
        "start",
        "--head",
        f"--port={port}",
        f"--temp-dir={folder}",
        f"--ray-client-server-port={free_port()}",
        "--dashboard-agent-listen-port=0",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--include-dashboard=false",
        "--disable-usage-stats",
        *more,
    ]
    done = subprocess.run(
        [*RAY, *words], env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return f"127.0.0.1:{port}"


def processes_of(folder: Path) -> list[psutil.Process]:
    """The processes that name the folder in their command, or had it in the environment they were started with."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(folder) in word for word in words):
                found.append(process)
    return found


def is_ray(process: psutil.Process) -> bool:
    """True for Ray's own processes, its workers excepted: they end with their raylet."""
    with suppress(psutil.Error):
        return any("/site-packages/ray/" in word for word in process.cmdline())
    return False


def end_processes(folder: Path, which: Callable[[psutil.Process], bool] = lambda _: True) -> None:
    """End processes of a folder, and nobody else's."""
    for end in (psutil.Process.terminate, psutil.Process.kill):
        processes = [process for process in processes_of(folder) if which(process)]
        for process in processes:
            with suppress(psutil.Error):
                end(process)
        psutil.wait_procs(processes, timeout=_PATIENCE_S)


def eventually(holds: Callable[[], bool], within_s: float, every_s: float = 0.5) -> float | None:
    """Seconds until it holds; None if it does not in time."""
    start = time.monotonic()
    while time.monotonic() - start < within_s:
        if holds():
            return time.monotonic() - start
        time.sleep(every_s)
    return None


if __name__ == "__main__":  # in place of `ray stop`
    end_processes(Path(sys.argv[1]), is_ray)
