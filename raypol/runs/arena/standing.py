"""Standing results: the rows of several arenas in one small folder, without proofs, checked before they are joined.

STANDING/cells/<sweep_id>.parquet, .csv    one row per attack and policy
        /trials/<sweep_id>.parquet, .csv   one row per trial
        /verdicts/<sweep_id>.parquet       one row per trial and policy
        /sweeps/<sweep_id>/points.json     what the searches tried
        /policies/*.json                   policies that were made of honest runs
It is a results folder like any other.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa
from pyarrow import csv

from raypol.core.attacks import PRESETS
from raypol.core.errors import InputError, first_line
from raypol.core.verification.policies import Policy
from raypol.runs.sweeps.record import SweepRecord
from raypol.store.escaping import visible
from raypol.store.location import Location, atomic_output, read_bounded
from raypol.store.policies import ENDING, read_policy, write_policy
from raypol.store.results.cell_rows import CELLS_VERSION, CellRow, read_cells, write_cells
from raypol.store.results.columns import schema_of
from raypol.store.results.files import plain_rows, read_trials, read_verdicts, write_rows
from raypol.store.results.rows import NO_ATTACK, TrialRow
from raypol.store.results.verdict_rows import VerdictRow
from raypol.store.results_folder import ResultsFolder, is_path_component

_MESSAGE: Final = 300
"""Characters of a trial's message that are kept."""
_SAME: Final = 1e-3
"""Relative difference of errors below which two rows of a trial agree."""
_POINTS: Final = "points.json"
_MAX_BYTES: Final = 16 << 20
_DEEPEST: Final = 4
"""Levels of a point: axes, values that change several fields, and lists in these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArenaRows:
    """The rows of one arena."""

    sweep_id: str
    cells: tuple[CellRow, ...]
    trials: tuple[TrialRow, ...]
    verdicts: tuple[VerdictRow, ...]
    points: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the searches tried, by arm and number, as `AdaptiveSearches.point_of` gives it."""
    policies: tuple[Policy, ...] = ()
    """Those made of honest runs."""


def read_arenas(results: Location) -> list[ArenaRows]:
    """The arenas of a results folder, by name.

    Raises:
        InputError: there are none.
    """
    found = _arenas(results)
    if not found:
        raise InputError(f"{results} has no arena: expected what `raypol arena` or `raypol arena-merge` wrote")
    return found


def _arenas(results: Location) -> list[ArenaRows]:
    cells = read_cells(results)
    trials, verdicts, policies = read_trials(results), read_verdicts(results), _policies(results)
    found = []
    for sweep_id in sorted({cell.sweep_id for cell in cells}):
        own = tuple(cell for cell in cells if cell.sweep_id == sweep_id)
        cited = {cell.policy_sha256 for cell in own}
        found.append(
            ArenaRows(
                sweep_id=sweep_id,
                cells=own,
                trials=tuple(row for row in trials if row.sweep_id == sweep_id),
                verdicts=tuple(row for row in verdicts if row.sweep_id == sweep_id),
                points=_points(results, sweep_id),
                policies=tuple(policy for policy in policies if policy.sha256 in cited),
            )
        )
    return found


def merge_arenas(into: Location, sources: Sequence[Location]) -> list[str]:
    """Join the arenas of results folders into a standing one. Everything is checked first, so nothing is merged in part.

    Args:
        into: the standing results; made if it is not there.
        sources: results folders, or standing ones of others.

    Returns:
        Names of the arenas that were added or replaced.

    Raises:
        InputError: rows of another version, of unknown attacks, without grants, that do not fit together, or that contradict
            those that are there.
    """
    there = {arena.sweep_id: arena for arena in _arenas(into)} if into.exists() else {}
    taken: dict[str, ArenaRows] = {}
    for source in sources:
        for arena in read_arenas(source):
            check_arena(arena, str(source))
            before = taken.get(arena.sweep_id) or there.get(arena.sweep_id)
            if before is not None and not _goes_on(before, arena, str(source)):
                continue
            taken[arena.sweep_id] = arena
    for arena in taken.values():
        write_arena(into, arena)
    return sorted(taken)


def check_arena(arena: ArenaRows, where: str) -> None:
    """Check that the rows of an arena are of this version, complete, and say the same as its cells.

    Raises:
        InputError: what does not hold, with where it stands.
    """
    name = f"{where}, arena {visible(arena.sweep_id)}"
    rows = {row.trial_id: row for row in arena.trials}
    verdicts = {(row.trial_id, row.policy): row for row in arena.verdicts}
    known = {type(config).__module__.rpartition(".")[2] for config in PRESETS.values()} | {NO_ATTACK}
    if len(rows) < len(arena.trials):
        raise InputError(f"{name} has two rows of one trial")
    if len(verdicts) < len(arena.verdicts):
        raise InputError(f"{name} has two verdicts of one policy on one trial")
    if len({cell.key for cell in arena.cells}) < len(arena.cells):
        raise InputError(f"{name} has two cells of one arm, policy and mode")
    for policy in arena.policies:
        if not is_path_component(_policy_file(policy)):
            raise InputError(f"{name} has a policy {visible(policy.name[:80])!r}, which no file can be named by")
    accepting = Counter((row.arm, row.policy) for row in arena.verdicts if row.acceptance_rate > 0.0)
    for row in arena.trials:
        which = f"{name}, trial {visible(row.trial_id)}"
        if row.attack not in known:
            raise InputError(f"{which} is of attack {visible(row.attack)!r}, which raypol does not have")
        if not row.is_honest and not row.grants:
            raise InputError(f"{which} does not say what its adversary was granted")
    for cell in arena.cells:
        which = f"{name}, cell {visible(cell.arm)} against {visible(cell.policy)}"
        if cell.version != CELLS_VERSION:
            raise InputError(f"{which} is of version {cell.version} of the arena's rules; expected {CELLS_VERSION}")
        trial, verdict = rows.get(cell.trial_id), verdicts.get((cell.trial_id, cell.policy))
        if trial is None:
            raise InputError(f"{which} is of trial {visible(cell.trial_id)}, which has no row")
        most, there = max(cell.accepted, cell.seeds_accepted), accepting[cell.arm, cell.policy]
        if most > there:
            raise InputError(f"{which}: it says that {most} trials are accepted, and its policy accepts {there}")
        if problem := _contradiction(cell, trial, verdict):
            raise InputError(f"{which}: {problem}")


def _contradiction(cell: CellRow, trial: TrialRow, verdict: VerdictRow | None) -> str:
    """How a cell and the rows that it is of disagree; empty if they do not."""
    if cell.attack != trial.attack or cell.steps != trial.steps or cell.grants != (trial.grants or ""):
        return "its attack, T' or grants are not those of its trial"
    if not trial.is_honest and not _agree(cell.cost, trial.ratio_working):
        return f"its cost {cell.cost} is not that of its trial, {trial.ratio_working}"
    if cell.mode != "adaptive":
        return ""
    if verdict is None:
        return "it says what its policy accepts, which has no verdict on its trial" if cell.rate else ""
    if verdict.policy_sha256 != cell.policy_sha256:
        return "its policy is not that of the verdict on its trial"
    rate = verdict.acceptance_rate
    return "" if _agree(cell.rate, rate) else f"it says accepted at a rate of {cell.rate}, its verdict {rate}"


def _goes_on(before: ArenaRows, now: ArenaRows, where: str) -> bool:
    """True if the second has all that the first has, and more.

    Raises:
        InputError: they contradict each other, or each has what the other lacks.
    """
    name = f"{where}, arena {visible(now.sweep_id)}"
    rows = {row.trial_id: row for row in before.trials}
    verdicts = {(row.trial_id, row.policy_sha256): row for row in before.verdicts}
    for trial in now.trials:
        then = rows.get(trial.trial_id)
        if then is not None and then.status == trial.status == "ok" and not _agree(then.error_l2, trial.error_l2):
            raise InputError(
                f"{name} contradicts what is there: trial {visible(trial.trial_id)} has error l2 {trial.error_l2}, there "
                f"{then.error_l2}"
            )
    for verdict in now.verdicts:
        other = verdicts.get((verdict.trial_id, verdict.policy_sha256))
        if other is not None and (other.accepted, other.accepted_nonces) != (verdict.accepted, verdict.accepted_nonces):
            raise InputError(
                f"{name} contradicts what is there: policy {visible(verdict.policy)} on trial {visible(verdict.trial_id)}"
            )
    lost, more = rows.keys() - {row.trial_id for row in now.trials}, {row.trial_id for row in now.trials} - rows.keys()
    if lost and more:
        raise InputError(
            f"{name}: {len(more)} trials are new and {len(lost)} that are there are missing: another run of this name; give it "
            "a --name of its own"
        )
    return bool(more) or (not lost and before.cells != now.cells)


def _agree(a: float | None, b: float | None) -> bool:
    a, b = math.nan if a is None else a, math.nan if b is None else b
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=_SAME, abs_tol=1e-12)


def write_arena(into: Location, arena: ArenaRows) -> None:
    """Write the files of an arena; its cells last, so that an arena that is there is complete."""
    folder, sweep_id = ResultsFolder(into), arena.sweep_id
    trials = [
        replace(row, message=row.message.partition("\n")[0][:_MESSAGE])
        for row in sorted(arena.trials, key=lambda row: (not row.is_honest, row.arm, row.seed, row.steps, row.trial_id))
    ]
    verdicts = [replace(row, verdict="") for row in sorted(arena.verdicts, key=lambda row: (row.trial_id, row.policy))]
    write_rows(folder.trials, sweep_id, TrialRow, trials)
    _write_csv(folder.trials / f"{sweep_id}.csv", TrialRow, trials)
    write_rows(folder.verdicts, sweep_id, VerdictRow, verdicts)
    folder.sweep(sweep_id).make_folder()
    with atomic_output(folder.sweep(sweep_id) / _POINTS) as stream:
        stream.write(json.dumps(dict(arena.points), sort_keys=True, indent=0).encode())
    for policy in arena.policies:
        folder.policies.make_folder()
        write_policy(folder.policies / _policy_file(policy), policy)
    _write_csv(folder.cells / f"{sweep_id}.csv", CellRow, arena.cells)
    write_cells(into, sweep_id, arena.cells)


def _policy_file(policy: Policy) -> str:
    return f"{policy.name}-{policy.sha256[:12]}{ENDING}"


def _write_csv(file: Location, row_type: type, rows: Iterable[Any]) -> None:
    folder, _, _ = file.path.rpartition("/")
    Location(file.filesystem, folder, folder).make_folder()
    table = pa.Table.from_pylist(plain_rows(rows), schema=schema_of(row_type))
    with atomic_output(file) as stream:
        csv.write_csv(table, stream)


def _points(results: Location, sweep_id: str) -> dict[str, Mapping[str, Any]]:
    """What the searches of an arena tried, from the notes of its sweep or from the file that a merge wrote."""
    place = ResultsFolder(results).sweep(sweep_id) / _POINTS
    if place.exists():
        text = read_bounded(place, max_bytes=_MAX_BYTES, folder=results)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as err:
            raise InputError(f"{place} is not what raypol wrote there: {first_line(err)[:120]}") from err
        points = list(found.values()) if isinstance(found, dict) else []
    else:
        points = [note["point"] for note in SweepRecord(results, sweep_id).read_notes("points", "point")]
    return {f"{one['arm']} {one['number']}": one for one in points if _is_point(one)}


def _is_point(one: object) -> bool:
    """True for what `AdaptiveSearches.point_of` gives: files come from anyone."""
    if not isinstance(one, dict) or one.keys() != {"arm", "number", "axes"}:
        return False
    arm, number, axes = one["arm"], one["number"], one["axes"]
    is_number = isinstance(number, int) and not isinstance(number, bool) and number >= 0
    return isinstance(arm, str) and is_number and isinstance(axes, dict) and _is_shallow(axes, _DEEPEST)


def _is_shallow(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    return depth > 0 and all(
        _is_shallow(one, depth - 1) for one in (value.values() if isinstance(value, dict) else value)
    )


def _policies(results: Location) -> list[Policy]:
    folder = ResultsFolder(results).policies
    return [read_policy(folder / name) for name in sorted(folder.names()) if name.endswith(ENDING)]
