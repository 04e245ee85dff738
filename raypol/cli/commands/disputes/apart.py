"""`raypol dispute-party`, `dispute-referee` and `dispute-check`: a dispute whose participants are on different machines."""

from dataclasses import dataclass
from typing import Annotated, Final

import tyro

from raypol.cli.budget import within_budget
from raypol.cli.commands.disputes.local import PATIENCE, DisputeOptions
from raypol.cli.commands.disputes.shown import exit_code_of, show_dispute
from raypol.cli.console import ERR, print_last, say, warn
from raypol.cli.options import ProofDir
from raypol.cli.progress import progress
from raypol.core.dispute.moves import Side
from raypol.runs.disputes.party import party_of, serve_party
from raypol.runs.disputes.recheck import recheck_dispute
from raypol.runs.disputes.referee import referee_dispute
from raypol.store.location import open_location
from raypol.store.proofs.reader import read_manifest

_EXCHANGE: Final = "Folder of the dispute, as all participants reach it: a local path, s3://... or gs://..."
Exchange = Annotated[str, tyro.conf.arg(help=_EXCHANGE)]
_LOST: Final = 1
_DIFFERS: Final = 1


@dataclass(frozen=True, kw_only=True)
class DisputePartyCommand(DisputeOptions):
    """Be a party of a dispute: answer the referee's questions from a proof until the verdict is there. An interrupted party goes
    on where it stopped. Exit code 0: this party did not lose; 1: it did; 2: bad input, or no question within the patience.
    """

    proof_dir: ProofDir
    exchange: Exchange
    side: Annotated[Side, tyro.conf.arg(help="Which party to be.")]
    patience: float = 3600.0
    """Seconds within which the next question must be there."""

    @within_budget
    def run(self) -> int:
        """Run it."""
        exchange, bench = open_location(self.exchange), self.bench()
        with bench.threads(), progress(ERR) as update:
            party = party_of(open_location(self.proof_dir), bench, on_progress=update)
            file = serve_party(party, exchange, self.side, patience_s=self.patience, on_progress=update)
        if party.repeats is False:
            warn(
                "replaying the interval that was asked for does not give this proof's own bits: other arithmetic, or forged"
            )
        show_dispute(file)
        return _LOST if any(fault.side == self.side for fault in file.verdict.faults) else 0


@dataclass(frozen=True, kw_only=True)
class DisputeRefereeCommand(DisputeOptions):
    """Be the referee of a dispute: ask both parties, replay one step, name who lied. Prints the folder last. Exit code 0: it is
    decided who lied, or there is nothing to dispute; 1: the step gives neither's bits; 2: bad input.
    """

    exchange: Exchange
    declared: str = ""
    """Folder of a proof whose recipe is the training to settle about: a party that claims another one loses. Empty = both must
    claim the same."""
    patience: Annotated[float, tyro.conf.arg(help=PATIENCE)] = 600.0

    @within_budget
    def run(self) -> int:
        """Run it."""
        declared = read_manifest(open_location(self.declared)).recipe if self.declared else None
        with progress(ERR) as update:
            file = referee_dispute(
                open_location(self.exchange),
                self.bench(),
                patience_s=self.patience,
                declared=declared,
                on_progress=update,
            )
        show_dispute(file)
        print_last(self.exchange)
        return exit_code_of(file)


@dataclass(frozen=True, kw_only=True)
class DisputeCheckCommand(DisputeOptions):
    """Repeat a dispute from its folder, as a third person: every check of every answer, and the one step. Exit code 0: the
    verdict is the same; 1: something differs; 2: bad input.
    """

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER", help=_EXCHANGE)]
    declared: str = ""
    """Folder of a proof whose recipe is the training that the referee should have been told of; empty = believe the referee."""

    @within_budget
    def run(self) -> int:
        """Run it."""
        declared = read_manifest(open_location(self.declared)).recipe if self.declared else None
        found = recheck_dispute(open_location(self.folder), self.bench(), declared=declared)
        show_dispute(found.then)
        say(*(f"rests on the referee's word: {line}" for line in found.on_trust))
        say(*found.differences)
        same = not found.differences
        word = "CONFIRMED" if same else "NOT CONFIRMED"
        files = "the referee's copies give" if found.by_copies else "the files give"
        what = f"{files} the same verdict" if same else f"{len(found.differences)} differences"
        on = _arithmetic(found.then.referee.threads, found.referee.threads)
        say(f"{word}: {what}{on}", style="bold green" if same else "bold red")
        return 0 if same else _DIFFERS


def _arithmetic(then: int, now: int) -> str:
    return "" if then == now else f" (computed on {now} threads, then on {then})"
