"""The arena around a proof of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from raypol import prove
from raypol.core.errors import InputError
from raypol.core.proof import Cost, MemoryProof, Recipe
from raypol.core.training.train_config import TrainConfig
from raypol.runs.arena.own_proof import lengths_of, own_arena
from raypol.runs.arena.recheck import trials_of
from raypol.runs.arena.standing import read_arenas
from raypol.runs.arena.verifiers import ALWAYS, STATIC
from raypol.runs.designs.points import trial_at
from raypol.runs.sweeps.plan import SweepOptions, plan_sweep
from raypol.runs.trials.honest_proof import proof_at
from raypol.store.location import open_location
from raypol.store.proofs.writer import new_proof
from tests.scenes import TINY, tiny

DATA: Final = replace(tiny(), name=TINY)
TRAIN: Final = TrainConfig(
    dataset=TINY, model="tests.toys:mlp", steps=20, interval=2, batch_size=8, seed=7, share="ab" * 16, lr_drops=()
)


def stored(folder: Path, train: TrainConfig = TRAIN, proof: MemoryProof | None = None) -> str:
    made = prove(train, DATA) if proof is None else proof
    with new_proof(open_location(folder), "p", made.recipe, len(DATA)) as writer:
        for checkpoint in made.checkpoints:
            writer.write_checkpoint(checkpoint)
        writer.write_batches(made.records)
        writer.finish(Cost(device_s=1.0, wall_s=1.0, gradient_evals=20), {"device": "cpu"})
    return str(folder / "proofs" / "p")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stored(tmp_path_factory.mktemp("own"))


def test_it_is_of_the_proofs_own_training(address: str) -> None:
    sweep = own_arena(address, DATA, "/data")
    root = proof_at(address).manifest.root
    assert sweep.name == f"arena-{root[:12]}"
    assert sweep.standard is not None
    for design, calibrate_on, budget in ((sweep.smoke, 0, 2), (sweep.standard, 5, 8), (sweep.paper, 20, 50)):
        assert replace(design.train, memory_format="auto").stated() == replace(TRAIN, data_dir="/data").stated()
        assert design.proof == address
        assert (len(design.calibrate_on), design.samples) == (calibrate_on, budget)
        assert not {7, 8} & set(design.calibrate_on), "no seed of the proof's and the reference's"
        assert [policy.name for policy in design.policies] == [policy.name for policy in STATIC]
        recipe = design.train.recipe(DATA, device="cpu", threads=proof_at(address).manifest.recipe.threads)
        assert recipe == proof_at(address).manifest.recipe
        plan = plan_sweep(sweep, "smoke", design, SweepOptions(name="x", search="adaptive", confirmed=True))
        assert {trial.train.seed for trial in plan.examples()} == {7}
        assert plan.asked["proof"] == address
        for arm in design.attacks():
            trial = trial_at(design, {"arm": arm, "seed": 7})
            assert trial.spoof.interval == 2, "k is the verifier's"


def test_a_proof_elsewhere_is_another_sweep_and_none_is_no_part_of_a_name(address: str) -> None:
    design = own_arena(address, DATA).smoke
    assert replace(design, proof="").as_text() == {k: v for k, v in design.as_text().items() if k != "proof"}
    assert replace(design, proof="/elsewhere").as_text() != design.as_text()


@pytest.mark.parametrize(
    ("interval", "said"), [(3, "has 7 intervals; the arena needs at least 8"), (20, "has 1 intervals")]
)
def test_a_proof_of_few_intervals_is_refused(interval: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        own_arena(stored(tmp_path, replace(TRAIN, interval=interval)), DATA)


def test_a_proof_that_cannot_be_declared_is_refused_by_what_it_has(tmp_path: Path) -> None:
    recipe = TRAIN.recipe(DATA, device="cpu", threads=1)
    other = replace(recipe, transform=replace(recipe.transform, mean=(0.123,)))
    with pytest.raises(InputError, match="has this proof's transform"):
        own_arena(stored(tmp_path, proof=prove(other, DATA)), DATA)


def test_what_is_no_proof_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError):
            own_arena(str(place), DATA)


@pytest.mark.parametrize(
    ("steps", "interval", "expected"),
    [(1000, 10, (200, 50, 1000, 80, 200)), (20, 2, (8, 8, 20, 8, 8)), (85, 10, (40, 40, 80, 40, 40))],
)
def test_lengths_are_shares_of_the_proofs(steps: int, interval: int, expected: tuple[int, ...]) -> None:
    recipe = Recipe(dataset="digits", dataset_sha256="", model="m", steps=steps, interval=interval, batch_size=64)
    at = lengths_of(recipe, 1437)
    last = at.epochs // interval
    assert (last - 2) * interval // 22 == (last - 1) * interval // 22 or at.epochs == steps, (
        "two intervals in the last epoch"
    )
    assert (at.declared, at.low, at.high, at.searching, at.searching_high) == expected
    assert (at.step, at.whole) == (interval, steps)


# --- the verifiers ---------------------------------------------------------------------------------------------------


def test_verifiers_differ_and_are_named_once() -> None:
    every = (*ALWAYS, *STATIC)
    assert len({policy.name for policy in every}) == len(every)
    assert len({policy.sha256 for policy in every}) == len(every)
    assert {policy.name for policy in every if policy.needs_exact} == {"exact_bits", "refereed", "exact"}
    assert {policy.name for policy in every if policy.draws_intervals} == {"random"}
    strict_checks = {use.check for use in ALWAYS[1].checks}
    for policy in STATIC:
        stricter = {use.check for use in policy.checks} >= strict_checks
        assert stricter is (policy.name not in ("top_q", "refereed")), policy.name


def test_trials_of_standing_results_are_named_by_policies_of_today() -> None:
    for arena in read_arenas(open_location(Path(__file__).parents[3] / "docs" / "arena")):
        assert trials_of(arena), arena.sweep_id
