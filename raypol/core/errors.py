"""The one error that means: the input is at fault, not the program."""

from collections.abc import Iterable
from numbers import Integral
from typing import Final, NoReturn

_MAX_NAMES: Final = 6


class InputError(ValueError):
    """Bad input. Its message says in one line what was expected, what came and what is possible."""


def reject_choice(what: str, got: object, possible: Iterable[str], *, path: str = "") -> NoReturn:
    """Raise the InputError for a name that is not among the possible ones; `path` is an example where import paths are too."""
    own = f", or an import path such as {path}" if path else ""
    raise InputError(f"unknown {what} {got!r}; possible: {', '.join(sorted(possible))}{own}")


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise the InputError for anything but a whole number in low..high; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:  # type: ignore[operator]
        raise InputError(f"expected {name} in {low}..{high}, got {value!r}")


def first_names(names: Iterable[str], most: int = _MAX_NAMES) -> str:
    """The first names, comma-separated, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def first_line(message: object) -> str:
    """The first line of another library's message or error; the name of its type where it says nothing."""
    return next(iter(str(message).splitlines()), type(message).__name__)
