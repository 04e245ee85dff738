"""Disputes over folders: each party in a thread of its own here, honest, lying, silent, changing its mind, or throwing bombs."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from raypol.core.datasets.dataset import Dataset
from raypol.core.dispute.moves import SIDES, Answer, Question, Side, answer_of
from raypol.core.dispute.referee import with_faults
from raypol.core.dispute.training import DeclaredTraining, ProofParty
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Recipe
from raypol.core.protocol import prove
from raypol.runs.disputes.arithmetic import Bench
from raypol.runs.disputes.party import party_of, serve_party
from raypol.runs.disputes.recheck import recheck_dispute
from raypol.runs.disputes.referee import changed_fault, referee_dispute
from raypol.store.disputes.folder import answer_name, question_name, read_question, state_name, write_answer
from raypol.store.disputes.messages import MAX_MESSAGE_BYTES
from raypol.store.disputes.verdict_file import DisputeFile, read_dispute, write_dispute
from raypol.store.location import Location, open_location
from tests.disputants import lying_party, lying_proof, write_proof
from tests.scenes import small_recipe

MODEL: Final = "tests.toys:mlp"
BENCH: Final = Bench(model=MODEL)
LIE: Final = 17
"""Interval 4 of 4 steps, and its second one."""
Serve = Callable[[Path, Side], object]


@pytest.fixture(scope="module")
def recipe(digits: Dataset) -> Recipe:
    return small_recipe(digits, model=MODEL, steps=38, interval=4, batch_size=16)


@pytest.fixture(scope="module")
def honest(recipe: Recipe, digits: Dataset) -> ProofParty:
    return ProofParty(prove(recipe, digits), DeclaredTraining(recipe, digits))


@pytest.fixture(scope="module")
def liar(recipe: Recipe, digits: Dataset) -> ProofParty:
    return lying_party(recipe, digits, LIE)


@contextmanager
def serving(folder: Path, parties: dict[Side, Serve]) -> Iterator[None]:
    """Parties that answer while the block runs."""
    threads = [threading.Thread(target=serve, args=(folder, side)) for side, serve in parties.items()]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def truthfully(party: ProofParty) -> Serve:
    def serve(folder: Path, side: Side) -> None:
        serve_party(party, open_location(folder), side, patience_s=60)

    return serve


@dataclass
class Odd:
    """A party that does something else than answer from some question on."""

    party: ProofParty
    at: str
    """Move at which it is odd."""
    act: Callable[[Path, Side, int, Question, Answer[Checkpoint]], object]
    """Given the folder, its side, the question and what it should have said."""

    def __call__(self, folder: Path, side: Side) -> None:
        place = open_location(folder)
        for number in range(1, 100):
            while not (folder / question_name(number)).exists():
                if (folder / "verdict.json").exists():
                    return
                time.sleep(0.005)
            question = read_question(place, number)
            if side not in question.sides:
                continue
            answer = answer_of(self.party, question)
            if question.move != self.at:
                write_answer(place, side, number, question, answer)
            else:
                self.act(folder, side, number, question, answer)


def dispute(folder: Path, parties: dict[Side, Serve], *, patience_s: float = 60.0, **options: Any) -> DisputeFile:  # noqa: ANN401
    with serving(folder, parties):
        return referee_dispute(open_location(folder), BENCH, patience_s=patience_s, **options)


def confirmed(folder: Path) -> None:
    """A third person comes to the same verdict from the files."""
    found = recheck_dispute(open_location(folder), BENCH)
    assert found.differences == ()
    assert found.now == found.then.verdict


@pytest.mark.parametrize("side", SIDES)
def test_the_liar_is_named_and_a_third_person_finds_the_same(
    side: Side, honest: ProofParty, liar: ProofParty, tmp_path: Path
) -> None:
    parties = {one: truthfully(liar if one == side else honest) for one in SIDES}
    file = dispute(tmp_path, parties)
    assert (file.verdict.outcome, file.verdict.step, file.verdict.interval) == (f"{side} lied", LIE, LIE // 4)
    assert file.verdict.interval_rounds in (3, 4)
    assert file.verdict.step_rounds == 2
    assert (file.referee.precision, file.referee.device, file.referee.threads) == ("float32", "cpu", 1)
    assert file.file_bytes == sum(
        path.stat().st_size
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name != "verdict.json" and "read" not in path.parts
    )
    assert read_dispute(open_location(tmp_path)) == file
    confirmed(tmp_path)
    with pytest.raises(InputError, match="holds a dispute already"):
        referee_dispute(open_location(tmp_path), BENCH, patience_s=1)


def test_nothing_to_dispute(honest: ProofParty, tmp_path: Path) -> None:
    file = dispute(tmp_path, dict.fromkeys(SIDES, truthfully(honest)))
    assert file.verdict.outcome == "agreed"
    confirmed(tmp_path)


def test_proof_folders_are_parties(recipe: Recipe, digits: Dataset, honest: ProofParty, tmp_path: Path) -> None:
    forged = write_proof(open_location(tmp_path), "forged", lying_proof(recipe, digits, LIE), digits)
    file = dispute(tmp_path / "x", {"a": truthfully(party_of(forged, BENCH)), "b": truthfully(honest)})
    assert (file.verdict.outcome, file.verdict.interval, file.verdict.step) == ("a lied", 4, 19)
    with pytest.raises(InputError, match="names model"):
        party_of(forged, Bench())


# --- odd parties ---------------------------------------------------------------------------------------------------------


def _silence(*_: object) -> None:
    """No answer."""


def _writes(content: bytes) -> Callable[..., None]:
    def act(folder: Path, side: Side, number: int, *_: object) -> None:
        (folder / answer_name(side, number)).write_bytes(content)

    return act


def _sparse(size: int) -> Callable[..., None]:
    """A file of any size that takes no room."""

    def act(folder: Path, side: Side, number: int, *_: object) -> None:
        with (folder / answer_name(side, number)).open("wb") as file:
            file.truncate(size)

    return act


def _edited(change: Callable[[dict[str, Any]], object]) -> Callable[..., None]:
    def act(folder: Path, side: Side, number: int, question: Question, answer: Answer[Checkpoint]) -> None:
        place = open_location(folder)
        hidden = folder / "elsewhere"
        for name in SIDES:
            (hidden / name).mkdir(parents=True, exist_ok=True)
        write_answer(open_location(hidden), side, number, question, answer)
        message = json.loads((hidden / answer_name(side, number)).read_text())
        change(message)
        if (state := hidden / state_name(side, number)).exists():
            state.rename(folder / state_name(side, number))
        (Path(place.path) / answer_name(side, number)).write_text(json.dumps(message))

    return act


def _state(change: Callable[[Path], object]) -> Callable[..., None]:
    def act(folder: Path, side: Side, number: int, question: Question, answer: Answer[Checkpoint]) -> None:
        place = open_location(folder)
        hidden = folder / "elsewhere"
        for name in SIDES:
            (hidden / name).mkdir(parents=True, exist_ok=True)
        write_answer(open_location(hidden), side, number, question, answer)
        raw = hidden / state_name(side, number)
        change(raw)
        if raw.exists() or raw.is_symlink():
            raw.rename(Path(place.path) / state_name(side, number))
        (hidden / answer_name(side, number)).rename(Path(place.path) / answer_name(side, number))

    return act


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[3] ^= 1
    path.write_bytes(raw)


def _grow(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def _endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _elsewhere(folder: Path, side: Side, number: int, *_: object) -> None:
    secret = folder.parent / "secret.json"
    secret.write_text("{}")
    (folder / answer_name(side, number)).symlink_to(secret)


def _loop(folder: Path, side: Side, number: int, *_: object) -> None:
    path = folder / answer_name(side, number)
    path.symlink_to(path)


def _nameless(folder: Path, side: Side, number: int, *_: object) -> None:
    (folder / answer_name(side, number)).symlink_to("x" * 300)


def _pipe(folder: Path, side: Side, number: int, *_: object) -> None:
    os.mkfifo(folder / answer_name(side, number))


ODD: Final[dict[str, tuple[str, Callable[..., object], str]]] = {
    "nothing at all": ("commit", _silence, "no answer"),
    "no leaf": ("checkpoint", _silence, "no answer"),
    "no steps": ("steps", _silence, "no answer"),
    "no inner leaf": ("step", _silence, "no answer"),
    "no state": ("state", _silence, "no answer"),
    "a pipe": ("checkpoint", _pipe, "no answer"),
    "garbage": ("checkpoint", _writes(b"\xff\x00garbage"), "malformed"),
    "an empty file": ("commit", _writes(b""), "malformed"),
    "deep JSON": ("commit", _writes(b"[" * 500_000), "malformed"),
    "a huge file": ("checkpoint", _sparse(1 << 40), "oversized"),
    "a file that is just too large": ("commit", _sparse(MAX_MESSAGE_BYTES + 1), "oversized"),
    "a short digest": ("step", _edited(lambda m: m["leaf"].update(digest="00")), "malformed"),
    "another leaf": ("checkpoint", _edited(lambda m: m["leaf"].update(digest="0" * 64)), "not bound"),
    "another path": ("step", _edited(lambda m: m["leaf"].update(path=[])), "not bound"),
    "another number of checkpoints": ("commit", _edited(lambda m: m["tree"].update(count=12)), "other count"),
    "another root": ("commit", _edited(lambda m: m["tree"].update(root="0" * 64)), "not bound"),
    "other steps": ("steps", _edited(lambda m: m["tree"].update(count=4)), "other count"),
    "a link to itself": ("checkpoint", _loop, "no answer"),
    "a link to no name": ("checkpoint", _nameless, "no answer"),
    "a link out of the folder": ("checkpoint", _elsewhere, "malformed"),
    "an entry that the optimizer lacks": ("state", _edited(lambda m: m["optimizer"].append("x")), "malformed"),
    "an entry twice": ("state", _edited(lambda m: m["optimizer"].append(m["optimizer"][0])), "malformed"),
    "an entry less": ("state", _edited(lambda m: m["optimizer"].pop()), "oversized"),
    "another state": ("state", _state(_flip), "wrong state"),
    "a state of a terabyte": ("state", _state(_grow), "oversized"),
    "half a state": ("state", _state(lambda path: os.truncate(path, 100)), "malformed"),
    "a state without end": ("state", _state(_endless), "malformed"),
    "no raw bytes": ("state", _state(Path.unlink), "malformed"),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_party_loses_to_an_honest_one(what: str, honest: ProofParty, liar: ProofParty, tmp_path: Path) -> None:
    """It is party a, whom the state is asked for first; it lies, or there would be nothing to dispute."""
    at, act, kind = ODD[what]
    folder = tmp_path / "x"
    patience_s = 2.0 if kind == "no answer" else 60.0
    file = dispute(folder, {"a": Odd(liar, at, act), "b": truthfully(honest)}, patience_s=patience_s)
    assert {fault.side for fault in file.verdict.faults} == {"a"}
    assert file.verdict.faults[0].kind == kind
    assert file.verdict.outcome == "a lied"
    found = recheck_dispute(open_location(folder), BENCH)
    assert found.differences == ()
    assert bool(found.on_trust) == (kind == "no answer")


def test_an_honest_prover_whose_challenger_lies(honest: ProofParty, liar: ProofParty, tmp_path: Path) -> None:
    """The honest one is asked for the state first and is right; the challenger is silent at the end."""
    file = dispute(tmp_path, {"a": truthfully(honest), "b": Odd(liar, "state", _silence)})
    assert [(f.side, f.kind) for f in file.verdict.faults] == [("b", "wrong step")]


def test_both_lie(recipe: Recipe, digits: Dataset, liar: ProofParty, tmp_path: Path) -> None:
    other = lying_party(recipe, digits, LIE, nudge=0.5)
    file = dispute(tmp_path, {"a": truthfully(liar), "b": truthfully(other)})
    assert file.verdict.outcome == "undecided"
    assert {fault.side for fault in file.verdict.faults} == {"a", "b"}
    confirmed(tmp_path)


@pytest.mark.parametrize("what", ["other bytes", "gone", "a bomb"])
def test_who_answers_twice_loses(what: str, honest: ProofParty, liar: ProofParty, tmp_path: Path) -> None:
    """An early answer is another one when the referee looks again at the end."""

    def again(folder: Path, side: Side, number: int, question: Question, answer: Answer[Checkpoint]) -> None:
        write_answer(open_location(folder), side, number, question, answer)
        first = folder / answer_name(side, 1)
        if what == "other bytes":
            first.write_bytes(first.read_bytes().replace(b" ", b""))
        elif what == "gone":
            first.unlink(missing_ok=True)
        else:
            _sparse(1 << 40)(folder, side, 1)

    folder = tmp_path / "x"
    file = dispute(folder, {"a": Odd(liar, "steps", again), "b": truthfully(honest)})
    assert file.changed == ("a/0001.json",)
    assert [(f.side, f.kind) for f in file.verdict.faults] == [("a", "wrong step"), ("a", "answered twice")]
    assert (folder / "referee" / "read" / "a" / "0001.json").exists()
    confirmed(folder)


def test_an_honest_party_that_was_interrupted_goes_on(honest: ProofParty, liar: ProofParty, tmp_path: Path) -> None:
    """A second process of the same party answers what the first one left, and repeats nothing."""

    def stops(folder: Path, side: Side) -> None:
        class StoppedError(Exception):
            """As a crash would."""

        def stop(*_: object) -> None:
            raise StoppedError

        with suppress(StoppedError):
            Odd(honest, "steps", stop)(folder, side)
        truthfully(honest)(folder, side)

    file = dispute(tmp_path, {"a": stops, "b": truthfully(liar)})
    assert (file.verdict.outcome, file.verdict.step) == ("b lied", LIE)


@pytest.mark.parametrize("stopped_at", ["checkpoint", "step", "state"])
def test_a_party_that_is_started_anew_goes_on(
    stopped_at: str, recipe: Recipe, digits: Dataset, honest: ProofParty, liar: ProofParty, tmp_path: Path
) -> None:
    """Another process knows nothing of the steps that the first one committed to."""

    def restarted(folder: Path, side: Side) -> None:
        class StoppedError(Exception):
            """As a crash would."""

        def stop(*_: object) -> None:
            raise StoppedError

        with suppress(StoppedError):
            Odd(honest, stopped_at, stop)(folder, side)
        anew = ProofParty(prove(recipe, digits), DeclaredTraining(recipe, digits))
        truthfully(anew)(folder, side)

    file = dispute(tmp_path, {"a": restarted, "b": truthfully(liar)})
    assert (file.verdict.outcome, file.verdict.step) == ("b lied", LIE)


def test_a_declared_training_decides_whose_recipe_is_another(
    recipe: Recipe, digits: Dataset, honest: ProofParty, tmp_path: Path
) -> None:
    other = replace(recipe, seed=7)
    party = ProofParty(prove(other, digits), DeclaredTraining(other, digits))
    file = dispute(tmp_path / "x", {"a": truthfully(party), "b": truthfully(honest)}, declared=recipe)
    assert [(f.side, f.kind) for f in file.verdict.faults] == [("a", "other recipe")]
    confirmed(tmp_path / "x")
    folder = tmp_path / "y"
    silent = {"a": Odd(party, "checkpoint", _silence), "b": Odd(honest, "checkpoint", _silence)}
    threads = [threading.Thread(target=serve, args=(folder, side), daemon=True) for side, serve in silent.items()]
    for thread in threads:
        thread.start()
    with pytest.raises(InputError, match="recipes differ in seed: 7 against 0"):
        referee_dispute(open_location(folder), BENCH, patience_s=60)
    (folder / "verdict.json").touch()
    for thread in threads:
        thread.join(10)


def test_a_party_that_is_known_to_be_gone_is_not_waited_for(liar: ProofParty, tmp_path: Path) -> None:
    file = dispute(tmp_path, {"a": truthfully(liar)}, is_gone=lambda side: side == "b")
    assert [(f.side, f.kind) for f in file.verdict.faults] == [("b", "no answer")]


# --- hostile referees, and what third persons see ------------------------------------------------------------------------


def test_a_party_ends_without_a_referee(honest: ProofParty, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither asked question 1 nor decided within 0\.1 s"):
        serve_party(honest, open_location(tmp_path), "a", patience_s=0.1)
    for patience_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="expected --patience"):
            serve_party(honest, open_location(tmp_path), "a", patience_s=patience_s)


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[" * 100_000,
        b'{"format":"raypol-dispute","version":1,"move":"checkpoint","index":99999999,"sides":["a"]}',
        b'{"format":"raypol-dispute","version":1,"move":"step","index":0,"sides":["a"]}',
        b'{"format":"raypol-dispute","version":1,"move":"state","index":1,"sides":["a"]}',
        b" " * (MAX_MESSAGE_BYTES + 1),
    ],
)
def test_a_party_refuses_what_is_no_question(
    text: bytes, recipe: Recipe, digits: Dataset, honest: ProofParty, tmp_path: Path
) -> None:
    del honest
    party = ProofParty(prove(recipe, digits), DeclaredTraining(recipe, digits))  # of no earlier question
    (tmp_path / "referee").mkdir()
    (tmp_path / question_name(1)).write_bytes(text)
    with pytest.raises(InputError):
        serve_party(party, open_location(tmp_path), "a", patience_s=1)


def _settled(folder: Path, honest: ProofParty, liar: ProofParty) -> Location:
    dispute(folder, {"a": truthfully(honest), "b": truthfully(liar)})
    return open_location(folder)


def test_a_third_person_sees_a_changed_file(honest: ProofParty, liar: ProofParty, tmp_path: Path) -> None:
    folder = _settled(tmp_path, honest, liar)
    path = tmp_path / "b" / "0003.json"
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"digest": "', b'"digest": "0', 1).replace(b'",\n  "path"', b' ",\n  "path"', 1))
    found = recheck_dispute(folder, BENCH)
    assert (found.differences, found.by_copies) == ((), True), "nobody makes a true verdict unconfirmable"
    assert found.on_trust == ("what b/0003.json was: it is another by now",)
    copy = tmp_path / "referee" / "read" / "b" / "0003.json"
    copy.write_bytes(path.read_bytes())
    assert "b/0003.json: not what the referee read" in recheck_dispute(folder, BENCH).differences
    path.write_bytes(before)
    confirmed(tmp_path)
    (tmp_path / question_name(4)).unlink()
    with pytest.raises(InputError, match="no such file"):
        recheck_dispute(folder, BENCH)


def test_a_verdict_that_blames_the_other_is_not_confirmed(honest: ProofParty, liar: ProofParty, tmp_path: Path) -> None:
    """A referee who lies cannot make the files say so."""
    folder = _settled(tmp_path, honest, liar)
    file = read_dispute(folder)
    faults = tuple(replace(fault, side="a") for fault in file.verdict.faults)
    write_dispute(folder, replace(file, verdict=replace(file.verdict, outcome="a lied", faults=faults)))
    found = recheck_dispute(folder, BENCH)
    assert any(line.startswith("outcome: 'a lied' then, 'b lied' now") for line in found.differences)


def test_a_large_file_that_is_small_by_now_is_still_the_partys_fault(
    honest: ProofParty, liar: ProofParty, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    dispute(folder, {"a": Odd(liar, "checkpoint", _sparse(1 << 40)), "b": truthfully(honest)})
    (path,) = [path for path in (folder / "a").iterdir() if path.stat().st_size == 1 << 40]
    path.write_bytes(b"{}")
    found = recheck_dispute(open_location(folder), BENCH)
    assert (found.differences, found.by_copies) == ((), True)


def test_what_rests_on_the_referees_word_is_said(
    recipe: Recipe, honest: ProofParty, liar: ProofParty, tmp_path: Path
) -> None:
    """Of the training that was declared, and of files that changed."""
    folder = open_location(tmp_path)
    file = dispute(tmp_path, {"a": truthfully(honest), "b": truthfully(liar)}, declared=recipe)
    assert "which training was declared (see --declared)" in recheck_dispute(folder, BENCH).on_trust
    known = recheck_dispute(folder, BENCH, declared=recipe)
    assert (known.differences, known.on_trust) == ((), ())
    other = recheck_dispute(folder, BENCH, declared=replace(recipe, seed=7))
    assert other.differences == ("the referee was told of another training, or of none",)
    invented = replace(
        file, changed=("a/0099.json",), verdict=with_faults(file.verdict, [changed_fault("a/0099.json")])
    )
    write_dispute(folder, invented)
    found = recheck_dispute(folder, BENCH)
    assert found.differences == ("a/0099.json: said to be changed, and was never read",)


def test_a_party_does_not_choose_what_the_referee_computes_on(recipe: Recipe) -> None:
    """Where bits do not depend on it."""
    named = replace(recipe, precision="reproducible", device="cuda", threads=1024)
    assert BENCH.place(named) == ("cpu", torch.get_num_threads())
    assert replace(BENCH, device="cpu:2").place(named) == ("cpu", 2)


def test_patience_in_whole_seconds_makes_a_readable_verdict(honest: ProofParty, tmp_path: Path) -> None:
    dispute(tmp_path, dict.fromkeys(SIDES, truthfully(honest)), patience_s=60)
    assert read_dispute(open_location(tmp_path)).patience_s == 60.0
