"""Names of everything in a results folder."""

from typing import Final

from raypol.core.errors import InputError
from raypol.store.location import Location

MANIFEST_NAME: Final = "manifest.json"
"""A proof folder is finished once it has this file."""


_MAX_NAME: Final = 200
"""Bytes of an identifier, which leaves room for an ending."""


def is_path_component(identifier: str) -> bool:
    """Look whether an identifier names one file or folder and no place elsewhere: rows may come from anyone."""
    plain = identifier.isprintable() and not set(identifier) & set("/\\") and not identifier.startswith(".")
    return plain and 0 < len(identifier.encode(errors="replace")) <= _MAX_NAME


def path_component(identifier: str) -> str:
    """The identifier, if it names one file or folder.

    Raises:
        InputError: it is empty, too long, hidden, or has a separator or a character that cannot be printed.
    """
    if not is_path_component(identifier):
        raise InputError(f"expected an identifier without separators, as raypol writes it, got {identifier[:80]!r}")
    return identifier


def _inside(folder: Location, identifier: str) -> Location:
    """The place of an identifier; without one, that of them all."""
    return folder / path_component(identifier) if identifier else folder


class ResultsFolder:
    """Places inside a results folder. Naming them creates and reads nothing."""

    def __init__(self, root: Location) -> None:
        self.proofs = root / "proofs"
        """Finished proofs, a folder each."""
        self.verifiable = root / "vc"
        """Proofs by verifiable computation, and keys that the prover made, a folder each."""
        self.staging = root / ".staging"
        """Unfinished proofs, and the crafted intervals of unfinished spoofs."""
        self.locks = root / ".locks"
        self.trials = root / "trials"
        """Parquet files of trial rows."""
        self.intervals = root / "intervals"
        """Parquet files of interval rows."""
        self.verdicts = root / "verdicts"
        """Parquet files of what each policy says of each trial."""
        self.policies = root / "policies"
        """Policy files: those calibrated for a sweep, and those of standing results."""
        self.cells = root / "cells"
        """Parquet files of the arena's cells."""
        self.ranges = root / "ranges"
        """Parquet files of success ranges."""
        self.sweeps = root / "sweeps"
        """Records of sweeps, a folder each."""
        self.figures = root / "figures"
        self.reports = root / "report"

    def proof(self, proof_id: str) -> Location:
        """Folder of a finished proof."""
        return _inside(self.proofs, proof_id)

    def has_proof(self, proof_id: str) -> bool:
        """Look whether a proof is finished."""
        return (self.proof(proof_id) / MANIFEST_NAME).exists()

    def sweep(self, sweep_id: str) -> Location:
        """Folder of a sweep's records."""
        return _inside(self.sweeps, sweep_id)

    def report(self, sweep_id: str) -> Location:
        """Folder of a sweep's report."""
        return _inside(self.reports, sweep_id)

    def figures_of(self, sweep_id: str) -> Location:
        """Folder of a sweep's figures."""
        return _inside(self.figures, sweep_id)

    def trial(self, trial_id: str) -> Location:
        """File of a trial's row."""
        return self.trials / f"{path_component(trial_id)}.parquet"

    def intervals_of(self, trial_id: str) -> Location:
        """File of a trial's intervals."""
        return self.intervals / f"{path_component(trial_id)}.parquet"
