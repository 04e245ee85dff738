"""An honest proof whose prover was interrupted is taken up, and is the same to the byte as that of one run."""

import errno
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from raypol.cluster.jobs import ProveJob, run_prove
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Cost, MemoryProof
from raypol.core.training.optimizers import UpdateError
from raypol.core.training.prover import StartingPoint, initial_checkpoint, record_training
from raypol.store.proofs import writer
from raypol.store.proofs.format import Manifest
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.writer import ProofWriter
from tests.studies import TRAIN

Interrupt = Callable[[Mapping[int, BaseException]], None]

LONG = replace(TRAIN, steps=47, interval=5, horizontal_flip=True)
"""Its last interval is a short one."""


def job(results: Path, *, optimizer: str = "SGD") -> ProveJob:
    recipe = replace(LONG, optimizer=optimizer).recipe(TRAIN.data.load(), device="cpu", threads=1)
    return ProveJob(
        results=str(results), proof_id="proof-1", recipe=recipe, data=TRAIN.data, device="cpu", environment={}
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def staged(results: Path) -> dict[str, bytes]:
    """What lies in the one staging folder."""
    if not (results / ".staging").exists():
        return {}
    return {name.partition("/")[2]: content for name, content in contents(results / ".staging").items()}


@pytest.fixture(autouse=True)
def every_step_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RESUMABLE_S", 0.0)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Raise an error after the resume point of a step is recorded, once each."""

    def arrange(trouble: Mapping[int, BaseException]) -> None:
        left, real = dict(trouble), ProofWriter.set_resume_point

        def record(writer: ProofWriter, step: int, cost: Cost) -> None:
            real(writer, step, cost)
            if step in left:
                raise left.pop(step)

        monkeypatch.setattr(ProofWriter, "set_resume_point", record)

    return arrange


def finished(work: ProveJob) -> tuple[Manifest, list[BaseException]]:
    """The proof, and what interrupted it."""
    errors: list[BaseException] = []
    while True:
        try:
            return run_prove(work), errors
        except (KeyboardInterrupt, OSError) as err:
            errors.append(err)


def interrupted(results: Path, interrupt: Interrupt, step: int = 20) -> Path:
    """The folder of a proof that stopped there."""
    interrupt({step: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run_prove(job(results))
    (folder,) = (results / ".staging").iterdir()
    return folder


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_an_interrupted_proof_is_the_same_to_the_byte(tmp_path: Path, interrupt: Interrupt, optimizer: str) -> None:
    whole = run_prove(job(tmp_path / "whole", optimizer=optimizer))
    interrupt({20: KeyboardInterrupt(), 35: OSError(errno.ENOSPC, "No space left on device"), 47: KeyboardInterrupt()})
    made, errors = finished(job(tmp_path / "parts", optimizer=optimizer))
    assert len(errors) == 3
    assert made.taken_up_at == (20, 35, 47)
    assert made.root == whole.root
    assert made.sizes == whole.sizes
    assert made.generation.gradient_evals == whole.generation.gradient_evals == 47
    assert made.generation.wall_s > 0.0
    one, other = (contents(tmp_path / name / "proofs" / "proof-1") for name in ("whole", "parts"))
    assert one.pop("manifest.json") != other.pop("manifest.json")
    assert one == other
    assert staged(tmp_path / "parts") == {}


def test_what_it_cost_is_the_sum_of_the_parts(tmp_path: Path, interrupt: Interrupt) -> None:
    note = interrupted(tmp_path, interrupt) / "begun.json"
    said = json.loads(note.read_text())
    assert 0.0 < said["cost"]["wall_s"] < 300.0
    assert said["cost"]["gradient_evals"] == 20
    said["cost"] |= {"wall_s": 1000.0, "device_s": 2000.0}  # as if the first part had been long
    note.write_text(json.dumps(said))
    cost = run_prove(job(tmp_path)).generation
    assert 1000.0 < cost.wall_s < 1300.0
    assert 2000.0 < cost.device_s < 2300.0


def cut(folder: Path) -> None:
    (folder / "weights" / "step=10.parquet").unlink()


def flip(folder: Path) -> None:
    path = folder / "weights" / "step=10.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve(folder: Path) -> None:
    path = folder / "weights" / "step=20.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap(folder: Path) -> None:
    """A sound checkpoint of another model."""
    shutil.copy(folder / "weights" / "step=0.parquet", folder / "weights" / "step=20.parquet")


def say(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "begun.json").write_text(text)

    return write


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a checkpoint is missing": cut,
    "a bit is wrong": flip,
    "a file is cut short": halve,
    "a resume point without meaning": say("[]"),
    "a resume point of nothing": say('{"cost": {}, "steps": [], "checkpoints": "", "source": ""}'),
    "a resume point within an interval": say('{"cost": {}, "steps": [17], "checkpoints": "", "source": ""}'),
    "another checkpoint in its place": swap,
    "a resume point of words": say(
        '{"cost": {"wall_s": "long"}, "steps": ["twenty"], "checkpoints": "", "source": ""}'
    ),
    "a resume point that goes back": say('{"cost": {}, "steps": [20, 15], "checkpoints": "", "source": ""}'),
    "half a resume point": say('{"cost": {'),
    "no resume point": lambda folder: (folder / "begun.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_made_anew(tmp_path: Path, interrupt: Interrupt, damage: str) -> None:
    whole = run_prove(job(tmp_path / "whole"))
    folder = interrupted(tmp_path, interrupt)
    DAMAGE[damage](folder)
    made = run_prove(job(tmp_path))
    assert (made.root, made.taken_up_at) == (whole.root, ())
    assert staged(tmp_path) == {}


def test_of_several_tries_the_farthest_is_resumed_and_what_came_after_its_resume_point_is_not(
    tmp_path: Path, interrupt: Interrupt
) -> None:
    whole = run_prove(job(tmp_path / "whole"))
    near, far = (interrupted(tmp_path / name, interrupt, step) for step, name in ((10, "other"), (20, "own")))
    near.rename(far.parent / "proof-1-aaaaaaaa")
    (far / "weights" / "step=25.parquet").write_bytes(b"half a file")
    (far / "batches.parquet").write_bytes(b"half a file")
    made = run_prove(job(tmp_path / "own"))
    assert (made.root, made.taken_up_at) == (whole.root, (20,))
    assert staged(tmp_path / "own") == {}


def test_training_that_diverged_is_not_kept(tmp_path: Path, interrupt: Interrupt) -> None:
    interrupt({20: InputError("training diverged")})
    with pytest.raises(InputError):
        run_prove(job(tmp_path))
    assert staged(tmp_path) == {}


def test_what_took_seconds_is_not_kept(tmp_path: Path, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RESUMABLE_S", 30.0)
    interrupt({20: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run_prove(job(tmp_path))
    assert staged(tmp_path) == {}


@pytest.mark.parametrize("what", ["resume point", "checkpoint"])
def test_storage_that_is_away_while_it_is_taken_up_costs_nothing(
    tmp_path: Path,
    interrupt: Interrupt,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    interrupted(tmp_path, interrupt)
    away = OSError(errno.ESTALE, "Stale file handle")

    def fail(*_: object) -> None:
        if what == "resume point":
            raise away
        raise InputError("not a readable Parquet file") from away

    with monkeypatch.context() as patched:
        if what == "resume point":
            patched.setattr(writer, "read_resume_point", fail)
        else:
            patched.setattr(ParquetProof, "checkpoint", fail)
        with pytest.raises(OSError, match="Stale"):
            run_prove(job(tmp_path))
    assert run_prove(job(tmp_path)).taken_up_at == (20,)
    assert staged(tmp_path) == {}


def test_a_proof_that_was_finished_but_not_put_in_its_place_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        assert list(tmp_path.glob(".staging/*/begun.json")), "SIGKILL would leave nothing to go on from"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ProofWriter, "close", killed)
        with pytest.raises(KeyboardInterrupt):
            run_prove(job(tmp_path))
    made = run_prove(job(tmp_path))
    assert made.taken_up_at == (47,)
    assert "begun.json" not in made.files
    assert staged(tmp_path) == {}


def test_an_update_that_fails_for_want_of_memory_is_no_bad_input(tmp_path: Path, interrupt: Interrupt) -> None:
    interrupt({20: UpdateError("optimizer SGD cannot make a step: can't allocate memory")})
    with pytest.raises(UpdateError):
        run_prove(job(tmp_path))
    assert run_prove(job(tmp_path)).taken_up_at == (20,)


def test_an_own_model_that_was_changed_since_is_proved_anew(
    tmp_path: Path, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
from torch import nn

def make_net(*, in_channels, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))
"""
    (tmp_path / "changing_lab.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = replace(LONG, model="changing_lab:make_net").recipe(TRAIN.data.load(), device="cpu", threads=1)
    work = replace(job(tmp_path), recipe=recipe)
    for change, taken_up_at in (("", (20,)), ("# changed", ())):
        interrupt({20: KeyboardInterrupt()})
        with pytest.raises(KeyboardInterrupt):
            run_prove(work)
        (tmp_path / "changing_lab.py").write_text(source + change)
        assert run_prove(work).taken_up_at == taken_up_at


def test_another_model_than_the_recorded_one_is_refused(tmp_path: Path) -> None:
    work, dataset = job(tmp_path), TRAIN.data.load()
    other = initial_checkpoint(replace(work.recipe, model="resnet20"), dataset)
    sink = MemoryProof(work.recipe, len(dataset))
    with pytest.raises(InputError, match="resnet8 is another model than the one whose step 0 is recorded"):
        record_training(work.recipe, dataset, sink, resume=StartingPoint(checkpoint=other, cost=Cost()))
    own = replace(initial_checkpoint(work.recipe, dataset), step=7)
    with pytest.raises(InputError, match="end of an interval, got step 7"):
        record_training(work.recipe, dataset, sink, resume=StartingPoint(checkpoint=own, cost=Cost()))


def test_the_time_of_writing_is_in_the_cost_of_every_part(
    tmp_path: Path, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, write_s = ProofWriter.write_checkpoint, 0.1

    def slowly(writer: ProofWriter, checkpoint: Checkpoint) -> None:
        time.sleep(write_s)
        real(writer, checkpoint)

    monkeypatch.setattr(ProofWriter, "write_checkpoint", slowly)
    interrupt({10: KeyboardInterrupt(), 20: KeyboardInterrupt(), 30: KeyboardInterrupt(), 40: KeyboardInterrupt()})
    made, errors = finished(job(tmp_path))
    assert len(errors) == 4
    assert made.generation.wall_s >= write_s * len(made.checkpoint_steps)
    assert made.generation.device_s == pytest.approx(made.generation.wall_s)  # of a CPU


def test_a_folder_without_files_is_removed_too(tmp_path: Path) -> None:
    (tmp_path / ".staging" / "proof-1-deadbeef" / "weights").mkdir(parents=True)
    run_prove(job(tmp_path))
    assert list((tmp_path / ".staging").iterdir()) == []
