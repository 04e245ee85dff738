"""Judging a folder by every policy in a process of its own: what it says, how long it takes, how much memory."""

import os
import pickle
import resource
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks.zoo.specimens import SHARE, Base
from raypol.cli.budget import budget
from raypol.cluster.placement import parse_device
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.core.verification.policies import Policy, PolicyKind, calibrate, published, strict, strict_trend
from raypol.core.verification.replay import Conditions
from raypol.core.verification.stages import STAGES
from raypol.core.verification.thresholds import MOVES, Thresholds
from raypol.core.verification.verdict import Verdict
from raypol.core.verification.verifier import Evidence, examine
from raypol.runs.trials.verify import Examination, allow_names, examine_proof
from raypol.store.location import open_location
from raypol.store.proofs.reader import read_manifest
from raypol.store.verdicts import verdict_outcome

NONCE: Final = 7
RECORDED: Final = Conditions(augmentation="recorded", seed=NONCE)
FRESH: Final = Conditions(augmentation="fresh", seed=NONCE)
TOYS: Final = ("tests.toys:mlp", "tests.constructions:features", "tests.constructions:normed")
"""Import paths that the verifier lets through, as by --model."""
MAX_SECONDS: Final = 20.0
"""For one examination; past it the budget of `raypol verify` ends it."""
_KILL_AFTER_S: Final = 4 * MAX_SECONDS
_MAX_GIGABYTES: Final = 4.0
_MAX_MESSAGE: Final = 1_500
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Judged:
    """What one policy says."""

    outcome: str
    """accepted, rejected, not calibrated, bad input or unhandled."""
    by: str = ""
    """Checks that said no."""
    detail: str = ""
    """The first of them in its own words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one folder."""

    judged: Mapping[str, Judged]
    seconds: float = 0.0
    """Of the slower one of both examinations, recorded and fresh augmentation."""
    peak_mb: float = 0.0
    """Of the process."""
    root: str = ""
    """Computed from what was read; empty if nothing was."""
    unhandled: str = ""
    policies: tuple[str, ...] = field(default=("published", "strict", "strict_trend", "calibrated", "bound"))


def policies_of(base: Base) -> dict[str, Policy]:
    """The policies under test; the last two are calibrated on the base's other honest proofs."""
    found = [examine(proof, base.dataset, FRESH, expected_share=SHARE) for proof in base.calibration]
    kinds: tuple[PolicyKind, ...] = ("calibrated", "bound")
    return {p.name: p for p in (published, strict, strict_trend, *(calibrate(found, kind=kind) for kind in kinds))}


def judge(folder: Path, policies: Mapping[str, Policy], *, root: str | None) -> Finding:
    """Judge a folder in a child process, as `raypol verify` would."""
    found, status, peak_mb = in_child(lambda: _examined(folder, policies, root), _KILL_AFTER_S)
    if isinstance(found, Finding):
        return Finding(found.judged, found.seconds, peak_mb, found.root, found.unhandled)
    words = f"the process ended with status {status}" if found is None else str(found)
    if status == os.waitstatus_to_exitcode(2 << 8):  # the budget's own end, one line
        return Finding(
            {name: Judged("bad input", "", "the budget ended it") for name in policies}, MAX_SECONDS, peak_mb
        )
    return Finding({name: Judged("unhandled", "", words) for name in policies}, 0.0, peak_mb, "", words)


def _examined(folder: Path, policies: Mapping[str, Policy], root: str | None) -> Finding:
    judged: dict[str, Judged] = {}
    seconds, computed = [0.0], ""
    for conditions, names in ((RECORDED, ("published", "strict", "strict_trend")), (FRESH, ("calibrated", "bound"))):
        started = time.perf_counter()
        try:
            evidence = _evidence(folder, conditions, root)
            computed = evidence.computed_root
            for name in names:
                thresholds = Thresholds() if name == "published" else MOVES
                judged[name] = _in_words(policies[name](evidence, thresholds, None), policies[name])
        except InputError as err:
            bad = Judged("bad input", "", " ".join(str(err).split()))
            problem = f"a message of {len(str(err))} characters" if len(str(err)) > _MAX_MESSAGE else ""
            seconds.append(time.perf_counter() - started)
            return Finding(dict.fromkeys(policies, bad), max(seconds), 0.0, "", problem)
        except Exception as err:
            at = traceback.extract_tb(err.__traceback__)[-1]
            words = (
                f"{type(err).__name__}: {' '.join(str(err).split())} ({at.name}, {Path(at.filename).name}:{at.lineno})"
            )
            return Finding(dict.fromkeys(policies, Judged("unhandled", "", words)), max(seconds), 0.0, "", words)
        seconds.append(time.perf_counter() - started)
    return Finding(judged, max(seconds), 0.0, computed)


def _evidence(folder: Path, conditions: Conditions, root: str | None) -> Evidence:
    place = open_location(folder)
    with budget(_MAX_GIGABYTES, MAX_SECONDS):
        recipe = read_manifest(place).recipe
        allow_names(recipe, dataset=None, model=recipe.model if recipe.model in TOYS else None)
        examination = Examination(
            conditions=conditions,
            accuracy_stages=STAGES,
            expected_root=root,
            expected_share=SHARE if conditions.augmentation == "fresh" else None,
        )
        with LocalRunner(dict.fromkeys(ROLES, parse_device("cpu"))) as runner:
            return examine_proof(runner, place, DataSource(name="digits"), examination)[0]


def _in_words(verdict: Verdict, policy: Policy) -> Judged:
    details = [check.detail for check in verdict.checks if not check.passed]
    return Judged(verdict_outcome(verdict, policy), verdict.rejected_by, details[0] if details else "")


def in_child(work: Callable[[], _T], timeout_s: float) -> tuple[_T | None, int, float]:
    """(result, exit status, peak resident MB) of work in a fork of this process; no result if it does not end well."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_leave(work, writing)
    os.close(writing)
    parts, deadline = [], time.monotonic() + timeout_s
    while True:
        ready, _, _ = select.select([reading], [], [], max(deadline - time.monotonic(), 0.0))
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        part = os.read(reading, 1 << 16)
        if not part:
            break
        parts.append(part)
    os.close(reading)
    _, status, used = os.wait4(child, 0)
    result: Any = pickle.loads(b"".join(parts)) if parts and status == 0 else None  # noqa: S301 - of this program
    return result, os.waitstatus_to_exitcode(status), used.ru_maxrss / 1e3


def _work_and_leave(work: Callable[[], object], writing: int) -> None:
    """The child's part: it never returns."""
    code = 3
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("ignore")
        result = pickle.dumps(work())
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(result)
        code = 0
    finally:
        os._exit(code)
