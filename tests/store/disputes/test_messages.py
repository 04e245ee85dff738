"""Messages of a dispute: what is written is read again, and everything else is one line."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.dispute.merkle import MerkleTree
from raypol.core.dispute.moves import CHECKPOINTS, Claim, Fault, Move, Question, pledge_of
from raypol.core.dispute.referee import DisputeVerdict
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.store.disputes.folder import FileNote
from raypol.store.disputes.messages import (
    MAX_MESSAGE_BYTES,
    StateNote,
    answer_text,
    parse_answer,
    parse_question,
    question_text,
)
from raypol.store.disputes.verdict_file import DisputeFile, RefereeFacts, parse_dispute, read_dispute, write_dispute
from raypol.store.location import open_location

RECIPE: Final = Recipe(dataset="d", dataset_sha256="0" * 64, model="m", steps=9, interval=2, batch_size=4)
TREE: Final = MerkleTree(CHECKPOINTS, [bytes([i]) * 32 for i in range(6)])
ANSWERS: Final[dict[Move, Any]] = {
    "commit": Claim(RECIPE, pledge_of(TREE)),
    "checkpoint": TREE.open(3),
    "steps": pledge_of(TREE),
    "step": TREE.open(0),
    "state": StateNote(optimizer=("w/momentum_buffer",)),
}
Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("move", ANSWERS)
def test_answers_are_read_as_they_were_written(move: Move) -> None:
    assert parse_answer(move, answer_text(move, ANSWERS[move]), "x") == ANSWERS[move]


@given(st.sampled_from(list(ANSWERS)), st.integers(0, 10**8), st.sampled_from([("a",), ("b",), ("a", "b")]))
def test_questions_are_read_as_they_were_written(move: Move, index: int, sides: Any) -> None:  # noqa: ANN401
    question = Question(move, index, sides)
    assert parse_question(question_text(question), "x") == question


@given(st.binary(max_size=200), st.sampled_from(list(ANSWERS)))
def test_any_bytes_are_refused_in_one_line(text: bytes, move: Move) -> None:
    for read in (
        lambda: parse_answer(move, text, "x"),
        lambda: parse_question(text, "x"),
        lambda: parse_dispute(text, "x"),
    ):
        with pytest.raises(InputError) as refused:
            read()
        assert "\n" not in str(refused.value)


DEEP: Final = b"[" * 400_000
BAD: Final[dict[str, tuple[Move, Change]]] = {
    "a digest that is too short": ("checkpoint", lambda m: m["leaf"].update(digest="00")),
    "a digest in capitals": ("checkpoint", lambda m: m["leaf"].update(digest="A" * 64)),
    "a digest with a line break": ("checkpoint", lambda m: m["leaf"].update(digest="0" * 64 + "\n")),
    "a path of no digests": ("checkpoint", lambda m: m["leaf"].update(path=[1])),
    "a long path": ("checkpoint", lambda m: m["leaf"].update(path=["0" * 64] * 65)),
    "a path that is text": ("step", lambda m: m["leaf"].update(path="0" * 64)),
    "a field more": ("step", lambda m: m["leaf"].update(more=1)),
    "a field less": ("step", lambda m: m.pop("leaf")),
    "another move": ("step", lambda m: m.update(move="checkpoint")),
    "another format": ("step", lambda m: m.update(format="raypol-proof")),
    "another version": ("step", lambda m: m.update(version=2)),
    "a negative count": ("steps", lambda m: m["tree"].update(count=-1)),
    "a count that is true": ("steps", lambda m: m["tree"].update(count=True)),
    "a huge count": ("steps", lambda m: m["tree"].update(count=10**30)),
    "no steps": ("commit", lambda m: m["recipe"].update(steps=0)),
    "a recipe with more": ("commit", lambda m: m["recipe"].update(more=1)),
    "a precision that is none": ("commit", lambda m: m["recipe"].update(precision="int3")),
    "too many entries": ("state", lambda m: m.update(optimizer=["x"] * 20_001)),
    "a long name": ("state", lambda m: m.update(optimizer=["x" * 501])),
    "a name that is none": ("state", lambda m: m.update(optimizer=[None])),
}


@pytest.mark.parametrize("what", BAD)
def test_an_answer_with(what: str) -> None:
    move, change = BAD[what]
    message = json.loads(answer_text(move, ANSWERS[move]))
    change(message)
    with pytest.raises(InputError, match=r"not a message of a dispute|expected the answer to"):
        parse_answer(move, json.dumps(message).encode(), "x")


def test_bombs_are_refused() -> None:
    for text in (DEEP, b'{"a":' * 100_000, b'{"move": ' + b"1" * 100_000 + b"}"):
        with pytest.raises(InputError, match="not a message"):
            parse_answer("commit", text, "x")
    with pytest.raises(InputError, match="not JSON"):
        parse_dispute(DEEP, "x")
    with pytest.raises(InputError, match="expected at most"):
        parse_answer("commit", b" " * (MAX_MESSAGE_BYTES + 1), "x")


def test_a_question_asks_each_party_once() -> None:
    text = question_text(Question("commit", 0)).replace(b'"b"', b'"a"')
    with pytest.raises(InputError, match="asks a party twice"):
        parse_question(text, "x")


# --- verdicts ----------------------------------------------------------------------------------------------------------

FILE: Final = DisputeFile(
    verdict=DisputeVerdict(
        outcome="a lied",
        faults=(Fault("a", "wrong step", "why"),),
        interval=3,
        step=31,
        interval_rounds=4,
        step_rounds=2,
        replayed_steps=1,
        digests={"a": "0", "b": "1", "referee": "1"},
        exchanged_bytes=1000,
        state_bytes=500,
    ),
    referee=RefereeFacts(precision="float32", device="cpu", threads=1, seconds=0.25, environment={"torch": "2"}),
    declared=RECIPE,
    patience_s=60.0,
    questions=9,
    files=(FileNote("a/0001.json", 100, "0" * 64),),
    file_bytes=2000,
)


def test_a_verdict_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = open_location(tmp_path)
    for file in (FILE, replace(FILE, declared=None, changed=("b/0003.state",))):
        write_dispute(folder, file)
        assert read_dispute(folder) == file


@pytest.mark.parametrize(
    ("key", "value"),
    [("outcome", "b lied"), ("step", 30), ("faults", []), ("exchanged_bytes", 1), ("more", 1), ("digests", {"a": 1})],
)
def test_a_verdict_that_was_changed_is_refused(key: str, value: object, tmp_path: Path) -> None:
    write_dispute(open_location(tmp_path), FILE)
    path = tmp_path / "verdict.json"
    content = json.loads(path.read_text())
    content["verdict"][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"not the verdict of a dispute|the file was changed"):
        read_dispute(open_location(tmp_path))


@pytest.mark.parametrize("name", ["../secret", "a/../../x.json", "/etc/passwd", "c/0001.json", "a/0001.json/x"])
def test_a_verdict_names_files_of_the_parties_alone(name: str) -> None:
    content = {"format": "raypol-dispute", "version": 1, **asdict(FILE)}
    content["files"] = [{"name": name, "size": 1, "sha256": ""}]
    with pytest.raises(InputError, match=r"files.0.name"):
        parse_dispute(json.dumps(content).encode(), "x")
