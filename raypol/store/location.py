"""A place in a pyarrow filesystem, named by a local path or a URI (s3://, gs://), with atomic writes."""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from raypol.core.errors import InputError, first_line, local_path
from raypol.store.escaping import without_secrets


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """A folder or file; `location / "name"` is inside it. Its text shows no secret that its address may hold."""

    filesystem: fs.FileSystem
    path: str
    uri: str
    """As the user writes it; a plain path if local."""

    def __truediv__(self, name: str) -> "Location":
        uri, mark, options = self.uri, "", ""
        if not self.is_local:
            uri, mark, options = self.uri.partition("?")  # s3://bucket/folder?endpoint_override=...
        return Location(self.filesystem, f"{self.path.rstrip('/')}/{name}", f"{uri.rstrip('/')}/{name}{mark}{options}")

    def __str__(self) -> str:
        return without_secrets(self.uri)

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def address(self) -> str:
        """Spelling for another process, whose current folder may differ, with the secrets that it needs; shown to nobody."""
        return self.path if self.is_local else self.uri

    @property
    def is_local(self) -> bool:
        """True if this is a path on this machine."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def is_same(self, other: "Location") -> bool:
        """True if both are one file or folder, links followed."""
        if self.is_local and other.is_local:
            return os.path.realpath(self.path) == os.path.realpath(other.path)
        return (self.filesystem, self.path.rstrip("/")) == (other.filesystem, other.path.rstrip("/"))

    def exists(self) -> bool:
        """Look whether the file or folder exists."""
        return bool(self.filesystem.get_file_info(self.path).type != fs.FileType.NotFound)

    def size(self) -> int:
        """Size of this file in bytes; -1 if it does not exist."""
        info = self.filesystem.get_file_info(self.path)
        return int(info.size) if info.type == fs.FileType.File else -1

    def files(self) -> list[tuple[str, int]]:
        """(path relative to this folder, size in bytes) of every file below it, sorted."""
        selector = fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        found = [info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted((info.path[len(self.path.rstrip("/")) + 1 :], int(info.size)) for info in found)

    def names(self) -> list[str]:
        """Names of the files and folders directly in this folder, sorted."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def make_folder(self) -> None:
        """Create this folder and its parents."""
        self.filesystem.create_dir(self.path, recursive=True)

    def remove(self) -> None:
        """Remove this file or folder if it exists."""
        with suppress(FileNotFoundError):
            if self.filesystem.get_file_info(self.path).type == fs.FileType.Directory:
                self.filesystem.delete_dir(self.path)
            else:
                self.filesystem.delete_file(self.path)

    def move_to(self, target: "Location", *, last: str = "") -> None:
        """Move this file or folder: in one rename where the filesystem can, else file by file, `last` at the end."""
        if self.is_local or self.filesystem.get_file_info(self.path).type == fs.FileType.File:
            self.filesystem.move(self.path, target.path)
            return
        names = [name for name, _ in self.files()]
        for name in sorted(names, key=lambda n: (n == last, n)):
            self.filesystem.move((self / name).path, (target / name).path)
        self.remove()


def leads_out(place: Location, folder: Location) -> bool:
    """True if links lead from a place inside a folder of this machine to one outside it. The folder may be a link itself."""
    if not (place.is_local and folder.is_local):
        return False
    return _leads_out(place.path, folder)


def _leads_out(path: str, folder: Location) -> bool:
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder.path))


def read_bounded(place: Location, *, max_bytes: int, folder: Location | None = None) -> bytes:
    """The content of a file of at most so many bytes; files come from anyone.

    Args:
        place: the file.
        max_bytes: the most that is read.
        folder: the one that a link must not lead out of; None for a file that the user named.

    Raises:
        InputError: there is none, it is larger, or it leads out of the folder.
    """
    with opened_file(place, folder) as (stream, size):
        if size > max_bytes:
            raise InputError(f"{place}: {size:,} bytes, expected at most {max_bytes:,}")
        return bytes(stream.read(size))  # no more: a link may lead to what has no end


@contextmanager
def opened_file(place: Location, folder: Location | None = None) -> Iterator[tuple[Any, int]]:
    """A file as a binary stream, with its size. On this machine what is looked at is what is read, whoever changes names
    meanwhile; a pipe, which would never answer, is no file.

    Args:
        place: the file.
        folder: as of `read_bounded`.

    Raises:
        InputError: there is none, or it leads out of the folder.
    """
    if not place.is_local:
        size = place.size()
        if size < 0:
            raise InputError(f"no such file: {place}")
        with place.filesystem.open_input_stream(place.path) as stream:
            yield stream, size
        return
    try:
        number = os.open(place.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as err:
        if err.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO):  # nothing there, below a file, or a socket
            raise InputError(f"no such file: {place}") from None
        raise
    about = os.fstat(number)
    if not stat.S_ISREG(about.st_mode):
        os.close(number)
        raise InputError(f"no such file: {place}")
    with os.fdopen(number, "rb") as file:
        own = Path(f"/proc/self/fd/{number}")  # on Linux: where the open file itself lies
        if folder is not None and _leads_out(str(own) if own.exists() else place.path, folder):
            raise InputError(f"{place} leads out of {folder}")
        yield file, about.st_size


def open_location(where: str | Path) -> Location:
    """Location behind a path or URI; nothing is created or read.

    Raises:
        InputError: a scheme that pyarrow does not know, no bucket, or a path that no folder can have; see `local_path`.
    """
    text = str(where)
    if "://" not in text:
        return Location(fs.LocalFileSystem(), str(local_path(text)), text)
    try:
        filesystem, path = fs.FileSystem.from_uri(text)
    except (ValueError, OSError, pa.ArrowException) as err:
        told = without_secrets(f"cannot open {text!r}: expected a folder, file://, s3:// or gs:// ({reason_of(err)})")
        raise InputError(told) from None  # its traceback would show the address
    if not path:
        raise InputError(f"cannot open {without_secrets(text)!r}: expected a bucket or folder behind ://")
    return Location(filesystem, str(local_path(path)) if isinstance(filesystem, fs.LocalFileSystem) else path, text)


def writable_folder(where: str | Path) -> Location:
    """Location of a folder that exists, or is made, and can be written to.

    Raises:
        InputError: it cannot be written.
    """
    location = open_location(where)
    if problem := write_problem(location):
        raise InputError(f"cannot write to the results folder {location}: {problem}")
    return location


def write_problem(folder: Location, num_bytes: int = 0) -> str:
    """Reason why a file of this size cannot be written into this folder now; empty if it can."""
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        folder.make_folder()
        try:
            with probe.filesystem.open_output_stream(probe.path) as stream:
                stream.write(bytes(num_bytes))
        finally:
            probe.remove()
    except (OSError, pa.ArrowException) as err:
        return reason_of(err)
    return ""


@contextmanager
def atomic_output(target: Location) -> Iterator[Any]:
    """Yield a binary stream whose content appears at `target` as a whole when the block ends, or not at all."""
    temporary = Location(target.filesystem, f"{target.path}.{uuid.uuid4().hex}.tmp", f"{target.uri}.tmp")
    try:
        with temporary.filesystem.open_output_stream(temporary.path) as stream:
            yield stream
        temporary.move_to(target)
    except BaseException:
        temporary.remove()
        raise


_NAMELESS: Final = (errno.ELOOP, errno.ENAMETOOLONG)
"""A link to itself, or to a name that no file can have."""


def may_pass(err: BaseException) -> bool:
    """True if the storage is away, so that the error may pass; not of a missing file, a forbidden place, an impossible name."""
    lasting = FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError
    return isinstance(err, OSError) and not isinstance(err, lasting) and err.errno not in _NAMELESS


def reason_of(err: BaseException) -> str:
    """The operating system's words for an error, without pyarrow's."""
    code = getattr(err, "errno", None)
    return os.strerror(code) if code else without_secrets(first_line(err))
