"""Retrying work while the storage is away."""

import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from raypol.store.location import may_pass

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Storage that is away for a minute costs a minute, not a trial: the next try finds again what was finished.
_STORAGE_PATIENCE_S: Final = 180.0


def storage_retries(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Call function(...) again while the storage is away, for a bounded time since it first failed.

    A try that worked for longer than that bound before it failed starts the count again.
    """
    begun_at = failing_since = time.monotonic()

    def begin(_state: RetryCallState) -> None:
        nonlocal begun_at
        begun_at = time.monotonic()

    def is_over(state: RetryCallState) -> bool:
        nonlocal failing_since
        now = time.monotonic()
        if state.attempt_number == 1 or now - begun_at > _STORAGE_PATIENCE_S:
            failing_since = now
        return now - failing_since >= _STORAGE_PATIENCE_S

    retrying = Retrying(
        retry=retry_if_exception(may_pass),
        wait=wait_exponential(multiplier=0.5, max=20),
        before=begin,
        stop=is_over,
        reraise=True,
    )
    return retrying(function, *args, **kwargs)
