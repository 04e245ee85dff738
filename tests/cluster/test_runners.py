"""Both runners: what they promise alike, and what happens to Ray's workers that die."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from raypol.cluster.connection import connect
from raypol.cluster.inventory import usable_cores
from raypol.cluster.jobs import ProveJob, run_facts, run_prove
from raypol.cluster.placement import parse_device
from raypol.cluster.ray_runner import RayRunner
from raypol.cluster.runners import ROLES, LocalRunner, Role
from raypol.core.attacks import find_attack
from raypol.core.errors import InputError
from raypol.runs.trials.study import TrialOutcome
from raypol.runs.trials.trial import run_honest, run_trial
from raypol.store.location import open_location
from raypol.store.proofs.format import Manifest
from raypol.store.proofs.reader import ParquetProof
from tests.studies import TRAIN, on, prepare, trial

PATIENCE_S = 150.0
"""On a busy machine a worker may take a minute to start."""

# --- jobs that are sent to workers -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Errand:
    """Where a job leaves traces, and a number to work on."""

    folder: str
    number: int = 3


def square(number: int) -> int:
    return number * number


def where_am_i(_: object) -> tuple[int, int, int]:
    """Process, torch's threads, threads by the environment. Long enough that two actors share the jobs."""
    time.sleep(0.3)
    return os.getpid(), torch.get_num_threads(), int(os.environ.get("OMP_NUM_THREADS", "0"))


def refuse(number: int) -> int:
    raise InputError(f"expected a number below 3, got {number}")


class Peculiar(Exception):  # noqa: N818 - it is not called an error
    """Does not unpickle from its arguments alone."""

    def __init__(self, what: str, *, why: str) -> None:
        super().__init__(f"{what}: {why}")


def fail_peculiarly(_: object) -> None:
    raise Peculiar("this", why="that")


def slow_once(errand: Errand) -> int:
    """The first try waits to be killed; the second answers."""
    mark = Path(errand.folder, "first try")
    if not mark.exists():
        mark.write_text(str(os.getpid()))
        time.sleep(60)
    return errand.number**2


def die(errand: Errand) -> int:
    """Kills its worker each time, and leaves a trace of each try."""
    Path(errand.folder, f"try {time.time_ns()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def endless(errand: Errand) -> None:
    try:
        Path(errand.folder, "running").touch()
        while True:
            time.sleep(0.01)
    finally:
        Path(errand.folder, "cleaned up").touch()


def prove_and_tell_who(job: ProveJob) -> Manifest:
    Path(job.results).mkdir(exist_ok=True)
    Path(job.results, "pid").write_text(str(os.getpid()))
    return run_prove(job)


def appears(path: Path, seconds: float = PATIENCE_S) -> Path:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)
    return path


# --- this process ----------------------------------------------------------------------------------------------------


def test_local_jobs_run_one_after_the_other_in_order() -> None:
    seen: list[int] = []
    busy = threading.Lock()

    def note(number: int) -> int:
        assert busy.acquire(blocking=False), "two jobs at once"
        time.sleep(0.01)
        seen.append(number)
        busy.release()
        return -number

    with LocalRunner(on()) as runner:
        futures = [runner.submit(role, note, n) for n, role in enumerate(ROLES * 2)]
        assert [future.result() for future in futures] == [0, -1, -2, -3, -4, -5]
        assert seen == list(range(6))
        assert {runner.num_workers(role) for role in ROLES} == {1}
        assert {runner.device(role) for role in ROLES} == {"cpu"}


@pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
def test_local_jobs_compute_with_the_threads_of_their_role() -> None:
    before = torch.get_num_threads()
    devices = {**on("cpu"), "verifier": parse_device("cpu:2")}
    with LocalRunner(devices) as runner:
        assert runner.facts("verifier").threads == 2
        assert runner.facts("prover").threads == 1
        assert runner.submit("verifier", where_am_i, None).result()[:2] == (os.getpid(), 2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("spelling", ["cpu:9999", "gpu:64", "T4:64"])
def test_what_this_machine_has_not_is_refused(spelling: str) -> None:
    with pytest.raises(InputError, match=r"no live node offers (cpu:9999|gpu:64); there is .* CPU"):
        LocalRunner(on(spelling))


def test_an_error_outside_ends_the_local_job_that_runs(tmp_path: Path) -> None:
    started = time.monotonic()
    submitted: list[Future[Any]] = []

    def work() -> None:
        with LocalRunner(on()) as runner:
            submitted.append(runner.submit("prover", endless, Errand(folder=str(tmp_path))))
            submitted.append(runner.submit("prover", square, 3))
            appears(tmp_path / "running")
            raise RuntimeError("somewhere else")

    with pytest.raises(RuntimeError, match="somewhere else"):
        work()
    running, waiting = submitted
    assert time.monotonic() - started < 120, "the job never ends"
    assert waiting.cancelled()
    assert isinstance(running.exception(), KeyboardInterrupt)
    assert (tmp_path / "cleaned up").exists()


def test_a_local_runner_that_ends_well_finishes_its_job() -> None:
    with LocalRunner(on()) as runner:
        future = runner.submit("prover", where_am_i, None)
    assert future.result()[0] == os.getpid()


# --- Ray -------------------------------------------------------------------------------------------------------------


@pytest.mark.ray
def test_single_thread_actors_compute_with_one_thread(two_actors: RayRunner) -> None:
    assert {two_actors.num_workers(role) for role in ROLES} == {2}
    found = [two_actors.submit("prover", where_am_i, None) for _ in range(6)]
    answers = [future.result(PATIENCE_S) for future in found]
    assert len({pid for pid, _, _ in answers}) == 2
    assert os.getpid() not in {pid for pid, _, _ in answers}
    assert {(threads, by_environment) for _, threads, by_environment in answers} == {(1, 1)}
    facts = two_actors.facts("verifier")
    assert facts == two_actors.facts("prover")
    assert replace(facts, node=run_facts("cpu").node) == run_facts("cpu")
    assert facts.node.startswith(f"{socket.gethostname()}/")


@pytest.mark.ray
def test_a_killed_worker_is_replaced_and_its_job_done_again(two_actors: RayRunner, tmp_path: Path) -> None:
    future = two_actors.submit("spoofer", slow_once, Errand(folder=str(tmp_path), number=7))
    mark = appears(tmp_path / "first try")
    time.sleep(0.1)
    os.kill(int(mark.read_text()), signal.SIGKILL)
    assert future.result(PATIENCE_S) == 49


@pytest.mark.ray
def test_a_job_that_kills_its_worker_every_time_ends_and_takes_no_other_job_with_it(
    two_actors: RayRunner, tmp_path: Path
) -> None:
    poison = two_actors.submit("spoofer", die, Errand(folder=str(tmp_path)))
    with pytest.raises(RuntimeError, match=r"the worker of die was lost in each of 4 tries") as caught:
        poison.result(PATIENCE_S)
    assert "\n" not in str(caught.value)
    assert len(list(tmp_path.glob("try *"))) == 4
    # Both workers live: a dead one would answer faster than the other, and drain the queue with errors.
    answers = [two_actors.submit("spoofer", where_am_i, None) for _ in range(8)]
    assert len({future.result(PATIENCE_S)[0] for future in answers}) == 2


@pytest.mark.ray
def test_an_input_error_of_a_worker_arrives_as_it_is(two_actors: RayRunner) -> None:
    with pytest.raises(InputError) as caught:
        two_actors.submit("verifier", refuse, 5).result(PATIENCE_S)
    assert type(caught.value) is InputError
    assert str(caught.value) == "expected a number below 3, got 5"
    assert caught.value.__suppress_context__


@pytest.mark.ray
def test_an_error_that_does_not_pickle_arrives_as_some_error(two_actors: RayRunner) -> None:
    with pytest.raises(Exception, match="this: that"):
        two_actors.submit("verifier", fail_peculiarly, None).result(PATIENCE_S)
    assert two_actors.submit("verifier", square, 4).result(PATIENCE_S) == 16


@pytest.mark.ray
@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (dict.fromkeys(ROLES, "P40"), r"no live node offers P40; there is \S+: 3 CPU, no GPU$"),
        (dict.fromkeys(ROLES, "cpu:4"), r"no live node offers cpu:4; there is \S+: 3 CPU, no GPU$"),
        (
            {"prover": "gpu:2", "spoofer": "cpu", "verifier": "T4:0.5"},
            r"no live node offers T4:0.5, gpu:2; there is \S+: 3 CPU, no GPU$",
        ),
        (
            {"prover": "cpu:3", "spoofer": "cpu", "verifier": "cpu"},
            r"do not offer cpu:3 beside cpu at the same time; there is \S+: 3 CPU, no GPU$",
        ),
    ],
)
def test_a_device_that_no_node_offers_is_an_error_at_once(
    ray_session: ModuleType, devices: dict[Role, str], said: str
) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=said):
        RayRunner({role: parse_device(text) for role, text in devices.items()})
    assert time.monotonic() - started < 120, "not after the patience that a busy cluster is given"
    assert ray_session.is_initialized()


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ray://127.0.0.1:9", "localhost:99999", "no such host:1", "nonsense"]
)
def test_a_cluster_that_is_not_there_is_told_at_once(address: str) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=rf"cannot reach a Ray cluster at '{address}': .*host:port") as caught:
        connect(address)
    assert time.monotonic() - started < 120
    assert "\n" not in str(caught.value)


# --- the same results ------------------------------------------------------------------------------------------------

# What a clock says, when it was, and what is computed from a clock.
TIMES = {"device_s", "wall_s", "writing_s", "verify_s", "step_equivalents", "ratio_time", "ratio_working", "started_at"}
TIMES |= {"bound_by", "success", "success_strict", "node", "verifier_node"}


def study_rows(runner: LocalRunner | RayRunner, results: Path) -> tuple[list[TrialOutcome], dict[str, str]]:
    """Outcomes by arm, and the root of every proof."""
    study = prepare(runner, open_location(results))
    outcomes = [run_honest(runner, study, trial("null"))]
    arms = ("null", "forged_momentum", "I-tail", "II", "III-invisible")
    outcomes += [run_trial(runner, study, trial(arm), outcomes[0].row) for arm in arms]
    roots = {o.row.arm: ParquetProof(open_location(results) / "proofs" / o.row.proof_id).root for o in outcomes}
    return outcomes, roots


@pytest.mark.ray
def test_ray_and_this_process_find_the_same_to_the_bit(two_actors: RayRunner, tmp_path: Path) -> None:
    with LocalRunner(on()) as runner:
        here, roots_here = study_rows(runner, tmp_path / "here")
    there, roots_there = study_rows(two_actors, tmp_path / "there")
    assert roots_here == roots_there
    for local, remote in zip(here, there, strict=True):
        assert local.row.status == remote.row.status == "ok", local.row.message
        for column in fields(local.row):
            if column.name not in TIMES:  # as repr, NaN equals NaN
                found = repr(getattr(local.row, column.name)), repr(getattr(remote.row, column.name))
                assert found[0] == found[1], (local.row.arm, column.name)
        assert repr(local.intervals) == repr(remote.intervals)
    for folder in ("here", "there"):
        left = [path for path in (tmp_path / folder / ".staging").rglob("*") if path.is_file()]
        assert left == []


@pytest.mark.ray
def test_a_worker_killed_while_it_proves_leaves_the_same_proof_and_nothing_else(
    two_actors: RayRunner, tmp_path: Path
) -> None:
    recipe = replace(TRAIN, steps=150, interval=5).recipe(TRAIN.data.load(), device="cpu", threads=1)

    def job(name: str) -> ProveJob:
        results = str(tmp_path / name)
        return ProveJob(
            results=results, proof_id="proof-abc", recipe=recipe, data=TRAIN.data, device="cpu", environment={}
        )

    undisturbed = run_prove(job("quiet"))
    future = two_actors.submit("prover", prove_and_tell_who, job("killed"))
    staging = tmp_path / "killed" / ".staging"
    deadline = time.monotonic() + PATIENCE_S
    while not list(staging.glob("*/weights/step=20.parquet")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(int((tmp_path / "killed" / "pid").read_text()), signal.SIGKILL)
    assert not (tmp_path / "killed" / "proofs").exists(), "killed too late to mean anything"
    assert future.result(PATIENCE_S).root == undisturbed.root
    assert [path for path in staging.rglob("*") if path.is_file()] == []


@pytest.mark.ray
def test_relative_folders_mean_the_drivers(
    two_actors: RayRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers were started in another folder.
    monkeypatch.chdir(tmp_path)
    study = prepare(two_actors, open_location("relative/results"))
    assert (tmp_path / "relative" / "results" / "proofs" / study.proof.proof_id / "manifest.json").exists()
    honest = run_honest(two_actors, study, trial("null"))
    outcome = run_trial(two_actors, study, trial("III-loss"), honest.row)
    assert outcome.row.status == "ok", outcome.row.message


@pytest.mark.ray
def test_an_own_attack_by_import_path_is_known_to_the_workers(two_actors: RayRunner, tmp_path: Path) -> None:
    study = prepare(two_actors, open_location(tmp_path))
    honest = run_honest(two_actors, study, trial("null"))
    own = trial("mine", attack=find_attack("tests.scenes:INVERT"))
    outcome = run_trial(two_actors, study, own, honest.row)
    assert (outcome.row.status, outcome.row.num_points) == ("ok", 320), outcome.row.message


@pytest.mark.ray
def test_closing_answers_who_waits_and_leaves_a_ray_that_it_did_not_start(
    ray_session: ModuleType, tmp_path: Path
) -> None:
    runner = RayRunner(on(), max_actors=1)
    assert runner.num_workers("prover") == 1
    running = runner.submit("prover", endless, Errand(folder=str(tmp_path)))
    waiting = runner.submit("prover", square, 2)
    appears(tmp_path / "running")
    started = time.monotonic()
    runner.close()
    assert time.monotonic() - started < 120, "the job never ends"
    assert isinstance(running.exception(1), RuntimeError)
    assert waiting.cancelled()
    assert ray_session.is_initialized()
    with pytest.raises(RuntimeError):
        runner.submit("prover", square, 5)
