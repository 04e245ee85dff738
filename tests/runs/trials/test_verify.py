"""Verifying with a runner: how the work is split, and what is not taken from a proof's word."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.cluster.runners import LocalRunner
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.core.verification.policies import Policy, Use, find_policy, strict
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import Evidence, examine
from raypol.runs.trials.verify import Examination, allow_names, examine_proof, shards
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof
from tests.runs.conftest import Recorded
from tests.studies import TRAIN

RECORDED = Examination(conditions=Conditions(augmentation="recorded"))


@given(st.integers(0, 400), st.integers(-1, 70))
def test_shards_partition_the_range_in_order(count: int, workers: int) -> None:
    parts = shards(count, workers)
    assert [i for start, stop in parts for i in range(start, stop)] == list(range(count))
    lengths = [stop - start for start, stop in parts]
    assert all(1 <= length <= 25 for length in lengths)
    assert max(lengths, default=0) - min(lengths, default=0) <= 1
    assert len(parts) >= min(count, 2 * workers)  # no worker without work while there is some


@pytest.mark.parametrize(
    ("count", "workers", "parts"),
    [
        (0, 4, []),
        (1, 4, [(0, 1)]),
        (4, 1, [(0, 2), (2, 4)]),
        (5, 2, [(0, 1), (1, 2), (2, 3), (3, 5)]),
        (51, 1, [(0, 17), (17, 34), (34, 51)]),
    ],
)
def test_shards_of_small_work(count: int, workers: int, parts: list[tuple[int, int]]) -> None:
    assert shards(count, workers) == parts


@pytest.mark.parametrize("arm", ["honest", "III-loss", "forged_momentum"])
def test_sharded_evidence_is_that_of_one_pass(local: LocalRunner, recorded: Recorded, arm: str) -> None:
    outcome = recorded.honest if arm == "honest" else recorded.spoofs[arm]
    folder = recorded.study.results / "proofs" / outcome.row.proof_id
    told: list[tuple[str, int, int]] = []
    found, seconds = examine_proof(local, folder, TRAIN.data, RECORDED, on_progress=lambda *seen: told.append(seen))

    def in_one_pass(_: None) -> Evidence:  # on as many threads as the runner's workers
        return examine(ParquetProof(folder), TRAIN.data.load(), RECORDED.conditions)

    whole = local.submit("verifier", in_one_pass, None).result()
    assert repr(found) == repr(whole)
    assert seconds > 0
    number = found.recipe.num_intervals
    assert ("reading checkpoints", number + 1, number + 1) in told
    assert ("replaying intervals", 0, number) in told
    assert told[-1] == ("replaying intervals", number, number)
    assert told == sorted(told)


def test_what_policies_want_is_gathered_in_shards_and_names_no_trial(local: LocalRunner, recorded: Recorded) -> None:
    policy = find_policy("strict+near_copy+memorisation+unforgeable")
    folder = recorded.study.results / "proofs" / recorded.spoofs["III-invisible"].row.proof_id
    asked = replace(RECORDED, wanted=policy.wanted)
    assert repr(asked) == repr(RECORDED)
    found, _ = examine_proof(local, folder, TRAIN.data, asked)
    whole = examine(ParquetProof(folder), TRAIN.data.load(), RECORDED.conditions, wanted=policy.wanted)
    assert policy(found, Thresholds()).checks == policy(whole, Thresholds()).checks
    assert "near_copy" in policy(found, Thresholds()).rejected_by


@pytest.mark.parametrize(("selection", "replayed"), [("all", 4), ("top_q", 1), ("random", 1)])
def test_fewer_intervals_are_replayed_when_asked(
    local: LocalRunner, recorded: Recorded, selection: str, replayed: int
) -> None:
    examination = replace(RECORDED, selection=selection)  # type: ignore[arg-type]
    evidence, _ = examine_proof(local, recorded.study.proof.folder, TRAIN.data, examination)
    assert len(evidence.replays) >= replayed
    assert len(evidence.survey.movements) == 4
    assert strict(evidence, Thresholds(), None).is_valid


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"selection": "every"}, "unknown selection 'every'; possible"),
        ({"query_budget": 0, "selection": "top_q"}, ">= 1"),
    ],
)
def test_a_senseless_examination_is_an_input_error(
    local: LocalRunner, recorded: Recorded, change: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        examine_proof(local, recorded.study.proof.folder, TRAIN.data, replace(RECORDED, **change))  # type: ignore[arg-type]


@pytest.fixture
def copy(recorded: Recorded, tmp_path: Path) -> Path:
    """The honest proof's folder, to damage."""
    return Path(shutil.copytree(recorded.study.proof.folder.path, tmp_path / "elsewhere"))


def test_a_copied_folder_verifies_elsewhere(local: LocalRunner, recorded: Recorded, copy: Path) -> None:
    evidence, _ = examine_proof(local, open_location(copy), TRAIN.data, RECORDED)
    assert evidence.computed_root == recorded.study.proof.manifest.root
    assert strict(evidence, Thresholds(l1=0, l2=0, linf=0, cos=0), None).is_valid


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (DataSource(name="tests.scenes:tiny"), r"about dataset 'digits'; expected 'tests.scenes:tiny' \(--dataset\)"),
        (DataSource(name="fashion_mnist"), "about dataset 'digits'; expected 'fashion_mnist'"),
    ],
)
def test_a_proof_does_not_choose_the_verifiers_data(
    local: LocalRunner, recorded: Recorded, data: DataSource, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        examine_proof(local, recorded.study.proof.folder, data, RECORDED)


def test_other_data_under_the_same_name_are_told_apart(local: LocalRunner, copy: Path) -> None:
    manifest = copy / "manifest.json"
    before = ParquetProof(open_location(copy)).recipe.dataset_sha256
    manifest.write_text(manifest.read_text().replace(before, "0" * 64))
    with pytest.raises(InputError, match="made on other data: its digits has SHA-256 000000000000"):
        examine_proof(local, open_location(copy), TRAIN.data, RECORDED)


@pytest.mark.parametrize(
    ("named", "typed", "allowed"),
    [
        ({}, {}, True),
        ({"model": "os:system"}, {}, False),
        ({"model": "os:system"}, {"model": "os:path"}, False),
        ({"model": "os:system"}, {"dataset": "os:system"}, False),
        ({"model": "os:system"}, {"model": "os:system"}, True),
        ({"dataset": "os:system"}, {}, False),
        ({"dataset": "os:system"}, {"dataset": "os:system"}, True),
        ({"dataset": "os:system", "model": "os:path"}, {"dataset": "os:system"}, False),
    ],
)
def test_code_that_a_proof_names_runs_only_if_the_verifier_typed_it(
    recorded: Recorded, named: dict[str, str], typed: dict[str, str], allowed: bool
) -> None:
    recipe = replace(recorded.study.proof.manifest.recipe, **named)  # type: ignore[arg-type]
    choices = {"dataset": None, "model": None, **typed}
    if allowed:
        allow_names(recipe, **choices)
        return
    with pytest.raises(InputError, match=r"code outside raypol; give --(model|dataset) os:"):
        allow_names(recipe, **choices)


def test_bits_are_compared_where_it_is_asked_for_and_the_asking_names_no_trial(
    local: LocalRunner, recorded: Recorded
) -> None:
    policy = Policy(name="alone", checks=(Use(check="exact"),))
    folder = recorded.study.results / "proofs" / recorded.honest.row.proof_id
    asked = Examination(conditions=Conditions(), accuracy=False, exact=True)
    assert repr(asked) == repr(replace(asked, exact=False, unperturbed=False))
    found, _ = examine_proof(local, folder, TRAIN.data, asked)
    assert policy(found).is_valid, policy(found).checks
    plain, _ = examine_proof(local, folder, TRAIN.data, replace(asked, exact=False))
    assert policy(plain).rejected_by == "exact"
    assert found.replays != plain.replays
    assert [replace(r, is_exact=None, recorded_error=None, machine="") for r in found.replays] == list(plain.replays)


def test_spoofs_are_replayed_unperturbed_unless_nobody_asks(local: LocalRunner, recorded: Recorded) -> None:
    folder = recorded.study.results / "proofs" / recorded.spoofs["III-loss"].row.proof_id
    control = ParquetProof(folder).recipe
    for asked in (True, False):
        examination = replace(RECORDED, unperturbed=asked)
        found, _ = examine_proof(local, folder, TRAIN.data, examination, control=control)
        assert all((replay.control is not None) is asked for replay in found.replays)


@pytest.mark.parametrize("swapped", ["weights", "batches", "manifest.json"])
def test_files_that_change_between_survey_and_replay_are_noticed(
    swapped: str, local: LocalRunner, recorded: Recorded, copy: Path
) -> None:
    """As by the owner of the storage, who shows the survey an honest W_0 and order, and the replay an honest W_T."""
    other = Path(recorded.study.proof.folder.path).parent / recorded.spoofs["III-loss"].row.proof_id

    def swap(what: str, done: int, _of: int, _left: object = None) -> None:
        if what == "replaying intervals" and done == 0:
            for path in sorted(other.rglob("*")):
                if path.is_file() and swapped in str(path.relative_to(other)):
                    shutil.copy(path, copy / path.relative_to(other))

    with pytest.raises(InputError):
        examine_proof(local, open_location(copy), TRAIN.data, RECORDED, on_progress=swap)
