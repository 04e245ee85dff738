"""The attacks and controls. Each is one module of this folder, or of one in it, with a `METHOD` and its named configurations,
`PRESETS`.

A module added here is found by itself. An attack of your own is the same kind of module anywhere else, named by import path
(`my_lab.fading:METHOD`). A configuration leads to its method through the module that defines it, so a process that has unpickled
the one has the other; one module may hold several methods, each with a configuration class of its own.

`jump` is no attack but a number, d(W_{t-k}, W_t), recorded with every interval.
"""

import importlib
import pkgutil
import sys
from dataclasses import fields, replace
from typing import Any, Final

from raypol.core.errors import InputError, reject_choice
from raypol.core.imports import is_import_path, load_object
from raypol.core.spoofing.method import AttackMethod

PRESETS: Final[dict[str, Any]] = {
    name: config
    for module in pkgutil.walk_packages(__path__, f"{__name__}.")
    if not module.ispkg
    for name, config in importlib.import_module(module.name).PRESETS.items()
}
"""Named configurations of these attacks, in the order of their paths."""


def sources() -> dict[str, str]:
    """The paper of each published attack of this folder, by the name that rows have for it."""
    found = {type(config).__module__.rpartition(".")[2]: method_of(config).source for config in PRESETS.values()}
    return {name: source for name, source in found.items() if source}


def find_attack(name: str, **overrides: object) -> Any:  # noqa: ANN401 - configurations share no base on purpose
    """An attack's configuration by preset name or by import path of its method, with some fields replaced.

    Raises:
        InputError: unknown name or field, a value out of range, or a configuration without defaults for all fields.
    """
    config = _default_config(name) if is_import_path(name) else PRESETS.get(name)
    if config is None:
        reject_choice("attack", name, PRESETS, path="my_pkg.attacks:METHOD")
    possible = [field.name for field in fields(config)]
    if unknown := [field for field in overrides if field not in possible]:
        raise InputError(
            f"attack {name!r} has no field {', '.join(unknown)}; possible: {', '.join(possible) or 'none, it has no fields'}"
        )
    return replace(config, **overrides)


def _default_config(path: str) -> Any:  # noqa: ANN401 - as above
    method = load_object(path)
    if not isinstance(method, AttackMethod):
        raise InputError(f"expected {path} to be a raypol AttackMethod, got {type(method).__name__}")
    try:
        config = method.config()
    except TypeError as err:
        raise InputError(f"attack {path!r}: expected defaults for all fields of its configuration ({err})") from err
    if method_of(config) is not method:
        raise InputError(f"attack {path!r}: {method.config.__name__} is the configuration of another attack")
    return config


def method_of(config: object) -> AttackMethod[Any]:
    """How a configuration is run: the `AttackMethod` for its type in the module that defines the type.

    Raises:
        InputError: that module has no such method, or several.
    """
    return _named_method(config)[1]


def import_path_of(config: object) -> str:
    """`module:NAME` of the method of your own attack; empty for an attack of this package.

    Raises:
        InputError: as `method_of`.
    """
    module = type(config).__module__
    return "" if module.startswith(f"{__name__}.") else f"{module}:{_named_method(config)[0]}"


def _named_method(config: object) -> tuple[str, AttackMethod[Any]]:
    kind, module = type(config), type(config).__module__
    found = {
        id(value): (name, value)
        for name, value in getattr(sys.modules.get(module), "__dict__", {}).items()
        if isinstance(value, AttackMethod) and value.config is kind
    }
    if len(found) != 1:
        raise InputError(
            f"expected one AttackMethod(config={kind.__name__}, ...) in module {module}, which defines {kind.__name__}; "
            f"got {', '.join(name for name, _ in found.values()) or 'none'}"
        )
    return next(iter(found.values()))
