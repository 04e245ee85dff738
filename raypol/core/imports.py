"""Your own models, datasets, attacks, checks and policies are named by import path: `my_pkg.models:make_net`."""

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from raypol.core.errors import InputError, first_line

_NOT_THE_USERS: Final = ("raypol", "torch", "torchvision", "importlib", "")
"""Packages whose lines do not say where the user's code failed."""


def is_import_path(name: str) -> bool:
    """True for `module:object`."""
    return ":" in name


def load_object(path: str) -> Any:  # noqa: ANN401 - the caller checks what it gets
    """The object behind `module:object`; modules in the current folder are found, as with `python -m`.

    This runs the module's code. Only ever call it with a path that the user typed, never with one read from a proof.

    Raises:
        InputError: no such module or object, or the module fails while it is imported.
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    with own_code(f"cannot import {path!r} as module:object"):
        found = importlib.import_module(module_name)
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as err:
        raise InputError(f"cannot import {path!r}, expected module:object that exists: {err}") from err
    return found


def call_object(path: str, **arguments: object) -> Any:  # noqa: ANN401 - as above
    """What the function behind `module:object` returns; as `load_object` only for a path that the user typed.

    Raises:
        InputError: as `load_object`; or it is no function, does not take these arguments, or fails.
    """
    function = load_object(path)
    kind = f"a function of ({', '.join(arguments)}), given by name" if arguments else "a function without arguments"
    if not callable(function):
        raise InputError(f"expected {path} to be {kind}; got {type(function).__name__}")
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as err:
        raise InputError(f"expected {path} to be {kind}: {err}") from err
    except ValueError:
        pass  # a function without a signature shows what it takes when it is called
    with own_code(f"{path} failed"):
        return function(**arguments)


@contextmanager
def own_code(what: str) -> Iterator[None]:
    """Inside, an error of the user's code becomes an InputError: what happened, the error, the line that raised it."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as err:
        raise InputError(f"{what}: {type(err).__name__}: {first_line(err)}{_place(err)}") from err


def _place(err: BaseException) -> str:
    """The last line of the user's own code that led to an error, in parentheses; empty if there is none."""
    if isinstance(err, SyntaxError):
        return ""  # its message has it
    places = [
        f" ({Path(frame.f_code.co_filename).name}, line {line})"
        for frame, line in traceback.walk_tb(err.__traceback__)
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _NOT_THE_USERS
    ]
    return places[-1] if places else ""


def source_digest(path: str) -> str:
    """SHA-256 as hex of the file that holds the object behind `module:object`; empty for a module without a file."""
    load_object(path)
    source = getattr(sys.modules[path.partition(":")[0]], "__file__", None)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
