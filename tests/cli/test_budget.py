"""A command's memory and time have an end, wherever it hangs: one line and exit code 2."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from raypol.cli.budget import budget, machine_memory
from raypol.cli.main import main
from raypol.core.errors import InputError
from tests.scenes import TINY

GIGABYTE = 1e9
STUCK = """
import sys
from raypol.cli.budget import budget
from raypol.cli.exit_codes import guarded
def run():
    with budget({memory}, {seconds}):
        {work}
    return 0
sys.exit(guarded(run, debug=False))
"""
INSIDE_C = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2 * 10**9)"
ALL_AT_ONCE = "import numpy; numpy.ones(8 << 30, numpy.uint8)"


def test_what_stays_within_is_left_alone() -> None:
    with budget(None, 100):
        done = sum(range(1000))
    assert done == 499_500
    with budget(None, float("inf")):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "raypol-budget" and _stays(thread)]


def _stays(thread: threading.Thread) -> bool:
    thread.join(timeout=10)
    return thread.is_alive()


def test_time_ends_a_command_that_waits() -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"not finished within 0\.2 s, the limit of --max-seconds"), budget(None, 0.2):
        time.sleep(600)
    assert time.monotonic() - began < 60


def gather(parts: list[np.ndarray]) -> None:
    while True:
        parts.append(np.ones(1 << 20))  # 8 MB
        time.sleep(0.001)


def test_memory_ends_a_command_that_gathers() -> None:
    limit = psutil.Process().memory_info().rss / GIGABYTE + 0.3
    parts: list[np.ndarray] = []
    with pytest.raises(InputError, match="GB of memory, the limit of --max-memory"), budget(limit, 600):
        gather(parts)
    assert len(parts) < 1000


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)


def test_ctrl_c_stays_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt), budget(None, 600):
        interrupt()


@pytest.mark.parametrize("memory", [0, -1.0, float("nan")])
def test_a_budget_of_nothing_is_refused(memory: float) -> None:
    with pytest.raises(InputError, match="expected --max-memory > 0"), budget(memory, 1):
        pass
    with pytest.raises(InputError, match="expected --max-seconds > 0"), budget(1, memory):
        pass


@pytest.mark.parametrize(
    ("work", "memory", "seconds", "said"),
    [
        (INSIDE_C, "None", "0.5", "error: not finished within 0.5 s, the limit of --max-seconds"),
        (ALL_AT_ONCE, "1.0", "600", "error: took more than 1 GB of memory, the limit of --max-memory"),
    ],
)
def test_what_does_not_listen_is_ended(work: str, memory: str, seconds: str, said: str) -> None:
    script = STUCK.format(work=work, memory=memory, seconds=seconds)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (2, "", [said])


def test_the_default_is_less_than_the_machine_has() -> None:
    assert 0 < machine_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-seconds", "1e-6"), "error: not finished within 1e-06 s, the limit of --max-seconds"),
        (("--max-memory", "1e-3"), "error: took more than 0.001 GB of memory, the limit of --max-memory"),
        (("--max-memory", "0"), "error: expected --max-memory > 0, got 0"),
    ],
)
@pytest.mark.parametrize(
    ("command", "slow"),
    [
        ("verify", "raypol.cli.commands.verify.open_location"),
        ("import", "raypol.cli.commands.import_export.local_path"),
    ],
)
def test_commands_have_a_budget(
    command: str,
    slow: str,
    words: tuple[str, str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow, lambda _: time.sleep(600))
    more = ("--dataset", TINY, "--model", "resnet8") if command == "import" else ()
    with pytest.raises(SystemExit) as ended:
        main([command, str(tmp_path / "p"), *more, *words])
    assert (ended.value.code, capsys.readouterr().err) == (2, f"{said}\n")
