"""Write docs/findings.md, docs/standings.md and docs/arena/page.html from the standing results.

Every number is taken from the rows in docs/arena; a sentence whose condition the rows no longer meet is written otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from urllib.parse import quote

from raypol.core.distances import METRICS
from raypol.report.arena.board import FORGERIES, Board, TaskBoard, board_of
from raypol.report.arena.markdown import arena_markdown
from raypol.report.arena.page import arena_html
from raypol.report.arena.rankings import VerifierRank, rank_verifiers
from raypol.report.arena.wording import ratio_text, shortfall, tally, unbroken_words
from raypol.report.front_tables import front_sentences, fronts_tables
from raypol.report.tables import to_markdown
from raypol.runs.arena.cells import claims_of
from raypol.runs.arena.recheck import with_cells
from raypol.runs.arena.standing import ArenaRows, check_arena, read_arenas, write_arena
from raypol.store.escaping import markdown_text
from raypol.store.location import open_location
from raypol.store.results.cell_rows import CellRow, Mode
from raypol.store.results.rows import HONEST, TrialRow

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
_ON_STRICT = _POLICIES.index("random"), *range(_POLICIES.index("directed"), len(_POLICIES))
"""Of these, those that are `strict` with a check or a selection more."""
_MOSTLY = 0.5
"""Share of nonces, and of seeds, from which a policy is said to accept."""
_PREDICTED: Mapping[tuple[str, Mode], str] = {
    ("null", "declared"): "    RRARR",
    ("null", "adaptive"): "    RAARR",
    ("infinitesimal", "adaptive"): "AAAARRARR",
    ("blindfold", "adaptive"): "ARR RRA R",
    ("forged_momentum", "adaptive"): "AAARARARA",
    ("II", "adaptive"): "A   RRR R",
    ("III-gradient", "adaptive"): "A   RRR R",
    ("glue", "adaptive"): " R RRRA R",
    ("I-tail", "adaptive"): " R RRRA R",
    ("grind_selection", "adaptive"): "ARR RRA R",
    ("forge_batch", "adaptive"): "A   ARA R",
    ("subtract", "adaptive"): "     AA R",
    ("continue", "adaptive"): "AAA ARAAA",
}
"""Of an arm against each check alone, before anything was measured: A = accepted, R = rejected, blank = it depends. A policy with
`strict` in it accepts what both accept, and rejects what either rejects."""
WHY = """# Findings

What the [standing results](standings.md) of [the arena](arena.md) show, each sentence with its rows: a link opens the cell on
[the page](arena/page.html), where trials, settings, seeds and the command stand. The text is written from the rows by
`make generate`; nothing in it is typed in.

A *forgery* claims the stolen weights W_T as trained, or, the control `untrained`, weights that nobody trained. It claims T'
steps, recorded every k. It *passes* a policy that accepts it at some seed and, where the policy draws its intervals, under some
nonce; where that is not all of those tried, it is said. *Cost* is generation time over that of the honest proof it is compared
with, *error* the largest of its four reproduction errors over that proof's. Every arm is made as declared and then in as many
searched forgeries as the budget says, which all policies share. A search is at one seed, and its costs are of that seed; a front
takes every accepted trial. What an adversary may declare of its rule (`no_momentum`, `honest_schedule`, ...) is explained in
[the protocol](protocol.md).
"""


@dataclass(frozen=True)
class Task:
    """One training with its rows."""

    board: TaskBoard
    arenas: Sequence[ArenaRows]
    lacking: Sequence[str]
    """Arms and policies of other trainings that this one does not have."""

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

    def judged(self, arm: str) -> list[CellRow]:
        """Cells of an arm that rest on verdicts."""
        cells = [self.cell(arm, policy.name) for policy in self.board.policies]
        return [cell for cell in cells if cell is not None and cell.tried]

    def accepting(self, arm: str) -> list[CellRow]:
        """Those whose policy accepts it."""
        return [cell for cell in self.judged(arm) if cell.is_broken]

    def column(self, policy: str) -> list[CellRow]:
        """Cells of a policy, honest proofs left out."""
        cells = [self.cell(line.arm, policy) for line in self.board.lines if line.group != "honest"]
        return [cell for cell in cells if cell is not None]

    def passing(self, policy: str) -> list[CellRow]:
        """Forgeries that it accepts."""
        return [cell for cell in self.column(policy) if cell.is_broken and cell.claims in FORGERIES]

    @property
    def examinations(self) -> list[float]:
        """Time to examine each honest proof over that of making it."""
        rows = [row for row in self.trials if row.is_honest]
        return [row.verify_s / row.device_s for row in rows if row.verify_s and row.device_s]


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
        yield f"**{_name(task)}.** {_slack(task)}"
        yield (
            f"Of {tally(len(usable), 'policy')} that {_do(usable, 'accept')} honest proofs, {len(broken)} "
            f"{_do(broken, 'accept')} a forgery."
        )
        for words, some in _grouped((unbroken_words(one), one.policy.name) for one in whole):
            yield f"{listed(some)}: {words}, which is a statement about these attacks and this budget."
        yield ""
        yield (
            "| policy | cheapest forgery | cost | at a second seed | attacks that pass | at every seed tried "
            "| honest proofs rejected |"
        )
        yield "|---|---|---|---|---|---|---|"
        for one in sorted(broken, key=lambda one: -(one.cheapest.cost or 0.0) if one.cheapest else 0.0):
            cell = one.cheapest
            if cell is None:
                continue
            what = f"{cell.arm}, T' = {cell.steps:,}" + (f", {cell.declares}" if cell.declares else "")
            always = sum(_how(found) == "" for found in task.passing(one.policy.name) if not found.is_control)
            yield (
                f"| `{one.policy.name}` | {task.link(cell, what)} | {ratio_text(cell.cost)} | {_again(cell)} | "
                f"{one.broken_by} of {one.attacks} | {always} | {_rejected(one)} |"
            )
        yield ""
        yield from _rejections(task)


def _slack(task: Task) -> str:
    """How far a replay may be from the claim, as the trials have it."""
    found = {tuple(getattr(row, f"threshold_{m}") for m in ("kind", *METRICS)) for row in task.trials}
    said = [
        ", ".join(f"{m} {limit:g}" for m, limit in zip(METRICS, limits, strict=True))
        + (" of d_ref" if kind == "relative" else "")
        for kind, *limits in sorted(found)
    ]
    return f"Slack of `published`, `strict` and what is made of it: {'; '.join(said)}."


def _again(cell: CellRow) -> str:
    """Whether the cheapest forgery passes at another seed."""
    if cell.seeds < 2:
        return "not tried"
    return "yes" if cell.seeds_accepted == cell.seeds else f"at {cell.seeds_accepted} of {cell.seeds} seeds"


def _rejected(one: VerifierRank) -> str:
    return f"{one.honest.tried - one.honest.accepted} of {one.honest.tried}" if one.honest else "-"


def _rejections(task: Task) -> Iterator[str]:
    judging = [one for one in task.verifiers if one.honest is not None and one.honest.tried]
    rejecting = [one for one in judging if one.honest and one.honest.accepted < one.honest.tried]
    judged = max((one.honest.tried for one in judging if one.honest), default=0)
    if not rejecting:
        yield f"No policy rejects {'the honest proof' if judged == 1 else f'any of {judged} honest proofs'}.\n"
        return
    said = listed_words(f"{task.link(one.honest, f'`{one.policy.name}`')} {_rejected(one)}" for one in rejecting)
    useless = [f"`{one.policy.name}`" for one in rejecting if one.place is None]
    yield (
        f"Honest proofs rejected: {said}; no other policy rejects any of {judged}."
        + (f" What {listed_words(useless)} {_do(useless, 'reject')} says nothing." if useless else "")
        + "\n"
    )


def _fronts(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Which published attacks are on a front\n"
    yield (
        "A front has the accepted spoofs of W_T that no other accepted spoof beats in both cost and error. A policy that draws "
        "its intervals is taken at its first nonce.\n"
    )
    for task in tasks:
        rows = [row for row in task.trials if claims_of(row) == "W_T" or row.is_honest]
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
        accepted = f"{honest.accepted} of {tally(honest.tried, 'honest proof')}" if honest else "no honest proof"
        yield (
            f"**{_name(task)}.** `exact_bits` accepts {accepted}, {policy.broken_by} of {tally(policy.attacks, 'attack')} on "
            f"W_T, and of claims of another model or of other data {_others(task, 'exact_bits')}."
        )
        if ratios := task.examinations:
            yield (
                "The examination of an honest proof for all policies together, which replays every interval with fresh and again "
                f"with recorded crops, took {ratio_text(median(ratios))} of the time of making it"
                + (
                    f" ({ratio_text(min(ratios))} to {ratio_text(max(ratios))} of {len(ratios)})"
                    if len(ratios) > 1
                    else ""
                )
                + "; of a forgery the comparison of bits ends at the first interval that differs."
            )
        alone = task.cell("retrain", "exact_bits")
        bound = next((one for name in ("exact", "exact_bound") if (one := task.cell("retrain", name))), None)
        if alone and alone.is_broken and bound and not bound.is_broken and bound.tried:
            by = listed(bound.rejected_by.split(","))
            yield (
                f"`{bound.policy}` also rejects {task.link(bound, 'an honest training of a seed of its own')}, by {by}, which "
                "`exact_bits` accepts."
            )
        refereed = next((one for one in task.verifiers if one.policy.name == "refereed"), None)
        if refereed is not None:
            broken, judged = refereed.broken_by + len(refereed.controls_passed), refereed.attacks + refereed.controls
            yield (
                "In a dispute with an honest challenger, who trains all of it, before a referee who makes one step (`refereed`), "
                f"{broken} of {tally(judged, 'forgery')} come through, and of other claims {_others(task, 'refereed')}."
            )
        yield ""
    yield (
        "Proofs and replays of one training ran on one machine class, one thread each. On another class, honest proofs differ in "
        "some bits, and the verdict of `exact` is *inexact*, which accepts nothing and accuses nobody."
    )


def _others(task: Task, policy: str) -> str:
    """Accepted claims of another model or of other data, as links."""
    cells = task.column(policy)
    passing = [cell for cell in cells if cell.is_broken and cell.claims not in FORGERIES]
    return listed_words(task.link(cell, f"`{cell.arm}`") + _how(cell) for cell in passing) or "nothing"


def _unseen(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Which defences accept a model that was never trained, or another honest one\n"
    for task in tasks:
        untrained = listed_words(
            task.link(cell, f"`{cell.policy}`") + _how(cell) for cell in task.accepting("untrained")
        )
        yield f"**{_name(task)}.** Weights that were never trained are accepted by {untrained or 'no policy'}."
        for arm, what in (
            ("retrain", "without the verifier's share"),
            ("retrain, bound", "with a share and a key of its own"),
        ):
            cells = task.judged(arm)
            if not cells:
                continue
            steps, accepting = cells[0].steps, [cell for cell in cells if cell.is_broken]
            honest = "" if steps == task.board.train_steps else f" (T' = {steps:,} of {task.board.train_steps:,} steps)"
            yield (
                f"{task.link(cells[0], 'An honest training of another seed')}{honest} {what} is accepted by {len(accepting)} of "
                f"{tally(len(cells), 'policy')}."
            )
            for by, names in _grouped((cell.rejected_by, cell.policy) for cell in cells if not cell.is_broken):
                yield f"{listed(names)} {_do(names, 'reject')} it by {listed(by.split(','))}."
        yield ""


def _predictions(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Predictions made before measuring\n"
    task = tasks[0]
    agree, wrong = 0, list[str]()
    for (arm, mode), row in _PREDICTED.items():
        for policy, predicted in zip(_POLICIES, _composed(row), strict=True):
            cell = task.cell(arm, policy, mode)
            if predicted == " " or cell is None or not cell.tried:
                continue
            found = "A" if _mostly(cell) else "R"
            if found == predicted:
                agree += 1
            else:
                words = {"A": "accepted", "R": "rejected"}
                how = "as declared" if mode == "declared" else "at its best"
                wrong.append(
                    f"{task.link(cell, f'`{arm}` against `{policy}`')}, {how}: predicted {words[predicted]}, found "
                    f"{words[found]}{_how(cell) if cell.is_broken else ''}"
                )
    yield (
        f"Of {tally(agree + len(wrong), 'prediction')} for {_name(task)}, {agree} hold and {len(wrong)} do not. They were made "
        "of checks alone; what follows from them for a policy of several checks is compared. A prediction says what the arm's "
        "best setting does; found is what the search came to within its budget, accepted if at half of its seeds, and half of "
        "the nonces, or more.\n"
    )
    yield "\n".join(f"- {line}" for line in wrong)


def _composed(row: str) -> str:
    """Predictions for policies from those for their checks."""
    alone = row.ljust(len(_POLICIES))
    strict = alone[_POLICIES.index("strict")]

    def both(one: str) -> str:
        return "R" if "R" in (one, strict) else "A" if one == strict == "A" else " "

    return "".join(both(one) if number in _ON_STRICT else one for number, one in enumerate(alone))


def _mostly(cell: CellRow) -> bool:
    return (cell.rate or 0.0) >= _MOSTLY and cell.seeds_accepted >= _MOSTLY * cell.seeds


def _papers(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## The papers' claims\n"
    for task in tasks:
        yield f"**{_name(task)}**\n"
        for arm in ("II", "III-gradient", "III-loss", "III-invisible"):
            rows = [row for row in task.trials if row.arm == arm and row.is_ok and not row.is_honest]
            if not rows:
                continue
            won = [row for row in rows if row.success]
            costs = [row.ratio_working for row in won or rows if row.ratio_working is not None]
            spread = f"{ratio_text(min(costs))} to {ratio_text(max(costs))}" if len(costs) > 1 else ratio_text(costs[0])
            yield (
                f"- {task.link(task.cell(arm, 'published'), f'`{arm}`')}: {len(won)} of {tally(len(rows), 'trial')} "
                f"{_do(won, 'succeed')} under `published` (accepted, all errors below the proof's, cheaper in time and storage); "
                f"{'successes' if won else 'all'} took {spread} of the proof's time."
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
                    f"{task.link(cell, f'`{policy}`')} {f'accepts{_how(cell)}' if cell.is_broken else 'rejects'}"
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
            if one is None:
                continue
            yield f"- {claim}: `{policy}` accepts {_by_source(task, policy)}" + (
                f"; it rejects {_rejected(one)} honest proofs." if one.place is None else "."
            )
        yield ""


def _by_source(task: Task, policy: str) -> str:
    """What a policy accepts of published attacks, of others and of controls."""
    judged = [cell for cell in task.column(policy) if cell.claims in FORGERIES and cell.tried]
    parts = []
    for what, own in (
        ("published attack", [cell for cell in judged if cell.source and not cell.is_control]),
        ("other attack", [cell for cell in judged if not cell.source and not cell.is_control]),
        ("control", [cell for cell in judged if cell.is_control]),
    ):
        if own:
            passing = [task.link(cell, f"`{cell.arm}`") + _how(cell) for cell in own if cell.is_broken]
            parts.append(f"{len(passing)} of {tally(len(own), what)}" + (f" ({', '.join(passing)})" if passing else ""))
    return listed_words(parts)


def _how(cell: CellRow) -> str:
    """In brackets, how far short of always a policy accepts; empty for always."""
    parts = shortfall(cell)
    return f" ({', '.join(parts)})" if parts else ""


def _limits(tasks: Sequence[Task]) -> Iterator[str]:
    yield "\n## Limits\n"
    for task in tasks:
        yield f"- {_name(task)}: {'; '.join(_limits_of(task))}."
    machines = listed_words(
        sorted({f"{row.device_name} ({task.board.model})" for task in tasks for row in task.trials if row.device_name})
    )
    yield (
        "- The models are small (6,000 to 270,000 parameters). Each training ran on one machine with two shared cores, not all "
        f"on the same: {machines}. Nothing was run on a GPU. What holds at the papers' scale is not known from this."
    )


def _limits_of(task: Task) -> Iterator[str]:
    rows = [row for row in task.trials if not row.is_honest]
    failed = sum(row.status == "error" for row in rows)
    seeds = len({row.proof_reference for row in rows if row.proof_reference})
    budgets = {cell.arm: cell.budget for cell in task.board.shown("adaptive") if cell.budget}
    least, most = min(budgets.values(), default=0), max(budgets.values(), default=0)
    yield f"{tally(len(rows), 'trial')} on {tally(seeds, 'honest proof')}, {failed} failed"
    yield (
        f"searches of {tally(most, 'forgery')} per arm for all policies together"
        + (
            f", of {least} for {listed(sorted(arm for arm, own in budgets.items() if own == least))}"
            if least < most
            else ""
        )
    )
    lacking = [one.removeprefix("policy ") for one in task.lacking if one.startswith("policy ")]
    arms = [one.removeprefix("attack ") for one in task.lacking if one.startswith("attack ")]
    if lacking:
        yield f"not judged by {listed(lacking)}"
    if arms:
        yield f"without {listed(arms)}"
    ends = {
        cell.trial_id
        for cell in task.board.shown("adaptive")
        if cell.ends and cell.is_broken and cell.claims in FORGERIES
    }
    if ends:
        yield f"{tally(len(ends), 'accepted forgery')} at the end of a searched range, where a better one may lie beyond"
    honest = sorted(row.device_s for row in task.trials if row.is_honest and row.device_s)
    if honest:
        yield (
            f"an honest proof took {honest[0]:.0f} to {honest[-1]:.0f} s"
            if len(honest) > 1
            else f"the honest proof took {honest[0]:.0f} s"
        )
    costs = [
        (cell.cost_high or 0.0) / cell.cost_low
        for cell in task.board.shown("declared")
        if cell.cost_low and cell.arm != HONEST and cell.seeds > 1
    ]
    if costs:
        yield f"the costs of one arm differ by up to {max(costs):.1f} times over seeds (median {median(costs):.1f})"


def _grouped(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Names by what is said of them, in the order of the first of each."""
    found: dict[str, list[str]] = {}
    for said, name in pairs:
        found.setdefault(said, []).append(name)
    yield from found.items()


def listed(names: Sequence[str]) -> str:
    """Names as code, with an `and`."""
    return listed_words(f"`{name}`" for name in names)


def listed_words(words: Iterable[str]) -> str:
    """Words with an `and` before the last."""
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _do(who: Sequence[object], what: str) -> str:
    """A verb as its subject has it."""
    return f"{what}s" if len(who) == 1 else what


def write() -> None:
    """Make the cells anew by the rules of this version, and write all three pages."""
    standing = open_location(STANDING)
    arenas = [with_cells(arena) for arena in read_arenas(standing)]
    for arena in arenas:
        check_arena(arena, str(STANDING))
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
