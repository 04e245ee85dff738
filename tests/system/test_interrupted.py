"""Sweeps that are interrupted in every way a process can be, and run again. Part of `make slow-test`: a minute each."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from raypol.cluster.inventory import usable_cores
from raypol.store.location import open_location
from raypol.store.proofs.reader import read_manifest
from raypol.store.results.files import read_trials
from tests.tiny_sweep import environment, tiny_sweep

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]

PATIENCE_S = 240.0


def command(folder: Path, *words: str, address: str = "local") -> list[str]:
    return [
        sys.executable, str(tiny_sweep(folder)), "--size", "smoke", "--results", str(folder / "results"), "--address", address,
        "--max-concurrent", "1", *words,
    ]  # fmt: skip


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.05)


def rows(folder: Path) -> dict[str, int]:
    """When each trial's row was written."""
    found = (folder / "results" / "trials").glob("*.parquet")
    return {path.stem: path.stat().st_mtime_ns for path in found}


def assert_whole(folder: Path, before: dict[str, int]) -> None:
    """Every trial once, and none that was finished was run again."""
    found = [row for row in read_trials(open_location(folder / "results")) if row.arm != "honest"]
    assert len(found) == 6
    assert {row.status for row in found} == {"ok"}
    after = rows(folder)
    assert {name: after[name] for name in before} == before
    assert not [path for path in (folder / "results" / ".staging").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("how", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_a_sweep_that_is_stopped_is_resumed_by_the_same_command(tmp_path: Path, how: signal.Signals, code: int) -> None:
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen(command(tmp_path), env=environment(), stdout=log, stderr=log)
        until(lambda: len(rows(tmp_path)) >= 3 or driver.poll() is not None, "three rows")
        assert driver.poll() is None, (tmp_path / "log").read_text()
        below = psutil.Process(driver.pid).children(recursive=True)
        asked = time.monotonic()
        driver.send_signal(how)
        assert driver.wait(60) == code, (tmp_path / "log").read_text()
        took = time.monotonic() - asked
    if how != signal.SIGKILL:
        crowd = max(1.0, os.getloadavg()[0] / usable_cores())  # how much slower than alone everything is here
        assert took < 10 * crowd, (tmp_path / "log").read_text()
        assert "run the same command again to go on" in (tmp_path / "log").read_text()
    until(lambda: not any(process.is_running() and process.status() != "zombie" for process in below), "Ray to end")
    before = rows(tmp_path)
    assert len(before) < 7
    again = subprocess.run(command(tmp_path), env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)
    assert again.returncode == 0, again.stdout + again.stderr
    assert_whole(tmp_path, before)


def test_a_lost_connection_takes_the_terminal_and_not_the_sweep(tmp_path: Path) -> None:
    words = command(tmp_path)
    pid, terminal = pty.fork()
    if pid == 0:  # as sshd starts it: the leader of a session on a terminal
        os.execve(words[0], words, environment())  # noqa: S606
    seen = b""
    while len(rows(tmp_path)) < 2:
        seen += os.read(terminal, 4096)
    os.close(terminal)  # the kernel sends SIGHUP
    _, status = os.waitpid(pid, 0)
    log = tmp_path / "results" / "sweeps" / "tiny-smoke" / "tiny-smoke.log"
    assert log.exists(), seen.decode(errors="replace")
    said = log.read_text()
    assert os.waitstatus_to_exitcode(status) == 0, said
    assert said.startswith("the terminal is gone; the sweep goes on")
    assert "6 of 6 trials have a row" in said
    assert len(said) < 20_000, "a bar that is drawn into a log fills disks"
    assert_whole(tmp_path, {})


def test_a_second_driver_of_the_same_sweep_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        first = subprocess.Popen(command(tmp_path), env=environment(), stdout=log, stderr=log)
        until(lambda: len(rows(tmp_path)) >= 1 or first.poll() is not None, "a row")
        first.send_signal(signal.SIGSTOP)  # or it might be done before the second has started
        try:
            second = subprocess.run(
                command(tmp_path), env=environment(), capture_output=True, text=True, timeout=PATIENCE_S
            )
        finally:
            first.send_signal(signal.SIGCONT)
        assert second.returncode == 2, second.stdout + second.stderr
        assert "another process is running sweep 'tiny-smoke'" in second.stderr
        assert first.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()
    assert_whole(tmp_path, {})


# --- devices and storage that go away --------------------------------------------------------------------------------

SIMULATED = {"raypol/simulated": "true", "ray.io/accelerator-type": "T4"}


def test_a_device_that_vanishes_for_good_ends_the_wait_with_a_message(tmp_path: Path) -> None:
    """A node with a (simulated) T4 is killed in the middle and comes back only for the second run."""
    from ray.cluster_utils import Cluster

    def add_t4() -> object:
        return cluster.add_node(num_cpus=1, num_gpus=1, resources={"accelerator_type:T4": 1}, labels=SIMULATED)

    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment().items():
            patched.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            node = add_t4()
            words = command(tmp_path, "--spoofer", "T4", "--patience-s", "25", address=str(cluster.address))
            with (tmp_path / "log").open("wb") as log:
                driver = subprocess.Popen(words, env=environment(), stdout=log, stderr=log)
                until(lambda: len(rows(tmp_path)) >= 3 or driver.poll() is not None, "three rows")
                cluster.remove_node(node, allow_graceful=False)
                code = driver.wait(PATIENCE_S)
            said = (tmp_path / "log").read_text()
            assert code in (1, 4), said  # 1 if every trial was caught while it ran
            assert "T4" in said.rpartition("ended early")[2] or "lost in each of" in said
            before = {row.trial_id for row in read_trials(open_location(tmp_path / "results")) if row.status == "ok"}
            assert before
            written = {name: when for name, when in rows(tmp_path).items() if name in before}
            add_t4()
            again = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)
            assert again.returncode == 0, again.stdout + again.stderr
            assert_whole(tmp_path, written)
            found = read_trials(open_location(tmp_path / "results"))
            assert {(row.device, row.simulated) for row in found if row.arm != "honest"} == {("T4", True)}
            assert {row.simulated for row in found if row.arm == "honest"} == {False}
        finally:
            cluster.shutdown()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_ends_the_sweep_and_keeps_what_is_finished(tmp_path: Path) -> None:
    disk = tmp_path / "results"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        with (tmp_path / "log").open("wb") as log:
            driver = subprocess.Popen(command(tmp_path), env=environment(), stdout=log, stderr=log)
            until(lambda: len(rows(tmp_path)) >= 3 or driver.poll() is not None, "three rows")
            with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):  # the sweep writes too
                while (free := os.statvfs(disk)).f_bavail * free.f_frsize > 8192:
                    ballast.write(bytes(min(free.f_bavail * free.f_frsize - 8192, 1 << 20)))
            code = driver.wait(600)
        said = (tmp_path / "log").read_text()
        assert code == 4, said
        assert "cannot be written (No space left on device)" in said.rpartition("ended early")[2]
        before = {row.trial_id for row in read_trials(open_location(disk)) if row.status == "ok"}
        assert len(before) >= 3
        written = {name: when for name, when in rows(tmp_path).items() if name in before}
        (disk / "ballast").unlink()
        again = subprocess.run(command(tmp_path), env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)
        assert again.returncode == 0, again.stdout + again.stderr
        assert_whole(tmp_path, written)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL"])
def test_a_prover_that_is_stopped_goes_on_from_its_note(tmp_path: Path, how: signal.Signals) -> None:
    def prove(folder: str) -> list[str]:
        words = ["prove", "--steps", "6000", "--interval", "20", "--results", str(tmp_path / folder)]
        return [str(Path(sys.executable).parent / "raypol"), *words]

    stopped = subprocess.Popen(prove("parts"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: bool(list(tmp_path.glob("parts/.staging/*/begun.json"))) or stopped.poll() is not None, "a note")
    stopped.send_signal(how)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode in (130, -9), said
    folders = []
    for folder in ("parts", "whole"):
        done = subprocess.run(prove(folder), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr
        assert ("resumed at step" in done.stdout) is (folder == "parts")
        folders.append(open_location(done.stdout.splitlines()[-1]))
    parts, whole = map(read_manifest, folders)
    assert (parts.root, parts.files, parts.sizes) == (whole.root, whole.files, whole.sizes)
    assert parts.generation.gradient_evals == whole.generation.gradient_evals == 6000
    assert not [path for path in (tmp_path / "parts" / ".staging").rglob("*") if path.is_file()]
