"""Verdicts of disputes in words."""

from typing import Final

from raypol.cli.console import print_facts, say
from raypol.core.dispute.moves import SIDES
from raypol.core.dispute.referee import DisputeOutcome
from raypol.store.disputes.verdict_file import DisputeFile

DECIDED: Final = 0
UNDECIDED: Final = 1
_STYLES: Final[dict[DisputeOutcome, str]] = {"agreed": "bold green", "undecided": "bold yellow"}


def show_dispute(file: DisputeFile) -> None:
    """Print what was found."""
    verdict, referee = file.verdict, file.referee
    rounds = f"{verdict.interval_rounds} for the interval, {verdict.step_rounds} for the step"
    where = "nowhere: the last states are the same" if verdict.outcome == "agreed" else "not reached"
    if verdict.interval is not None:
        where = f"in interval {verdict.interval}" + (f", at step {verdict.step}" if verdict.step is not None else "")
    work = f"{verdict.replayed_steps} step" if verdict.replayed_steps else "no step"
    on = f" in {referee.precision} on {referee.device}, {referee.threads} threads" if referee.precision else ""
    exchanged = f"{verdict.exchanged_bytes:,} bytes, of which the state {verdict.state_bytes:,}"
    facts = {
        "they part": where,
        "rounds": rounds,
        "exchanged": f"{exchanged}; as files {file.file_bytes:,}",
        "referee": f"{work} replayed{on} in {referee.step_s:.3f} s; {referee.seconds:.2f} s of its own work in all",
    }
    print_facts(facts.items())
    say(*(f"{fault.side}: {fault.kind}: {fault.detail}" for fault in verdict.faults))
    say(dispute_words(file), style=_STYLES.get(verdict.outcome, "bold red"))


def dispute_words(file: DisputeFile) -> str:
    """The verdict in a sentence."""
    verdict = file.verdict
    lost = [side for side in SIDES if any(fault.side == side for fault in verdict.faults)]
    match verdict.outcome:
        case "agreed":
            return "NOTHING TO DISPUTE: both claim the same last state, in every bit"
        case "undecided":
            return (
                "UNDECIDED: the replayed step gives neither's bits: other arithmetic than the referee's, or both lie "
                f"({file.referee.precision}, {file.referee.device}, {file.referee.threads} threads)"
            )
        case "both lied":
            return "BOTH LOSE"
        case _:
            wrong = any(fault.kind == "wrong step" for fault in verdict.faults)
            other = next(side for side in SIDES if side not in lost) if len(lost) == 1 else ""
            rest = (
                f"; the replayed step is {other}'s" if wrong and other else "; nothing is established about the other"
            )
            return f"{verdict.outcome[0].upper()} LOSES{rest}"


def exit_code_of(file: DisputeFile) -> int:
    """0 = decided, 1 = the referee's step is neither's."""
    return UNDECIDED if file.verdict.outcome == "undecided" else DECIDED
