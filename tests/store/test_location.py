"""Paths and URIs, folders that cannot be written, and output that appears as a whole or not at all."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from raypol.core.errors import InputError
from raypol.store.location import (
    Location,
    atomic_output,
    open_location,
    opened_file,
    read_bounded,
    writable_folder,
    write_problem,
)


def put(location: Location, content: bytes) -> None:
    with atomic_output(location) as stream:
        stream.write(content)


# --- naming --------------------------------------------------------------------------------------------------------


def test_a_path_a_string_and_a_uri_are_the_same_place(tmp_path: Path) -> None:
    put(open_location(tmp_path) / "a.txt", b"abc")
    for where in (tmp_path, str(tmp_path), f"{tmp_path}/", tmp_path.as_uri(), f"{tmp_path.as_uri()}/"):
        location = open_location(where)
        assert location.is_local
        assert (location / "a.txt").size() == 3
        assert location.files() == [("a.txt", 3)]
        assert (location / "a.txt").name == "a.txt"


def test_a_uri_may_escape_what_a_path_may_hold(tmp_path: Path) -> None:
    odd = tmp_path / "a b #1 %20 é"
    odd.mkdir()
    put(open_location(odd) / "x", b"1")
    assert (open_location(odd.as_uri()) / "x").size() == 1


def test_a_relative_path_is_of_the_folder_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location = writable_folder("results")
    monkeypatch.chdir("/")
    put(location / "x", b"1")
    assert (tmp_path / "results" / "x").exists()
    assert str(location) == "results"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    put(writable_folder("~/results") / "x", b"1")
    assert (tmp_path / "results" / "x").exists()


@given(st.lists(st.sampled_from(["a", "b c", "step=3", "é"]), min_size=1, max_size=4), st.sampled_from(["", "/"]))
def test_joining_names_gives_the_path_of_the_last(names: list[str], slash: str) -> None:
    location = open_location(f"/tmp/somewhere{slash}")  # noqa: S108 - nothing is written
    for name in names:
        location = location / name
    assert location.path == "/".join(["/tmp/somewhere", *names])  # noqa: S108
    assert str(location) == location.path
    assert location.name == names[-1]


@pytest.mark.parametrize(
    "where",
    [
        "ftp://example.org/results",
        "nonsense://x",
        "://x",
        "file://relative/path",
        "~no-such-user-here/results",
        "http://example.org:port/x",
        "file://\n/x",
    ],
)
def test_places_that_cannot_be_opened_are_refused_in_one_line(where: str) -> None:
    with pytest.raises(InputError, match="cannot open") as caught:
        open_location(where)
    assert "\n" not in str(caught.value)


def test_opening_creates_nothing(tmp_path: Path) -> None:
    location = open_location(tmp_path / "a" / "b")
    assert not location.exists()
    assert location.size() == -1
    assert location.files() == []
    location.remove()
    assert list(tmp_path.iterdir()) == []


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    location = writable_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert location.files() == []
    put(location / "x", b"1")
    assert writable_folder(tmp_path / "a" / "b").files() == [("x", 1)]


def test_what_can_be_written_is_no_problem_and_leaves_nothing(tmp_path: Path) -> None:
    assert write_problem(open_location(tmp_path), 1 << 20) == ""
    assert list(tmp_path.iterdir()) == []


def test_why_nothing_can_be_written_is_said_in_the_systems_words(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("not a folder")
    assert write_problem(open_location(tmp_path / "a file"), 1 << 20) == os.strerror(errno.EEXIST)


def unwritable(tmp_path: Path) -> list[str]:
    """Places that nobody can write to, not even root."""
    (tmp_path / "a file").write_text("not a folder")
    return [str(tmp_path / "a file"), str(tmp_path / "a file" / "below"), "/proc/no-such-folder", "/dev/null/results"]


@pytest.mark.parametrize("which", range(4))
def test_a_folder_that_cannot_be_written_is_refused_with_the_reason(which: int, tmp_path: Path) -> None:
    where = unwritable(tmp_path)[which]
    with pytest.raises(InputError, match=r"cannot (write to the results folder|open)") as caught:
        writable_folder(where)
    message = str(caught.value)
    assert where in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_path_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        writable_folder("a\0b")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_output_appears_as_a_whole_or_not_at_all(error: type[BaseException], tmp_path: Path) -> None:
    target = open_location(tmp_path) / "x"

    def write_half() -> None:
        before = target.size()
        with atomic_output(target) as stream:
            stream.write(b"half")
            stream.flush()
            assert target.size() == before
            raise error

    with pytest.raises(error):
        write_half()
    assert list(tmp_path.iterdir()) == []
    put(target, b"whole")
    with pytest.raises(error):
        write_half()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"whole"
    put(target, b"newer")
    assert (tmp_path / "x").read_bytes() == b"newer"


def test_removing_a_file_a_folder_or_nothing(tmp_path: Path) -> None:
    root = open_location(tmp_path)
    put(root / "x", b"1")
    (root / "below" / "deeper").make_folder()
    put(root / "below" / "deeper" / "y", b"22")
    assert root.files() == [("below/deeper/y", 2), ("x", 1)]
    assert (root / "below").size() == -1  # a folder is no file
    for name in ("x", "below", "never there"):
        (root / name).remove()
        assert not (root / name).exists()
    assert root.files() == []


# --- moving --------------------------------------------------------------------------------------------------------


def memory_store() -> Location:
    """An in-memory object store: no folders but by their files, and no rename of a folder."""
    fsspec = pytest.importorskip("fsspec.implementations.memory")
    filesystem = fsspec.MemoryFileSystem()
    filesystem.store.clear()
    return Location(fs.PyFileSystem(fs.FSSpecHandler(filesystem)), "/results", "memory://results")


@pytest.mark.parametrize("kind", ["local", "object store"])
def test_a_folder_moves_with_all_its_files(kind: str, tmp_path: Path) -> None:
    root = open_location(tmp_path) if kind == "local" else memory_store()
    assert root.is_local == (kind == "local")
    (root / "staging" / "weights").make_folder()
    for name, content in {"manifest.json": b"{}", "weights/a": b"1", "weights/b": b"22", "z": b""}.items():
        put(root / "staging" / name, content)
    (root / "proofs").make_folder()
    (root / "staging").move_to(root / "proofs" / "p", last="manifest.json")
    assert (root / "proofs" / "p").files() == [("manifest.json", 2), ("weights/a", 1), ("weights/b", 2), ("z", 0)]
    assert (root / "staging").files() == []


def test_options_of_an_address_stay_at_its_end() -> None:
    """An S3 server of one's own is named by options behind the folder."""
    place = (
        open_location("s3://bucket/folder?endpoint_override=http%3A%2F%2F127.0.0.1%3A9&allow_bucket_creation=false")
        / "a"
    )
    assert place.path == "bucket/folder/a"
    assert open_location((place / "b").address).path == "bucket/folder/a/b"


# --- files of others ---------------------------------------------------------------------------------------------------


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    """It may be put there between a look and the opening."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no such file"), opened_file(open_location(tmp_path / "pipe")):
        pass


@pytest.mark.parametrize("name", ["none", "folder"])
def test_what_is_no_file_is_said_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="no such file"):
        read_bounded(open_location(tmp_path / name), max_bytes=10)


def test_a_file_is_read_within_its_bounds(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_text("secret")
    (inside / "own").write_text("0123456789")
    (inside / "link").symlink_to(inside / "own")
    (inside / "out").symlink_to(outside)
    folder = open_location(inside)
    for name in ("own", "link"):
        assert read_bounded(folder / name, max_bytes=10, folder=folder) == b"0123456789"
    with pytest.raises(InputError, match="10 bytes, expected at most 9"):
        read_bounded(folder / "own", max_bytes=9, folder=folder)
    with pytest.raises(InputError, match="leads out of"):
        read_bounded(folder / "out", max_bytes=10, folder=folder)
    assert read_bounded(folder / "out", max_bytes=10) == b"secret"


def test_two_names_of_one_place_are_one_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    place = open_location(tmp_path / "a")
    assert place.is_same(open_location(tmp_path / "b"))
    assert place.is_same(open_location(str(tmp_path / "x" / ".." / "a")))
    assert not place.is_same(open_location(tmp_path))
