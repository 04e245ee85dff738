"""`raypol calibrate`, `raypol policies` and verdict files, as a user types them."""

import json
from pathlib import Path

import pytest

from raypol.core.arithmetic.machine import machine_class
from tests.cli.test_main import Run, run

__all__ = ["run"]

TRAIN = ("--steps", "24", "--interval", "6", "--batch-size", "32")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def calibrated(run: Run, kind: str = "calibrated") -> str:
    made = run("calibrate", *TRAIN, "--seeds", "3", "--margin", "6", "--nonce", "1", "--kind", kind)
    assert made.code == 0, made.err
    return made.out


def test_a_policy_is_made_and_judges(run: Run, place: Path) -> None:
    out = calibrated(run)
    assert "of 3 honest proofs rejected by the policy of the others" in out
    assert out.splitlines()[-1] == "calibrated.json"
    digest = json.loads(json.dumps(out.split("SHA-256 ")[1].split(",")[0]))
    proof = run("prove", *TRAIN, "--seed", "9").last
    accepted = run("verify", proof, "--policy", "calibrated.json", "--verdict", "v.json")
    assert accepted.code == 0, accepted.out
    assert f"SHA-256 {digest[:12]}" in accepted.out
    assert "fresh augmentation" in accepted.out, "as it was calibrated"
    other = run("prove", *TRAIN, "--lr", "0.01").last
    foreign = run("verify", other, "--policy", "calibrated.json")
    assert foreign.code == 2
    assert "NOT CALIBRATED for this proof: optimizer: calibrated on" in foreign.out
    shown = run("policies", "calibrated.json")
    assert shown.code == 0
    assert digest in shown.out
    assert "T = 24" in shown.out
    assert (place / "v.json").is_file()


def test_a_verdict_is_rechecked(run: Run, place: Path) -> None:
    proof = run("prove", *TRAIN).last
    made = run("verify", proof, "--policy", "published", "--augmentation", "fresh", "--verdict", "v.json")
    assert made.code in (0, 1)
    digest = json.loads((place / "v.json").read_text())["sha256"]
    assert f"verdict written to v.json, SHA-256 {digest}" in made.out
    again = run("verify", proof, "--recheck", "v.json", "--verdict", "w.json")
    assert again.code == 0, again.out
    assert "CONFIRMED" in again.out
    assert "every number is the same" in again.out
    assert json.loads((place / "w.json").read_text())["sha256"] == digest
    other = run("prove", *TRAIN, "--seed", "1").last
    wrong = run("verify", other, "--recheck", "v.json")
    assert wrong.code == 1
    assert "root: " in wrong.out
    assert "NOT CONFIRMED" in wrong.out
    both = run("verify", proof, "--recheck", "v.json", "--nonce", "3")
    assert (both.code, "--nonce is as the verdict says" in both.err) == (2, True)


def test_a_bound_proof_names_its_share(run: Run, place: Path) -> None:
    del place
    share = "0f" * 16
    calibrated(run, "bound")
    proof = run("prove", *TRAIN, "--seed", "9", "--share", share).last
    accepted = run("verify", proof, "--policy", "bound.json", "--share", share)
    assert accepted.code == 0, accepted.out
    assert "a stolen W_T with noise of" in accepted.out
    refused = run("verify", proof, "--policy", "bound.json", "--share", "00" * 16)
    assert (refused.code, "REJECTED by bound_seed" in refused.out) == (1, True)
    forgotten = run("verify", proof, "--policy", "bound.json")
    assert (forgotten.code, "policy bound needs --share" in forgotten.err) == (2, True), "nobody is accused"
    unbound = run("prove", *TRAIN, "--seed", "9").last
    assert run("verify", unbound, "--policy", "bound.json", "--share", share).code == 1


def test_the_prover_commits_gets_a_share_trains_and_is_judged_exactly(run: Run, place: Path) -> None:
    del place
    committed = run("commit", "--seed", "77")
    assert committed.code == 0, committed.err
    assert "seed             77" in committed.out
    assert run("commit").last != run("commit").last, "a seed of one's own is drawn at random"
    told = ("--share", "ab" * 16, "--commitment", committed.last)
    proof = run("prove", *TRAIN, "--seed", "77", "--share", "ab" * 16).last
    accepted = run("verify", proof, "--policy", "exact", *told, "--verdict", "v.json")
    assert accepted.code == 0, accepted.out
    assert run("verify", proof, "--recheck", "v.json").code == 0
    ground = run("prove", *TRAIN, "--seed", "78", "--share", "ab" * 16).last
    refused = run("verify", ground, "--policy", "exact", *told)
    assert (refused.code, "REJECTED by commitment in" in refused.out) == (1, True)
    elsewhere = run("verify", proof, "--policy", "exact", *told, "--precision", "float64")
    assert (elsewhere.code, "policy exact compares bits" in elsewhere.err) == (2, True), "nobody is accused"
    for option in ("--share", "--commitment"):
        part = dict(zip(told[::2], told[1::2], strict=True))
        del part[option]
        forgotten = run("verify", proof, "--policy", "exact", *(word for pair in part.items() for word in pair))
        assert (forgotten.code, f"policy exact needs {option}" in forgotten.err) == (2, True)


def test_a_challenger_trains_again_what_a_proof_declares(run: Run, place: Path) -> None:
    proof = run("prove", *TRAIN, "--seed", "5").last
    again = run("prove", "--again", proof, "--results", "challenger")
    assert again.code == 0, again.err
    first, second = (json.loads((place / one / "manifest.json").read_text()) for one in (proof, again.last))
    assert again.last.startswith("challenger/")
    assert first["root"] == second["root"], "the same training, the same bits"
    refused = run("prove", "--again", proof, "--steps", "30")
    assert (refused.code, "drop the other options of training" in refused.err) == (2, True)
    assert run("prove", "--again", "nowhere").code == 2


@pytest.mark.parametrize("precision", ["float32", "reproducible"])
def test_a_challenger_needs_the_declared_threads_where_bits_depend_on_them(
    precision: str, run: Run, place: Path
) -> None:
    proof = run("prove", "--steps", "8", "--interval", "4", "--precision", precision, "--device", "cpu:2").last
    elsewhere = run("prove", "--again", proof, "--results", "challenger")
    if precision == "float32":
        assert (elsewhere.code, "threads 2, and its bits do not repeat on cpu, threads 1" in elsewhere.err) == (2, True)
        assert "give --device cpu:2" in elsewhere.err
        assert not (place / "challenger").exists()
        elsewhere = run("prove", "--again", proof, "--results", "challenger", "--device", "cpu:2")
    assert elsewhere.code == 0, elsewhere.err
    first, second = (json.loads((place / one / "manifest.json").read_text()) for one in (proof, elsewhere.last))
    assert first["root"] == second["root"]


def test_other_bits_on_another_machine_are_inexact(run: Run, place: Path) -> None:
    committed = run("commit", "--seed", "77").last
    proof = run("prove", *TRAIN, "--seed", "77", "--share", "ab" * 16, "--precision", "float64").last
    told = ("--share", "ab" * 16, "--commitment", committed)
    manifest = place / proof / "manifest.json"
    content = json.loads(manifest.read_text())
    assert content["environment"]["machine_class"] == machine_class()
    content["environment"]["machine_class"] = "a processor\x1b[31m of another make"
    manifest.write_text(json.dumps(content))
    assert run("verify", proof, "--policy", "exact", *told).code == 0, "the bits are the same all the same"
    rounded = run("verify", proof, "--policy", "exact", *told, "--precision", "float32")
    assert (rounded.code, "policy exact compares bits" in rounded.err) == (2, True), (
        "the verifier's own choice is no machine"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("commit", "--seed", "-1"), "expected seed"),
        (("commit", "--model", "resnet9"), "unknown model 'resnet9'"),
        (
            ("verify", "nowhere", "--policy", "exact", "--share", "ab" * 16, "--commitment", "xy"),
            "expected a proof folder",
        ),
        (("calibrate", "--seeds", "2"), "expected seeds in 3..1000, got 2"),
        (("calibrate", "--margin", "0.5", "--seeds", "3", *TRAIN), "expected a margin >= 1"),
        (("calibrate", "--out", "policy.txt"), "expected a policy file that ends in .json"),
        (("prove", "--share", "xyz"), "expected share as 16 to 128 lower-case hex digits"),
        (("policies", "trust"), "unknown policy 'trust'"),
        (("policies", "none.json"), "no such file"),
        (("policies", "strict+envelope"), "check envelope needs limits"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], said: str, run: Run, place: Path) -> None:
    del place
    ran = run(*words)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_references_are_checked_themselves(run: Run, place: Path) -> None:
    proof, other = (run("prove", *TRAIN, "--seed", seed).last for seed in ("1", "2"))
    words = ("verify", proof, "--policy", "published", "--thresholds", "relative", "--reference", proof, other)
    assert run(*words).code == 0
    manifest = place / other / "manifest.json"
    content = json.loads(manifest.read_text())
    content["root"] = "0" * 64
    manifest.write_text(json.dumps(content))
    ran = run(*words)
    assert ran.code == 2
    assert "is no honest reference: hashes: the root does not match the recorded one" in ran.err


def test_every_check_is_listed_with_what_it_looks_at(run: Run) -> None:
    ran = run("policies")
    assert ran.code == 0
    for name in ("published", "strict", "calibrated", "bound", "initial_memory", "performance_trend"):
        assert name in ran.out
