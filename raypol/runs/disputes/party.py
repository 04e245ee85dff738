"""A party of a dispute over a folder: answers the referee's questions until the verdict is there."""

from raypol.core.dispute.moves import Disputant, Side, answer_of
from raypol.core.dispute.training import ProofParty, check_records
from raypol.core.errors import InputError
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import Checkpoint
from raypol.runs.disputes.arithmetic import Bench
from raypol.runs.disputes.referee import begin_training, check_patience, wait_until
from raypol.store.disputes.folder import (
    VERDICT_NAME,
    answer_name,
    is_there,
    question_name,
    read_question,
    write_answer,
)
from raypol.store.disputes.verdict_file import MAX_QUESTIONS, DisputeFile, read_dispute
from raypol.store.location import Location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.retries import storage_retries


def party_of(proof: Location, bench: Bench, *, on_progress: Progress = no_progress) -> ProofParty:
    """The honest party that a proof folder makes, in the declared arithmetic; sets torch's number of threads.

    Raises:
        InputError: the folder is not a readable proof, records other batches than it declares, or cannot be replayed here.
    """
    source = ParquetProof(proof)
    check_records(source, bench.data(source.recipe))
    training, _ = begin_training(bench, source.recipe)
    return ProofParty(source, training, on_progress=on_progress)


def serve_party(
    party: Disputant[Checkpoint],
    folder: Location,
    side: Side,
    *,
    patience_s: float,
    on_progress: Progress = no_progress,
) -> DisputeFile:
    """Answer as one side of a dispute until its verdict is there. A party that was interrupted goes on where it stopped.

    Args:
        party: who answers.
        folder: the dispute's.
        side: as whom.
        patience_s: seconds within which the next question must be there.
        on_progress: called with each question.

    Raises:
        InputError: no question within the patience, or what is there is none.
    """
    check_patience(patience_s)
    for number in range(1, MAX_QUESTIONS + 1):
        on_progress(f"waiting for question {number}", 0, 0)
        if not wait_until(lambda n=number: _is_next(folder, n), patience_s):  # type: ignore[misc]
            raise InputError(f"the referee neither asked question {number} nor decided within {patience_s:g} s")
        if storage_retries(is_there, folder, VERDICT_NAME):
            return storage_retries(read_dispute, folder)
        question = storage_retries(read_question, folder, number)
        if side not in question.sides:
            continue
        is_answered = storage_retries(is_there, folder, answer_name(side, number))
        if is_answered and question.move != "steps":
            continue
        on_progress(f"answering question {number}: {question.move} {question.index}", 0, 0)
        answer = answer_of(
            party, question
        )  # of steps also again, after an interruption: later answers are opened from it
        if not is_answered:
            storage_retries(write_answer, folder, side, number, question, answer)
    raise InputError(f"the referee asked more than {MAX_QUESTIONS} questions")


def _is_next(folder: Location, number: int) -> bool:
    return storage_retries(is_there, folder, VERDICT_NAME) or storage_retries(is_there, folder, question_name(number))
