"""The parties' jobs: small to send, repeatable, and nothing is left when they fail."""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from raypol.cluster.jobs import ProveJob, SpoofJob, SurveyJob, run_craft, run_prove, run_seal, run_survey
from raypol.cluster.runners import LocalRunner, Role
from raypol.core.attacks import find_attack
from raypol.core.datasets.load import load_dataset
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.core.proof import final_checkpoint
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.runs.trials.trial import run_honest, run_trial
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.staging import crafted_folder
from tests.studies import QUICK_ARMS, TRAIN, on, prepare, trial

J = TypeVar("J")
R = TypeVar("R")

_LARGEST_MESSAGE = 64 << 10


class WeighingRunner(LocalRunner):
    """Does what Ray would: everything that goes to a worker or comes back is pickled, and here also weighed."""

    def __init__(self) -> None:
        super().__init__(on())
        self.weights: dict[str, int] = {}

    def submit(self, role: Role, function: Callable[[J], R], job: J) -> "Future[R]":
        """See Runner."""

        def weighed(sent: bytes) -> R:
            result: R = pickle.loads(self._weigh(function(pickle.loads(sent)), f"{function.__name__} answers"))  # noqa: S301 - our own
            return result

        return super().submit(role, weighed, self._weigh(job, f"{function.__name__} is sent"))

    def _weigh(self, message: object, name: str) -> bytes:
        packed = pickle.dumps(message)
        self.weights[name] = max(self.weights.get(name, 0), len(packed))
        return packed


@pytest.fixture(scope="module")
def runner() -> Iterator[WeighingRunner]:
    with WeighingRunner() as runner:
        yield runner


def leftovers(results: Path) -> list[Path]:
    return [path for path in (results / ".staging").rglob("*") if path.is_file()]


def test_neither_weights_nor_points_pass_through_the_driver(runner: WeighingRunner, tmp_path: Path) -> None:
    study = prepare(runner, open_location(tmp_path))
    honest = run_honest(runner, study, trial("null"))
    for arm in ("null", "II", "III-loss", "I-tail"):
        outcome = run_trial(runner, study, trial(arm), honest.row)
        assert outcome.row.status == "ok", outcome.row.message
    assert study.proof.manifest.sizes.weights // 5 > _LARGEST_MESSAGE, "a model that would not fit into a message"
    assert outcome.row.size_points_bytes
    jobs = ("run_prove", "run_survey", "run_replay", "run_craft", "run_seal")
    for job in jobs:
        assert runner.weights[f"{job} is sent"] < _LARGEST_MESSAGE
        assert runner.weights[f"{job} answers"] < _LARGEST_MESSAGE, runner.weights


def prove_job(results: Path, proof_id: str = "proof-1") -> ProveJob:
    recipe = TRAIN.recipe(load_dataset("digits"), device="cpu", threads=1)
    return ProveJob(
        results=str(results), proof_id=proof_id, recipe=recipe, data=TRAIN.data, device="cpu", environment={}
    )


def test_a_job_done_again_replaces_what_it_made(tmp_path: Path) -> None:
    job = prove_job(tmp_path)
    first, second = run_prove(job), run_prove(job)
    assert first.root == second.root
    assert [path.name for path in (tmp_path / "proofs").iterdir()] == ["proof-1"]
    assert leftovers(tmp_path) == []


def test_a_job_clears_what_a_killed_try_left_of_its_own_proof_only(tmp_path: Path) -> None:
    own = tmp_path / ".staging" / "proof-1-deadbeef" / "weights"
    other = tmp_path / ".staging" / "proof-12-deadbeef"
    for folder in (own, other):
        folder.mkdir(parents=True)
        (folder / "step=0.parquet").write_bytes(b"half a file")
    run_prove(prove_job(tmp_path))
    assert leftovers(tmp_path) == [other / "step=0.parquet"]


def test_a_diverging_training_leaves_nothing(tmp_path: Path) -> None:
    job = prove_job(tmp_path)
    recipe = replace(job.recipe, optimizer=replace(job.recipe.optimizer, options={"lr": 1e30}))
    with pytest.raises(InputError, match="training diverged between steps 0 and 10"):
        run_prove(replace(job, recipe=recipe))
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "proofs").exists()


@pytest.fixture(scope="module")
def stolen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with an honest proof named proof-1."""
    results = tmp_path_factory.mktemp("stolen")
    run_prove(prove_job(results))
    return results


def spoof_job(results: Path, stolen: Path, arm: str = "III-loss") -> SpoofJob:
    return SpoofJob(
        results=str(results),
        proof_id="proof-2",
        target=str(stolen / "proofs" / "proof-1"),
        attack=QUICK_ARMS[arm],
        spoof=SpoofConfig(steps=15, interval=4, grants=("usual", "interval")),
        data=TRAIN.data,
        device="cpu",
    )


@pytest.mark.parametrize(
    "parts",
    [((0, 4),), ((0, 1), (1, 2), (2, 3), (3, 4)), ((0, 3), (3, 4)), ()],
    ids=["one shard", "a shard each", "uneven", "while sealing"],
)
def test_how_intervals_are_sharded_does_not_change_a_byte(
    tmp_path: Path, stolen: Path, parts: tuple[tuple[int, int], ...]
) -> None:
    job = spoof_job(tmp_path / "a", stolen)
    for part in reversed(parts):
        run_craft(replace(job, shard=part))
        assert run_craft(replace(job, shard=part)).reused  # a repeated job finds its shard
    outcome = run_seal(replace(job, shards=parts))
    whole = run_seal(spoof_job(tmp_path / "b", stolen))
    assert outcome.manifest is not None
    assert whole.manifest is not None
    assert outcome.manifest.root == whole.manifest.root
    kept = outcome.stats or tuple(one for part in parts for one in run_craft(replace(job, shard=part)).stats)
    assert len(kept) == 4
    crafted_folder(open_location(tmp_path / "a"), "proof-2").remove()
    assert leftovers(tmp_path / "a") == []


def test_sealing_clears_a_killed_try_but_not_its_own_shards(tmp_path: Path, stolen: Path) -> None:
    job = spoof_job(tmp_path, stolen)
    half = tmp_path / ".staging" / "proof-2-12345678"
    half.mkdir(parents=True)
    (half / "batches.parquet").write_bytes(b"")
    run_craft(replace(job, shard=(0, 4)))
    run_seal(replace(job, shards=((0, 4),)))
    assert {path.parent.name for path in leftovers(tmp_path)} == {"proof-2-crafted"}
    assert [path.name for path in (tmp_path / "proofs").iterdir()] == ["proof-2"]


def test_an_attack_on_a_proof_without_its_last_weights_says_so(stolen: Path) -> None:
    folder = stolen / "proofs" / "proof-1"
    proof = ParquetProof(open_location(folder))
    assert final_checkpoint(proof).step == 40
    for steps, said in (((), "no step"), ((0, 10, 20, 30), "step 30")):
        shorter = ParquetProof(open_location(folder), replace(proof.manifest, checkpoint_steps=steps))
        with pytest.raises(
            InputError, match=rf"expected weights at the last step, 40; the last recorded are of {said}"
        ):
            final_checkpoint(shorter)


def test_a_survey_can_do_without_accuracies(stolen: Path) -> None:
    job = SurveyJob(
        proof=str(stolen / "proofs" / "proof-1"), data=TRAIN.data, device="cpu", positions=(0, 5), accuracy=False
    )
    assert all(value != value for value in run_survey(job).accuracies)
    assert all(0 <= value <= 1 for value in run_survey(replace(job, accuracy=True)).accuracies)


def test_a_data_folder_means_the_same_in_a_worker_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert DataSource(name="fashion_mnist", folder="data").folder == str(tmp_path / "data")
    assert DataSource(name="fashion_mnist", folder=str(tmp_path)).folder == str(tmp_path)
    assert DataSource(name="digits").folder is None


def test_jobs_of_presets_pickle() -> None:
    for name in ("null", "iii_invisible", "zhang2022_i"):
        assert pickle.loads(pickle.dumps(find_attack(name))) == find_attack(name)  # noqa: S301


def test_who_watches_loads_no_second_dataset() -> None:
    source = DataSource(name="digits")
    assert source.load(lambda *_: None) is source.load() is DataSource(name="digits").load()
