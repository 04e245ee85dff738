"""Your own models, datasets, attacks, checks and policies are named by import path: `my_pkg.models:make_net`."""

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

from raypol.core.errors import InputError


def is_import_path(name: str) -> bool:
    """True for `module:object`."""
    return ":" in name


def load_object(path: str) -> Any:  # noqa: ANN401 - the caller checks what it gets
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


def source_digest(path: str) -> str:
    """SHA-256 as hex of the file that holds the object behind `module:object`; empty for a module without a file."""
    load_object(path)
    source = getattr(sys.modules[path.partition(":")[0]], "__file__", None)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
