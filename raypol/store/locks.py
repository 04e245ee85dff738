"""Locks of a results folder. Local folders only: object stores have no locks."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from raypol.core.locks import hold_lock
from raypol.store.location import Location
from raypol.store.results_folder import ResultsFolder


def lock(place: Location, *, busy: str, patience_s: float | None = None) -> AbstractContextManager[None]:
    """Hold a lock file; see `hold_lock`. Does nothing in an object store."""
    return hold_lock(place.path, busy=busy, patience_s=patience_s) if place.is_local else nullcontext()


@contextmanager
def only_maker(results: Location, proof_ids: Iterable[str]) -> Iterator[None]:
    """Keep other processes and threads from making these proofs inside the block: the second waits for the first.

    Not reentrant: a thread that holds an id may not ask for it again.
    """
    with ExitStack() as held:
        for proof_id in sorted(set(proof_ids)):  # in one order everywhere, or two runs could wait for each other
            place = ResultsFolder(results).locks / f"{proof_id}.lock"
            held.enter_context(lock(place, busy=f"another process is making {proof_id} in {results}"))
        yield
