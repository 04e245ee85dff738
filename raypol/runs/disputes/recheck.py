"""A third person repeats a dispute from its folder: every check, every question, and the one step."""

from dataclasses import dataclass

from raypol.core.dispute.moves import Answer, Fault, Question, Side
from raypol.core.dispute.referee import DisputeVerdict, differing_field, settle, with_faults
from raypol.core.dispute.training import DeclaredTraining
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Recipe
from raypol.runs.disputes.arithmetic import Bench
from raypol.runs.disputes.referee import begin_training, changed_fault, no_answer
from raypol.store.disputes.folder import (
    READ,
    FileNote,
    answer_name,
    changed_since,
    is_there,
    read_answer,
    read_question,
)
from raypol.store.disputes.verdict_file import DisputeFile, RefereeFacts, read_dispute, verdict_differences
from raypol.store.location import Location


@dataclass(frozen=True, kw_only=True, slots=True)
class DisputeRecheck:
    """A verdict, and the one that its files give again."""

    then: DisputeFile
    now: DisputeVerdict
    referee: RefereeFacts
    """What the repetition was computed on."""
    differences: tuple[str, ...]
    """In words; empty if nothing differs."""
    on_trust: tuple[str, ...]
    """What rests on the referee's word, for files do not show it."""
    by_copies: bool
    """True if a party's file is another by now, so that the referee's copy of it was read."""


def recheck_dispute(folder: Location, bench: Bench, *, declared: Recipe | None = None) -> DisputeRecheck:
    """Repeat a dispute.

    Args:
        folder: the dispute's.
        bench: what it is repeated on.
        declared: the training that it should have been about, if the third person knows it.

    Raises:
        InputError: there is none, a file that it rests on is missing, or the training cannot be computed here.
    """
    then = read_dispute(folder)
    repeated = _Repeated(folder, bench, then)
    with bench.threads():
        verdict = settle(repeated.ask, repeated.begin, declared=then.declared)
    later = [changed_fault(name) for name in then.changed]
    now = with_faults(verdict, later)
    differences = [*repeated.differences, *verdict_differences(then.verdict, now)]
    if declared is not None and (then.declared is None or differing_field(declared, then.declared)):
        differences.append("the referee was told of another training, or of none")
    known = {note.name for note in then.files}
    differences += [f"{name}: said to be changed, and was never read" for name in then.changed if name not in known]
    if repeated.number != then.questions:
        differences.append(f"{then.questions} questions then, {repeated.number} now")
    return DisputeRecheck(
        then=then,
        now=now,
        referee=repeated.facts,
        differences=tuple(differences),
        on_trust=(
            *(
                ["which training was declared (see --declared)"]
                if then.declared is not None and declared is None
                else []
            ),
            *repeated.on_trust,
            *(f"{fault.detail}" for fault in later),
        ),
        by_copies=repeated.by_copies,
    )


class _Repeated:
    """The files of a dispute in the place of its parties."""

    def __init__(self, folder: Location, bench: Bench, then: DisputeFile) -> None:
        self.number = 0
        self.differences: list[str] = []
        self.on_trust: list[str] = []
        self.by_copies = False
        self.facts = RefereeFacts()
        self._folder, self._bench, self._then = folder, bench, then
        self._notes = {note.name: note for note in then.files}
        self._training: DeclaredTraining | None = None

    def begin(self, recipe: Recipe) -> DeclaredTraining:
        """Prepare the declared training."""
        self._training, self.facts = begin_training(self._bench, recipe)
        return self._training

    def ask(self, question: Question) -> dict[Side, Answer[Checkpoint] | Fault]:
        """Read what was asked and answered."""
        self.number += 1
        asked = read_question(self._folder, self.number)
        if asked != question:
            raise InputError(
                f"question {self.number} asks for {asked.move} {asked.index}, the rules ask for {question}"
            )
        return {side: self._answer(side, question) for side in question.sides}

    def _answer(self, side: Side, question: Question) -> Answer[Checkpoint] | Fault:
        name = answer_name(side, self.number)
        fault = no_answer(side, self.number, question)
        if name not in self._notes and fault in self._then.verdict.faults:
            late = " (it is there now)" if is_there(self._folder, name) else ""
            waited = f" within {self._then.patience_s:g} s{late}"
            self.on_trust.append(f"{side}: no answer {fault.detail}{waited}")
            return fault
        stem = name.removesuffix(".json")
        recorded = [note for note in self._notes.values() if note.name.startswith(f"{stem}.")]
        folder = self._folder
        for note in recorded:
            is_changed = changed_since(self._folder, note)
            if note.name in self._then.changed and not is_changed:
                self.differences.append(f"{note.name}: said to be changed, and is what the referee read")
            if is_changed:
                self.on_trust.append(f"what {note.name} was: it is another by now")
                self.by_copies = True
                if not note.sha256:  # nothing was read of it
                    return self._oversized(side, note)
                folder = self._folder / READ
        received = read_answer(folder, side, self.number, question, self._training.layout if self._training else None)
        if sorted(received.notes, key=str) != sorted(recorded, key=str):
            self.differences.append(f"{name}: not what the referee read")
        return received.answer

    def _oversized(self, side: Side, note: FileNote) -> Fault:
        """The fault that the referee found in a file which is smaller by now."""
        found = next((f for f in self._then.verdict.faults if (f.side, f.kind) == (side, "oversized")), None)
        if found is None or not found.detail.startswith(f"{note.name} has {note.size:,} bytes"):
            self.differences.append(f"{note.name}: too large to be read, and nobody was blamed for it")
            return Fault(side, "oversized", note.name)
        return found
