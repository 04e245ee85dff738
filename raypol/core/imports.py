"""Own models, datasets, attacks and policies are named by import path: `my_pkg.models:make_net`."""

import importlib
import sys
from pathlib import Path
from typing import Any

from raypol.core.errors import InputError


def is_import_path(name: str) -> bool:
    """True for `module:object`."""
    return ":" in name


def load_object(path: str) -> Any:  # noqa: ANN401 - what lies behind a user's import path is the caller's to check
    """The object behind `module:object`; modules in the current folder are found, as with `python -m`.

    This runs the module's code. Only ever call it with a path that the user typed, never with one read from a proof.

    Raises:
        InputError: no such module or object.
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as err:
        raise InputError(f"cannot import {path!r}, expected module:object that exists ({err})") from err
    return found
