"""Reading a file of torch.save that may come from an adversary: checked statically, then read without unpickling code.

Such a file is a zip archive of a pickle (`data.pkl`) and the raw bytes of each storage (`data/<key>`). A hostile file is
dangerous in three ways even where torch.load runs no code (`weights_only=True`): a member unpacks to any size, the pickle names
constructors that allocate or loop, and a storage claims more bytes than its member has, so that torch before 2.10, and later
versions with `mmap=True`, read past the end. So members are bounded before they are read, the pickle's instructions are checked
without being executed, and torch is given an archive packed here from the checked members: torch reads exactly the checked
bytes, even if its zip reader differs from ours.
"""

import io
import pickle
import pickletools
import re
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import torch

from raypol.core.errors import InputError, first_line

_STORAGES: Final = {
    "FloatStorage": 4,
    "DoubleStorage": 8,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
}
"""Bytes per element."""
_GLOBALS: Final = {
    "collections OrderedDict",
    "collections Counter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {name}" for name in _STORAGES),
}
"""All constructors in the states of a model, an optimizer and a scheduler."""
_LITERALS: Final = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "GLOBAL"}
_PUTS: Final = {"BINPUT", "LONG_BINPUT"}
_GETS: Final = {"BINGET", "LONG_BINGET"}
_OTHERS: Final = {
    *("PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT"),
    *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BINPERSID", "REDUCE", "BUILD"),
}
_INSTRUCTIONS: Final = _LITERALS | _PUTS | _GETS | _OTHERS
"""Instructions that torch.save writes."""
_PROTOCOL: Final = 2

_MEMBER: Final = re.compile(r"[^/]+/(data\.pkl|byteorder|version|data/\d{1,9}|\.\S*)", re.ASCII)
_CHUNK: Final = 1 << 20
_SLACK: Final = 1 << 20
_PICKLE_PER_TENSOR: Final = 2048
_MEMBERS_BESIDE: Final = 16
_MAX_SHOWN: Final = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Bounds on a file's content: the needs of the declared model and optimizer."""

    tensor_bytes: int
    tensors: int

    @property
    def pickle_bytes(self) -> int:
        """Bound on the pickle that puts the tensors together."""
        return _SLACK // 4 + _PICKLE_PER_TENSOR * self.tensors


def read_torch_file(path: Path, budget: Budget) -> Any:  # noqa: ANN401 - the caller checks what came
    """Read dicts, lists, numbers, strings and CPU tensors that `torch.save` wrote; the caller checks their structure.

    Raises:
        InputError: not such a file, damaged, larger than the budget, or one that carries code.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: expected a file")
        with warnings.catch_warnings(action="ignore"):  # warnings that a forged file causes in torch or pickletools
            packed = _checked(path, budget)
            return torch.load(packed, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as err:
        raise InputError(f"{path}: not a readable zip archive of torch.save ({short_line(err)})") from err
    except pickle.UnpicklingError as err:
        raise InputError(f"{path}: carries more than tensors and numbers; torch refuses to read it") from err
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"{path}: not a readable file of torch.save ({short_line(err)})") from err


def brief_repr(value: object) -> str:
    """Value from a hostile file, fit for one line of a message; containers by their type only, for they may nest without end."""
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def short_line(said: object) -> str:
    """First line of another library's message about a hostile file, cut to a bounded length."""
    return first_line(said)[: 2 * _MAX_SHOWN]


def _checked(path: Path, budget: Budget) -> io.BytesIO:
    """Pack an archive of the checked members only."""
    most = budget.tensor_bytes + budget.pickle_bytes + _SLACK
    size = path.stat().st_size
    if size > most:
        raise InputError(f"{path}: {size} bytes, the declared model needs at most {most}")
    packed = io.BytesIO()
    with path.open("rb") as raw:
        if raw.read(2) != b"PK":
            raise InputError(
                f"{path}: expected a zip archive, as torch.save writes since torch 1.6; an older file must be saved anew by "
                "someone who trusts it"
            )
        with zipfile.ZipFile(_BoundedReads(raw)) as archive, zipfile.ZipFile(packed, "w") as out:
            members = _members(path, archive, budget)
            _walk(path, archive.read(members["data.pkl"]), {name: info.file_size for name, info in members.items()})
            for name, info in members.items():
                copy = zipfile.ZipInfo(f"archive/{name}")
                copy.file_size = info.file_size
                with archive.open(info) as member, out.open(copy, "w") as target:
                    shutil.copyfileobj(member, target, _CHUNK)  # the CRC is checked on the way
    packed.seek(0)
    return packed


class _BoundedReads:
    """File with bounded reads: the directory of a hostile archive may have any length."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.seek, self.tell, self.close, self.seekable = raw.seek, raw.tell, raw.close, raw.seekable

    def read(self, count: int = -1) -> bytes:
        return self._raw.read(min(count, _CHUNK) if count >= 0 else _CHUNK)


def _members(path: Path, archive: zipfile.ZipFile, budget: Budget) -> dict[str, zipfile.ZipInfo]:
    """Members that torch.load needs, by name inside the archive's top folder."""
    found: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > 2 * budget.tensors + _MEMBERS_BESIDE:
        raise InputError(f"{path}: {len(infos)} members, expected at most one per tensor")
    for info in infos:
        match = _MEMBER.fullmatch(info.filename)
        if match is None:
            raise InputError(f"{path}: unexpected member {brief_repr(info.filename)}")
        name = match[1]
        if name in found:
            raise InputError(f"{path}: two members {brief_repr(name)}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise InputError(
                f"{path}: member {name} is compressed ({info.compress_size} bytes that unpack to {info.file_size}); "
                "torch.save stores what it writes as it is"
            )
        if name.startswith("."):
            continue  # alignment, and the writer's identity
        most = budget.tensor_bytes if name.startswith("data/") else budget.pickle_bytes
        if info.file_size > most:
            raise InputError(
                f"{path}: member {name} has {info.file_size} bytes, the declared model needs at most {most}"
            )
        found[name] = info
    if "data.pkl" not in found:
        raise InputError(f"{path}: has no data.pkl; expected what torch.save wrote")
    total = sum(info.file_size for name, info in found.items() if name.startswith("data/"))
    if total > budget.tensor_bytes:
        raise InputError(f"{path}: {total} bytes of tensors, the declared model needs at most {budget.tensor_bytes}")
    return found


def _walk(path: Path, pickled: bytes, sizes: Mapping[str, int]) -> None:
    """Check the pickle's instructions without executing them: no code, and no storage larger than its member.

    A tuple of literals directly before the instruction that fetches a storage names it. Only literals, and those kept in the
    memo, need to be followed.
    """
    memo: dict[int, object] = {}
    recent: list[object] = []  # values that the latest instructions pushed, None unless literal
    try:
        for op, argument, _ in pickletools.genops(pickled):
            if op.name in _PUTS:
                memo[int(argument)] = recent[-1] if recent else None  # type: ignore[arg-type]
                continue
            if op.name == "GLOBAL" and argument not in _GLOBALS:
                name = str(argument).replace(" ", ".")
                raise InputError(
                    f"{path}: carries code: its pickle calls {brief_repr(name)}; none of it was run. Expected tensors, "
                    "numbers and dicts only"
                )
            if op.name not in _INSTRUCTIONS or (op.name == "PROTO" and argument != _PROTOCOL):
                said = f"{op.name} {'' if argument is None else brief_repr(argument)}".rstrip()
                raise InputError(f"{path}: its pickle says {said}, which torch.save does not write; none of it was run")
            if op.name == "BINPERSID":
                _check_storage(path, recent[-7:], sizes)
            pushed = argument if op.name in _LITERALS else None
            if op.name in _GETS:
                pushed = memo.get(int(argument))  # type: ignore[arg-type]
            elif op.name in ("MARK", "TUPLE"):
                pushed = op
            recent = [*recent[-6:], pushed]
    except (ValueError, UnicodeDecodeError) as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"{path}: its data.pkl is not a pickle ({short_line(err)})") from err


def _check_storage(path: Path, literals: list[object], sizes: Mapping[str, int]) -> None:
    """Compare the size in (MARK, "storage", type, key, device, number of elements, TUPLE) with that of the member."""
    if len(literals) == 7:
        mark, what, kind, key, _, count, closing = literals
        itemsize = _STORAGES.get(str(kind).removeprefix("torch "))
        if (
            (getattr(mark, "name", ""), what, getattr(closing, "name", "")) == ("MARK", "storage", "TUPLE")
            and isinstance(key, str)
            and isinstance(count, int)
            and itemsize is not None
        ):
            have = sizes.get(f"data/{key}")
            if have != count * itemsize:
                raise InputError(
                    f"{path}: storage {brief_repr(key)} claims {count * itemsize} bytes, its member has {have or 'none'}"
                )
            return
    raise InputError(f"{path}: its pickle fetches a storage in a way that torch.save does not write")
