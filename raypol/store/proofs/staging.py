"""What is kept of a proof in the making, in RESULTS/.staging."""

import logging
from collections.abc import Sequence

from raypol.store.location import Location
from raypol.store.results_folder import ResultsFolder

_log = logging.getLogger(__name__)


def remove_workshop(results: Location, proof_id: str) -> None:
    """Remove what was kept of a spoof in the making, if there is anything."""
    (ResultsFolder(results).staging / workshop_name(proof_id)).remove()


def workshop_name(proof_id: str) -> str:
    """Name of the folder that holds the crafted intervals of a spoof in the making."""
    return f"{proof_id}-crafted"


def left_behind(results: Location, proof_id: str) -> list[Location]:
    """What killed tries left of this proof, not its workshop. Only locally, where a lock says that nobody else makes it now."""
    if not results.is_local:
        return []
    staging = ResultsFolder(results).staging
    staging.make_folder()  # listing it while another job creates it would be an error
    names = set(staging.names()) - {workshop_name(proof_id)}
    return [staging / name for name in sorted(names) if name.startswith(f"{proof_id}-")]


def remove_all(folders: Sequence[Location]) -> None:
    """Remove folders; one that belongs to somebody else stays, with a warning."""
    for folder in folders:
        try:
            folder.remove()
        except PermissionError:
            _log.warning("%s is somebody else's and stays", folder)
