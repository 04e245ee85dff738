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
import re
import shutil
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import torch

from raypol.core.errors import InputError
from raypol.store.published.pickle_check import brief_repr, check_pickle, short_line

_MEMBER: Final = re.compile(r"[^/]+/(data\.pkl|byteorder|version|data/\d{1,9}|\.\S*)", re.ASCII)
_CHUNK: Final = 1 << 20
_SLACK: Final = 1 << 20
_PICKLE_PER_TENSOR: Final = 2048
_MEMBERS_BESIDE: Final = 16


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
            check_pickle(
                path,
                archive.read(members["data.pkl"]),
                {name: info.file_size for name, info in members.items()},
                most_tensors=budget.tensors,
            )
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
