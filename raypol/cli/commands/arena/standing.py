"""`raypol arena-merge`, `arena-page` and `arena-check`: standing results of several arenas."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import tyro

from raypol.cli.console import ERR, OUT, print_last, print_tables, say, warn
from raypol.cli.options import Debug, open_results_folder
from raypol.cli.progress import progress
from raypol.cluster.connection import running_cluster
from raypol.core.errors import InputError, check_whole
from raypol.report.arena.board import board_of
from raypol.report.arena.conclusions import recheck_table
from raypol.report.arena.markdown import arena_markdown
from raypol.report.arena.page import arena_html
from raypol.runs.arena.recheck import compare_rows, other_processors, recheck_plan, time_ratio
from raypol.runs.arena.standing import ArenaRows, merge_arenas, read_arenas
from raypol.runs.sweeps.driver import Events, drive_sweep
from raypol.store.location import Location, atomic_output, open_location, writable_folder
from raypol.store.results.files import read_verdicts

_DIFFERENT: Final = 1
_NOTICEABLE: Final = 0.05
"""Relative change of an error that another processor's rounding does not explain."""
Standing = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="STANDING", help="Folder of standing results, or a results folder with an arena in it."),
]


@dataclass(frozen=True, kw_only=True)
class ArenaMergeCommand:
    """Join arenas into standing results: rows without proofs. Everything is checked before anything is written: the version of
    the rules, known attacks, grants, cells that say what their rows say, no contradiction with what is there. Prints the folder
    last.
    """

    sources: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="SOURCES", help="Results folders with an arena, or standing results of others."),
    ]
    into: str
    """Folder of the standing results; made if it is not there."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        if not self.sources:
            raise InputError("expected at least one results folder to merge")
        sources = [open_results_folder(address) for address in self.sources]
        merged = merge_arenas(writable_folder(self.into), sources)
        say(f"merged: {', '.join(merged)}" if merged else "nothing is new")
        print_last(self.into)
        return 0


@dataclass(frozen=True, kw_only=True)
class ArenaCheckCommand:
    """Run a random part of standing results again, and compare it with the rows that are there. Exit code 0: every verdict is the
    same; 1: some are not. Honest proofs are made anew; policies that were made of honest runs are as they stand. Run the same
    command again to go on.
    """

    standing: Standing
    arena: str = ""
    """Name of the arena in it; empty = the only one, or arena-standard."""
    share: float = 0.1
    """Of its trials, in (0, 1]."""
    seed: int = 0
    """Of the draw."""
    results: str = "results/arena-check"
    """Results folder for the rows that are made."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        check_whole("seed", self.seed, 0, 1 << 31)
        arena = _one_of(read_arenas(open_results_folder(self.standing)), self.arena, self.standing)
        plan, results = recheck_plan(arena, self.share, self.seed), writable_folder(self.results)
        with progress(ERR) as update:
            run = drive_sweep(plan, results, address=running_cluster(), events=Events(on_progress=update))
        found = compare_rows(arena, run.rows, read_verdicts(results, sweep_id=plan.sweep_id))
        print_tables(recheck_table(found))
        differing = [one for one in found if one.differing or one.now.status != one.then.status]
        moved = [one for one in found if one.error_change > _NOTICEABLE]
        say(
            f"{len(found)} of {len(arena.trials)} trials were run again: {len(differing)} differ in a verdict, {len(moved)} in "
            f"their error by more than {_NOTICEABLE:.0%}; costs are {time_ratio(found):.2f} times those that stand (median)"
        )
        if why := other_processors(found):
            warn(why, console=OUT)
        return _DIFFERENT if differing or run.missing else 0


@dataclass(frozen=True, kw_only=True)
class ArenaPageCommand:
    """Write the page of all arenas in a folder: one HTML file that needs no network. Prints its name last."""

    standing: Standing
    out: str = "arena.html"
    """The page."""
    markdown: str = ""
    """Also write the matrices and rankings as Markdown to this file."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        board = board_of([cell for arena in read_arenas(open_results_folder(self.standing)) for cell in arena.cells])
        write_page(open_location(self.out), arena_html(board))
        if self.markdown:
            write_page(open_location(self.markdown), arena_markdown(board))
        print_last(self.out)
        return 0


def write_page(file: Location, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_output(file) as stream:
        stream.write(text.encode())


def _one_of(arenas: Sequence[ArenaRows], name: str, where: str) -> ArenaRows:
    names = [arena.sweep_id for arena in arenas]
    wanted = name or (names[0] if len(names) == 1 else "arena-standard")
    if wanted not in names:
        raise InputError(f"{where} has no arena {wanted!r}; possible: {', '.join(names)}")
    return arenas[names.index(wanted)]
