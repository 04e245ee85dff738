"""Write docs/findings.md, docs/standings.md and docs/arena/page.html from the standing results.

Every number is taken from the rows in docs/arena; a sentence whose condition the rows no longer meet is written otherwise.
"""

from collections.abc import Sequence
from pathlib import Path

from raypol.report.arena.board import Board, board_of
from raypol.report.arena.markdown import arena_markdown
from raypol.report.arena.page import arena_html
from raypol.report.findings.page import findings
from raypol.runs.arena.recheck import with_cells
from raypol.runs.arena.standing import ArenaRows, check_arena, read_arenas, write_arena
from raypol.store.location import open_location

FOLDER = Path(__file__).parent
STANDING = FOLDER / "arena"


def write() -> None:
    """Make the cells anew by the rules of this version, and write all three pages."""
    standing = open_location(STANDING)
    arenas = [with_cells(arena) for arena in read_arenas(standing)]
    for arena in arenas:
        check_arena(arena, str(STANDING))
    for arena in arenas:
        write_arena(standing, arena)
    board = board_of([cell for arena in arenas for cell in arena.cells])
    for name, text in pages(board, arenas).items():
        (FOLDER / name).write_text(text)


def pages(board: Board, arenas: Sequence[ArenaRows]) -> dict[str, str]:
    """The text of each page by its place in docs/."""
    return {
        "findings.md": findings(board, arenas).rstrip() + "\n",
        "standings.md": arena_markdown(board),
        "arena/page.html": arena_html(board),
    }


def standing_pages() -> dict[str, str]:
    """The pages of the committed rows."""
    arenas = read_arenas(open_location(STANDING))
    return pages(board_of([cell for arena in arenas for cell in arena.cells]), arenas)


if __name__ == "__main__":
    write()
