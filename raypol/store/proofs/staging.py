"""What RESULTS/.staging holds: unfinished proofs, and the crafted intervals of unfinished spoofs."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from raypol.store.location import Location
from raypol.store.results_folder import ResultsFolder

_log = logging.getLogger(__name__)


def crafted_folder(results: Location, proof_id: str) -> Location:
    """Folder of a spoof's crafted intervals and of the record of its sealing."""
    return ResultsFolder(results).staging / f"{proof_id}-crafted"


@contextmanager
def crafted_intervals(
    results: Location, proof_id: str, *, keep_if: Callable[[BaseException], bool] = lambda _err: False
) -> Iterator[None]:
    """Remove a spoof's crafted intervals at the end of the block.

    Args:
        results: the results folder.
        proof_id: name of the spoof's folder.
        keep_if: true of an exception after which another try can go on from them.
    """
    try:
        yield
    except BaseException as err:
        if not keep_if(err):
            crafted_folder(results, proof_id).remove()
        raise
    crafted_folder(results, proof_id).remove()


def abandoned_folders(results: Location, proof_id: str) -> list[Location]:
    """Unfinished proofs that killed tries left under this name. Only locally, where a lock keeps others from making it now."""
    if not results.is_local:
        return []
    staging = ResultsFolder(results).staging
    staging.make_folder()  # listing it while another job creates it would be an error
    kept = crafted_folder(results, proof_id).name
    return [staging / name for name in staging.names() if name.startswith(f"{proof_id}-") and name != kept]


def remove_folders(folders: Sequence[Location]) -> None:
    """Remove folders; one that belongs to another user stays, with a warning."""
    for folder in folders:
        try:
            folder.remove()
        except PermissionError:
            _log.warning("%s belongs to another user and stays", folder)
