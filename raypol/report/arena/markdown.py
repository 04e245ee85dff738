"""The arena as Markdown for a repository: adaptive matrix, rankings, what was not run; the same text for the same cells."""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined

from raypol.report.arena.board import LINE_GROUPS, Board, MatrixLine, Square, TaskBoard, status_of
from raypol.report.arena.rankings import (
    ATTACKS_RULE,
    VERIFIERS_RULE,
    AttackRank,
    VerifierRank,
    place_text,
    rank_attacks,
    rank_verifiers,
)
from raypol.report.arena.uncarried import with_uncarried
from raypol.report.arena.wording import (
    GROUP_TITLES,
    LEGEND,
    SIGNS,
    budgets_words,
    policy_words,
    ratio_text,
    rejected_text,
    share_text,
    shortfall,
    summary_words,
    tally,
    unbroken_words,
    verification_words,
    why_unjudged,
)
from raypol.report.tables import Table, TableColumn, to_markdown, words
from raypol.store.escaping import markdown_code, markdown_text
from raypol.store.results.cell_rows import CellRow

_DECLARED: Final = "d"
"""After what is of the arm as declared."""


class _Ready(str):
    """Text that is Markdown already."""

    __slots__ = ()


def arena_markdown(board: Board) -> str:
    """The Markdown of a board."""
    environment = Environment(
        autoescape=False,  # noqa: S701 - finalize escapes for Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, _Ready) else markdown_text(str(value)),
    )
    environment.filters["ready"] = _Ready
    template = (files("raypol.report") / "templates" / "arena.md.j2").read_text()
    text = environment.from_string(template).render(
        tasks=[_task_text(task, board.lacking(task)) for task in with_uncarried(board).tasks],
        verifiers_rule=VERIFIERS_RULE,
        attacks_rule=ATTACKS_RULE,
        provenance=_provenance(board.cells),
    )
    return text.rstrip() + "\n"


def _task_text(task: TaskBoard, lacking: Sequence[str]) -> dict[str, str]:
    verifiers = rank_verifiers(task)
    return {
        "title": task.title,
        "verification": verification_words(verifiers),
        "summary": summary_words(verifiers),
        "matrix": to_markdown(_matrix(task)),
        "legend": _legend(task),
        "verifiers": to_markdown(_verifiers_table(verifiers)),
        "attacks": to_markdown(_attacks_table(rank_attacks(task))),
        "missing": _missing(task, lacking),
    }


def _matrix(task: TaskBoard) -> Table:
    lines: list[Sequence[str]] = []
    for group in LINE_GROUPS:
        own = [line for line in task.lines if line.group == group]
        if own and group != "honest":
            lines.append([f"— {GROUP_TITLES[group]} —", *("" for _ in task.policies)])
        lines += [[_arm(line), *(_square(place) for place in line.places)] for line in own]
    return Table(columns=words("attack", *(policy.label for policy in task.policies)), lines=lines)


def _arm(line: MatrixLine) -> str:
    return "honest proofs" if line.group == "honest" else line.arm


def _square(place: Square) -> str:
    """Sign, then cost and error of what is accepted, or accepted of judged."""
    cell = place.shown("adaptive")
    status = status_of(cell)
    if cell is None or not cell.tried:
        return f"{SIGNS[status]} {'not run' if cell is None else status}"
    mark = f" {_DECLARED}" if cell.mode == "declared" and status not in ("honest", "false_rejection") else ""
    if status not in ("broken", "accepted"):
        return f"{SIGNS[status]} {cell.accepted}/{cell.tried}{mark}"
    parts = [ratio_text(cell.cost), ratio_text(cell.error), *shortfall(cell)]
    return f"{SIGNS[status]} {', '.join(parts)}{mark}"


def _legend(task: TaskBoard) -> str:
    cells = task.shown("adaptive")
    there = {place.status("adaptive") for line in task.lines for place in line.places}
    lines = [
        f"- {SIGNS[status]} {meaning.format(budget=budgets_words(cells, status))}"
        for status, meaning in LEGEND.items()
        if status in there
    ]
    lines += [
        "- After a sign: cost and largest error of the search's cheapest accepted forgery, both over the honest proof's (error "
        "0: replays give just the claim); where they are not all, the share of nonces under which a policy that draws its "
        "intervals accepts it, and the seeds at which it is accepted. Else accepted of judged.",
        f"- {_DECLARED}: the arm as declared, because nothing of it is searched or its search found no point that passes: cost "
        "and error of its accepted trial of median cost.",
    ]
    return "\n".join(lines)


def _verifiers_table(ranked: Sequence[VerifierRank]) -> Table:
    columns = [
        *words("place", "policy", "what it is", "cheapest forgery", "without controls"),
        *map(TableColumn, ("broken by attacks", "by controls")),
        *words("no training"),
        *map(TableColumn, ("other claims accepted", "honest proofs rejected", "replayed")),
    ]
    return Table(columns=columns, lines=[_verifier_line(one) for one in ranked])


def _verifier_line(one: VerifierRank) -> list[str]:
    untrained = "–" if one.untrained is None else "accepted" if one.untrained.is_broken else "rejected"
    honest = one.honest
    return [
        place_text(one.place, is_tied=one.is_tied),
        one.policy.label,
        policy_words(one.policy),
        f"{ratio_text(one.cheapest.cost)} {'; '.join(one.by)}" if one.cheapest else unbroken_words(one),
        f"{ratio_text(one.cheapest_attack.cost)} {one.cheapest_attack.arm}" if one.cheapest_attack else "none",
        f"{one.broken_by} of {one.attacks}",
        f"{len(one.controls_passed)} of {one.controls}",
        untrained,
        f"{one.others} of {one.others_of}",
        rejected_text(honest),
        share_text(honest.replayed) if honest else "–",
    ]


def _attacks_table(ranked: Sequence[AttackRank]) -> Table:
    columns = [
        *words("place", "attack", "published by"),
        *map(TableColumn, ("policies broken", "mean rank", "cheapest, × the proof's cost")),
        *words("against"),
    ]
    lines = [
        [
            place_text(one.place, is_tied=one.is_tied),
            f"{one.line.arm} (control)" if one.line.group == "controls" else one.line.arm,
            one.line.source,
            f"{len(one.policies)} of {one.judged}",
            f"{one.mean_rank:.1f}",
            ratio_text(one.cheapest.cost) if one.cheapest else "–",
            one.cheapest.policy if one.cheapest else "–",
        ]
        for one in ranked
    ]
    return Table(columns=columns, lines=lines)


def _missing(task: TaskBoard, lacking: Sequence[str]) -> str:
    lines = [f"- Not run on this training: {markdown_text('; '.join(lacking))}"] if lacking else []
    carried = [policy for policy in task.policies if not policy.uncarried]
    lines += [
        f"- {markdown_text(f'{policy.label}: {policy.uncarried}')}" for policy in task.policies if policy.uncarried
    ]
    for line in task.lines:
        reasons: dict[str, list[str]] = {}
        for policy, place in zip(task.policies, line.places, strict=True):
            if not policy.uncarried and (reason := why_unjudged(place, "adaptive")):
                reasons.setdefault(reason, []).append(policy.label)
        for reason, labels in reasons.items():
            against = "every policy" if len(labels) == len(carried) else ", ".join(labels)
            lines.append(f"- {markdown_text(f'{_arm(line)} against {against}: {reason}')}")
    unsearched = "; ".join(line.arm for line in task.lines if line.group != "honest" and not line.is_searched)
    if unsearched:
        lines.append(f"- Nothing is searched, judged as declared: {markdown_text(unsearched)}")
    if task.left_out:
        lines.append(f"- {tally(task.left_out, 'cell')} of other sweeps ask the same and are not shown")
    return "\n".join(lines) or "Every arm was searched and judged by every policy."


def _provenance(cells: Sequence[CellRow]) -> str:
    facts = {
        "sweep": (cell.sweep_id for cell in cells),
        "command": (cell.command for cell in cells),
        "commit": (cell.commit for cell in cells),
        "device": (cell.device_name for cell in cells),
        "versions": (cell.versions for cell in cells),
    }
    return "\n".join(
        f"- {name}: {', '.join(map(markdown_code, found))}"
        for name, given in facts.items()
        if (found := _distinct(given))
    )


def _distinct(texts: Iterable[str]) -> list[str]:
    return sorted(set(filter(None, (" ".join(text.split()) for text in texts))))
