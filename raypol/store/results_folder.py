"""Names of everything in a results folder."""

from typing import Final

from raypol.store.location import Location

MANIFEST_NAME: Final = "manifest.json"
"""A proof folder is finished once it has this file."""


class ResultsFolder:
    """Places inside a results folder. Naming them creates and reads nothing."""

    def __init__(self, root: Location) -> None:
        self.proofs = root / "proofs"
        """Finished proofs, a folder each."""
        self.staging = root / ".staging"
        """Unfinished proofs, and the crafted intervals of unfinished spoofs."""
        self.locks = root / ".locks"
        self.trials = root / "trials"
        """Parquet files of trial rows."""
        self.intervals = root / "intervals"
        """Parquet files of interval rows."""
        self.ranges = root / "ranges"
        """Parquet files of success ranges."""
        self.sweeps = root / "sweeps"
        """Records of sweeps, a folder each."""
        self.figures = root / "figures"
        self.reports = root / "report"

    def proof(self, proof_id: str) -> Location:
        """Folder of a finished proof."""
        return self.proofs / proof_id

    def has_proof(self, proof_id: str) -> bool:
        """Look whether a proof is finished."""
        return (self.proof(proof_id) / MANIFEST_NAME).exists()

    def sweep(self, sweep_id: str) -> Location:
        """Folder of a sweep's records."""
        return self.sweeps / sweep_id

    def report(self, sweep_id: str) -> Location:
        """Folder of a sweep's report."""
        return self.reports / sweep_id
