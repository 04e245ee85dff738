"""The attacks and controls, one file each, and the one place where they are chosen from.

`jump` is not here: it is a number, d(W_{t-k}, W_t), recorded with every interval.
"""

from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

from raypol.core.attacks import forged_momentum, i, i_tail, ii, iii, infinitesimal, null
from raypol.core.errors import InputError
from raypol.core.imports import is_import_path, load_object
from raypol.core.spoofing.method import AttackMethod

METHODS: Final[dict[type, AttackMethod[Any]]] = {
    method.config: method
    for method in (
        null.METHOD,
        infinitesimal.METHOD,
        forged_momentum.METHOD,
        i.METHOD,
        i_tail.METHOD,
        ii.METHOD,
        iii.METHOD,
    )
}
"""How each kind of configuration is run."""

PRESETS: Final[dict[str, Any]] = {
    "null": null.Null(),
    "infinitesimal": infinitesimal.Infinitesimal(),
    "forged_momentum": forged_momentum.ForgedMomentum(),
    "i": i.AttackI(),
    "i_tail": i_tail.AttackITail(),
    "ii": ii.AttackII(),
    "iii": iii.AttackIII(),
    "iii_loss": iii.loss_attack3(),
    "iii_invisible": iii.invisible_attack3(),
    "iii_select": iii.AttackIII(crafting="select"),
    "zhang2022_i": i.zhang2022_attack1(),
    "zhang2022_ii": ii.zhang2022_attack2(),
    "zhang2022_iii": iii.zhang2022_attack3(),
    "zhang2022_iii_imagenet": iii.zhang2022_attack3_imagenet(),
}
"""Named configurations."""


def register_attack(name: str, config: object, method: AttackMethod[Any]) -> None:
    """Make an own attack available by name in this process.

    Raises:
        InputError: `config` is not an instance of the method's configuration.
    """
    if not isinstance(config, method.config) or not is_dataclass(config):
        raise InputError(f"attack {name!r}: expected a {method.config.__name__} dataclass, got {type(config).__name__}")
    _add_method(name, method)
    PRESETS[name] = config


def find_attack(name: str, **overrides: object) -> Any:  # noqa: ANN401 - configurations share no base on purpose
    """An attack's configuration by preset name or import path, with some fields replaced.

    An import path names an `AttackMethod` whose configuration has defaults for all fields.

    Raises:
        InputError: unknown name or field, or a value out of range.
    """
    if is_import_path(name):
        method = load_object(name)
        if not isinstance(method, AttackMethod):
            raise InputError(f"expected {name} to be a raypol AttackMethod, got {type(method).__name__}")
        try:
            config = method.config()
        except TypeError as err:
            raise InputError(f"attack {name!r}: expected defaults for all fields of its configuration ({err})") from err
        _add_method(name, method)
    elif name in PRESETS:
        config = PRESETS[name]
    else:
        raise InputError(
            f"unknown attack {name!r}; possible: {', '.join(sorted(PRESETS))}, or an import path such as my_pkg.attacks:METHOD"
        )
    possible = [field.name for field in fields(config)]
    unknown = [field for field in overrides if field not in possible]
    if unknown:
        raise InputError(
            f"attack {name!r} has no field {', '.join(unknown)}; possible: {', '.join(possible) or 'none, it has no fields'}"
        )
    return replace(config, **overrides)


def _add_method(name: str, method: AttackMethod[Any]) -> None:
    if METHODS.setdefault(method.config, method) != method:
        raise InputError(
            f"attack {name!r}: {method.config.__name__} is the configuration of another attack; expected one of its own"
        )


def method_of(config: object) -> AttackMethod[Any]:
    """How a configuration is run."""
    return METHODS[type(config)]
