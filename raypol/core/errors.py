"""The one error that means: the input is at fault, not the program."""

import errno
import os
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import Final, NoReturn

_MAX_NAMES: Final = 6
_MAX_SHOWN: Final = 80


class InputError(ValueError):
    """Bad input. Its message says in one line what was expected, what came and what is possible."""


def reject_choice(what: str, got: object, possible: Iterable[str], *, path: str = "") -> NoReturn:
    """Raise the InputError for a name that is not among the possible ones; `path` is an example where import paths are too."""
    own = f", or an import path such as {path}" if path else ""
    raise InputError(f"unknown {what} {in_short(got)}; possible: {', '.join(sorted(possible))}{own}")


def in_short(value: object, most: int = _MAX_SHOWN) -> str:
    """Words of a file or a user, fit for one line of a message."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise the InputError for anything but a whole number in low..high; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:  # type: ignore[operator]
        raise InputError(f"expected {name} in {low}..{high}, got {in_short(value)}")


def first_names(names: Iterable[str], most: int = _MAX_NAMES) -> str:
    """The first names, comma-separated, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def local_path(where: str | Path) -> Path:
    """Absolute path of what a user wrote, ~ expanded; nothing needs to be there.

    Raises:
        InputError: an address (s3://...), or a path that no file can have: no UTF-8, a name that is too long, below a file.
    """
    text = str(where)
    try:
        path = Path(text).expanduser().absolute()  # RuntimeError: ~ of an unknown user
        str(path).encode()  # what Parquet, MLflow and JSON keep
        path.stat()
    except UnicodeEncodeError as err:
        raise InputError(f"expected a path in UTF-8, got {os.fsencode(path)!r}; rename that folder") from err
    except (OSError, ValueError, RuntimeError) as err:
        # Any other error may pass, such as of a network drive that is away.
        if not isinstance(err, OSError) or err.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
            raise InputError(f"cannot open {text!r}: {getattr(err, 'strerror', None) or first_line(err)}") from err
    if "://" in text:
        raise InputError(f"expected a path on this machine, got {text!r}")
    return path


def first_line(message: object) -> str:
    """The first line of another library's message or error; the name of its type where it says nothing."""
    return next(iter(str(message).strip().splitlines()), type(message).__name__)
