"""Two runs in one results folder do not make the same proof at the same time: the second waits for the first."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock

from raypol.store.location import Location


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
            held.enter_context(FileLock(f"{(results / '.locks').path}/{proof_id}.lock"))
        yield
