"""The cache of downloaded and decoded datasets: one maker at a time, complete or not there."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from raypol.core.errors import InputError, local_path
from raypol.core.locks import hold_lock
from raypol.core.progress import Progress, TimeLeft

_log = logging.getLogger(__name__)

_QUIET_S: Final = 10.0
"""Seconds without a line in the log after which progress is logged."""


def data_home() -> Path:
    """The folder that RAYPOL_DATA names, else ~/.cache/raypol/data."""
    named = os.environ.get("RAYPOL_DATA")
    return local_path(named) if named else Path.home() / ".cache" / "raypol" / "data"


def logged_progress() -> Progress:
    """Progress as lines in the log now and then; none for work that is soon done."""
    last = time.monotonic()

    def log(what: str, done: int, of: int, _left: TimeLeft | None = None) -> None:
        nonlocal last
        if time.monotonic() - last >= _QUIET_S:
            last = time.monotonic()
            _log.warning("%s: %d of %d", what, done, of)

    return log


def make_once(target: Path, build: Callable[[Path], Path]) -> None:
    """Make the folder `target`, unless it is there.

    Processes that start at once wait for the first. The folder appears whole, by a rename: a killed maker holds no lock
    and leaves only a hidden folder, which the next one empties.

    Args:
        target: the folder to make.
        build: given an empty folder on the same disk, makes the content in it and returns the folder to be renamed.

    Raises:
        InputError: the place cannot be written.
    """
    if target.is_dir():
        return
    partial = target.with_name(f".{target.name}.partial")
    try:
        with hold_lock(target.with_name(f".{target.name}.lock"), busy=f"another process is making {target}"):
            if target.is_dir():
                return
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                build(partial).replace(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as err:
        raise InputError(
            f"cannot write {target} ({err}); RAYPOL_DATA may name another folder for downloaded and decoded data"
        ) from err
