"""Where the files of a Ray lie that is started here: its sockets' paths are bounded by the kernel."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raypol.cluster import connection
from raypol.core.errors import InputError

ROOM = 39
"""107 bytes less what Ray puts behind the folder's name."""


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("/home/" + "x" * 84, "has 90 characters, and Ray's sockets leave room for 39"),
        ("/home/" + "x" * (ROOM - 5), "has 40 characters"),
        ("/home/" + "x" * (ROOM - 6), "is no folder"),
        ("/home/" + "ü" * 10, "is not plain ASCII"),
        ("/home/\udcff", "is not plain ASCII"),
        ("tmp", "is no absolute path"),
        ("", "is no absolute path"),
        ("/proc/nothing", "is no folder"),
        ("/dev/null", "is no folder"),
    ],
)
@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_that_ray_cannot_use_is_replaced(
    name: str, trouble: str, variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for other in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(variable, name)
    monkeypatch.setattr(connection, "_short_folder", lambda: "/short")
    with caplog.at_level(logging.WARNING):
        assert connection.ray_folder() == "/short"
    (said,) = caplog.messages
    assert said.startswith(f"{variable}={name!r} {trouble}")
    assert "\n" not in said
    monkeypatch.setattr(connection, "_short_folder", lambda: None)
    with pytest.raises(
        InputError, match=re.escape(trouble) + ".*; set RAY_TMPDIR to a folder of at most 39 characters"
    ):
        connection.ray_folder()


def test_a_folder_that_fits_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", connection._SHORT_PLACES[0])
    monkeypatch.setenv("TMPDIR", "/home/" + "x" * 84)  # Ray does not ask for it then
    assert connection.ray_folder() is None


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write anywhere
    assert connection.folder_trouble("/") == "cannot be written"


STARTED = """
import os, ray
from raypol.cluster.connection import connect
connect(None)
print(os.path.dirname(ray._private.worker._global_node.plasma_store_socket_name))
"""


@pytest.mark.ray
def test_ray_starts_below_a_long_temporary_folder(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    environment = {**os.environ, "TMPDIR": str(long)}
    environment.pop("RAY_TMPDIR", None)
    done = subprocess.run([sys.executable, "-c", STARTED], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    sockets = Path(done.stdout.split()[-1])
    assert sockets.parts[:2] == ("/", "tmp")
    assert sockets.parts[2].startswith("raypol-")
    assert f"lie in /tmp/{sockets.parts[2]} until this command ends" in done.stderr
    assert not Path(*sockets.parts[:3]).exists()
