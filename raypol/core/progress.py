"""The one callback by which long work reports how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `on_progress(what, done, of)`: what is being done, how much of it is done, of how much; 0 of 0 where nothing can be
counted."""


def no_progress(_what: str, _done: int, _of: int) -> None:
    """Report nothing."""
