"""The attack and its hyperparameters as options of the command line, made from the attacks' own configurations."""

from dataclasses import fields
from functools import reduce
from inspect import Parameter, Signature
from operator import or_
from typing import Annotated, Any, get_type_hints

import tyro
from docstring_parser import parse_from_object

from raypol.core.attacks import PRESETS

AttackName = Annotated[
    str,
    tyro.conf.arg(help=f"Preset: {', '.join(PRESETS)}; or your own attack by import path (my_pkg.attacks:METHOD)."),
]


def _given(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - of any attack
    """The hyperparameters that were set."""
    return {name: value for name, value in options.items() if value is not None}


def _parameters() -> list[Parameter]:
    """An option for each field of a built-in attack's configuration."""
    owners: dict[str, list[type]] = {}
    for kind in dict.fromkeys(type(preset) for preset in PRESETS.values()):
        for field in fields(kind):
            owners.setdefault(field.name, []).append(kind)
    return [_parameter(name, kinds) for name, kinds in owners.items()]


def _parameter(name: str, kinds: list[type]) -> Parameter:
    """An option that None leaves at the preset's value; the help names the attacks that have it."""
    # The most basic class describes the field: subclasses repeat it to change the default.
    text = next(found for base in reversed(kinds[0].__mro__[:-1]) if (found := _field_text(base, name)))
    attacks = ", ".join(kind.__module__.rpartition(".")[2] for kind in kinds)
    option = tyro.conf.arg(help=f"[{attacks}] {text}", help_behavior_hint="(default: the preset's)")
    values = reduce(or_, (get_type_hints(kind)[name] for kind in kinds), None)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[values, option])


def _field_text(kind: type, name: str) -> str:
    """The docstring below a field, on one line; empty if the class itself has no such field."""
    texts = {field.arg_name: field.description for field in parse_from_object(kind).params}
    return " ".join((texts.get(name) or "").split())


# tyro reads the options off the signature.
_given.__signature__ = Signature(_parameters())  # type: ignore[attr-defined]
_given.__annotations__ = {option.name: option.annotation for option in _parameters()}

AttackConfig = tyro.conf.OmitArgPrefixes[Annotated[dict[str, Any], tyro.conf.arg(constructor=_given)]]
"""Values by field name; a field that the chosen attack does not have is an error."""
