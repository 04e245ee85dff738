"""Work that one process or thread does at a time, guarded by a lock file on a local disk."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from raypol.core.errors import InputError

_log = logging.getLogger(__name__)

_QUIET_S: Final = 10.0
"""Seconds of waiting after which the log says what for."""


class BusyError(InputError):
    """Another process or thread holds the lock."""


@contextmanager
def hold_lock(path: str | Path, *, busy: str, patience_s: float | None = None) -> Iterator[None]:
    """Hold a lock file inside the block. A killed process holds no lock. Not reentrant.

    Args:
        path: the lock file; its folder is made.
        busy: what another holder is doing, as a sentence.
        patience_s: longest wait for another holder; None = wait until it is done.

    Raises:
        BusyError: another holder is not done after `patience_s`.
        OSError: the lock file cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        held = lock.acquire(timeout=_QUIET_S if patience_s is None else patience_s)
    except Timeout as err:
        if patience_s is not None:
            raise BusyError(busy) from err
        _log.warning("waiting: %s", busy)
        held = lock.acquire()
    with held:
        yield
