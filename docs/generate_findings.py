"""Write docs/findings.md, docs/standings.md and docs/arena/page.html from the standing results.

Every number is taken from the rows in docs/arena; a sentence whose condition the rows no longer meet is written otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from urllib.parse import quote

from raypol.report.arena.board import FORGERIES, Board, TaskBoard, board_of, status_of
from raypol.report.arena.markdown import arena_markdown
from raypol.report.arena.page import arena_html
from raypol.report.arena.rankings import VerifierRank, rank_verifiers
from raypol.report.arena.wording import ratio_text
from raypol.report.front_tables import front_sentences, fronts_tables
from raypol.report.tables import to_markdown
from raypol.runs.arena.cells import claims_of
from raypol.runs.arena.standing import ArenaRows, read_arenas
from raypol.store.escaping import markdown_text
from raypol.store.location import open_location
from raypol.store.results.cell_rows import CellRow, Mode
from raypol.store.results.rows import TrialRow

FOLDER = Path(__file__).parent
STANDING = FOLDER / "arena"
_POLICIES = (
    "top_q",
    "published",
    "random",
    "strict",
    "directed",
    "bound_seed",
    "own_points",
    "memorisation",
    "exact_bits",
)
_MOSTLY = 0.5
"""Share of nonces, where a policy draws intervals, from which it is said to accept."""
PREDICTED: Mapping[str, str] = {
    "null": "    RRARR",
    "infinitesimal": "AAAARRARR",
    "blindfold": "ARR RR  R",
    "forged_momentum": "AAARRRRRR",
    "II": "A   RRR R",
    "III-gradient": "A   RRR R",
    "glue": " R RRRRRR",
    "grind_selection": "ARR RR  R",
    "forge_batch": "A   ARA R",
    "subtract": "     AA R",
    "continue": "     R   ",
}
"""Of an arm at its best against each policy, before anything was measured: A = accepted, R = rejected, blank = it depends.
What rejects alone rejects in every policy that has it."""
WHY = """# Findings

What the [standing results](standings.md) of [the arena](arena.md) show, each sentence with its rows: a link opens the cell on
[the page](arena/page.html), where trials, settings, seeds and the command stand. The text is written from the rows by
`make generate`; nothing in it is typed in. Costs are in units of the honest proof's generation time.
"""


@dataclass(frozen=True)
class Task:
    """One training with its rows."""

    board: TaskBoard
    arenas: Sequence[ArenaRows]

    @cached_property
    def verifiers(self) -> list[VerifierRank]:
        """Policies by their cheapest forgery."""
        return rank_verifiers(self.board)

    @property
    def trials(self) -> list[TrialRow]:
        """Rows of all trials."""
        return [row for arena in self.arenas for row in arena.trials]

    def cell(self, arm: str, policy: str, mode: Mode = "adaptive") -> CellRow | None:
        """One place of the matrix."""
        numbers = [i for i, one in enumerate(self.board.policies) if one.name == policy]
        lines = [line for line in self.board.lines if line.arm == arm]
        return lines[0].places[numbers[0]].shown(mode) if numbers and lines else None

    def link(self, cell: CellRow | None, text: str) -> str:
        """A link to a cell on the page."""
        if cell is None:
            return text
        mode = "&mode=declared" if cell.mode == "declared" and cell.budget == 0 else ""
        return f"[{text}](arena/page.html#task={quote(self.board.slug)}{mode}&arm={quote(cell.arm)}&policy={quote(cell.policy)})"

    def accepting(self, arm: str) -> list[CellRow]:
        """Cells of an arm whose policy accepts it."""
        cells = [self.cell(arm, policy.name) for policy in self.board.policies]
        return [cell for cell in cells if cell is not None and cell.is_broken]


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
        tasks.append(Task(one, own))
    tasks.sort(key=lambda task: -len(task.trials))
    parts = [
        WHY,
        *_stopping(tasks),
        *_fronts(tasks),
        *_exact(tasks),
        *_unseen(tasks),
        *_predictions(tasks),
        *_papers(tasks),
        *_limits(tasks),
    ]
    return "\n".join(parts)


def _name(task: Task) -> str:
    return f"{task.board.dataset}, {task.board.model}, T = {task.board.train_steps:,}"


def _stopping(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Which policies stop the cheapest forgery, and what the best answer costs\n"
    for task in tasks:
        usable = [one for one in task.verifiers if one.place is not None]
        whole, broken = [one for one in usable if not one.cheapest], [one for one in usable if one.cheapest]
        budget = max((one.budget for one in usable), default=0)
        yield f"**{_name(task)}.** Of {len(usable)} policies that accept honest proofs, {len(broken)} accept a forgery of W_T."
        if whole:
            yield (
                f"No forgery of W_T was accepted by {', '.join(f'`{one.policy.name}`' for one in whole)} within {budget} "
                "forgeries per attack, which is a statement about these attacks and this budget."
            )
        yield ""
        yield "| policy | cheapest forgery of W_T | cost | at a second seed | attacks that pass | honest proofs rejected |"
        yield "|---|---|---|---|---|---|"
        for one in sorted(broken, key=lambda one: -(one.cheapest.cost or 0.0) if one.cheapest else 0.0):
            cell = one.cheapest
            if cell is None:
                continue
            again = (
                "yes"
                if cell.seeds > 1 and cell.seeds_accepted == cell.seeds
                else f"{cell.seeds_accepted} of {cell.seeds}"
            )
            honest = one.honest
            rejected = f"{honest.tried - honest.accepted} of {honest.tried}" if honest else "-"
            what = f"{cell.arm}, T' = {cell.steps:,}" + (f", {cell.declares}" if cell.declares else "")
            yield (
                f"| `{one.policy.name}` | {task.link(cell, what)} | {ratio_text(cell.cost)} | {again} | "
                f"{one.broken_by} of {one.attacks} | {rejected} |"
            )
        yield ""
        rejecting = [one for one in usable if one.honest and one.honest.accepted < one.honest.tried]
        judged = max((one.honest.tried for one in usable if one.honest), default=0)
        if rejecting:
            said = ", ".join(
                f"{task.link(one.honest, f'`{one.policy.name}`')} {one.honest.tried - one.honest.accepted}"
                for one in rejecting
                if one.honest
            )
            yield f"Honest proofs rejected, of {judged}: {said}; no other policy rejects any.\n"
        else:
            yield f"No policy rejects any of {judged} honest proofs.\n"


def _fronts(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Which published attacks are on a front\n"
    yield "A front has the accepted spoofs of W_T that no other accepted spoof beats in both cost and error.\n"
    for task in tasks:
        rows = [row for row in task.trials if claims_of(row) in ("W_T", "nothing") or row.is_honest]
        verdicts = [row for arena in task.arenas for row in arena.verdicts]
        yield f"**{_name(task)}.**\n"
        yield "\n".join(f"- {markdown_text(one)}" for one in front_sentences(rows, verdicts))
        yield ""
        for table in fronts_tables(rows, verdicts):
            kept = [line for line in table.lines if line[0] in ("published", "strict", "strict_trend")]
            shown = type(table)(columns=table.columns, lines=kept, title="", note=table.note)
            yield to_markdown(shown)
            yield ""


def _exact(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## What bit-exact replay stops, and what it costs\n"
    for task in tasks:
        policy = next((one for one in task.verifiers if one.policy.name == "exact_bits"), None)
        if policy is None:
            continue
        honest = policy.honest
        accepted = f"{honest.accepted} of {honest.tried} honest proofs" if honest else "no honest proof"
        yield (
            f"**{_name(task)}.** `exact_bits` accepts {accepted}, {policy.broken_by} of {policy.attacks} attacks on W_T, and of "
            f"claims of another model or of other data {_others(task, 'exact_bits')}."
        )
        if honest is not None and honest.verification is not None:
            yield (
                "The examination of an honest proof for all policies together, which replays every interval with fresh and again "
                f"with recorded crops, took {ratio_text(honest.verification)} of the time of making it; of a forgery the "
                "comparison ends at the first interval that differs."
            )
        bound = task.cell("retrain", "exact") or task.cell("retrain", "exact_bound")
        if bound is not None and not bound.is_broken:
            yield f"With a bound seed it also rejects {task.link(bound, 'an honest training of a seed of its own')}."
        refereed = next((one for one in task.verifiers if one.policy.name == "refereed"), None)
        if refereed is not None:
            broken, judged = refereed.broken_by + len(refereed.controls_passed), refereed.attacks + refereed.controls
            yield (
                "In a dispute with an honest challenger, who trains all of it, before a referee who makes one step (`refereed`), "
                f"{broken} of {judged} forgeries of W_T come through, and of other claims {_others(task, 'refereed')}."
            )
        yield ""
    yield (
        "Proofs and replays of one training ran on one machine class, one thread each. On another class, honest proofs differ in "
        "some bits, and the verdict of `exact` is *inexact*, which accepts nothing and accuses nobody."
    )


def _others(task: Task, policy: str) -> str:
    """Accepted claims of another model or of other data, as links."""
    cells = [task.cell(line.arm, policy) for line in task.board.lines if line.group != "honest"]
    passing = [cell for cell in cells if cell is not None and cell.is_broken and cell.claims not in FORGERIES]
    return ", ".join(task.link(cell, f"`{cell.arm}`") for cell in passing) or "nothing"


def _unseen(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Which defences accept a model that was never trained, or that they never saw\n"
    for task in tasks:
        untrained = [task.link(cell, f"`{cell.policy}`") for cell in task.accepting("untrained")]
        retrained = [cell.policy for cell in task.accepting("retrain")]
        rejecting = [
            one.name for one in task.board.policies if one.name not in retrained and task.cell("retrain", one.name)
        ]
        yield (
            f"**{_name(task)}.** Weights that were never trained are accepted by {', '.join(untrained) or 'no policy'}. "
            f"An honest proof of another seed, without the verifier's share, is accepted by {len(retrained)} policies and "
            f"rejected by {', '.join(f'`{name}`' for name in rejecting) or 'none'}."
        )
        yield ""


def _predictions(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Predictions made before measuring\n"
    task = tasks[0]
    agree, wrong = 0, list[str]()
    for arm, row in PREDICTED.items():
        for policy, predicted in zip(_POLICIES, row.ljust(len(_POLICIES)), strict=True):
            cell = task.cell(arm, policy)
            if predicted == " " or cell is None or not cell.tried:
                continue
            found = "A" if (cell.rate or 0.0) >= _MOSTLY else "R"
            if found == predicted:
                agree += 1
            else:
                words = {"A": "accepted", "R": "rejected"}
                wrong.append(
                    f"{task.link(cell, f'`{arm}` against `{policy}`')}: predicted {words[predicted]}, found {words[found]}"
                )
    yield (
        f"Of {agree + len(wrong)} predictions for {_name(task)}, {agree} hold and {len(wrong)} do not. A prediction says what "
        "the arm's best setting does; found is what the search came to within its budget.\n"
    )
    yield "\n".join(f"- {line}" for line in wrong)


def _papers(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## The papers' claims\n"
    for task in tasks:
        yield f"**{_name(task)}**\n"
        for arm in ("II", "III-gradient", "III-loss", "III-invisible"):
            rows = [row for row in task.trials if row.arm == arm and row.is_ok and not row.is_honest]
            if not rows:
                continue
            won = [row for row in rows if row.success]
            costs = [row.ratio_working for row in rows if row.ratio_working is not None]
            null = [row for row in task.trials if row.arm == "null" and row.is_ok]
            gained = _against_null(rows, null)
            cell = task.cell(arm, "published")
            yield (
                f"- {task.link(cell, f'`{arm}`')}: {len(won)} of {len(rows)} trials succeed under `published` (accepted, all "
                "errors below the proof's, cheaper in time and storage), at "
                f"{ratio_text(min(costs))} to {ratio_text(max(costs))} of the proof's time"
                + (f"; {gained}" if gained else "")
                + "."
            )
        for arm, claim in (
            ("infinitesimal", "a vanishing rate passes the published verifier (Fang et al. 2023)"),
            (
                "blindfold",
                "true steps where `top_q` looks pass it, and are seen when all is replayed (Fang et al. 2023)",
            ),
        ):
            cells = {policy: task.cell(arm, policy) for policy in ("top_q", "published", "strict")}
            if any(cells.values()):
                said = ", ".join(
                    f"{task.link(cell, f'`{policy}`')} {'accepts' if cell.is_broken else 'rejects'}"
                    for policy, cell in cells.items()
                    if cell is not None
                )
                yield f"- {claim}: {said}."
        for policy, claim in (
            (
                "dynamic",
                "a slack that shrinks over training stops the published attacks (Zhang et al. 2022, section V)",
            ),
            ("near_copy", "own points near the dataset's give crafted data away (Zhang et al. 2022, section IV)"),
            ("memorisation", "every known attack shows in what models remember (Choi et al. 2023)"),
        ):
            one = next((rank for rank in task.verifiers if rank.policy.name == policy), None)
            if one is not None:
                broken = [
                    line.arm
                    for line in task.board.lines
                    if line.group in ("controls", "W_T") and _broken(task, line.arm, policy)
                ]
                yield f"- {claim}: `{policy}` accepts {len(broken)} of {one.attacks + one.controls} forgeries" + (
                    f": {', '.join(task.link(task.cell(arm, policy), f'`{arm}`') for arm in broken)}."
                    if broken
                    else "."
                )
        yield ""


def _against_null(rows: Sequence[TrialRow], null: Sequence[TrialRow]) -> str:
    """The error beside that of ordinary batches at the same seed, T' and declarations."""
    known = {(row.seed, row.steps, row.declares, row.start): row.error_l2 for row in null}
    ratios = [
        row.error_l2 / other
        for row in rows
        if row.error_l2 is not None and (other := known.get((row.seed, row.steps, row.declares, row.start)))
    ]
    return (
        f"its error is {median(ratios):.2f} times that of `null` at the same settings (median of {len(ratios)})"
        if ratios
        else ""
    )


def _broken(task: Task, arm: str, policy: str) -> bool:
    cell = task.cell(arm, policy)
    return cell is not None and status_of(cell) == "broken"


def _limits(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Limits\n"
    for task in tasks:
        rows = [row for row in task.trials if not row.is_honest]
        failed = [row for row in rows if row.status == "error"]
        seeds = len({row.proof_reference for row in rows if row.proof_reference})
        ends = [cell for cell in task.board.shown("adaptive") if cell.ends and cell.is_broken]
        costs = [
            (cell.cost_high or 0.0) / cell.cost_low
            for cell in task.board.shown("declared")
            if cell.cost_low and cell.arm not in ("honest",) and cell.seeds > 1
        ]
        spread = (
            f"the costs of one arm differ by up to {max(costs):.1f} times over seeds (median {median(costs):.1f})"
            if costs
            else ""
        )
        yield (
            f"- {_name(task)}: {len(rows)} trials on {seeds} honest proofs, {len(failed)} failed; searches of "
            f"{max((cell.budget for cell in task.board.shown('adaptive')), default=0)} forgeries per arm"
            + (f"; {len(ends)} accepted points lie at the end of a searched range" if ends else "")
            + (f"; {spread}, on shared cores" if spread else "")
            + "."
        )
    yield (
        "- The models are small (6,000 to 270,000 parameters), the machine is one with two shared cores, and nothing here was "
        "run on a GPU. What holds at the papers' scale is not known from this."
    )
    yield (
        "- The trials of simple_conv and resnet20 shared their cores with other work: single costs may be twice too high. "
        "Numbers of gradients, in the rows, do not depend on that."
    )
    missing = [
        one
        for one in ("I", "forge_batch")
        if any(not any(line.arm == one for line in task.board.lines) for task in tasks)
    ]
    if missing:
        yield (
            f"- Not run on every training: {', '.join(f'`{one}`' for one in missing)} (second-order search of every step, and a "
            "forgery as long as T, take hours there)."
        )


def write() -> None:
    """Write all three pages."""
    arenas = read_arenas(open_location(STANDING))
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
