"""Policy files: what `raypol calibrate` writes and `raypol verify --policy FILE.json` reads."""

import json
from typing import Final

from pydantic import ValidationError

from raypol.core.errors import InputError
from raypol.core.imports import is_import_path
from raypol.core.verification.policies import Policy, find_policy, with_checks
from raypol.store.json_files import problem_of, read_json, strict_form
from raypol.store.location import Location, atomic_output, open_location

_FORMAT: Final = "raypol-policy"
_VERSION: Final = 1
ENDING: Final = ".json"
POLICY: Final = strict_form(Policy)


def write_policy(file: Location, policy: Policy) -> None:
    """Write a policy with every parameter, defaults too."""
    content = {"format": _FORMAT, "version": _VERSION, **policy.content()}
    with atomic_output(file) as stream:
        stream.write(json.dumps(content, indent=1).encode() + b"\n")


def open_policy(name: str) -> Policy:
    """Policy by name, import path or file, with further checks: strict+direction, calibrated.json+my_lab.checks:steady.

    Raises:
        InputError: no such policy or check, a file that is none, or one that names code outside raypol.
    """
    first, *added = name.split("+")
    if not first.endswith(ENDING):
        return find_policy(name)
    return with_checks(read_policy(open_location(first)), added)


def read_policy(file: Location) -> Policy:
    """Read a policy file.

    Raises:
        InputError: missing, too large, or not a policy of this version.
    """
    return parse_policy(read_json(file, _FORMAT, _VERSION), str(file))


def parse_policy(content: object, where: str) -> Policy:
    """A policy from JSON's types. Files come from anyone, so they name built-in checks alone.

    Raises:
        InputError: it is no policy, or has a check that raypol does not.
    """
    try:
        policy = POLICY.validate_python(content)
    except ValidationError as err:
        raise InputError(f"{where}: not a policy: {problem_of(err)}") from err
    for use in policy.checks:
        if is_import_path(use.check):
            raise InputError(
                f"{where} names check {use.check[:80]!r}, which is code outside raypol; add it to the file's name: +MODULE:CHECK"
            )
        use.complete()
    return policy
