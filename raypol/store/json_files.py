"""JSON files of formats of our own: bounded, headed by format and version, checked field by field. Files come from anyone."""

import json
from typing import Final, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from raypol.core.errors import InputError, first_line
from raypol.store.location import Location, read_bounded

_Form = TypeVar("_Form")
MAX_BYTES: Final = 1_000_000


def strict_form(kind: type[_Form], *, allow_inf_nan: bool = True) -> TypeAdapter[_Form]:
    """The form of a dataclass as a file has it: a field that it does not know is refused, not ignored.

    Args:
        kind: the dataclass.
        allow_inf_nan: whether a number may be infinite or none.
    """
    return TypeAdapter(with_config(ConfigDict(extra="forbid", allow_inf_nan=allow_inf_nan))(kind))


def read_json(file: Location, kind: str, version: int, *, folder: Location | None = None) -> dict[str, object]:
    """The fields of a JSON file of one of our formats, but for the format's name and version.

    Args:
        file: the file.
        kind: name of the format.
        version: of the format.
        folder: as of `read_bounded`.

    Raises:
        InputError: missing, too large, no JSON, of another format, or not in the folder.
    """
    return parse_json(read_bounded(file, max_bytes=MAX_BYTES, folder=folder), kind, version, str(file))


def parse_json(text: bytes, kind: str, version: int, where: str) -> dict[str, object]:
    """As `read_json`, of a text that was read already."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{where}: not JSON: {first_line(err)[:120]}") from err
    if not isinstance(content, dict) or not _is_headed(
        content.pop("format", None), content.pop("version", None), kind, version
    ):
        raise InputError(f"{where}: not a {kind} file of version {version}")
    return content


def _is_headed(found: object, number: object, kind: str, version: int) -> bool:
    """True for this format and version; 1.0 and true are equal to 1, and no version."""
    return found == kind and number == version and type(number) is int


def problem_of(err: ValidationError) -> str:
    """The first problem of a validation, in one line."""
    first = err.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:40] for part in first["loc"][:6])
    return f"{where}: {first_line(first['msg'])}" if where else first_line(first["msg"])
