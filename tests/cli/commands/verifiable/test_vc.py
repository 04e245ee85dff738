"""`raypol vc-keys`, `prove --policy-target vc` and `verify --policy vc`, as a user types them."""

import json
import sys
from pathlib import Path

import pytest

from raypol.store.location import open_location
from raypol.store.verifiable.proof_folder import write_proved
from tests.cli.test_main import Run, run
from tests.proved import SHARE, SMALL, TrueStatements, evidence_of, needs_groth16, small_run

__all__ = ["run"]

VC = ("prove", "--policy-target", "vc", "--dataset", SMALL, "--batch-size", "1")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_groth16
def test_a_run_of_ten_steps_is_proved_and_judged(run: Run, place: Path, vc_keys: Path) -> None:
    digest = json.loads((vc_keys / "keys.json").read_text())["key_sha256"]
    keys = ("--vc-keys", str(vc_keys))
    committed = run("commit", "--model", "linear_integer", "--dataset", SMALL, "--seed", "5").last
    bound = ("--share", SHARE, "--commitment", committed)
    made = run(*VC, "--steps", "10", "--seed", "5", "--share", SHARE, *keys)
    assert made.code == 0, made.err
    assert "1,597 constraints" in made.err
    assert "UNSAFE" in made.err
    again = run(*VC, "--steps", "10", "--seed", "5", "--share", SHARE, *keys)
    assert again.last == made.last
    assert "nothing was computed" in again.out
    judge = ("verify", made.last, "--policy", "vc", "--dataset", SMALL)
    accepted = run(*judge, *keys, *bound)
    assert accepted.code == 0, accepted.out
    assert "ACCEPTED (10 of 10 proofs verified" in accepted.out
    assert "Not established" in accepted.out
    assert "UNSAFE" in accepted.err
    assert run(*judge, "--vc-key-sha256", digest, *bound).code == 0
    for more, checks in (
        ((*keys, *bound, "--share", SHARE[::-1]), "bound_seed"),
        ((*keys, "--share", SHARE), "commitment"),
        (keys, "bound_seed,commitment"),
        (bound, "setup,step_proofs"),
        ((*bound, "--vc-key-sha256", "00" * 32), "setup,step_proofs"),
    ):
        rejected = run(*judge, *more)
        assert rejected.code == 1
        assert f"REJECTED by {checks} (" in rejected.out
    folder = Path(made.last)
    proofs = (folder / "proofs.bin").read_bytes()
    (folder / "proofs.bin").write_bytes(proofs[256:512] + proofs[256:])
    refused = run(*judge, *keys, *bound)
    assert "REJECTED by step_proofs" in refused.out
    assert "step 0 of 10 is not proved" in refused.out
    (folder / "vc.json").write_text("[" * 100_000)
    broken = run(*judge, *keys, *bound)
    assert broken.code == 2
    assert broken.err.startswith("error: ")
    assert (place / "results" / "vc").is_dir()


@needs_groth16
def test_keys_are_made_once_and_not_over_others(run: Run, place: Path, vc_keys: Path) -> None:
    own = run(*VC, "--steps", "1")
    assert own.code == 0, own.err
    assert "made here, by the prover" in own.err
    refused = run("vc-keys", str(vc_keys), "--dataset", SMALL, "--batch-size", "1")
    assert refused.code == 2
    assert "is there already" in refused.err
    other = run(*VC, "--steps", "1", "--vc-keys", str(vc_keys), "--lr", "0.125")
    assert other.code == 2
    assert "keys of another circuit" in other.err
    assert len(list((place / "results" / "vc").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--interval", "5"), "--interval says nothing to --policy-target vc"),
        (("--model", "resnet20"), "--model says nothing"),
        (("--momentum", "0.5"), "--momentum says nothing"),
        (("--lr", "0.03"), "expected lr as a power of two"),
        (("--lr", "-1"), "expected lr as a power of two"),
        (("--lr", "inf"), "expected lr as a power of two"),
        (("--batch-size", "12"), "power of two"),
        (("--batch-size", "64"), "expected batch_size in 1..16"),
        (("--steps", "20000"), "steps"),
        (("--max-memory", "0.2"), "--max-memory allows 0.2 GB"),
        (("--max-memory", "-1"), "expected --max-memory > 0"),
        (("--max-memory", "inf"), "expected --max-memory > 0"),
        (("--device", "gpu"), "drop --device"),
        (("--vc-keys", "nowhere"), "no such file"),
    ],
)
def test_what_no_circuit_has_is_one_line_before_anything_starts(
    arguments: tuple[str, ...], told: str, run: Run, place: Path
) -> None:
    ended = run(*VC, *arguments)
    assert ended.code == 2
    assert told in ended.err
    assert not list(place.glob("results/vc/*"))


def test_weights_that_will_leave_their_range_are_refused_before_the_set_up(run: Run, place: Path) -> None:
    """On digits steps of this size diverge."""
    ended = run("prove", "--policy-target", "vc", "--lr", "1", "--steps", "20", "--batch-size", "16")
    assert ended.code == 2
    assert "a weight left [-8, 8)" in ended.err
    assert not list(place.glob("results/vc/*"))


def test_options_of_the_other_policies_are_refused(run: Run, place: Path) -> None:
    write_proved(open_location(place / "run"), evidence_of(small_run(steps=2), TrueStatements().prove), b"{}")
    judge = ("verify", "run", "--policy", "vc", "--dataset", SMALL)
    for more, told in (
        (("--nonce", "3"), "--nonce says nothing to policy vc"),
        (("--thresholds", "moves"), "--thresholds says nothing"),
        (("--verdict", "v.json"), "--verdict says nothing"),
        (("--vc-key-sha256", "XY"), "64 lower-case hex digits"),
        (("--vc-keys", "nowhere"), "no such file"),
        (("--commitment", "XY"), "expected a commitment"),
        (("--share", "5"), "expected share"),
    ):
        ended = run(*judge, *more)
        assert ended.code == 2, more
        assert told in ended.err
    for command in (("verify", "run", "--vc-keys", "a"), ("prove", "--vc-keys", "a"), ("prove", "--max-memory", "3")):
        assert "vc" in run(*command).err
    assert "found no vc.json" in run("verify", ".", "--policy", "vc").err
    refused = run("verify", "run", "--policy", "vc")
    assert refused.code == 2
    assert f"give --dataset {SMALL} to run it" in refused.err


def test_without_the_library_it_says_how_to_get_it(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "groth16py", None)  # as if it were not installed
    write_proved(open_location(place / "run"), evidence_of(small_run(steps=2), TrueStatements().prove), b"{}")
    for command in ((*VC, "--steps", "1"), ("verify", "run", "--policy", "vc", "--dataset", SMALL), ("vc-keys", "k")):
        ended = run(*command)
        assert ended.code == 2
        assert 'pip install "groth16py>=0.2"' in ended.err.splitlines()[-1]
