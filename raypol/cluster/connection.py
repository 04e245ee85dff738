"""Connecting to a running Ray cluster, or starting one for this process alone."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from raypol.cluster.inventory import usable_cores
from raypol.core.errors import InputError, first_line

_CONNECT_S: Final = 5.0
# The driver's objects are configurations and verdicts: they need no store of 30 % of memory, the default.
_OBJECT_STORE_BYTES: Final = 128 << 20


def connect(address: str | None) -> None:
    """Connect to a running cluster, or start one on this machine.

    Args:
        address: host:port of a head node, ray://host:port, auto (see `running_cluster`), or None to start one on this machine.

    Raises:
        InputError: nobody answers at the address.
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
    )


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
