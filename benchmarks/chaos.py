"""A sweep under fire: actors, worker processes, nodes and the driver are killed at seeded random moments, again and again.

    python -m benchmarks.chaos [--faults 20] [--seed 0] [--nodes 4]

A local Ray cluster of several raylets runs the quickstart's smoke sweep: once undisturbed, then as often as it takes to place
all faults. At the end of every run each trial must have exactly one row, no row more, and every value that is no time must be
that of the undisturbed run, to the bit; so must every spoof's root hash. Exit code 0 if that holds, 1 if not.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import psutil
import pyarrow.parquet as pq
import tyro
from rich.console import Console
from rich.table import Table

SWEEP: Final = Path(__file__).parent.parent / "sweeps" / "quickstart.py"
NAME: Final = "chaos"
Fault = Literal["actor", "worker", "node", "driver"]
FAULTS: Final[tuple[Fault, ...]] = ("actor", "worker", "node", "driver")

TIMED: Final = {
    "device_s", "wall_s", "verify_s", "step_equivalents", "ratio_time", "ratio_working", "started_at", "bound_by", "success",
    "success_strict", "node", "verifier_node", "message",
}  # fmt: skip
"""Columns that hold times, follow from them, or say where and when."""

_out = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """Run the smoke sweep under faults and compare with an undisturbed run."""

    faults: int = 20
    """Faults in all, at least."""
    seed: int = 0
    """Of when and what."""
    nodes: int = 4
    """Raylets, the head's among them; each offers one core."""
    every_s: tuple[float, float] = (3.0, 12.0)
    """Seconds between faults, drawn uniformly."""
    per_run: int = 7
    """Faults placed in one run before it is left to finish."""
    folder: Path | None = None
    """Keep results and logs here; None = a temporary folder."""


@dataclass(slots=True)
class Cluster:
    """Several raylets on this machine; nodes can be killed and replaced."""

    nodes: int
    inner: Any = None
    workers: list[Any] = field(default_factory=list)

    def __enter__(self) -> "Cluster":
        from ray.cluster_utils import Cluster as RayCluster

        self.inner = RayCluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.workers = [self.inner.add_node(num_cpus=1) for _ in range(self.nodes - 1)]
        return self

    def __exit__(self, *_: object) -> None:
        self.inner.shutdown()

    @property
    def address(self) -> str:
        """Of the head."""
        return str(self.inner.address)

    @property
    def session(self) -> str:
        """Part of the command line of each of its raylets."""
        return str(self.inner.head_node.get_session_dir_path())

    def kill_node(self, draw: random.Random) -> str:
        """Kill a node that is not the head, and start another in its place."""
        node = draw.choice(self.workers)
        self.inner.remove_node(node, allow_graceful=False)
        self.workers.remove(node)
        self.workers.append(self.inner.add_node(num_cpus=1))
        return str(node.node_id)[:8]


@dataclass(frozen=True, slots=True)
class Hit:
    """One fault that was placed."""

    run: int
    at_s: float
    kind: Fault
    what: str


def main() -> None:
    """Entry point."""
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    asked = tyro.cli(Chaos, description=__doc__)
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        cluster = stack.enter_context(Cluster(asked.nodes))
        sys.exit(0 if run_all(asked, cluster, folder) else 1)


def run_all(asked: Chaos, cluster: Cluster, folder: Path) -> bool:
    """The undisturbed run, the disturbed ones, the comparison; True if nothing was lost, doubled or changed."""
    draw = random.Random(asked.seed)
    started = time.monotonic()
    code = _driver(cluster, folder / "undisturbed").wait()
    quiet_s = time.monotonic() - started
    if code:
        _out.print(f"the undisturbed run ended with exit code {code}; see {folder / 'undisturbed.log'}")
        return False
    expected = record(folder / "undisturbed")
    _out.print(f"undisturbed: {expected.trials} trials in {quiet_s:.0f} s")
    hits: list[Hit] = []
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "run",
        "faults",
        "of which",
        "driver starts",
        "wall s",
        "rows",
        "doubled",
        "missing",
        "differing values",
    ):
        table.add_column(column, justify="left" if column == "of which" else "right")
    good, run = True, 0
    while len(hits) < asked.faults:
        run += 1
        results = folder / f"run-{run}"
        started = time.monotonic()
        mine, starts = disturbed_run(asked, cluster, results, run, draw, min(asked.per_run, asked.faults - len(hits)))
        hits += mine
        found = record(results)
        wrong = differences(expected, found)
        missing = len(expected.rows.keys() - found.rows.keys())
        good = good and not wrong and not missing and not found.doubled and found.rows.keys() == expected.rows.keys()
        kinds = Counter(hit.kind for hit in mine)
        table.add_row(
            str(run), str(len(mine)), ", ".join(f"{n} {kind}" for kind, n in kinds.items()), str(starts),
            f"{time.monotonic() - started:.0f}", str(found.trials), str(found.doubled), str(missing), str(len(wrong)),
        )  # fmt: skip
        for line in wrong[:5]:
            _out.print(f"run {run}: {line}")
    _out.print(table)
    by_kind = Counter(hit.kind for hit in hits)
    _out.print(
        f"{len(hits)} faults ({', '.join(f'{by_kind[kind]} {kind}' for kind in FAULTS)}), seed {asked.seed}: "
        + (
            "every trial has exactly one row, and every value is that of the undisturbed run"
            if good
            else "NOT survived"
        )
    )
    return good


def disturbed_run(
    asked: Chaos, cluster: Cluster, results: Path, run: int, draw: random.Random, most: int
) -> tuple[list[Hit], int]:
    """Run one sweep with at most `most` faults, starting a killed driver again. Returns (faults, driver starts)."""
    hits: list[Hit] = []
    driver, starts = _driver(cluster, results), 1
    began = time.monotonic()
    due = began + draw.uniform(*asked.every_s)
    while True:
        code = driver.poll()
        if code is not None:
            if code == 0:
                return hits, starts
            if not hits or hits[-1].kind != "driver" or code != -signal.SIGKILL:
                raise SystemExit(f"the driver ended by itself with exit code {code}; see {results}.log")
            driver, starts = _driver(cluster, results), starts + 1
            continue
        if len(hits) < most and time.monotonic() > due:
            kind = draw.choice(FAULTS)
            what = _strike(kind, cluster, driver, draw)
            if what:
                hits.append(Hit(run, time.monotonic() - began, kind, what))
                _out.print(f"run {run}, {hits[-1].at_s:5.1f} s: killed {kind} {what}")
            due = time.monotonic() + draw.uniform(*asked.every_s)
        time.sleep(0.05)


def _driver(cluster: Cluster, results: Path) -> subprocess.Popen[bytes]:
    """The sweep as a user starts it; the same command every time, so a second start resumes."""
    command = [sys.executable, str(SWEEP), "--size", "smoke", "--name", NAME, "--results", str(results)]
    command += ["--address", cluster.address, "--patience-s", "120"]
    with Path(f"{results}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "MLFLOW_TRACKING_URI": ""})  # noqa: S603


def _strike(kind: Fault, cluster: Cluster, driver: subprocess.Popen[bytes], draw: random.Random) -> str:
    """Kill something of this kind; returns what, or nothing if there is none right now."""
    if kind == "driver":
        driver.kill()
        driver.wait()
        return f"pid {driver.pid}"
    if kind == "node":
        return cluster.kill_node(draw)
    victims = sorted(_workers(cluster, actors=kind == "actor"), key=lambda process: process.pid)
    if not victims:
        return ""
    victim = draw.choice(victims)
    with contextlib.suppress(psutil.NoSuchProcess):
        name = " ".join(victim.cmdline())[:40].strip()
        os.kill(victim.pid, signal.SIGKILL)
        return f"pid {victim.pid} ({name})"
    return ""


def _workers(cluster: Cluster, *, actors: bool) -> Iterator[psutil.Process]:
    """Ray workers of this cluster: our own actors, or the processes that lead Tune's trials."""
    title = "ray::Party" if actors else "ray::ImplicitFunc"
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            if " ".join(process.cmdline()).startswith(title):
                raylet = psutil.Process(int(process.environ()["RAY_RAYLET_PID"]))
                if cluster.session in " ".join(raylet.cmdline()):
                    yield process


# --- the comparison ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """What a results folder holds."""

    rows: dict[str, dict[str, Any]]
    """By trial_id, without times."""
    intervals: dict[str, list[dict[str, Any]]]
    roots: dict[str, str]
    doubled: int
    trials: int


def record(results: Path) -> Record:
    """Read it with pyarrow alone, as anybody would."""
    rows: dict[str, dict[str, Any]] = {}
    doubled = 0
    for path in sorted((results / "trials").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            doubled += row["trial_id"] in rows
            rows[row["trial_id"]] = {key: value for key, value in row.items() if key not in TIMED}
    intervals: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((results / "intervals").glob("*.parquet")):
        for one in pq.read_table(path).to_pylist():
            intervals.setdefault(one["trial_id"], []).append(one)
    roots = {
        path.parent.name: json.loads(path.read_text())["root"] for path in (results / "proofs").glob("*/manifest.json")
    }
    return Record(rows, intervals, roots, doubled, sum(row["arm"] != "honest" for row in rows.values()))


def differences(expected: Record, found: Record) -> list[str]:
    """Every value that is not the undisturbed run's."""
    wrong = []
    for trial_id, row in expected.rows.items():
        other = found.rows.get(trial_id, {})
        wrong += [
            f"{trial_id} {row['arm']}: {key} {value!r}, now {other[key]!r}"
            for key, value in row.items()
            if other and repr(other[key]) != repr(value)
        ]
        if repr(expected.intervals.get(trial_id)) != repr(found.intervals.get(trial_id)):
            wrong.append(f"{trial_id} {row['arm']}: intervals differ")
    wrong += [f"{name}: root differs" for name, root in expected.roots.items() if found.roots.get(name, root) != root]
    wrong += [f"{name}: unexpected proof" for name in found.roots.keys() - expected.roots.keys()]
    wrong += [f"{name}: proof missing" for name in expected.roots.keys() - found.roots.keys()]
    return wrong


if __name__ == "__main__":
    main()
