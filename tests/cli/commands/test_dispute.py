"""`raypol dispute` with real processes, and its commands one by one."""

import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from raypol.cli.main import main
from raypol.core.datasets.dataset import Dataset
from raypol.core.dispute.training import DeclaredTraining, ProofParty
from raypol.core.proof import Cost, Recipe
from raypol.core.protocol import prove, spoof
from raypol.runs.disputes.party import serve_party
from raypol.store.location import open_location
from raypol.store.proofs.writer import new_proof
from tests.disputants import lying_proof, write_proof
from tests.scenes import claiming, small_recipe

MODEL: Final = "tests.toys:mlp"
ALLOW: Final = ("--model", MODEL)


@pytest.fixture(scope="module")
def recipe(digits: Dataset) -> Recipe:
    return small_recipe(digits, model=MODEL, steps=22, interval=4)


@pytest.fixture(scope="module")
def proofs(recipe: Recipe, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of an honest proof, one that lies in interval 3, and one of another seed."""
    where = open_location(tmp_path_factory.mktemp("proofs"))
    write_proof(where, "honest", prove(recipe, digits), digits)
    write_proof(where, "forged", lying_proof(recipe, digits, 13), digits)
    write_proof(where, "other", prove(replace(recipe, seed=5), digits), digits)
    return Path(where.path) / "proofs"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_two_processes_and_a_referee_name_the_liar(
    proofs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = tmp_path / "x"
    words = ("dispute", proofs / "forged", proofs / "honest", "--exchange", exchange, *ALLOW)
    assert run(*words) == 0
    out = capfd.readouterr().out
    assert "A LOSES; the replayed step is b's" in out
    assert "in interval 3, at step 15" in out
    assert out.splitlines()[-1] == str(exchange)
    assert run("dispute", "check", exchange, *ALLOW) == 0
    assert "CONFIRMED: the files give the same verdict" in capfd.readouterr().out
    assert run(*words) == 2
    assert re.search(r"holds a dispute already.*dispute-check", capfd.readouterr().err)
    answer = exchange / "b" / "0002.json"
    answer.write_text(answer.read_text().replace("0", "1"))
    assert run("dispute-check", exchange, *ALLOW) == 0
    assert "CONFIRMED: the referee's copies give the same verdict" in capfd.readouterr().out
    copy = exchange / "referee" / "read" / "b" / "0002.json"
    copy.write_text(answer.read_text())
    assert run("dispute-check", exchange, *ALLOW) == 1
    assert "NOT CONFIRMED" in capfd.readouterr().out
    assert run("dispute-check", exchange, "--declared", proofs / "other", *ALLOW) == 1
    assert "told of another training, or of none" in capfd.readouterr().out
    (exchange / "verdict.json").write_text("{")
    assert run("dispute-check", exchange, *ALLOW) == 2
    assert "not JSON" in capfd.readouterr().err


def test_a_party_whose_proof_is_damaged_loses_as_soon_as_its_process_ends(
    proofs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(proofs / "forged", damaged)
    weights = damaged / "weights" / "step=8.parquet"
    weights.write_bytes(bytes(weights.stat().st_size))
    assert run("dispute", damaged, proofs / "honest", "--exchange", tmp_path / "x", *ALLOW) == 0
    captured = capfd.readouterr()
    assert "a: no answer" in captured.out
    assert re.search(r"party a ended with exit code 2: error: .*step=8.parquet", captured.err)


def test_what_is_no_dispute_is_said_before_anything_is_started(
    proofs: Path, digits: Dataset, recipe: Recipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    honest, copy, exchange = proofs / "honest", tmp_path / "copy", tmp_path / "x"
    shutil.copytree(honest, copy)
    spoofed = spoof(prove(recipe, digits), digits, "iii", claiming(steps=4, interval=2, batch_size=16))
    own = open_location(tmp_path)
    with new_proof(own, "own", spoofed.recipe, len(digits)) as writer:
        for checkpoint in spoofed.checkpoints:
            writer.write_checkpoint(checkpoint)
        writer.write_batches(spoofed.records)
        writer.add_points(spoofed.all_points())
        writer.finish(Cost(), {})
    shutil.copytree(tmp_path / "proofs" / "own", tmp_path / "own")
    for words, message in (
        ((honest, proofs / "other", *ALLOW), "the recipes differ in seed: 0 against 5"),
        ((honest, proofs / "." / "honest"), "twice: the other party needs a proof of its own"),
        ((honest, copy), "names model"),
        ((honest, tmp_path / "none", *ALLOW), "expected a proof folder"),
        ((honest, copy, "--patience", "0", *ALLOW), "expected --patience"),
        ((honest, copy, "--patience", "nan", *ALLOW), "expected --patience"),
        ((tmp_path / "proofs" / "own", tmp_path / "own", *ALLOW), "own points"),
        ((honest, copy, "--device", "cpu:0", *ALLOW), "whole number of CPU cores"),
    ):
        assert run("dispute", *words, "--exchange", exchange) == 2
        assert message in capfd.readouterr().err
        assert not exchange.exists() or not any(exchange.rglob("*.json"))


def test_referee_and_parties_apart(
    recipe: Recipe, digits: Dataset, proofs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The referee as a process, party a by the command, party b here."""
    exchange = tmp_path / "x"
    program = (sys.executable, "-c", "from raypol.cli.main import main; main()")
    referee = subprocess.Popen(
        [*program, "dispute-referee", "--exchange", str(exchange), "--declared", str(proofs / "honest"), *ALLOW],
        stdout=subprocess.PIPE,
        text=True,
    )
    party = ProofParty(prove(recipe, digits), DeclaredTraining(recipe, digits))
    other = threading.Thread(target=serve_party, args=(party, open_location(exchange), "b"), kwargs={"patience_s": 120})
    other.start()
    code = run("dispute-party", proofs / "forged", "--exchange", exchange, "--side", "a", "--patience", "120", *ALLOW)
    assert code == 1
    captured = capfd.readouterr()
    assert "A LOSES" in captured.out
    assert "does not give this proof's own bits" in captured.err
    out, _ = referee.communicate(timeout=60)
    assert referee.returncode == 0
    assert "A LOSES" in out
    other.join(20)
    assert (
        run(
            "dispute-party", proofs / "honest", "--exchange", tmp_path / "y", "--side", "a", "--patience", "0.1", *ALLOW
        )
        == 2
    )
    assert "neither asked question 1 nor decided" in capfd.readouterr().err
