"""Connecting to Ray: to a running cluster, or to one of this process alone."""

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
# The driver's objects are configurations and verdicts; the default store (30 % of memory) would be wasted on them.
_OBJECT_STORE_BYTES: Final = 128 << 20


def connect(address: str | None) -> None:
    """Connect to a running cluster, or start one of this machine alone.

    Args:
        address: host:port of a head node, ray://host:port, auto (see `running_cluster`), or None for this machine alone.

    Raises:
        InputError: nobody answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is not None:
        _join(address)
        return
    # A cluster of this process alone has nobody to authenticate; a token on disk would only be in the way.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # Ray's 15 starves workers beside any other program, and their seconds are what we measure.
    os.environ.setdefault("RAY_worker_niceness", "0")
    _init(
        address="local",
        num_cpus=usable_cores(),
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
    )


def running_cluster() -> str | None:
    """Address of the cluster that a command without one means: $RAY_ADDRESS, else what `ray start` began on this machine.

    Clusters of one process alone, as `ray.init` makes them, are not joined; nor is one that no longer answers.
    """
    from ray._private.utils import read_ray_address

    given = os.environ.get("RAY_ADDRESS")
    if given and given != "auto":
        return given
    address: str | None = read_ray_address()
    if address is None:
        return None
    try:
        _knock(address)
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
        _knock(place)
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
    """Ray's core takes SIGTERM for itself and aborts; whoever handled it in this process before gets it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at host:port; Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
