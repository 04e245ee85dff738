"""Two runs in one results folder do not make the same proof at the same time: the second waits for the first."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from filelock import FileLock, Timeout

from raypol.store.location import Location

_log = logging.getLogger(__name__)

_QUIET_S: Final = 30.0


@contextmanager
def only_maker(results: Location, proof_ids: Iterable[str]) -> Iterator[None]:
    """Inside, no other process or thread makes these proofs. Local folders only: object stores have no locks.

    A killed process holds no lock. Not reentrant: a thread that holds an id may not ask for it again.
    """
    if not results.is_local:
        yield
        return
    (results / ".locks").make_folder()
    with ExitStack() as held:
        for proof_id in sorted(set(proof_ids)):  # in one order everywhere, or two runs could wait for each other
            lock = FileLock(f"{(results / '.locks').path}/{proof_id}.lock")
            try:
                held.enter_context(lock.acquire(timeout=_QUIET_S))
            except Timeout:
                _log.warning("waiting for another process that makes %s in %s", proof_id, results)
                held.enter_context(lock.acquire())
        yield
