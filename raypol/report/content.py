"""What a report says about a sweep, as plain data: sections of text, figures and tables, every number taken from its rows."""

import io
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from raypol.core.distances import METRICS
from raypol.core.progress import Progress, no_progress
from raypol.core.scoring import CONTROLS
from raypol.figures.catalogue import PLOTS, Material, read_material
from raypol.figures.save import DPI
from raypol.figures.style.arms import in_order
from raypol.report.conclusions import tell
from raypol.report.sweep_summary import LEGEND, NUMBERS, answer, sweep_cells, swept, with_null
from raypol.report.tables import shown_conditions
from raypol.runs.sweeps.record import About, Ledger
from raypol.runs.tracking.sync import kept_summary
from raypol.runs.trials.rows import ratio_of
from raypol.store.location import Location
from raypol.store.results.columns import Column, columns_of
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow

_MOST_TRIALS: Final = 2_000
"""Lines of the table of trials; the rest is in Parquet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A figure as it is shown."""

    name: str
    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table."""

    title: str = ""
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
    """Cells as text; an empty line is a gap."""
    numbers: Sequence[str] = ()
    """Columns that are right-justified."""
    note: str = ""
    folded: bool = False
    """Shown only when asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One heading and what lies under it."""

    id: str
    title: str
    markdown: str = ""
    code: Sequence[str] = ()
    figures: Sequence[Picture] = ()
    tables: Sequence[Grid] = ()
    note: str = ""
    """Markdown below all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that is said about a sweep."""

    title: str
    sweep_id: str
    results: str
    warnings: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


def make_report(results: Location, sweep_id: str, *, on_progress: Progress = no_progress) -> Report:
    """Put together what is known of a sweep.

    Args:
        results: the results folder.
        sweep_id: which sweep.
        on_progress: called while figures are drawn.
    """
    on_progress("reading rows", 0, len(PLOTS))
    material = read_material(results, sweep_id)
    ledger = Ledger(results, sweep_id)
    about, asked = ledger.about(), ledger.recall_sweep() or {}
    trials = [row for row in material.rows if not row.is_honest]
    sections = [
        _answer(results, sweep_id, about, material),
        _figures(material, on_progress),
        _ranges(material),
        _controls(material.rows),
        _points(material.rows),
        _trials(trials),
        _failures(trials) if material.rows else None,
        _how(about, material.rows, asked, results, sweep_id),
    ]
    return Report(
        title=about.question or (f"Sweep {sweep_id}" if sweep_id else "No results yet"),
        sweep_id=sweep_id,
        results=str(results),
        warnings=_warnings(about, material),
        sections=[section for section in sections if section is not None],
    )


def _warnings(about: About, material: Material) -> list[str]:
    rows = material.rows
    trials = [row for row in rows if not row.is_honest]
    said = []
    if about.num_trials and about.search in ("grid", "random", "demo") and len(trials) < about.num_trials:
        said.append(f"This sweep is not finished: {len(trials)} of {about.num_trials} trials have a row.")
    if not rows:
        said.append(
            "There are no rows: expected RESULTS/trials/*.parquet, as a sweep, a demo or a range search writes them."
        )
    elif not any(row.is_honest and row.is_ok for row in rows):
        said.append("There is no honest proof with status ok: nothing to compare spoofs with.")
    for mark, meaning in (
        ("simulated", "a CPU did the work of a declared GPU, so their times are no GPU's"),
        ("estimated", "from a sample of the intervals; times and sizes are extrapolated"),
    ):
        number = sum(getattr(row, mark) for row in rows)
        if number:
            said.append(f"{number} of {len(rows)} rows are {mark}: {meaning}.")
    versions = {row.versions for row in rows}
    if len(versions) > 1:
        said.append(f"The rows were made by {len(versions)} different sets of versions; see below.")
    return [*said, *material.notes]


def _answer(results: Location, sweep_id: str, about: About, material: Material) -> Section:
    """The sweep's own answer where it cannot be made from rows alone, else one made from the rows that are there now."""
    kept = kept_summary(results, sweep_id)
    if not material.rows:
        text = "Nothing to answer with yet."
    elif kept is not None and (about.search in ("range", "demo") or not about.question):
        text = kept.answer
    elif about.question and about.search != "demo":
        text = answer(about.question, material.rows, planned=about.num_trials if about.search == "grid" else 0)
    else:
        text = tell(material.rows)
    text = text.removeprefix(f"**{about.question}**").lstrip()  # it is the title
    return Section(id="answer", title="Answer", markdown=text)


def _figures(material: Material, on_progress: Progress) -> Section:
    pictures, missing = [], []
    for number, plot in enumerate(PLOTS, start=1):
        lacking = plot.missing(material)
        if lacking:
            missing.append(f"- {plot.title}: {lacking}")
        else:
            content = io.BytesIO()
            plot.draw(material).savefig(content, format="png", dpi=DPI)
            pictures.append(
                Picture(name=plot.name, title=plot.title, caption=plot.caption(material), png=content.getvalue())
            )
        on_progress("drawing figures", number, len(PLOTS))
    text = "Not drawn:\n\n" + "\n".join(missing) if missing else ""
    return Section(id="figures", title="Figures", figures=pictures, note=text)


def _ranges(material: Material) -> Section | None:
    if not material.ranges:
        return None
    columns = (
        "arm",
        "policy",
        "seed",
        "low end (T')",
        "between",
        "binds below",
        "high end (T')",
        "between ",
        "binds above",
        "trials",
        "notes",
    )
    return Section(
        id="ranges",
        title="Success ranges of T'",
        tables=[
            Grid(
                columns=columns,
                numbers=("low end (T')", "high end (T')", "trials", "seed"),
                lines=[_range_line(row) for row in material.ranges],
                note="A spoof succeeds if it is accepted, errs less than the proof in all four metrics and costs less time and "
                "storage. Over all seeds: medians, with an order-statistics interval at the confidence given.",
            )
        ],
    )


def _range_line(row: RangeRow) -> list[str]:
    def end(value: float | None, low: float | None, high: float | None) -> list[str]:
        return [
            f"{value:g}" if value is not None else "none",
            f"{low:g} .. {high:g}" if None not in (low, high) else "-",
        ]

    notes = [] if row.complete else ["not finished"]
    notes += [f"{row.num_holes} T' fail in between"] if row.num_holes else []
    notes += [f"{row.failed} trials failed"] if row.failed else []
    notes += [f"{row.confidence:.0%} confidence"] if row.confidence else []
    below = "bound of the search" if row.low_open else shown_conditions(row.low_bound_by or "") or "-"
    above = "bound of the search" if row.high_open else shown_conditions(row.high_bound_by or "") or "-"
    return [
        row.arm,
        row.policy,
        "all" if row.seed is None else str(row.seed),
        *end(row.low_steps, row.low_from_steps, row.low_to_steps),
        below,
        *end(row.high_steps, row.high_from_steps, row.high_to_steps),
        above,
        str(row.trials),
        "; ".join(notes),
    ]


def _controls(rows: Sequence[TrialRow]) -> Section | None:
    """What each attack removes of what ordinary batches err beyond no update at all, and what that costs."""
    spoofs = [row for row in rows if not row.is_honest and row.is_ok]
    if not spoofs:
        return None
    lines = []
    for arm in in_order(row.arm for row in spoofs):
        own = [row for row in spoofs if row.arm == arm]
        pairs = with_null(own, spoofs)
        shares = [row.removed_share_l2 for row in own if row.removed_share_l2 is not None]
        lines.append(
            [
                arm,
                str(len(own)),
                str(len(pairs)),
                *(
                    _median(ratio_of(getattr(a, f"error_{m}"), getattr(b, f"error_{m}")) for a, b in pairs)
                    for m in METRICS
                ),
                _median(shares) + (f" ({len(shares)})" if shares else ""),
                _median(row.step_equivalents for row in own),
                f"{sum(bool(row.success) for row in own)} / {sum(bool(row.success_strict) for row in own)}",
            ]
        )
    errors = tuple(f"{m} / null's" for m in METRICS)
    columns = ("arm", "n", "pairs", *errors, "removed share", "step equivalents", "success")
    missing = [control for control in CONTROLS if all(row.attack != control for row in spoofs)]
    text = f"**Missing controls: {', '.join(missing)}.** No attack can be credited with anything.\n" if missing else ""
    return Section(
        id="controls",
        title="Attacks and controls",
        markdown=text,
        tables=[
            Grid(
                columns=columns,
                numbers=columns[1:],
                lines=lines,
                note="n: trials that ran to the end; pairs: those of them with a trial of null at the same point. "
                "Errors: medians over pairs, 1 = no better than ordinary batches. Removed share in l2: (null - attack) / "
                "(null - jump), what crafting bought of all that it could; the median of as many trials as it is defined for. "
                "Step equivalents: device time per claimed step in honest steps. Success under published / strict. "
                "null: ordinary batches; infinitesimal: a vanishing learning rate.",
            )
        ],
    )


def _points(rows: Sequence[TrialRow]) -> Section | None:
    titles, lines = sweep_cells(rows)
    if not lines:
        return None
    grid = Grid(columns=titles, numbers=NUMBERS, lines=lines, note=LEGEND)
    return Section(id="points", title="Every point of the sweep", tables=[grid])


def _trials(trials: Sequence[TrialRow]) -> Section | None:
    if not trials:
        return None
    place = {arm: number for number, arm in enumerate(in_order(row.arm for row in trials))}
    ordered = sorted(trials, key=lambda row: (row.interval, row.steps, place[row.arm], row.seed, row.trial_id))
    columns = [column for column in columns_of(TrialRow) if "trials" in column.shown or column in swept(trials)]
    columns.sort(key=lambda column: column.name == "trial_id")  # the last one
    lines = [[_cell(row, column) for column in columns] for row in ordered[:_MOST_TRIALS]]
    more = f"The first {_MOST_TRIALS:,} of {len(trials):,}. " if len(trials) > _MOST_TRIALS else ""
    grid = Grid(
        title=f"All {len(trials):,} trials",
        columns=[column.title for column in columns],
        numbers=[column.title for column in columns if column.kind in (int, float)],
        lines=lines,
        note=f"{more}Every column of every row is in RESULTS/trials/*.parquet.",
        folded=True,
    )
    return Section(id="trials", title="Trials", tables=[grid])


def _cell(row: TrialRow, column: Column) -> str:
    value = getattr(row, column.name)
    if column.name == "bound_by":
        return ("closest: " if row.success and value else "") + shown_conditions(value or "")
    if column.name == "accepted_strict" and value is False:
        return f"rejects: {(row.rejected_by or '').replace(',', ', ')}"
    return f"{value:.3g}" if isinstance(value, float) and column.form is None else column.text(value)


def _failures(trials: Sequence[TrialRow]) -> Section | None:
    lost = [row for row in trials if not row.is_ok]
    if not lost:
        return Section(
            id="failures", title="What failed and why", markdown="Nothing failed, nothing was stopped early."
        )
    reasons = Counter((row.status, row.message.partition("\n")[0][:300]) for row in lost)
    lines = [
        [status, str(count), reason, ", ".join(_named(row for row in lost if row.message.startswith(reason)))]
        for (status, reason), count in reasons.most_common()
    ]
    grid = Grid(columns=("status", "trials", "reason", "which"), numbers=("trials",), lines=lines)
    return Section(id="failures", title="What failed and why", tables=[grid])


def _named(rows: Iterable[TrialRow], most: int = 4) -> list[str]:
    names = [f"{row.arm} at T' = {row.steps}" for row in rows]
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]


def _how(about: About, rows: Sequence[TrialRow], asked: Mapping[str, Any], results: Location, sweep_id: str) -> Section:
    """How to get these numbers again, and where they came from."""
    code = [about.command] if about.command else []
    code.append(shlex.join(["raypol", "report", str(results), *(["--name", sweep_id] if sweep_id else [])]))
    facts: list[list[str]] = []
    for title, values in (
        ("commit", (row.commit for row in rows)),
        ("versions", (_versions(row.versions) for row in rows)),
        ("dataset", (f"{row.dataset}, SHA-256 {row.dataset_sha256[:16]}..." for row in rows if row.dataset_sha256)),
        ("model", (row.model for row in rows)),
        ("precision", (row.precision for row in rows)),
        ("replay", (row.replay for row in rows)),
        ("thresholds", (row.thresholds for row in rows)),
        ("spoofer", (_device(row.device, row.device_name, row.node) for row in rows if not row.is_honest)),
        ("prover", (_device(row.prover_device, row.prover_device_name, "") for row in rows)),
        ("verifier", (_device(row.verifier_device, row.verifier_device_name, row.verifier_node) for row in rows)),
        ("first and last row", (row.started_at for row in rows)),
    ):
        distinct = sorted(set(filter(None, values)))
        shown = [distinct[0], distinct[-1]] if title.startswith("first") and len(distinct) > 1 else distinct[:8]
        shown += [f"and {len(distinct) - 8} more"] if len(distinct) > 8 and not title.startswith("first") else []
        facts.append([title, "; ".join(shown) or "not recorded"])
    tables = [Grid(columns=("what", "as recorded in the rows"), lines=facts)]
    if asked:
        settings = [[name, str(value)] for name, value in sorted(asked.items())]
        tables.append(
            Grid(title="Everything that was asked", columns=("setting", "value"), lines=settings, folded=True)
        )
    text = "" if about.command else "The command was not recorded."
    return Section(id="reproduce", title="How to reproduce", markdown=text, code=code, tables=tables)


def _versions(recorded: str) -> str:
    """Names and numbers as a list to read; anything but a JSON object stays as it is."""
    with suppress(ValueError):
        found = json.loads(recorded)
        if isinstance(found, dict):
            return ", ".join(f"{name} {number}" for name, number in found.items())
    return recorded


def _device(asked: str, name: str, node: str) -> str:
    return f"{asked}: {name}" + (f" on {node}" if node else "") if name else asked


def _median(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None and value == value]
    return f"{median(known):.3g}" if known else "-"
