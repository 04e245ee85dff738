"""Policies that are made of honest runs before a sweep begins."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import pytest

from raypol.core.attacks import find_attack
from raypol.core.errors import InputError
from raypol.core.verification.policies import Policy, Use, strict
from raypol.core.verification.replay import Conditions
from raypol.runs.designs.design import Arm, Design
from raypol.runs.designs.points import trial_at
from raypol.runs.sweeps import calibrated
from raypol.runs.sweeps.calibrated import KINDS, calibrated_design, judged_by
from raypol.runs.trials.verify import Examination
from raypol.store.location import open_location
from tests.studies import TRAIN

LIMITS: Final = {metric: [0.1, 0.2] for metric in ("l1", "l2", "linf", "cos")}
ENVELOPE: Final = Use(check="envelope", parameters={"limits": LIMITS})
MADE: Final = {kind: Policy(name=kind, checks=(*strict.checks[:n], ENVELOPE)) for n, kind in enumerate(KINDS, 2)}
DESIGN: Final = Design(
    train=TRAIN,
    arms={
        "knows": Arm("steered_optimal", {"steps": 20}, knows_envelope=True),
        "does not": Arm("steered_optimal", {"steps": 20}),
        "plain": find_attack("steered_optimal"),
    },
    space={},
    policies=(replace(strict, name="other"),),
    calibrate_on=(7, 8, 9),
)


def test_policies_are_in_their_order_and_adversaries_know_them() -> None:
    other = Policy(name="a third", checks=strict.checks)
    found = [judged_by(DESIGN, order) for order in permutations([*MADE.values(), other])]
    assert {one.every_policy_name for one in found} == {
        ("published", "strict", "other", "calibrated", "bound", "a third")
    }
    for design in found:
        attacks = {arm: trial_at(design, {"arm": arm}).attack.envelope for arm in DESIGN.arms}
        assert attacks == {"knows": (0.1, 0.2), "does not": (), "plain": ()}
        assert design.calibrate_on == ()
    assert len({trial_at(design, {"arm": "knows"}).trial_id("x") for design in found}) == 1


def test_without_an_envelope_nobody_knows_one() -> None:
    design = judged_by(DESIGN, [Policy(name="calibrated", checks=strict.checks)])
    assert trial_at(design, {"arm": "knows"}).attack.envelope == ()


def test_two_policies_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two policies are named 'bound'"):
        judged_by(DESIGN, [MADE["bound"], replace(MADE["bound"], checks=strict.checks)])


class NoRunner:
    """Stands for Ray, which is not started twice."""

    started = 0

    def __init__(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - a runner's
        type(self).started += 1

    def __enter__(self) -> "NoRunner":
        return self

    def __exit__(self, *_: object) -> None:
        """End."""


def test_policies_are_made_once_and_found_ever_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def evidence(_: object, __: object, train: object, seeds: object, conditions: object, **___: object) -> list[Any]:
        asked.append((train, seeds, conditions))
        return []

    monkeypatch.setattr(calibrated, "RayRunner", NoRunner)
    monkeypatch.setattr(calibrated, "honest_evidence", evidence)
    monkeypatch.setattr(calibrated, "calibrate", lambda _, *, kind, **__: MADE[kind])
    monkeypatch.setattr(NoRunner, "started", 0)
    results = open_location(tmp_path)
    first = calibrated_design(DESIGN, results, None)
    assert asked == [(TRAIN, (7, 8, 9), DESIGN.examination.conditions)]
    names = sorted(path.name for path in (tmp_path / "policies").iterdir())
    assert [name.split("-")[0] for name in names] == ["bound", "calibrated"]
    again = calibrated_design(replace(DESIGN, train=replace(TRAIN, seed=3, data_dir="/elsewhere")), results, None)
    assert NoRunner.started == 1, "the prover's seed and the place of its files decide nothing"
    assert [one.sha256 for one in again.policies] == [one.sha256 for one in first.policies]
    assert [one.sha256 for one in first.policies[1:]] == [policy.sha256 for policy in MADE.values()]
    others = [
        replace(DESIGN, calibrate_on=(7, 8, 10)),
        replace(DESIGN, train=replace(TRAIN, lr=0.1)),
        replace(DESIGN, examination=Examination(conditions=Conditions(augmentation="recorded"))),
    ]
    for number, other in enumerate(others, 2):
        calibrated_design(other, results, None)
        assert NoRunner.started == number
    assert len(list((tmp_path / "policies").iterdir())) == 8
