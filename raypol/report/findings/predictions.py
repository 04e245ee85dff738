"""Predictions of what each check accepts, made before anything was measured, beside what was found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from raypol.report.arena.wording import tally
from raypol.report.findings.task import Task, how_often
from raypol.store.results.cell_rows import CellRow, Mode

_POLICIES: Final = (
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
_ON_STRICT: Final = _POLICIES.index("random"), *range(_POLICIES.index("directed"), len(_POLICIES))
"""Of these, those that are `strict` with a check or a selection more."""
_MOSTLY: Final = 0.5
"""Share of nonces, and of seeds, from which a policy is said to accept."""
_PREDICTED: Final[Mapping[tuple[str, Mode], str]] = {
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
"""Of an arm against each check alone, as it was predicted: A = accepted, R = rejected, blank = it depends. A policy with
`strict` in it accepts what both accept, and rejects what either rejects."""


def on_predictions(tasks: Sequence[Task]) -> Iterator[str]:
    """Which predictions hold for the first training."""
    yield "\n## Predictions made before measuring\n"
    task = tasks[0]
    agree, wrong = 0, list[str]()
    for (arm, mode), row in _PREDICTED.items():
        for policy, predicted in zip(_POLICIES, composed(row), strict=True):
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
                    f"{words[found]}{how_often(cell) if cell.is_broken else ''}"
                )
    yield (
        "Which check alone accepts which attack at its best was written down on 28 November 2026, before the arena existed; what "
        f"follows for policies of several checks is compared. Of {tally(agree + len(wrong), 'such prediction')} for {task.name}, "
        f"{agree} hold and {len(wrong)} do not. Found is what the search came to within its budget, accepted if at half of its "
        "seeds, and half of the nonces, or more.\n"
    )
    yield "\n".join(f"- {line}" for line in wrong)


def composed(row: str) -> str:
    """Predictions for policies from those for their checks."""
    alone = row.ljust(len(_POLICIES))
    strict = alone[_POLICIES.index("strict")]

    def both(one: str) -> str:
        return "R" if "R" in (one, strict) else "A" if one == strict == "A" else " "

    return "".join(both(one) if number in _ON_STRICT else one for number, one in enumerate(alone))


def _mostly(cell: CellRow) -> bool:
    return (cell.rate or 0.0) >= _MOSTLY and cell.seeds_accepted >= _MOSTLY * cell.seeds
