"""The folder of a dispute, on any filesystem: whoever may write to it may take part.

DIR/referee/0001.json   question 1            DIR/a/0001.json, DIR/b/0001.json   the parties' answers
DIR/a/0013.state        the one state, as raw bytes, complete before 0013.json is there
DIR/verdict.json        at the end

A party writes below its own name alone; access rights of the storage must see to that. A file appears whole, and stays as it is.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

import pyarrow as pa
from pydantic import Field

from raypol.core.dispute.moves import SIDES, Answer, Delivered, Fault, FaultKind, Question, Side
from raypol.core.dispute.training import StateLayout, state_pieces
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint
from raypol.store.disputes.messages import (
    MAX_MESSAGE_BYTES,
    StateNote,
    answer_text,
    parse_answer,
    parse_question,
    question_text,
)
from raypol.store.location import Location, atomic_output, leads_out, may_pass, opened_file, read_bounded, reason_of

VERDICT_NAME: Final = "verdict.json"
READ: Final = "referee/read"
"""Folder of answers as the referee read them, for when they are changed later."""
_MAX_DETAIL: Final = 300
FileName = Annotated[str, Field(pattern="^[ab]/[0-9]{4,6}[.](json|state)$")]


@dataclass(frozen=True, slots=True)
class FileNote:
    """A file of a party as it was read."""

    name: FileName
    """In the folder: a/0001.json."""
    size: Annotated[int, Field(ge=0)]
    sha256: str
    """Hex; empty of a file that is too large to be read."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a party's answer is, and the files that it was read from."""

    answer: Answer[Checkpoint] | Fault
    notes: tuple[FileNote, ...] = ()
    contents: tuple[bytes, ...] = ()
    """Of each of them; empty of one that is too large to be read."""


def question_name(number: int) -> str:
    """Name of a question's file in the folder; the first is number 1."""
    return f"referee/{number:04d}.json"


def answer_name(side: Side, number: int) -> str:
    """Name of an answer's file in the folder."""
    return f"{side}/{number:04d}.json"


def state_name(side: Side, number: int) -> str:
    """Name of the file of a state's raw bytes in the folder."""
    return f"{side}/{number:04d}.state"


def write_question(folder: Location, number: int, question: Question) -> None:
    """Ask."""
    _write(folder, question_name(number), (question_text(question),))


def read_question(folder: Location, number: int) -> Question:
    """The question with this number.

    Raises:
        InputError: there is none, or it is not readable.
    """
    name = question_name(number)
    return parse_question(read_part(folder, name, MAX_MESSAGE_BYTES), f"{folder}/{name}")


def write_answer(folder: Location, side: Side, number: int, question: Question, answer: Answer[Checkpoint]) -> None:
    """Answer a question."""
    if isinstance(answer, Delivered):
        _write(folder, state_name(side, number), state_pieces(answer.state))
        text = answer_text(question.move, StateNote(optimizer=tuple(sorted(answer.state.optimizer_state))))
    else:
        text = answer_text(question.move, answer)
    _write(folder, answer_name(side, number), (text,))


def read_answer(
    folder: Location, side: Side, number: int, question: Question, layout: StateLayout | None = None
) -> Received:
    """Read an answer that is there; whatever is wrong with it is the party's fault.

    Args:
        folder: the dispute's.
        side: whose.
        number: the question's.
        question: what was asked.
        layout: of a state, where one was asked for: its size is known before a byte is read.
    """
    name = answer_name(side, number)
    received = _read_part(folder, side, name, MAX_MESSAGE_BYTES)
    if isinstance(received, Received):
        return received
    text, note = received
    try:
        answer = parse_answer(question.move, text, name)
        if not isinstance(answer, StateNote):
            return Received(answer, (note,), (text,))
        assert layout is not None
        size = layout.num_bytes(answer.optimizer)
    except InputError as err:
        return Received(_fault(side, "malformed", str(err)), (note,), (text,))
    part = _read_part(folder, side, state_name(side, number), size)
    if isinstance(part, Received):
        return Received(part.answer, (note, *part.notes), (text, *part.contents))
    raw, raw_note = part
    try:
        state = layout.unpack(question.index, answer.optimizer, raw)
    except InputError as err:
        return Received(_fault(side, "malformed", f"{raw_note.name}: {err}"), (note, raw_note), (text, raw))
    return Received(Delivered(state, len(raw)), (note, raw_note), (text, raw))


def changed_since(folder: Location, note: FileNote) -> bool:
    """True if a file is not what was read from it."""
    place = folder / note.name
    try:
        if place.size() != note.size or leads_out(place, folder):
            return True
        return bool(note.sha256) and _sha256(place, note.size) != note.sha256
    except InputError:
        return True
    except (OSError, pa.ArrowException) as err:
        if may_pass(err):
            raise
        return True


def read_part(folder: Location, name: str, most: int) -> bytes:
    """The content of a file in the folder, of at most so many bytes.

    Raises:
        InputError: as `read_bounded`, or nobody may read it.
        OSError: the storage is away.
    """
    place = folder / name
    try:
        return read_bounded(place, max_bytes=most, folder=folder)
    except (OSError, pa.ArrowException) as err:
        if may_pass(err):
            raise
        raise InputError(f"{place}: cannot be read ({reason_of(err)})") from err


def is_there(folder: Location, name: str) -> bool:
    """True if this file exists now and can be looked at; a pipe is none. It may be of a party that shuts others out.

    Raises:
        OSError: the storage is away.
    """
    try:
        return (folder / name).size() >= 0
    except (OSError, pa.ArrowException) as err:
        if may_pass(err):
            raise
        return False


def fresh_folder(folder: Location) -> None:
    """Prepare the folder of a new dispute.

    Raises:
        InputError: it holds another.
    """
    if is_there(folder, question_name(1)) or is_there(folder, VERDICT_NAME):
        raise InputError(f"{folder} holds a dispute already: take another folder, or `raypol dispute-check` it")
    for name in ("referee", "a", "b"):
        (folder / name).make_folder()


def _read_part(folder: Location, side: Side, name: str, most: int) -> tuple[bytes, FileNote] | Received:
    """Content and note of a file of at most so many bytes, or what is wrong with it."""
    try:
        size = (folder / name).size()
    except (OSError, pa.ArrowException) as err:
        if may_pass(err):
            raise
        return Received(_fault(side, "malformed", f"{name} cannot be read ({reason_of(err)})"))
    if size > most:
        note = FileNote(name, size, "")
        return Received(
            _fault(side, "oversized", f"{name} has {size:,} bytes, expected at most {most:,}"), (note,), (b"",)
        )
    try:
        text = read_part(folder, name, most)
    except InputError as err:
        return Received(_fault(side, "malformed", str(err).replace(str(folder), "").lstrip("/")))
    return text, FileNote(name, len(text), hashlib.sha256(text).hexdigest())


def _fault(side: Side, kind: FaultKind, detail: str) -> Fault:
    return Fault(side, kind, detail[:_MAX_DETAIL])


def _sha256(place: Location, size: int) -> str:
    digest = hashlib.sha256()
    with opened_file(place) as (stream, _):
        while size > 0 and (part := stream.read(min(size, 1 << 20))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest()


def keep_read(folder: Location, note: FileNote, content: bytes) -> None:
    """Keep a file as it was read: it may be changed at any time."""
    copies = folder / READ
    for side in SIDES:
        (copies / side).make_folder()
    _write(copies, note.name, (content,))


def _write(folder: Location, name: str, pieces: Iterable[bytes | memoryview]) -> None:
    with atomic_output(folder / name) as stream:
        for piece in pieces:
            stream.write(piece)
