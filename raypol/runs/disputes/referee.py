"""The referee of a dispute over a folder: writes questions, waits for answers, keeps the digest of each, writes the verdict."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import torch
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_exponential

from raypol.core.dispute.moves import Answer, Fault, Question, Side
from raypol.core.dispute.referee import DisputeVerdict, settle, with_faults
from raypol.core.dispute.training import DeclaredTraining
from raypol.core.errors import InputError
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import Checkpoint, Recipe
from raypol.runs.disputes.arithmetic import Bench, environment_on
from raypol.store.disputes.folder import (
    FileNote,
    Received,
    answer_name,
    changed_since,
    fresh_folder,
    is_there,
    keep_read,
    question_name,
    read_answer,
    write_question,
)
from raypol.store.disputes.verdict_file import DisputeFile, RefereeFacts, write_dispute
from raypol.store.location import Location
from raypol.store.retries import storage_retries

MAX_PATIENCE_S: Final = 604_800.0
_LOOK_S: Final = 0.02
_LONGEST_LOOK_S: Final = 0.5


def referee_dispute(
    folder: Location,
    bench: Bench,
    *,
    patience_s: float,
    declared: Recipe | None = None,
    is_gone: Callable[[Side], bool] = lambda _: False,
    on_progress: Progress = no_progress,
) -> DisputeFile:
    """Settle a dispute over a folder, in which the parties answer.

    Args:
        folder: a new one.
        bench: what the referee computes on.
        patience_s: seconds within which an answer must be there.
        declared: see `settle`.
        is_gone: true of a party that is known to answer no more.
        on_progress: called with each question.

    Raises:
        InputError: the parties claim different trainings, or the training cannot be computed here.
    """
    check_patience(patience_s)
    storage_retries(fresh_folder, folder)
    referee = _Referee(folder, bench, patience_s, is_gone, on_progress)
    began = time.perf_counter()
    with bench.threads():
        verdict = settle(referee.ask, referee.begin, declared=declared)
    own_s = time.perf_counter() - began - referee.waited_s
    return referee.close(verdict, declared, own_s)


def check_patience(patience_s: float) -> None:
    """Raise the InputError for a patience that nobody can have."""
    if not 0.0 < patience_s <= MAX_PATIENCE_S:
        raise InputError(f"expected --patience in (0, {MAX_PATIENCE_S:g}] seconds, got {patience_s:g}")


def wait_until(is_so: Callable[[], bool], patience_s: float) -> bool:
    """Look again and again whether something is so; false if it is not within the patience."""
    waiting = Retrying(
        retry=retry_if_result(lambda so: not so),
        wait=wait_exponential(multiplier=_LOOK_S, max=_LONGEST_LOOK_S),
        stop=stop_after_delay(patience_s),
    )
    try:
        return waiting(is_so)
    except RetryError:
        return False


def no_answer(side: Side, number: int, question: Question) -> Fault:
    """The fault of a party that did not answer."""
    return Fault(side, "no answer", f"to question {number} ({question.move} {question.index})")


def changed_fault(name: str) -> Fault:
    """The fault of a party whose file is not what was read from it."""
    side: Side = "a" if name.startswith("a/") else "b"
    return Fault(side, "answered twice", f"{name} was changed after it was read")


class _Referee:
    """What was asked and read so far."""

    def __init__(
        self,
        folder: Location,
        bench: Bench,
        patience_s: float,
        is_gone: Callable[[Side], bool],
        on_progress: Progress,
    ) -> None:
        self.waited_s = 0.0
        self._folder, self._bench, self._patience_s = folder, bench, patience_s
        self._is_gone, self._on_progress = is_gone, on_progress
        self._number = 0
        self._received: list[Received] = []
        self._training: DeclaredTraining | None = None
        self._facts = RefereeFacts()

    def begin(self, recipe: Recipe) -> DeclaredTraining:
        """Prepare the declared training, in the declared arithmetic."""
        self._training, self._facts = begin_training(self._bench, recipe)
        return self._training

    def ask(self, question: Question) -> dict[Side, Answer[Checkpoint] | Fault]:
        """Write a question, and wait for the answers of those it asks."""
        self._number += 1
        number = self._number
        storage_retries(write_question, self._folder, number, question)
        self._on_progress(f"question {number}: {question.move} {question.index}", 0, 0)
        began = time.perf_counter()
        wait_until(
            lambda: all(self._has_answered(side, number) or self._is_gone(side) for side in question.sides),
            self._patience_s,
        )
        self.waited_s += time.perf_counter() - began
        return {side: self._read(side, number, question) for side in question.sides}

    def _has_answered(self, side: Side, number: int) -> bool:
        return storage_retries(is_there, self._folder, answer_name(side, number))

    def _read(self, side: Side, number: int, question: Question) -> Answer[Checkpoint] | Fault:
        if not self._has_answered(side, number):
            return no_answer(side, number, question)
        layout = self._training.layout if self._training else None
        received = storage_retries(read_answer, self._folder, side, number, question, layout)
        self._received.append(received)
        return received.answer

    def close(self, verdict: DisputeVerdict, declared: Recipe | None, own_s: float) -> DisputeFile:
        """Look at all answers again, and write the verdict."""
        for received in self._received:
            for note, content in zip(received.notes, received.contents, strict=True):
                if note.sha256:
                    storage_retries(keep_read, self._folder, note, content)
        read = [note for received in self._received for note in received.notes]
        changed = [note.name for note in read if storage_retries(changed_since, self._folder, note)]
        notes = tuple(read)
        file = DisputeFile(
            verdict=with_faults(verdict, [changed_fault(name) for name in changed]),
            referee=replace(self._facts, seconds=own_s, step_s=self._training.step_s if self._training else 0.0),
            declared=declared,
            patience_s=float(self._patience_s),
            questions=self._number,
            files=notes,
            changed=tuple(changed),
            file_bytes=self._file_bytes(notes),
        )
        storage_retries(write_dispute, self._folder, file)
        return file

    def _file_bytes(self, notes: tuple[FileNote, ...]) -> int:
        """Bytes of questions and of answers that were read."""
        asked = sum((self._folder / question_name(number)).size() for number in range(1, self._number + 1))
        return asked + sum(note.size for note in notes if note.sha256)


def begin_training(bench: Bench, recipe: Recipe) -> tuple[DeclaredTraining, RefereeFacts]:
    """The declared training, and what it is computed on; sets torch's number of threads."""
    device, threads = bench.place(recipe)
    torch.set_num_threads(threads)
    training = bench.training(recipe)
    facts = RefereeFacts(precision=recipe.precision, device=device, threads=threads, environment=environment_on(device))
    return training, facts
