"""Questions and answers as JSON. Any of them may be hostile: its size is bounded before a byte is read, its fields are checked.

A file holds one message; its name says whose it is, and to which question.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from raypol.core.dispute.merkle import MAX_PATH, Opening
from raypol.core.dispute.moves import Claim, Move, Pledge, Question, Side
from raypol.core.errors import InputError
from raypol.core.proof import MAX_STEPS, Recipe
from raypol.store.json_files import problem_of, strict_form

MAX_MESSAGE_BYTES: Final = 1_000_000
"""Of a question or an answer: the names of a state of ten thousand tensors fit."""
DISPUTE_FORMAT: Final = "raypol-dispute"
DISPUTE_VERSION: Final = 1
_MAX_ENTRIES: Final = 20_000
_MAX_NAME: Final = 500
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0, le=MAX_STEPS)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Head:
    format: Literal["raypol-dispute"] = DISPUTE_FORMAT
    version: Literal[1] = DISPUTE_VERSION
    move: Move


@dataclass(frozen=True, kw_only=True, slots=True)
class _Leaf:
    digest: Digest
    path: Annotated[tuple[Digest, ...], Field(max_length=MAX_PATH)]

    @classmethod
    def of(cls, opening: Opening) -> "_Leaf":
        return cls(digest=opening.digest.hex(), path=tuple(one.hex() for one in opening.path))

    def opening(self) -> Opening:
        return Opening(bytes.fromhex(self.digest), tuple(map(bytes.fromhex, self.path)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tree:
    count: _Count
    root: Digest
    first: _Leaf
    last: _Leaf

    @classmethod
    def of(cls, pledge: Pledge) -> "_Tree":
        first, last = _Leaf.of(pledge.first), _Leaf.of(pledge.last)
        return cls(count=pledge.count, root=pledge.root.hex(), first=first, last=last)

    def pledge(self) -> Pledge:
        return Pledge(self.count, bytes.fromhex(self.root), self.first.opening(), self.last.opening())


@dataclass(frozen=True, kw_only=True, slots=True)
class _QuestionFile(_Head):
    index: _Count
    sides: Annotated[tuple[Side, ...], Field(min_length=1, max_length=2)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _ClaimFile(_Head):
    recipe: Recipe
    tree: _Tree


@dataclass(frozen=True, kw_only=True, slots=True)
class _PledgeFile(_Head):
    tree: _Tree


@dataclass(frozen=True, kw_only=True, slots=True)
class _OpeningFile(_Head):
    leaf: _Leaf


@dataclass(frozen=True, kw_only=True, slots=True)
class StateNote(_Head):
    """What announces the raw bytes of a state: which entries of the optimizer's state they have."""

    move: Literal["state"] = "state"
    optimizer: Annotated[tuple[Annotated[str, Field(max_length=_MAX_NAME)], ...], Field(max_length=_MAX_ENTRIES)]


_QUESTION: Final = strict_form(_QuestionFile)
_OPENING: Final = strict_form(_OpeningFile)
_FORMS: Final[Mapping[Move, TypeAdapter[Any]]] = {
    "commit": strict_form(_ClaimFile),
    "checkpoint": _OPENING,
    "steps": strict_form(_PledgeFile),
    "step": _OPENING,
    "state": strict_form(StateNote),
}


def question_text(question: Question) -> bytes:
    """The file of a question."""
    return _text(_QuestionFile(move=question.move, index=question.index, sides=question.sides))


def parse_question(text: bytes, where: str) -> Question:
    """A question from its file.

    Raises:
        InputError: it is none.
    """
    found: _QuestionFile = _parsed(_QUESTION, text, where)
    if len(set(found.sides)) != len(found.sides):
        raise InputError(f"{where}: asks a party twice")
    return Question(found.move, found.index, found.sides)


def answer_text(move: Move, answer: Claim | Pledge | Opening | StateNote) -> bytes:
    """The file of an answer."""
    match answer:
        case Claim():
            return _text(_ClaimFile(move=move, recipe=answer.recipe, tree=_Tree.of(answer.pledge)))
        case Pledge():
            return _text(_PledgeFile(move=move, tree=_Tree.of(answer)))
        case Opening():
            return _text(_OpeningFile(move=move, leaf=_Leaf.of(answer)))
        case StateNote():
            return _text(answer)


def parse_answer(move: Move, text: bytes, where: str) -> Claim | Pledge | Opening | StateNote:
    """The answer to a question of this kind from its file.

    Raises:
        InputError: it is none.
    """
    found = _parsed(_FORMS[move], text, where)
    if found.move != move:
        raise InputError(f"{where}: expected the answer to {move!r}, got that to {found.move!r}")
    match found:
        case _ClaimFile():
            return Claim(found.recipe, found.tree.pledge())
        case _PledgeFile():
            return found.tree.pledge()
        case _OpeningFile():
            return found.leaf.opening()
        case StateNote():
            return found
    raise AssertionError(found)


def _text(message: Any) -> bytes:  # noqa: ANN401 - any dataclass
    return json.dumps(asdict(message), indent=1).encode() + b"\n"


def _parsed(form: TypeAdapter[Any], text: bytes, where: str) -> Any:  # noqa: ANN401 - the form's
    if len(text) > MAX_MESSAGE_BYTES:
        raise InputError(f"{where}: {len(text):,} bytes, expected at most {MAX_MESSAGE_BYTES:,}")
    try:
        return form.validate_json(text, strict=True)
    except ValidationError as err:
        raise InputError(f"{where}: not a message of a dispute: {problem_of(err)}") from err
