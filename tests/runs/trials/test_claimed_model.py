"""Rows of attacks that claim another model than W_T, or another training than A's: how far it is, and what was swept."""

import math
from dataclasses import replace
from typing import Any

import pytest

from raypol.core.attacks import find_attack
from raypol.core.proof import final_checkpoint
from raypol.core.spoofing.grants import GRANTS
from raypol.store.proofs.reader import ParquetProof
from raypol.store.results_folder import ResultsFolder
from tests.runs.conftest import Fresh, Recorded
from tests.studies import SHORT, trial


def by_hand(study: Any, proof_id: str) -> float:  # noqa: ANN401 - Study
    folders = ResultsFolder(study.results).proof(proof_id), study.proof.folder
    a, b = (final_checkpoint(ParquetProof(folder)).parameters for folder in folders)
    return math.sqrt(sum(float((a[name] - b[name]).double().square().sum()) for name in a)) / float(study.d_ref.l2)


def test_attacks_that_end_at_the_stolen_model_are_no_distance_from_it(recorded: Recorded) -> None:
    assert {arm: outcome.row.claimed_l2 for arm, outcome in recorded.spoofs.items()} == dict.fromkeys(
        recorded.spoofs, 0.0
    )
    assert recorded.honest.row.claimed_l2 is None


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("glue", {"joint": 0.25}),
        ("continue", {"start_noise": 0.25, "pruned": 0.125}),
        ("retrain", {}),
        ("distil", {}),
        ("subtract", {"fraction": 0.125}),
    ],
)
def test_a_row_says_how_far_another_model_is_and_what_was_asked(
    name: str, fields: dict[str, float], fresh: Fresh
) -> None:
    attack = find_attack(name, **fields)
    outcome = fresh.run(trial(name, attack=attack, spoof=replace(SHORT, grants=GRANTS)))
    row = outcome.row
    assert row.status == "ok", row.message
    assert row.claimed_l2 == pytest.approx(by_hand(fresh.study, row.proof_id), rel=1e-5)
    assert row.claimed_l2 is not None
    assert row.claimed_l2 > 1e-3
    assert {field: getattr(row, field) for field in fields} == fields
    assert row.attack == {"continue": "continued", "distil": "retrain", "subtract": "misdeclared"}.get(name, name)


def test_a_row_says_what_grinding_took(fresh: Fresh) -> None:
    attack = find_attack("grind_selection", bad_intervals=2, max_tries=3)
    row = fresh.run(trial("grind", attack=attack, spoof=replace(SHORT, grants=GRANTS))).row
    assert row.status == "ok", row.message
    assert (row.claimed_l2, row.bad_intervals) == (0.0, 2)
    assert row.hashes == 5  # both intervals are bad: nothing to search
    assert (row.acceptance_rate, row.retries) == (0.0, 0.0)


def test_a_forged_trace_has_the_honest_model(fresh: Fresh) -> None:
    honest = fresh.study.proof.manifest.recipe
    spoof = replace(SHORT, steps=honest.steps, interval=honest.interval, augmentation="honest", grants=GRANTS)
    row = fresh.run(trial("forged", attack=find_attack("forge_batch", candidates=2), spoof=spoof)).row
    assert row.status == "ok", row.message
    assert (row.claimed_l2, row.candidates, row.redraw) == (0.0, 2, "batch")
    assert row.gradient_evals == 3 * honest.num_intervals


def test_a_choice_that_contradicts_the_trace_is_an_error_row(fresh: Fresh) -> None:
    row = fresh.run(trial("forged", attack=find_attack("forge_batch"), spoof=replace(SHORT, grants=GRANTS))).row
    assert row.status == "error"
    assert "contradicts steps 10, expected" in row.message
