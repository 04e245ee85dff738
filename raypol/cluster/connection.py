"""Connecting to a running Ray cluster, or starting one for this process alone."""

import atexit
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from raypol.cluster.inventory import usable_cores
from raypol.core.errors import InputError, first_line

_log = logging.getLogger(__name__)

_CONNECT_S: Final = 5.0
# The driver's objects are configurations and verdicts: they need no store of 30 % of memory, the default.
_OBJECT_STORE_BYTES: Final = 128 << 20
_TEMPORARY: Final = ("RAY_TMPDIR", "TMPDIR") if sys.platform == "linux" else ("RAY_TMPDIR",)
"""Variables that Ray asks for the folder of its files, the first that is set."""
_SOCKET: Final = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path that Ray binds a socket to below that folder."""
_SOCKET_BYTES: Final = 107 if sys.platform == "linux" else 103
"""The kernel's limit of a socket's path."""
_SHORT_PLACES: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a private folder is made there


def connect(address: str | None) -> None:
    """Connect to a running cluster, or start one on this machine.

    Args:
        address: host:port of a head node, ray://host:port, auto (see `running_cluster`), or None to start one on this machine.

    Raises:
        InputError: nobody answers at the address, or no folder can hold the files of a Ray started here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is not None:
        _join(address)
        return
    # A cluster of this process alone has nobody to authenticate; a token on disk would make Ray ask for one.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # Ray's niceness of 15 starves workers beside any other program, and we measure their seconds.
    os.environ.setdefault("RAY_worker_niceness", "0")
    _init(
        address="local",
        num_cpus=usable_cores(),
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=ray_folder(),
    )


def ray_folder() -> str | None:
    """Folder for the files of a Ray that is started here: None for Ray's own choice, or a short one where that cannot be used.

    Raises:
        InputError: there is no short one, either.
    """
    name = next((name for name in _TEMPORARY if name in os.environ), None)
    chosen = os.environ[name] if name else _SHORT_PLACES[0]
    trouble = folder_trouble(chosen)
    if not trouble:
        return None
    what = f"{name}={chosen!r}" if name else chosen
    folder = _short_folder()
    if folder is None:
        raise InputError(
            f"{what} {trouble}, and none of {', '.join(_SHORT_PLACES)} can be written; set RAY_TMPDIR to a folder of at most "
            f"{_SOCKET_BYTES - len(_SOCKET)} characters"
        )
    _log.warning("%s %s: Ray's files lie in %s until this command ends", what, trouble, folder)
    return folder


def folder_trouble(folder: str) -> str:
    """What keeps Ray from putting its files into a folder, in words; empty if nothing does."""
    most = _SOCKET_BYTES - len(_SOCKET)
    if not folder.startswith("/"):
        return "is no absolute path"
    if not folder.isascii():
        return "is not plain ASCII, as Ray needs it"
    if len(folder) > most:
        return f"has {len(folder)} characters, and Ray's sockets leave room for {most}"
    if not os.path.isdir(folder):  # noqa: PTH112 - any string may come from the environment
        return "is no folder"
    own = os.path.join(folder, "ray")  # noqa: PTH118
    return "" if os.access(own if os.path.exists(own) else folder, os.W_OK | os.X_OK) else "cannot be written"  # noqa: PTH110


@cache
def _short_folder() -> str | None:
    """A new private folder with a short name, which goes when this process ends; None if there is room for none."""
    for place in _SHORT_PLACES:
        try:
            folder = tempfile.mkdtemp(prefix="raypol-", dir=place)
        except OSError:
            continue
        atexit.register(_remove, folder)
        return folder
    return None


def _remove(folder: str) -> None:
    import ray

    ray.shutdown()  # it writes there
    shutil.rmtree(folder, ignore_errors=True)


def running_cluster() -> str | None:
    """Address of the default cluster: $RAY_ADDRESS, else the one that `ray start` began on this machine; None if there is none.

    A cluster of one process alone, as `ray.init` makes it, does not count; nor does one that no longer answers.
    """
    from ray._private.utils import read_ray_address

    given = os.environ.get("RAY_ADDRESS")
    if given and given != "auto":
        return given
    address: str | None = read_ray_address()
    if address is None:
        return None
    try:
        check_listening(address)
    except (OSError, OverflowError, ValueError):
        return None
    return address


def _join(address: str) -> None:
    place = running_cluster() if address == "auto" else address
    if place is None:
        raise InputError(
            "no Ray cluster runs on this machine (ray start) and RAY_ADDRESS is not set; expected host:port"
        )
    try:
        check_listening(place)
        _init(address=place)
    except (OSError, OverflowError, ValueError, RuntimeError) as err:
        reason = first_line(err)
        raise InputError(
            f"cannot reach a Ray cluster at {place!r}: {reason}; expected host:port of a head node, or auto"
        ) from err


def _init(**options: Any) -> None:  # noqa: ANN401 - Ray's
    import ray

    with _own_sigterm():
        ray.init(log_to_driver=False, logging_level="ERROR", **options)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Give SIGTERM back to its former handler after the block: Ray's core takes it over and aborts."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def check_listening(address: str) -> None:
    """Raise OSError if nobody listens at host:port, for which Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
