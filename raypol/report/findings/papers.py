"""Findings on published attacks: who is on a front, and which claims of their papers hold."""

from collections.abc import Iterator, Sequence

from raypol.figures.style.notes import joined
from raypol.report.arena.board import FORGERIES
from raypol.report.arena.wording import ratio_text, rejected_text, tally
from raypol.report.findings.task import Task, how_often, verb
from raypol.report.front_tables import front_sentences, fronts_tables
from raypol.report.tables import to_markdown
from raypol.runs.arena.cells import claims_of
from raypol.store.escaping import markdown_text


def on_fronts(tasks: Sequence[Task]) -> Iterator[str]:
    """Per training the fronts of error against cost, and how far behind them the published attacks are."""
    yield "\n## Which published attacks are on a front\n"
    yield (
        "A front has the accepted spoofs of W_T that no other accepted spoof beats in both cost and error. A policy that draws "
        "its intervals is taken at its first nonce.\n"
    )
    for task in tasks:
        rows = [row for row in task.trials if claims_of(row) == "W_T" or row.is_honest]
        verdicts = [row for arena in task.arenas for row in arena.verdicts]
        yield f"**{task.name}.**\n"
        yield "\n".join(f"- {markdown_text(one)}" for one in front_sentences(rows, verdicts))
        yield ""
        for table in fronts_tables(rows, verdicts):
            kept = [line for line in table.lines if line[0] in ("published", "strict", "strict_trend")]
            shown = type(table)(columns=table.columns, lines=kept, title="", note=table.note)
            yield to_markdown(shown)
            yield ""


def on_papers(tasks: Sequence[Task]) -> Iterator[str]:
    """What the papers say of their attacks and checks, beside what the trials show."""
    yield "\n## The papers' claims\n"
    for task in tasks:
        yield f"**{task.name}**\n"
        for arm in ("II", "III-gradient", "III-loss", "III-invisible"):
            rows = [row for row in task.trials if row.arm == arm and row.is_ok and not row.is_honest]
            if not rows:
                continue
            won = [row for row in rows if row.success]
            costs = [row.ratio_working for row in won or rows if row.ratio_working is not None]
            least, most = ratio_text(min(costs, default=None)), ratio_text(max(costs, default=None))
            spread = least if least == most else f"{least} to {most}"
            yield (
                f"- {task.link(task.cell(arm, 'published'), f'`{arm}`')}: {len(won)} of {tally(len(rows), 'trial')} "
                f"{verb(won, 'succeed')} under `published` (accepted, all errors below the proof's, cheaper in time and storage)"
                f"; {'successes' if won else 'all'} took {spread} of the proof's time."
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
                    f"{task.link(cell, f'`{policy}`')} {f'accepts{how_often(cell)}' if cell.is_broken else 'rejects'}"
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
            if one is None or not task.column(policy):
                continue
            yield f"- {claim}: `{policy}` accepts {_by_source(task, policy)}" + (
                f"; it rejects {rejected_text(one.honest)} honest proofs." if one.place is None else "."
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
            passing = [task.link(cell, f"`{cell.arm}`") + how_often(cell) for cell in own if cell.is_broken]
            parts.append(f"{len(passing)} of {tally(len(own), what)}" + (f" ({', '.join(passing)})" if passing else ""))
    return joined(parts) or "none, for it judged none"
