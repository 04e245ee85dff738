"""Paths that no file can have, in every place of a command line: one line, exit code 2, nothing made."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from raypol.cli.main import main
from raypol.core.datasets.load import load_dataset
from raypol.core.datasets.places import data_home
from raypol.core.errors import InputError, local_path
from raypol.store.location import open_location, writable_folder
from tests.rows import write_rows
from tests.tiny_sweep import start, tiny_sweep

BAD = {
    "no UTF-8": os.fsdecode(b"r\xff"),
    "NUL": "a\0b",
    "too long": "x" * 300,
    "below a file": "file/x",
    "an endless link": "loop/x",
}
TRAIN = ("--steps", "4", "--interval", "2", "--batch-size", "8")
PLACES: dict[str, Callable[[str], tuple[str, ...]]] = {
    "prove --results": lambda bad: ("prove", *TRAIN, "--results", bad),
    "prove --data-dir": lambda bad: ("prove", *TRAIN, "--dataset", "imagenet_subset", "--data-dir", bad),
    "spoof": lambda bad: ("spoof", bad),
    "verify": lambda bad: ("verify", bad),
    "range --results": lambda bad: ("range", "--address", "local", "--results", bad),
    "range --data-dir": lambda bad: ("range", "--train.dataset", "cifar10", "--data-dir", bad),
    "relatives": lambda bad: ("relatives", "unadversarial", "--proof-dir", bad),
    "relatives --out": lambda bad: ("relatives", "unadversarial", "--proof-dir", "p", "--out", f"{bad}/x.png"),
    "import": lambda bad: ("import", bad, "--dataset", "digits", "--model", "resnet8"),
    "export": lambda bad: ("export", bad, "new"),
    "export DIR": lambda bad: ("export", "p", bad),
    "plan": lambda bad: ("plan", bad),
    "cluster --file": lambda bad: ("cluster", "--file", bad),
    "report": lambda bad: ("report", bad),
    "report --out": lambda bad: ("report", "rows", "--out", bad),
    "sync": lambda bad: ("sync", bad),
    "top": lambda bad: ("top", "--address", "none", "--results", bad),
    "explore": lambda bad: ("explore", bad, "--no-browser"),
    "explore --data-dir": lambda bad: ("explore", "rows", "--no-browser", "--data-dir", bad),
    "demo": lambda bad: ("demo", "--results", bad, "--runner", "local"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file, an endless link and some rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    write_rows(tmp_path / "rows", 1)
    return tmp_path


@pytest.mark.parametrize("place", PLACES)
def test_a_bad_path_is_one_line_everywhere(place: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.iterdir())
    for kind, bad in BAD.items():
        with pytest.raises(SystemExit) as ended:
            main(list(PLACES[place](bad)))
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]  # progress
        assert ended.value.code == 2, (kind, lines)
        assert len(lines) == 1, kind
        assert lines[0].startswith("error: "), kind
    assert sorted(folder.iterdir()) == before


def test_a_sweep_file_refuses_them_before_anything_starts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tiny_sweep(folder)
    for kind, bad in BAD.items():
        assert start(sweep, ["--size", "smoke", "--address", "local", "--results", bad]) == 2, kind
        assert capsys.readouterr().err.splitlines()[-1].startswith("error: "), kind


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_the_library_refuses_them_too(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (open_location, writable_folder, local_path, lambda path: load_dataset("cifar10", path)):
        with pytest.raises(InputError) as caught:
            call(bad)
        assert "\n" not in str(caught.value)
    if "\0" not in bad:
        monkeypatch.setenv("RAYPOL_DATA", bad)
        with pytest.raises(InputError):
            data_home()


def test_a_current_folder_that_is_no_utf8(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / os.fsdecode(b"\xff")
    place.mkdir()
    monkeypatch.chdir(place)
    with pytest.raises(InputError, match=r"expected a path in UTF-8, got b'.*xff/results'"):
        open_location("results")


def test_an_address_is_no_local_path_and_needs_a_bucket() -> None:
    for address in ("s3://bucket/x", "file:///x"):
        with pytest.raises(InputError, match="expected a path on this machine, got"):
            local_path(address)
    with pytest.raises(InputError, match="expected a bucket or folder"):
        open_location("s3://")


def test_a_drive_that_is_away_is_no_bad_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "stat", away)
    assert open_location("/x/results").path == "/x/results"
    assert open_location("~/a~b.").path == str(Path.home() / "a~b.")
