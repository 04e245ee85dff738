"""File locks: the second waits or is told, a folder that cannot be made is an error of the system."""

import logging
import threading
from pathlib import Path

import pytest

from raypol.core import locks
from raypol.core.locks import BusyError, hold_lock


def test_who_has_no_patience_is_told_what_the_other_does(tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.lock"
    impatient = hold_lock(path, busy="another is at it", patience_s=0.0)
    with hold_lock(path, busy=""), pytest.raises(BusyError, match="another is at it"), impatient:
        pass
    with hold_lock(path, busy="", patience_s=0.0):
        pass


def test_who_waits_says_so_and_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "_QUIET_S", 0.01)
    path, order = tmp_path / "one.lock", ["first"]

    def second() -> None:
        with hold_lock(path, busy="another is at it"):
            order.append("second")

    waiting = threading.Thread(target=second)
    with caplog.at_level(logging.WARNING), hold_lock(path, busy=""):
        waiting.start()
        while not caplog.messages:
            waiting.join(0.01)
        order.append("first again")
    waiting.join()
    assert caplog.messages == ["waiting: another is at it"]
    assert order == ["first", "first again", "second"]


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold_lock(tmp_path / "one.lock", busy=""):
        raise KeyError
    with hold_lock(tmp_path / "one.lock", busy="", patience_s=0.0):
        pass


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), hold_lock(tmp_path / "file" / "one.lock", busy=""):
        pass
