"""The page of findings."""

from collections.abc import Sequence
from typing import Final

from raypol.report.arena.board import Board
from raypol.report.findings.limits import on_limits
from raypol.report.findings.papers import on_fronts, on_papers
from raypol.report.findings.policies import on_exactness, on_stopping, on_unseen
from raypol.report.findings.predictions import on_predictions
from raypol.report.findings.task import Task
from raypol.runs.arena.standing import ArenaRows

_WHY: Final = """# Findings

What the [standing results](standings.md) of [the arena](arena.md) show, each sentence with its rows: a link opens the cell on
[the page](arena/page.html), where trials, settings, seeds and the command stand. The text is written from the rows by
`make generate`; nothing in it is typed in.

A *forgery* claims the stolen weights W_T as trained, or, the control `untrained`, weights that nobody trained. It claims T'
steps, recorded every k. It *passes* a policy that accepts it at some seed and, where the policy draws its intervals, under some
nonce; where that is not all of those tried, it is said. *Cost* is generation time over that of the honest proof it is compared
with, *error* the largest of its four reproduction errors over that proof's. Every arm is made as declared and then in as many
searched forgeries as the budget says, which all policies share. A search is at one seed, and its costs are of that seed, or of
the one where alone it passes; a front takes every accepted trial. What an adversary may declare of its rule (`no_momentum`,
`honest_schedule`, ...) is explained in [the protocol](protocol.md).
"""


def findings(board: Board, arenas: Sequence[ArenaRows]) -> str:
    """The page."""
    tasks = []
    for one in board.tasks:
        own = [
            a
            for a in arenas
            if (a.cells[0].dataset, a.cells[0].model, a.cells[0].train_steps)
            == (one.dataset, one.model, one.train_steps)
        ]
        tasks.append(Task(one, own, board.lacking(one)))
    tasks.sort(key=lambda task: -len(task.trials))
    parts = [
        _WHY,
        *on_stopping(tasks),
        *on_fronts(tasks),
        *on_exactness(tasks),
        *on_unseen(tasks),
        *on_predictions(tasks),
        *on_papers(tasks),
        *on_limits(tasks),
    ]
    return "\n".join(parts)
