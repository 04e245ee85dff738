"""Standing results: what is refused, by name and before anything is written; what is merged, whole and once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow.csv as pacsv
import pytest

from raypol.core.errors import InputError
from raypol.core.verification.policies import Policy
from raypol.runs.arena.standing import ArenaRows, check_arena, merge_arenas, read_arenas
from raypol.runs.sweeps.record import SweepRecord
from raypol.store.location import Location, open_location
from raypol.store.policies import write_policy
from raypol.store.results.cell_rows import CellRow, write_cells
from raypol.store.results.files import write_rows, write_trial
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow
from raypol.store.results_folder import ResultsFolder
from tests.runs.arena.test_cells import made_arena, made_cells
from tests.runs.sweeps.test_adaptive import RANDOM

NAME: Final = "made"


def as_random(row: Any) -> Any:  # noqa: ANN401 - a cell or a verdict
    """With the digest of the policy that has a file, where it is of that policy."""
    return replace(row, policy_sha256=RANDOM.sha256) if row.policy == "random" else row


def invented(sweep_id: str = NAME) -> ArenaRows:
    searches, rows, verdicts = made_arena(sweep_id)
    points = {
        f"searched {n}": {"arm": "searched", "number": n, "axes": dict(axes)}
        for n, axes in enumerate(searches.arms["searched"].points.values())
    }
    return ArenaRows(
        sweep_id=sweep_id,
        cells=tuple(map(as_random, made_cells(sweep_id))),
        trials=tuple(rows),
        verdicts=tuple(map(as_random, verdicts)),
        points=points,
        policies=(RANDOM,),
    )


ARENA: Final = invented()


def write_arena(folder: Path, arena: ArenaRows = ARENA, *, apart: bool = False) -> Location:
    """A results folder with an arena; `apart` as `raypol arena` leaves it, a file per trial."""
    results = open_location(folder)
    if apart:
        for row in arena.trials:
            write_trial(results, row, [], [one for one in arena.verdicts if one.trial_id == row.trial_id])
    else:
        write_rows(ResultsFolder(results).trials, "all", TrialRow, arena.trials)
        write_rows(ResultsFolder(results).verdicts, "all", VerdictRow, arena.verdicts)
    record = SweepRecord(results, arena.sweep_id)
    for name, point in arena.points.items():
        record.write_note("points", name.replace(" ", "-"), {"point": point})
    (results / "policies").make_folder()
    for policy in arena.policies:
        write_policy(results / "policies" / "some-name.json", policy)
    write_cells(results, arena.sweep_id, arena.cells)
    return results


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its bytes and time."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def by_id(rows: Sequence[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: (row.trial_id, getattr(row, "policy", "")))


# --- what is merged --------------------------------------------------------------------------------------------------


def test_what_is_merged_is_what_was_there(tmp_path: Path) -> None:
    source, into = write_arena(tmp_path / "a", apart=True), open_location(tmp_path / "standing")
    assert merge_arenas(into, [source]) == [NAME]
    (found,) = read_arenas(into)
    assert found.cells == ARENA.cells
    assert by_id(found.verdicts) == by_id([replace(one, verdict="") for one in ARENA.verdicts])
    kept = [replace(row, message=row.message.partition("\n")[0], error_l1=None) for row in ARENA.trials]
    assert by_id([replace(row, error_l1=None) for row in found.trials]) == by_id(kept)
    assert found.points == ARENA.points
    assert [policy.sha256 for policy in found.policies] == [RANDOM.sha256]
    names = {path.relative_to(tmp_path / "standing").as_posix() for path in (tmp_path / "standing").rglob("*.*")}
    assert names == {
        "cells/made.parquet", "cells/made.csv", "trials/made.parquet", "trials/made.csv", "verdicts/made.parquet",
        "sweeps/made/points.json", f"policies/random-{RANDOM.sha256[:12]}.json",
    }  # fmt: skip
    table = pacsv.read_csv(tmp_path / "standing" / "cells" / "made.csv")
    assert table.column("arm").to_pylist() == [cell.arm for cell in ARENA.cells]
    assert set(table.column_names) >= {"rate", "cost", "policy_sha256", "command"}
    check_arena(found, "standing")


def test_merging_again_changes_no_byte(tmp_path: Path) -> None:
    source, other = write_arena(tmp_path / "a"), write_arena(tmp_path / "b", invented("other"))
    into = open_location(tmp_path / "standing")
    assert merge_arenas(into, [source, other, source]) == [NAME, "other"]
    before = content(tmp_path / "standing")
    assert merge_arenas(into, [other, source]) == []
    assert content(tmp_path / "standing") == before
    elsewhere = open_location(tmp_path / "elsewhere")
    assert merge_arenas(elsewhere, [into]) == [NAME, "other"]
    assert {k: v for k, (v, _) in content(tmp_path / "elsewhere").items()} == {k: v for k, (v, _) in before.items()}
    assert merge_arenas(into, [elsewhere]) == []


def without_trials(arena: ArenaRows, *arms: str) -> ArenaRows:
    """As an interrupted run leaves it: some arms are missing."""
    gone = {row.trial_id for row in arena.trials if row.arm in arms}
    return replace(
        arena,
        trials=tuple(row for row in arena.trials if row.trial_id not in gone),
        verdicts=tuple(one for one in arena.verdicts if one.trial_id not in gone),
        cells=tuple(cell for cell in arena.cells if cell.arm not in arms),
    )


def test_a_run_that_went_on_replaces_what_it_had_and_is_not_replaced_by_it(tmp_path: Path) -> None:
    early = write_arena(tmp_path / "early", without_trials(ARENA, "declared"))
    whole, into = write_arena(tmp_path / "whole"), open_location(tmp_path / "standing")
    assert merge_arenas(into, [early]) == [NAME]
    assert merge_arenas(into, [whole]) == [NAME]
    assert read_arenas(into)[0].cells == ARENA.cells
    before = content(tmp_path / "standing")
    assert merge_arenas(into, [early]) == []
    assert content(tmp_path / "standing") == before
    at_once = open_location(tmp_path / "at once")
    assert merge_arenas(at_once, [whole, early]) == [NAME]
    assert read_arenas(at_once)[0].cells == ARENA.cells


class StoppedError(Exception):
    """The power went."""


@pytest.mark.parametrize("begun", [False, True])
def test_a_merge_that_is_interrupted_leaves_no_half_arena(
    begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_arena(tmp_path / "whole")
    early = write_arena(tmp_path / "early", without_trials(ARENA, "declared"))
    clean = open_location(tmp_path / "clean")
    merge_arenas(clean, [whole])
    files = {name: data for name, (data, _) in content(tmp_path / "clean").items()}
    move = Location.move_to
    for number in range(len(files)):
        folder = tmp_path / f"standing-{number}"
        into = open_location(folder)
        if begun:
            merge_arenas(into, [early])
        left = [number]

        def failing(self: Location, target: Location, *, last: str = "", left: list[int] = left) -> None:
            if left[0] == 0:
                raise StoppedError
            left[0] -= 1
            move(self, target, last=last)

        with monkeypatch.context() as patched:
            patched.setattr(Location, "move_to", failing)
            with pytest.raises(StoppedError):
                merge_arenas(into, [whole])
        if begun:
            (found,) = read_arenas(into)
            assert found.cells == without_trials(ARENA, "declared").cells
            check_arena(found, "half")
        else:
            with pytest.raises(InputError, match="has no arena"):
                read_arenas(into)
        assert merge_arenas(into, [whole]) == [NAME]
        assert {name: data for name, (data, _) in content(folder).items()} == files


# --- what is refused -------------------------------------------------------------------------------------------------


def first(rows: Sequence[Any], **having: object) -> int:
    return next(i for i, row in enumerate(rows) if all(getattr(row, k) == v for k, v in having.items()))


def changed(part: str, having: dict[str, object], **changes: object) -> ArenaRows:
    """The arena with one row of a part changed."""
    rows: list[Any] = list(getattr(ARENA, part))
    at = first(rows, **having)
    rows[at] = replace(rows[at], **changes)
    parts: dict[str, Any] = {part: tuple(rows)}
    return replace(ARENA, **parts)


def without(part: str, **having: object) -> ArenaRows:
    rows: list[Any] = list(getattr(ARENA, part))
    del rows[first(rows, **having)]
    parts: dict[str, Any] = {part: tuple(rows)}
    return replace(ARENA, **parts)


BROKEN: Final[dict[str, object]] = {"arm": "searched", "policy": "published", "mode": "adaptive"}
UNBROKEN: Final[dict[str, object]] = {"arm": "searched", "policy": "strict", "mode": "adaptive"}
DECLARED: Final[dict[str, object]] = {"arm": "searched", "policy": "strict", "mode": "declared"}
SHOWN: Final = ARENA.cells[first(ARENA.cells, **BROKEN)].trial_id
CELL: Final = "arena made, cell searched against "

REFUSED: Final[dict[str, tuple[ArenaRows, str]]] = {
    "another version": (changed("cells", BROKEN, version=99), f"{CELL}published is of version 99"),
    "an attack that nobody knows": (
        changed("trials", {"trial_id": SHOWN}, attack="magic"),
        f"trial {SHOWN} is of attack 'magic', which raypol does not have",
    ),
    "no grants": (changed("trials", {"trial_id": SHOWN}, grants=None), f"trial {SHOWN} does not say what its adversary"),
    "empty grants": (changed("trials", {"trial_id": SHOWN}, grants=""), f"trial {SHOWN} does not say what its adversary"),
    "a cell without a row": (without("trials", trial_id=SHOWN), f"{CELL}published is of trial {SHOWN}, which has no row"),
    "two rows of a trial": (
        replace(ARENA, trials=(*ARENA.trials, replace(ARENA.trials[-1], message="again"))),
        "arena made has two rows of one trial",
    ),
    "another attack": (changed("cells", BROKEN, attack="null"), f"{CELL}published: its attack, T' or grants"),
    "another T'": (changed("cells", BROKEN, steps=10), f"{CELL}published: its attack, T' or grants"),
    "other grants": (changed("cells", BROKEN, grants="data"), f"{CELL}published: its attack, T' or grants"),
    "a lower cost": (changed("cells", BROKEN, cost=0.1), f"{CELL}published: its cost 0.1 is not that of its trial, 0.2"),
    "no cost": (changed("cells", BROKEN, cost=None), f"{CELL}published: its cost None is not that"),
    "a higher rate": (changed("cells", UNBROKEN, rate=1.0), f"{CELL}strict: it says accepted at a rate of 1.0"),
    "a lower rate": (changed("cells", BROKEN, rate=0.0), f"{CELL}published: it says accepted at a rate of 0.0"),
    "a verdict that is missing": (
        without("verdicts", trial_id=SHOWN, policy="published"),
        f"{CELL}published: it says what its policy accepts, which has no verdict",
    ),
    "a verdict that differs": (
        changed("verdicts", {"trial_id": SHOWN, "policy": "published"}, accepted=False, accepted_nonces=0),
        f"{CELL}published: it says accepted at a rate of 1.0, its verdict 0.0",
    ),
    "another policy": (
        changed("cells", BROKEN, policy_sha256="1" * 64),
        f"{CELL}published: its policy is not that of the verdict",
    ),
    "more accepted than there are": (changed("cells", UNBROKEN, accepted=2), f"{CELL}strict: it says that 2 .* accepted"),
    "a declared one that nothing accepts": (
        changed("cells", DECLARED, accepted=3, rate=1.0, seeds_accepted=3),
        f"{CELL}strict: it says that 3 .* accepted",
    ),
    "more seeds than there are": (changed("cells", DECLARED, seeds_accepted=1), f"{CELL}strict: it says that 1 .* accepted"),
    "verdicts twice": (
        replace(ARENA, verdicts=(*ARENA.verdicts, ARENA.verdicts[-1])),
        "arena made has two verdicts of one policy on one trial",
    ),
    "cells twice": (replace(ARENA, cells=(*ARENA.cells, ARENA.cells[-1])), "has two cells of one arm, policy and mode"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_together_is_refused_by_name_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    arena, said = REFUSED[case]
    with pytest.raises(InputError, match=said) as refused:
        check_arena(arena, "here")
    assert str(refused.value).startswith("here, arena made")
    good, bad = write_arena(tmp_path / "good", invented("good")), write_arena(tmp_path / "bad", arena)
    into = open_location(tmp_path / "standing")
    with pytest.raises(InputError, match=said):
        merge_arenas(into, [good, bad])
    assert not (tmp_path / "standing").exists()
    merge_arenas(into, [good])
    before = content(tmp_path / "standing")
    with pytest.raises(InputError, match=said):
        merge_arenas(into, [bad])
    assert content(tmp_path / "standing") == before


def renamed(arena: ArenaRows, arm: str) -> ArenaRows:
    """Another run of the name: the trials of an arm are others."""

    def other(row: Any) -> Any:  # noqa: ANN401 - any of the rows
        return replace(row, trial_id=f"{row.trial_id}-x") if row.arm == arm else row

    return replace(
        arena,
        trials=tuple(map(other, arena.trials)),
        verdicts=tuple(map(other, arena.verdicts)),
        cells=tuple(map(other, arena.cells)),
    )


def of_another_error() -> ArenaRows:
    rows = [replace(row, error_l2=(row.error_l2 or 0.0) * 1.01) for row in ARENA.trials]
    return replace(ARENA, trials=tuple(rows))


def of_another_verdict() -> ArenaRows:
    """On a trial that no cell shows, so that only what is there tells."""
    shown = {cell.trial_id for cell in ARENA.cells}
    hidden = next(one for one in ARENA.verdicts if one.trial_id not in shown and one.policy == "random")
    return changed(
        "verdicts", {"trial_id": hidden.trial_id, "policy": "random"}, accepted_nonces=(hidden.accepted_nonces or 0) + 1
    )


CONTRADICTING: Final[dict[str, tuple[Callable[[], ArenaRows], str]]] = {
    "errors": (of_another_error, r"contradicts what is there: trial .* has error l2 .*, there "),
    "verdicts": (of_another_verdict, "contradicts what is there: policy random on trial"),
    "trials": (lambda: renamed(ARENA, "declared"), "another run of this name; give it a --name of its own"),
}


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("case", CONTRADICTING)
def test_what_contradicts_what_is_there_is_refused(case: str, at_once: bool, tmp_path: Path) -> None:
    make, said = CONTRADICTING[case]
    source, other = write_arena(tmp_path / "a"), write_arena(tmp_path / "b", make())
    into = open_location(tmp_path / "standing")
    if not at_once:
        merge_arenas(into, [source])
    before = content(tmp_path)
    with pytest.raises(InputError, match=said):
        merge_arenas(into, [source, other] if at_once else [other])
    assert content(tmp_path) == before


def test_a_folder_without_an_arena_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no arena: expected what `raypol arena`"):
        merge_arenas(open_location(tmp_path / "into"), [open_location(tmp_path / "empty")])
    assert list(tmp_path.iterdir()) == []


# --- hostile folders -------------------------------------------------------------------------------------------------

POINT: Final[dict[str, Any]] = {"arm": "searched", "number": 0, "axes": {"steps": 10}}
SOUND_POINTS: Final = {"searched 0": POINT}
HOSTILE_POINTS: Final[dict[str, tuple[str, dict[str, Any] | None]]] = {
    "a list": (json.dumps([POINT]), {}),
    "a number": ("7", {}),
    "no JSON": ("{", None),
    "no UTF-8": ("\udcff", None),
    "nested": ("[" * 100_000 + "]" * 100_000, None),
    "huge": (" " * (17 << 20), None),
    "lacking": (json.dumps({"a": {"arm": "x"}, "b": POINT}), SOUND_POINTS),
    "of other types": (
        json.dumps(
            {
                "a": [],
                "b": "text",
                "c": {**POINT, "number": "many"},
                "d": {**POINT, "number": 1e999},
                "e": {**POINT, "axes": ["steps"]},
                "f": {**POINT, "arm": ["searched"]},
                "g": {**POINT, "number": -1},
                "h": {**POINT, "number": True},
                "i": {**POINT, "axes": "steps"},
                "j": POINT,
            }
        ),
        SOUND_POINTS,
    ),
    "nested axes": (json.dumps({"a": POINT}).replace("10", "[" * 600 + "]" * 600), {}),
}


@pytest.mark.parametrize("case", HOSTILE_POINTS)
def test_points_of_others_are_left_out_or_refused(case: str, tmp_path: Path) -> None:
    text, points = HOSTILE_POINTS[case]
    folder = tmp_path / "standing"
    merge_arenas(open_location(folder), [write_arena(tmp_path / "a")])
    place = folder / "sweeps" / NAME / "points.json"
    place.write_bytes(text.encode(errors="surrogateescape"))
    into = open_location(tmp_path / "into")
    if points is None:
        with pytest.raises(
            InputError, match=r"points\.json(: \S+ bytes, exp| is not what raypol wrote there)"
        ) as refused:
            merge_arenas(into, [open_location(folder)])
        assert len(str(refused.value)) < 400
        assert not (tmp_path / "into").exists()
    else:
        assert merge_arenas(into, [open_location(folder)]) == [NAME]
        assert read_arenas(into)[0].points == points


def test_points_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "standing"
    merge_arenas(open_location(folder), [write_arena(tmp_path / "a")])
    place = folder / "sweeps" / NAME / "points.json"
    (tmp_path / "secret.json").write_text(json.dumps({"a": POINT}))
    place.unlink()
    place.symlink_to(tmp_path / "secret.json")
    with pytest.raises(InputError, match=r"points\.json leads out of"):
        read_arenas(open_location(folder))


@pytest.mark.parametrize("name", ["../../outside", "/outside", ".hidden", "x" * 300, "a\nb"])
def test_no_name_of_a_policy_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    policy: Policy = replace(RANDOM, name=name)
    source = write_arena(tmp_path / "deep" / "a", replace(ARENA, policies=(policy,)))
    into = tmp_path / "deep" / "into"
    with pytest.raises(InputError, match="policy"):
        merge_arenas(open_location(into), [source])
    assert not into.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


@pytest.mark.parametrize("name", ["../outside", "", ".hidden", "x" * 300])
def test_no_name_of_an_arena_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    results = write_arena(folder)
    cells = [replace(cell, sweep_id=name) for cell in ARENA.cells]
    write_cells(results, "other", cells)
    into = open_location(tmp_path / "into")
    try:
        merged = merge_arenas(into, [results])
    except InputError:
        return
    assert merged == [NAME]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "into"]


TEXT: Final = "\x1b[2J[red]boo[/red]\u202e" + "x" * 50


def test_texts_of_others_cannot_write_to_a_terminal() -> None:
    """Escape sequences in names are shown, not obeyed; one line whatever is in them."""
    for part, having, changes in (
        ("cells", BROKEN, {"arm": TEXT, "version": 9}),
        ("cells", BROKEN, {"policy": f"a\n{TEXT}", "rate": 0.5}),
        ("trials", {"trial_id": SHOWN}, {"attack": TEXT}),
    ):
        with pytest.raises(InputError) as refused:
            check_arena(changed(part, having, **changes), "here")  # type: ignore[arg-type]
        assert "\x1b" not in str(refused.value)
        assert "\n" not in str(refused.value)
        assert "\u202e" not in str(refused.value)


def test_what_is_no_row_is_left_out(tmp_path: Path) -> None:
    results = write_arena(tmp_path / "a")
    (tmp_path / "a" / "cells" / "junk.parquet").write_bytes(b"PAR1 no table PAR1")
    (tmp_path / "a" / "cells" / "notes.txt").write_text("hello")
    into = open_location(tmp_path / "into")
    assert merge_arenas(into, [results]) == [NAME]
    kinds: list[type] = [CellRow, TrialRow, VerdictRow]
    assert [type(rows[0]) for rows in (ARENA.cells, ARENA.trials, ARENA.verdicts)] == kinds
