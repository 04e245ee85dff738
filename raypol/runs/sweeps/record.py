"""The record of a sweep in its results folder: its configuration, and what is finished. Resuming reads nothing else.

RESULTS/sweeps/<sweep_id>/sweep.json           its configuration, which a resumed sweep must share
                         /about.json           its question, its number of trials, the command that runs it
                         /honest/<key>.json    the proofs and the honest row of a baseline
                         /points/<trial>.json  points that a searcher proposed
                         /tune/                Ray Tune's own files
The rows in RESULTS/trials tell which trials are finished: no pickle, no snapshot that lags behind.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from pyarrow import fs

from raypol.core.errors import InputError
from raypol.runs.trials.environment import versions
from raypol.store.escaping import without_secrets
from raypol.store.location import Location, atomic_output, read_bounded
from raypol.store.locks import lock
from raypol.store.results.files import read_trials, warn_left_out
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder

_COMPUTING: Final = ("raypol", "python", "torch", "numpy", "scipy")
"""Packages whose versions decide numbers."""
_FILES: Final = ("sweep.json", "about.json", "live.json")
_SHOWN: Final = 6
_MAX_BYTES: Final = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """A description of a sweep for people; it decides no number."""

    question: str = ""
    num_trials: int = 0
    """Of a search: at most. 0 = not known."""
    search: str = "grid"
    """grid, random, optuna, range, or demo."""
    command: str = ""
    """The command line that runs it."""


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """The files of one sweep."""

    results: Location
    sweep_id: str

    @property
    def folder(self) -> Location:
        """Folder of the files."""
        return ResultsFolder(self.results).sweep(self.sweep_id)

    def require_same(self, asked: Mapping[str, str], *, must_exist: bool) -> None:
        """Compare with the sweep of this name that is there, if any.

        Raises:
            InputError: it has another configuration, or there is none and `must_exist`.
        """
        found = self._read("sweep.json")
        if found is None:
            if must_exist:
                raise InputError(f"nothing to resume: {self.results} holds no sweep named {self.sweep_id!r}")
            return
        now, then = self._content(asked), dict(found)
        changed = [
            f"{key}: {then.get(key, 'absent')} then, {now.get(key, 'absent')} now"
            for key in sorted({*then, *now})
            if then.get(key) != now.get(key)
        ]
        if changed:
            more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            raise InputError(
                f"{self.results} holds another sweep named {self.sweep_id!r}; what differs: "
                f"{'; '.join(changed[:_SHOWN])}{more}. Give --name or --results for a new one"
            )

    def read_asked(self) -> dict[str, Any] | None:
        """The configuration that the sweep was started with; None where this folder does not show the sweep.

        Raises:
            InputError: its file is damaged.
        """
        return self._read("sweep.json")

    def write_asked(self, asked: Mapping[str, str]) -> None:
        """Write the configuration that a resumed sweep must have too."""
        self._write("sweep.json", self._content(asked))

    def write_about(self, about: About) -> None:
        """Write the description for people."""
        self._write("about.json", asdict(about))

    def read_about(self) -> About:
        """The description for people; a field that is missing or of another type stays empty."""
        found = self._read_if_sound("about.json") or {}
        known = {f.name: found[f.name] for f in fields(About) if isinstance(found.get(f.name), type(f.default))}
        return About(**known)

    def only_driver(self) -> AbstractContextManager[None]:
        """Keep other processes from driving this sweep inside the block (local folders).

        Raises:
            BusyError: another one does.
        """
        busy = f"another process is running sweep {self.sweep_id!r} in {self.results}"
        return lock(self.folder / ".driver.lock", busy=busy, patience_s=0.0)

    def rows(self) -> list[TrialRow]:
        """All rows of the sweep so far."""
        return read_trials(self.results, sweep_id=self.sweep_id)

    def write_note(self, kind: str, name: str, content: Mapping[str, Any]) -> None:
        """Write a small record, replacing one of the same kind and name."""
        self._write(f"{kind}/{name}.json", content)

    def read_note(self, kind: str, name: str, *needed: str) -> dict[str, Any] | None:
        """A record written by `write_note`; None if there is none, or what is there is damaged or lacks a needed key."""
        return self._read_if_sound(f"{kind}/{name}.json", *needed)

    def read_notes(self, kind: str, *needed: str) -> list[dict[str, Any]]:
        """Every record of a kind, without damaged ones and those that lack a needed key."""
        names = [name for name in (self.folder / kind).names() if name.endswith(".json") and not name.startswith(".")]
        found = [self._read_if_sound(f"{kind}/{name}", *needed) for name in names]
        return [content for content in found if content is not None]

    @staticmethod
    def _content(asked: Mapping[str, str]) -> dict[str, str]:
        now = versions()
        told = {key: without_secrets(value) for key, value in asked.items()}
        return {**told, **{f"version of {name}": now[name] for name in _COMPUTING}}

    def _read(self, name: str) -> dict[str, Any] | None:
        place = self.folder / name
        if not place.exists():
            return None
        try:
            found = json.loads(read_bounded(place, max_bytes=_MAX_BYTES, folder=self.results))
        except InputError:
            raise
        except (ValueError, RecursionError) as err:
            raise InputError(f"{place} is not what raypol wrote there: {err}") from err
        if not isinstance(found, dict):
            raise InputError(f"{place} is not what raypol wrote there: expected an object")
        return found

    def _read_if_sound(self, name: str, *needed: str) -> dict[str, Any] | None:
        """As `_read`; a damaged file is left out, and the log says so."""
        try:
            found = self._read(name)
        except InputError as err:
            warn_left_out([str(err)])
            return None
        if found is not None and not found.keys() >= set(needed):
            warn_left_out([f"{self.folder / name} is not what raypol wrote there: expected {', '.join(needed)}"])
            return None
        return found

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        place = self.folder / name
        folder, _, _ = name.rpartition("/")
        (self.folder / folder if folder else self.folder).make_folder()
        with atomic_output(place) as stream:
            stream.write(without_secrets(json.dumps(content, indent=1, sort_keys=True)).encode())


def sweeps_on_record(results: Location) -> list[str]:
    """Names of the sweeps that were started in a results folder, with or without rows; the last changed first."""
    folder = ResultsFolder(results).sweeps
    selector = fs.FileSelector(folder.path, recursive=False, allow_not_found=True)
    names = [info.base_name for info in folder.filesystem.get_file_info(selector) if info.type == fs.FileType.Directory]
    changed = []
    for name in names:
        files = folder.filesystem.get_file_info([(folder / name / part).path for part in _FILES])
        times = [file.mtime_ns or 0 for file in files if file.type == fs.FileType.File]
        if times:
            changed.append((max(times), name))
    return [name for _, name in sorted(changed, reverse=True)]


def sweeps_with_rows(results: Location) -> list[str]:
    """Names of the sweeps that have rows, also imported ones; the one with the newest row first. Opens every trial's file."""
    newest: dict[str, str] = {}
    for row in read_trials(results):
        newest[row.sweep_id] = max(newest.get(row.sweep_id, ""), row.started_at)
    return sorted(newest, key=lambda name: (newest[name], name), reverse=True)
