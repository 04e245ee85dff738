"""The verdict of a dispute as a file: what was found, by whom, and of which files, so that a third person can repeat it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from raypol.core.arithmetic.precision import Precision
from raypol.core.dispute.moves import Fault
from raypol.core.dispute.referee import DisputeVerdict
from raypol.core.errors import InputError, in_short
from raypol.core.proof import Recipe
from raypol.store.disputes.folder import VERDICT_NAME, FileName, FileNote, read_part
from raypol.store.disputes.messages import DISPUTE_FORMAT, DISPUTE_VERSION, MAX_MESSAGE_BYTES
from raypol.store.json_files import parse_json, problem_of, strict_form
from raypol.store.location import Location, atomic_output

MAX_QUESTIONS: Final = 100
"""Two commitments, at most 54 leaves, and the state, which both may be asked for."""
_MAX_FILES: Final = 4 * MAX_QUESTIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class RefereeFacts:
    """Under what the referee computed."""

    precision: Precision | Literal[""] = ""
    """Of the declared training; empty if nothing was computed."""
    device: str = ""
    threads: int = 0
    seconds: float = 0.0
    """Of the referee's own work: preparing the model, W_0 and the one step; waiting is not in it."""
    step_s: float = 0.0
    """Of these, for the one step."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Versions and the device's model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DisputeFile:
    """A verdict with all that it takes to repeat it."""

    verdict: DisputeVerdict
    referee: RefereeFacts
    declared: Recipe | None
    """The training that the referee was told to settle about, if any."""
    patience_s: float
    """Seconds within which an answer had to be there."""
    questions: Annotated[int, Field(ge=0, le=MAX_QUESTIONS)]
    """How many were asked."""
    files: Annotated[tuple[FileNote, ...], Field(max_length=_MAX_FILES)]
    """What the parties wrote, as it was read."""
    changed: Annotated[tuple[FileName, ...], Field(max_length=_MAX_FILES)] = ()
    """Of these, the ones that were something else at the end. What the referee read of all lies in referee/read/."""
    file_bytes: int
    """Of all questions, answers and the state, as files."""


_FILE: Final = strict_form(DisputeFile)


def write_dispute(folder: Location, file: DisputeFile) -> None:
    """Write the verdict: the dispute is over."""
    content = asdict(file)
    head = {"format": DISPUTE_FORMAT, "version": DISPUTE_VERSION, "sha256": _sha256(content)}
    with atomic_output(folder / VERDICT_NAME) as stream:
        stream.write(json.dumps(head | content, indent=1).encode() + b"\n")


def read_dispute(folder: Location) -> DisputeFile:
    """Read the verdict of a dispute.

    Raises:
        InputError: there is none, or it is not readable.
    """
    where = f"{folder}/{VERDICT_NAME}"
    return parse_dispute(read_part(folder, VERDICT_NAME, MAX_MESSAGE_BYTES), where)


def parse_dispute(text: bytes, where: str) -> DisputeFile:
    """A verdict from its file.

    Raises:
        InputError: it is none, or was changed.
    """
    content = parse_json(text, DISPUTE_FORMAT, DISPUTE_VERSION, where)
    recorded = content.pop("sha256", None)
    try:
        found = _FILE.validate_json(json.dumps(content), strict=True)
    except (ValidationError, ValueError) as err:
        what = problem_of(err) if isinstance(err, ValidationError) else "not JSON"
        raise InputError(f"{where}: not the verdict of a dispute: {what}") from err
    if _sha256(asdict(found)) != recorded:
        raise InputError(f"{where}: its SHA-256 is not the recorded one: the file was changed")
    return found


def verdict_differences(before: DisputeVerdict, now: DisputeVerdict) -> Iterator[str]:
    """What two verdicts on one dispute say differently, in words."""
    for name in (one.name for one in fields(DisputeVerdict)):
        old, new = getattr(before, name), getattr(now, name)
        if name == "faults":
            yield from (f"then, not now: {_words(fault)}" for fault in old if fault not in new)
            yield from (f"now, not then: {_words(fault)}" for fault in new if fault not in old)
        elif old != new:
            yield f"{name}: {in_short(old)} then, {in_short(new)} now"


def _words(fault: Fault) -> str:
    return f"{fault.side}, {fault.kind}: {fault.detail[:200]}"


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
