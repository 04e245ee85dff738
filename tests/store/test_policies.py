"""Policy and verdict files: written, read back, and refused where they come from anyone with anything in them."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import Distances
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.verification.family import Family
from raypol.core.verification.policies import Policy, Use, published, strict
from raypol.core.verification.thresholds import MOVES, Thresholds
from raypol.core.verification.verdict import Check, Verdict
from raypol.core.verification.verifier import Evidence, examine
from raypol.store.json_files import MAX_BYTES
from raypol.store.location import open_location
from raypol.store.policies import open_policy, read_policy, write_policy
from raypol.store.verdicts import as_json, differences, read_verdict, verdict_file, verdict_outcome, write_verdict
from tests.toys import EXACT, RECORDED

HERE = "tests.store.test_policies"


@pytest.fixture(scope="module")
def evidence(honest: MemoryProof, digits: Dataset) -> Evidence:
    return examine(honest, digits, RECORDED)


@pytest.fixture
def own(evidence: Evidence) -> Policy:
    return Policy(
        name="own",
        checks=(Use(check="hashes"), Use(check="direction", parameters={"least": [0.1, 0.2]})),
        thresholds=MOVES,
        selection="both",
        query_budget=3,
        family=Family.of(evidence),
    )


def anything(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Check:
    del evidence, thresholds, d_ref
    return Check(name="anything", passed=True, detail="", numbers={"nan": math.nan, "inf": math.inf})


def test_a_policy_is_read_back_as_it_was(own: Policy, tmp_path: Path) -> None:
    file = open_location(tmp_path / "own.json")
    for policy in (own, strict, published):
        write_policy(file, policy)
        found = read_policy(file)
        assert found.content() == policy.content()
        assert found.sha256 == policy.sha256


def test_checks_are_added_to_a_file_by_name(own: Policy, tmp_path: Path) -> None:
    write_policy(open_location(tmp_path / "own.json"), own)
    found = open_policy(f"{tmp_path / 'own.json'}+fresh_order+{HERE}:anything")
    assert [use.check for use in found.checks] == ["hashes", "direction", "fresh_order", f"{HERE}:anything"]
    assert open_policy("strict") is strict


def edited(**changes: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401 - any JSON
    return lambda content: content.update(changes)


BAD: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another format": (edited(format="raypol-proof"), "not a raypol-policy file of version 1"),
    "a later version": (edited(version=2), "not a raypol-policy file of version 1"),
    "an unknown field": (edited(kept="x"), "kept: "),
    "no checks": (lambda content: content.pop("checks"), "checks: "),
    "code from outside": (
        edited(checks=[{"check": "os:abort"}]),
        "names check 'os:abort', which is code outside raypol",
    ),
    "an unknown check": (edited(checks=[{"check": "trust"}]), "unknown check 'trust'"),
    "a parameter that no check has": (
        edited(checks=[{"check": "hashes", "parameters": {"x": 1}}]),
        "check hashes has no parameter 'x'",
    ),
    "a parameter that is missing": (edited(checks=[{"check": "envelope"}]), "check envelope needs limits"),
    "a negative slack": (edited(thresholds={"kind": "moves", "l1": -1.0}), "expected l1 >= 0"),
    "an unknown selection": (edited(selection="few"), "selection: "),
    "a family that is none": (edited(family={"recipe": 3}), "family"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_policy_is_one_line(case: str, own: Policy, tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    write_policy(open_location(file), own)
    content = json.loads(file.read_text())
    change, said = BAD[case]
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError) as raised:
        read_policy(open_location(file))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a raypol-policy file"),
        (b"\xff\xfe", "not JSON"),
        (b" " * (MAX_BYTES + 1), f"expected at most {MAX_BYTES:,}"),
    ],
)
def test_a_file_that_is_no_json_is_one_line(text: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(text)
    with pytest.raises(InputError, match=said):
        open_policy(str(tmp_path / "p.json"))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_policy(str(tmp_path / "none.json"))


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_a_verdict_is_read_back_with_all_it_takes_to_repeat_it(evidence: Evidence, own: Policy, tmp_path: Path) -> None:
    policy = replace(own, checks=(*own.checks, Use(check=f"{HERE}:anything")))
    d_ref = Distances(1.0, 2.0, 3.0, 0.5)
    made = verdict_file(policy(evidence), policy, evidence, EXACT, d_ref, {"torch": "2"})
    write_verdict(open_location(tmp_path / "v.json"), made)
    found = read_verdict(open_location(tmp_path / "v.json"))
    assert found.sha256 == made.sha256
    assert found.conditions() == evidence.conditions
    assert found.slack() == MOVES, "the policy's own"
    assert found.reference() == d_ref
    assert found.checks[-1]["numbers"] == {"nan": "nan", "inf": "inf"}
    assert not list(differences(made, found))
    json.loads((tmp_path / "v.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    with pytest.raises(InputError, match="code outside raypol"):
        found.own_policy()


def test_a_changed_verdict_is_refused(evidence: Evidence, tmp_path: Path) -> None:
    made = verdict_file(strict(evidence, EXACT), strict, evidence, EXACT, None, {})
    for name, value in {"outcome": "rejected", "nonce": 5, "sha256": "0" * 64}.items():
        content = json.loads(as_json(made)) | {name: value}
        (tmp_path / "v.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match="the file was changed"):
            read_verdict(open_location(tmp_path / "v.json"))


@pytest.mark.parametrize(
    "change",
    [
        {"augmentation": "none"},
        {"nonce": -1},
        {"nonce": "x"},
        {"thresholds": {"l1": -1}},
        {"d_ref": {"l9": 1}},
        {"checks": 3},
    ],
)
def test_a_file_that_is_no_verdict_is_one_line(change: dict[str, Any], evidence: Evidence, tmp_path: Path) -> None:
    content = json.loads(as_json(verdict_file(strict(evidence, EXACT), strict, evidence, EXACT, None, {}))) | change
    (tmp_path / "v.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as raised:
        read_verdict(open_location(tmp_path / "v.json"))
    assert "not a verdict" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_differences_name_outcomes_and_numbers(evidence: Evidence) -> None:
    before = verdict_file(strict(evidence, EXACT), strict, evidence, EXACT, None, {})
    off = replace(evidence.replays[0], error=Distances(0.0, 0.5, 0.0, 0.0))
    changed = replace(evidence, replays=(off, *evidence.replays[1:]))
    after = verdict_file(strict(changed, EXACT), strict, changed, EXACT, None, {})
    lines = list(differences(before, after))
    assert lines[0] == "outcome: accepted then, rejected now"
    assert any(line.startswith("replay: passed then, failed now") for line in lines)
    assert "replay, l2: 0.0 then, 0.5 now" in lines


def test_what_a_verdict_comes_to(evidence: Evidence) -> None:
    def verdict(*failed: str, unjudged: float = 0.0) -> Verdict:
        names = ("family", "hashes", "replay", "envelope")
        numbers = {"unjudged_intervals": unjudged}
        return Verdict(
            policy="p",
            checks=tuple(Check(name=n, passed=n not in failed, detail="why", numbers=numbers) for n in names),
        )

    assert verdict_outcome(verdict(), strict) == "accepted"
    assert verdict_outcome(verdict("replay"), strict) == "rejected"
    assert verdict_outcome(verdict(unjudged=2.0), strict) == "not calibrated"
    assert verdict_outcome(verdict(unjudged=2.0), published) == "accepted", "that is what the published verifier does"
    assert verdict_outcome(verdict("hashes", unjudged=2.0), strict) == "rejected"
    assert verdict_outcome(verdict("family"), strict) == "not calibrated"
    assert verdict_outcome(verdict("family", "envelope"), strict) == "not calibrated", "numbers of another family"
    assert verdict_outcome(verdict("family", "hashes"), strict) == "rejected", "this needs no calibration"
    del evidence
