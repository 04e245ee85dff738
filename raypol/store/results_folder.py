"""Names of everything in a results folder."""

from dataclasses import dataclass
from typing import Final

from raypol.store.location import Location

MANIFEST_NAME: Final = "manifest.json"
"""A proof folder is finished once it has this file."""


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """Places inside a results folder; nothing is created or read unless a method says so."""

    root: Location

    @property
    def proofs(self) -> Location:
        """Finished proofs, a folder each."""
        return self.root / "proofs"

    def proof(self, proof_id: str) -> Location:
        """Folder of a finished proof."""
        return self.proofs / proof_id

    def has_proof(self, proof_id: str) -> bool:
        """Look whether a proof is finished."""
        return (self.proof(proof_id) / MANIFEST_NAME).exists()

    @property
    def staging(self) -> Location:
        """Unfinished proofs, and the crafted intervals of unfinished spoofs."""
        return self.root / ".staging"

    @property
    def locks(self) -> Location:
        """Lock files."""
        return self.root / ".locks"

    @property
    def trials(self) -> Location:
        """Parquet files of trial rows."""
        return self.root / "trials"

    @property
    def intervals(self) -> Location:
        """Parquet files of interval rows."""
        return self.root / "intervals"

    @property
    def ranges(self) -> Location:
        """Parquet files of success ranges."""
        return self.root / "ranges"

    @property
    def sweeps(self) -> Location:
        """Records of sweeps, a folder each."""
        return self.root / "sweeps"

    def sweep(self, sweep_id: str) -> Location:
        """Folder of a sweep's records."""
        return self.sweeps / sweep_id

    @property
    def figures(self) -> Location:
        """Figures of a demo."""
        return self.root / "figures"

    def report(self, sweep_id: str) -> Location:
        """Folder of a sweep's report."""
        return self.root / "report" / sweep_id
