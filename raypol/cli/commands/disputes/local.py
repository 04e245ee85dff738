"""`raypol dispute`: two proofs of one training on this machine, each party in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Annotated, Final

import tyro

from raypol.cli.budget import within_budget
from raypol.cli.commands.disputes.shown import exit_code_of, show_dispute
from raypol.cli.console import ERR, print_last, warn
from raypol.cli.options import AllowedModel, BudgetOptions, DataDir, Debug
from raypol.cli.progress import progress
from raypol.core.dispute.moves import Side
from raypol.core.dispute.referee import check_same_training
from raypol.core.dispute.training import check_records
from raypol.core.errors import InputError
from raypol.runs.disputes.arithmetic import Bench
from raypol.runs.disputes.referee import check_patience, referee_dispute
from raypol.store.location import Location, open_location
from raypol.store.proofs.reader import ParquetProof, read_manifest

DISPUTE_DEVICE: Final = (
    "What to compute on: cpu, cpu:2, gpu; empty = device and threads as the recipe declares them, without which bits do not "
    "repeat."
)
PATIENCE: Final = "Seconds within which an answer must be there; who takes longer loses."
_STARTING_S: Final = 60.0
_ENDING_S: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class DisputeOptions(BudgetOptions):
    """What referee, parties and third persons have in common."""

    device: Annotated[str, tyro.conf.arg(help=DISPUTE_DEVICE)] = ""
    data_dir: DataDir = None
    dataset: str | None = None
    """Your dataset; None = the built-in one that the recipe names. An import path must be given here to be run."""
    model: AllowedModel = None
    debug: Debug = False

    def bench(self) -> Bench:
        """What this participant brings."""
        return Bench(device=self.device, data_dir=self.data_dir, dataset=self.dataset, model=self.model)


@dataclass(frozen=True, kw_only=True)
class DisputeCommand(DisputeOptions):
    """Settle which of two proofs of one declared training is wrong, by replaying one step. Finds the interval in which they part
    in log2(T / k) rounds, the step in it in log2(k) more, and makes that step. Prints the folder of the dispute last. Exit code
    0: it is decided who lied, or there is nothing to dispute; 1: the step gives neither's bits; 2: bad input.
    """

    proof_a: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROOF_A", help="Folder of party a's proof.")]
    proof_b: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROOF_B", help="Folder of party b's proof.")]
    exchange: str = ""
    """Folder for questions, answers and the verdict, a new one; empty = results/disputes/ and the two roots."""
    patience: Annotated[float, tyro.conf.arg(help=PATIENCE)] = 600.0

    @within_budget
    def run(self) -> int:
        """Run it."""
        check_patience(self.patience)
        proofs: dict[Side, Location] = {"a": open_location(self.proof_a), "b": open_location(self.proof_b)}
        if proofs["a"].is_same(proofs["b"]):
            raise InputError(f"{proofs['a']} twice: the other party needs a proof of its own (`raypol prove --again`)")
        first, second = (read_manifest(proof) for proof in proofs.values())
        check_same_training(first.recipe, second.recipe)
        # What a party would refuse is said here.
        data = self.bench().data(first.recipe)
        self.bench().place(first.recipe)
        for side, proof in proofs.items():
            try:
                check_records(ParquetProof(proof), data)
            except InputError as err:
                raise InputError(f"proof {side}: {err}") from err
        default = f"results/disputes/{first.root[:12]}-{second.root[:12]}"
        exchange = open_location(self.exchange or default)
        with self._parties(proofs, exchange) as parties, progress(ERR) as update:
            file = referee_dispute(
                exchange,
                self.bench(),
                patience_s=self.patience,
                declared=first.recipe,
                is_gone=lambda side: parties[side].poll() is not None,
                on_progress=update,
            )
        show_dispute(file)
        print_last(str(exchange))
        return exit_code_of(file)

    @contextmanager
    def _parties(
        self, proofs: Mapping[Side, Location], exchange: Location
    ) -> Iterator[dict[Side, "subprocess.Popen[bytes]"]]:
        """The two parties as processes, ended with the block."""
        parties: dict[Side, subprocess.Popen[bytes]] = {}
        said: dict[Side, IO[bytes]] = {}
        decided = False
        try:
            for side, proof in proofs.items():
                said[side] = TemporaryFile()  # noqa: SIM115 - closed below, after the process
                words = [*_PROGRAM, "dispute-party", proof.address, "--exchange", exchange.address, "--side", side]
                words += ["--patience", str(self.patience + _STARTING_S), *self._shared()]
                parties[side] = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said[side])  # noqa: S603
            yield parties
            decided = True
        finally:
            for side, party in parties.items():
                try:
                    code = party.wait(_ENDING_S if decided else 0)
                except subprocess.TimeoutExpired:
                    code = 0
                    party.kill()
                    party.wait()
                if code not in (0, 1) and decided:
                    said[side].seek(0)
                    last = said[side].read().decode(errors="replace").strip().rpartition("\n")[2]
                    warn(f"party {side} ended with exit code {code}: {last[:300]}")
            for file in said.values():
                file.close()

    def _shared(self) -> list[str]:
        given = {"--device": self.device, "--data-dir": self.data_dir, "--dataset": self.dataset, "--model": self.model}
        return [word for name, value in given.items() if value for word in (name, value)]


_PROGRAM: Final = (sys.executable, "-c", "from raypol.cli.main import main; main()")
