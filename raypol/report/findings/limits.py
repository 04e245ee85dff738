"""What the standing results do not show."""

from collections.abc import Iterator, Sequence
from statistics import median

from raypol.figures.style.notes import joined
from raypol.report.arena.board import FORGERIES
from raypol.report.arena.wording import tally
from raypol.report.findings.task import Task, codes
from raypol.store.results.rows import HONEST


def on_limits(tasks: Sequence[Task]) -> Iterator[str]:
    """How far the results go: trials, budgets, what was not run, spreads, machines."""
    yield "\n## Limits\n"
    for task in tasks:
        yield f"- {task.name}: {'; '.join(_limits_of(task))}."
    ran = {(row.device, row.device_name, task.board.model) for task in tasks for row in task.trials if row.device_name}
    machines = joined(sorted(f"{name} ({model}, device {device})" for device, name, model in ran))
    on_gpus = any(not device.startswith("cpu") for device, _, _ in ran)
    yield (
        f"- Run on {machines}, on cores that other programs shared"
        + ("" if on_gpus else "; nothing on a GPU")
        + ". The models are "
        "small ones of the papers, or smaller. What holds at the papers' scale is not known from this."
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
            f", of {least} for {codes(sorted(arm for arm, own in budgets.items() if own == least))}"
            if least < most
            else ""
        )
    )
    lacking = [one.removeprefix("policy ") for one in task.lacking if one.startswith("policy ")]
    arms = [one.removeprefix("attack ") for one in task.lacking if one.startswith("attack ")]
    if lacking:
        yield f"not judged by {codes(lacking)}"
    if arms:
        yield f"without {codes(arms)}"
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
