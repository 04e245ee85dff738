"""Retrying work while the storage is away."""

import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from raypol.store.location import may_pass

P = ParamSpec("P")


R = TypeVar("R")


# Storage that is away for a minute costs a minute, not a trial: what is finished of it is found again.
_STORAGE_PATIENCE_S: Final = 180.0


def storage_retries(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """function(...), again and again while the storage is away, for a bounded time."""
    patience = _Patience(_STORAGE_PATIENCE_S)
    return Retrying(
        retry=retry_if_exception(may_pass),
        wait=wait_exponential(multiplier=0.5, max=20),
        before=patience.begin,
        stop=patience.is_over,
        reraise=True,
    )(function, *args, **kwargs)


class _Patience:
    """Counts from the first failure; a try that worked for long before it failed starts the count again."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._begun = self._failed_at = time.monotonic()
        self._fresh = True

    def begin(self, _state: RetryCallState) -> None:
        self._begun = time.monotonic()

    def is_over(self, _state: RetryCallState) -> bool:
        now = time.monotonic()
        if self._fresh or now - self._begun > self._limit_s:
            self._failed_at, self._fresh = now, False
        return now - self._failed_at >= self._limit_s
