"""Findings on policies: which forgeries they stop, what bit-exact replay costs, what they accept that they never saw."""

from collections.abc import Iterator, Sequence
from statistics import median

from raypol.core.distances import METRICS
from raypol.figures.style.notes import joined
from raypol.report.arena.board import FORGERIES
from raypol.report.arena.wording import ratio_text, rejected_text, tally, unbroken_words
from raypol.report.findings.task import Task, codes, grouped, how_often, verb
from raypol.runs.trials.rows import number_of
from raypol.store.results.cell_rows import CellRow


def on_stopping(tasks: Sequence[Task]) -> Iterator[str]:
    """Per training the policies that are broken, by what and at which cost, and the honest proofs that they reject."""
    yield "\n## Which policies stop the cheapest forgery, and what the best answer costs\n"
    for task in tasks:
        usable = [one for one in task.verifiers if one.place is not None]
        whole, broken = [one for one in usable if not one.cheapest], [one for one in usable if one.cheapest]
        yield f"**{task.name}.** {_slack(task)}"
        yield (
            f"Of {tally(len(usable), 'policy')} that {verb(usable, 'accept')} honest proofs, {len(broken)} "
            f"{verb(broken, 'accept')} a forgery."
        )
        for words, some in grouped((unbroken_words(one), one.policy.name) for one in whole):
            yield f"{codes(some)}: {words}, which is a statement about these attacks and this budget."
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
            always = sum(
                found.seeds_accepted == found.seeds for found in task.passing(one.policy.name) if not found.is_control
            )
            yield (
                f"| `{one.policy.name}` | {task.link(cell, what)} | {ratio_text(cell.cost)} | {_again(cell)} | "
                f"{one.broken_by} of {one.attacks} | {always} | {rejected_text(one.honest)} |"
            )
        yield ""
        yield from _rejections(task)


def _slack(task: Task) -> str:
    """How far a replay may be from the claim, as the trials have it."""
    found = {tuple(getattr(row, f"threshold_{m}") for m in ("kind", *METRICS)) for row in task.trials}
    said = [
        ", ".join(f"{m} {number_of(limit):g}" for m, limit in zip(METRICS, limits, strict=True))
        + (" of d_ref" if kind == "relative" else "")
        for kind, *limits in sorted(found, key=str)
    ]
    return f"Slack of `published`, `strict` and what is made of it: {'; '.join(said)}."


def _again(cell: CellRow) -> str:
    """Whether the cheapest forgery passes at another seed."""
    if cell.seeds < 2:
        return "not tried"
    return "yes" if cell.seeds_accepted == cell.seeds else f"at {cell.seeds_accepted} of {cell.seeds} seeds"


def _rejections(task: Task) -> Iterator[str]:
    judging = [one for one in task.verifiers if one.honest is not None and one.honest.tried]
    rejecting = [one for one in judging if one.honest and one.honest.accepted < one.honest.tried]
    judged = max((one.honest.tried for one in judging if one.honest), default=0)
    if not rejecting:
        yield f"No policy rejects {'the honest proof' if judged == 1 else f'any of {judged} honest proofs'}.\n"
        return
    said = joined(f"{task.link(one.honest, f'`{one.policy.name}`')} {rejected_text(one.honest)}" for one in rejecting)
    useless = [f"`{one.policy.name}`" for one in rejecting if one.place is None]
    yield (
        f"Honest proofs rejected: {said}; no other policy rejects any of {judged}."
        + (f" What {joined(useless)} {verb(useless, 'reject')} says nothing." if useless else "")
        + "\n"
    )


def on_exactness(tasks: Sequence[Task]) -> Iterator[str]:
    """What replays compared in every bit accept, and what the examination takes."""
    yield "\n## What bit-exact replay stops, and what it costs\n"
    for task in tasks:
        policy = next((one for one in task.verifiers if one.policy.name == "exact_bits"), None)
        if policy is None:
            continue
        honest = policy.honest
        accepted = f"{honest.accepted} of {tally(honest.tried, 'honest proof')}" if honest else "no honest proof"
        yield (
            f"**{task.name}.** `exact_bits` accepts {accepted}, {policy.broken_by} of {tally(policy.attacks, 'attack')} on "
            f"W_T, and of claims of another model or of other data {_other_claims(task, 'exact_bits')}."
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
        bound = task.cell("retrain", "exact")
        if alone and alone.is_broken and bound and not bound.is_broken and bound.tried:
            by = codes(bound.rejected_by.split(","))
            yield (
                f"`{bound.policy}` also rejects {task.link(bound, 'an honest training of a seed of its own')}, by {by}, which "
                "`exact_bits` accepts."
            )
        refereed = next((one for one in task.verifiers if one.policy.name == "refereed"), None)
        if refereed is not None:
            broken, judged = refereed.broken_by + len(refereed.controls_passed), refereed.attacks + refereed.controls
            yield (
                "In a dispute with an honest challenger, who trains all of it, before a referee who makes one step (`refereed`), "
                f"{broken} of {tally(judged, 'forgery')} come through, and of other claims {_other_claims(task, 'refereed')}."
            )
        yield ""
    yield (
        "Proofs and replays of one training ran on one machine class, one thread each. On another class, honest proofs differ in "
        "some bits, and the verdict of `exact` is *inexact*, which accepts nothing and accuses nobody."
    )


def _other_claims(task: Task, policy: str) -> str:
    """Accepted claims of another model or of other data, as links."""
    cells = task.column(policy)
    passing = [cell for cell in cells if cell.is_broken and cell.claims not in FORGERIES]
    return joined(task.link(cell, f"`{cell.arm}`") + how_often(cell) for cell in passing) or "nothing"


def on_unseen(tasks: Sequence[Task]) -> Iterator[str]:
    """Who accepts weights that were never trained, and who rejects an honest training of another seed, by which check."""
    yield "\n## Which defences accept a model that was never trained, or another honest one\n"
    for task in tasks:
        untrained = joined(
            task.link(cell, f"`{cell.policy}`") + how_often(cell) for cell in task.accepting("untrained")
        )
        yield f"**{task.name}.** Weights that were never trained are accepted by {untrained or 'no policy'}."
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
            for by, names in grouped((cell.rejected_by, cell.policy) for cell in cells if not cell.is_broken):
                yield f"{codes(names)} {verb(names, 'reject')} it by {codes(by.split(','))}."
        yield ""
