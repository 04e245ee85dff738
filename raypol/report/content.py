"""The report of a sweep as plain data: sections of text, figures and tables, every number taken from its rows."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from raypol.core.errors import InputError
from raypol.core.progress import Progress, no_progress
from raypol.core.scoring import CONTROLS
from raypol.figures.catalogue import PLOTS, Material, read_material
from raypol.figures.save import figure_bytes
from raypol.figures.style.notes import list_briefly
from raypol.report.conclusions import conclude
from raypol.report.front_tables import front_sentences, fronts_tables
from raypol.report.range_summary import range_table
from raypol.report.tables import Table, TableColumn, words
from raypol.report.trial_tables import choices_table, controls_table, every_trial_table, points_table
from raypol.report.verdict_tables import verdicts_table
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.tracking.sync import kept_summary
from raypol.store.escaping import markdown_text
from raypol.store.location import Location
from raypol.store.quoting import command_line
from raypol.store.results.rows import TrialRow

_MOST_FACTS: Final = 8
"""Distinct values of a column that are listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A figure as it is shown."""

    name: str
    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading and its content."""

    id: str
    title: str
    markdown: str = ""
    code: Sequence[str] = ()
    figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    note: str = ""
    """Markdown at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A page about a sweep."""

    title: str
    sweep_id: str
    results: str
    warnings: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


def make_report(results: Location, sweep_id: str, *, on_progress: Progress = no_progress) -> Report:
    """Collect the rows, figures and conclusions of a sweep.

    Args:
        results: the results folder.
        sweep_id: which sweep.
        on_progress: called while figures are drawn.
    """
    on_progress("reading rows", 0, len(PLOTS))
    material = read_material(results, sweep_id)
    record = SweepRecord(results, sweep_id)
    about = record.read_about()
    asked, damage = _asked(record)
    trials = [row for row in material.rows if not row.is_honest]
    choices = choices_table(trials)
    points = [points_table(trials), *([choices] if choices else [])] if trials else []
    ranges = [range_table(material.ranges, seeds=True)] if material.ranges else []
    sections = [
        _answer(results, sweep_id, about, material),
        _figures(material, on_progress),
        Section(id="ranges", title="Success ranges of T'", tables=ranges),
        _controls([row for row in trials if row.is_ok]),
        _policies(material),
        _fronts(material),
        Section(id="points", title="Every point of the sweep", tables=points),
        Section(id="trials", title="Trials", tables=[every_trial_table(trials)] if trials else ()),
        _failures(material.rows),
        _how(about, material.rows, asked, results, sweep_id),
    ]
    return Report(
        title=about.question or (f"Sweep {sweep_id}" if sweep_id else "No results yet"),
        sweep_id=sweep_id,
        results=str(results),
        warnings=[*_warnings(about, material), *damage],
        sections=[one for one in sections if one.markdown or one.code or one.figures or one.tables or one.note],
    )


def _asked(record: SweepRecord) -> tuple[Mapping[str, Any], list[str]]:
    """The configuration of the sweep as far as it is known, and a line if its file is damaged."""
    try:
        return record.read_asked() or {}, []
    except InputError as err:
        return {}, [str(err)]


def _warnings(about: About, material: Material) -> list[str]:
    rows = material.rows
    trials = [row for row in rows if not row.is_honest]
    found = []
    if about.num_trials and about.search in ("grid", "random", "demo") and len(trials) < about.num_trials:
        found.append(f"This sweep is not finished: {len(trials)} of {about.num_trials} trials have a row.")
    if not rows:
        found.append(
            "There are no rows: expected RESULTS/trials/*.parquet, as a sweep, a demo or a range search writes them."
        )
    elif not any(row.is_honest and row.is_ok for row in rows):
        found.append("There is no honest proof with status ok: nothing to compare spoofs with.")
    for mark, meaning in (
        ("simulated", "a CPU did the work of a declared GPU, so their times are no GPU's"),
        ("estimated", "from a sample of the intervals; times and sizes are extrapolated"),
    ):
        number = sum(getattr(row, mark) for row in rows)
        if number:
            found.append(f"{number} of {len(rows)} rows are {mark}: {meaning}.")
    versions = {row.versions for row in rows}
    if len(versions) > 1:
        found.append(f"The rows were made by {len(versions)} different sets of versions; see below.")
    return [*found, *material.notes]


def _answer(results: Location, sweep_id: str, about: About, material: Material) -> Section:
    """The sweep's own answer where it cannot be made from rows alone, else the conclusions from the rows that are there now."""
    kept = kept_summary(results, sweep_id)
    if not material.rows:
        return Section(id="answer", title="Answer", markdown="Nothing to answer with yet.")
    if kept is not None and (about.search == "range" or material.ranges):
        text = kept.answer.removeprefix(f"**{markdown_text(about.question)}**").lstrip()  # it is the title
        return Section(id="answer", title="Answer", markdown=text)
    has_plan = bool(about.question) and about.search != "demo"
    planned = about.num_trials if about.search == "grid" else 0
    found = conclude(material.rows, planned=planned if has_plan else None)
    return Section(id="answer", title="Answer", markdown=found.prose, tables=found.tables)


def _figures(material: Material, on_progress: Progress) -> Section:
    pictures, missing = [], []
    for number, plot in enumerate(PLOTS, start=1):
        lacking = plot.missing(material)
        if lacking:
            missing.append(f"- {plot.title}: {markdown_text(lacking)}")
        else:
            png = figure_bytes(plot.draw(material))
            pictures.append(Picture(name=plot.name, title=plot.title, caption=plot.caption(material), png=png))
        on_progress("drawing figures", number, len(PLOTS))
    text = "Not drawn:\n\n" + "\n".join(missing) if missing else ""
    return Section(id="figures", title="Figures", figures=pictures, note=text)


def _controls(done: Sequence[TrialRow]) -> Section:
    missing = [control for control in CONTROLS if all(row.attack != control for row in done)] if done else []
    text = f"**Missing controls: {', '.join(missing)}.** No attack can be credited with anything.\n" if missing else ""
    tables = [controls_table(done)] if done else []
    return Section(id="controls", title="Attacks and controls", markdown=text, tables=tables)


def _policies(material: Material) -> Section:
    verdicts = material.verdicts
    text = (
        "Accepted: every check passed. Not calibrated: in some interval the slack is at least the claimed move, so that a replay "
        "that goes nowhere passes, or the proof is of another family than the policy."
    )
    tables = [verdicts_table(verdicts)] if verdicts else []
    return Section(id="policies", title="What each policy says", markdown=text if verdicts else "", tables=tables)


def _fronts(material: Material) -> Section:
    sentences = front_sentences(material.rows, material.verdicts)
    return Section(
        id="fronts",
        title="Who is on the front",
        markdown="\n".join(f"- {markdown_text(one)}" for one in sentences),
        tables=fronts_tables(material.rows, material.verdicts),
    )


def _failures(rows: Sequence[TrialRow]) -> Section:
    lost = [row for row in rows if not (row.is_ok or row.is_honest)]
    reasons = Counter((row.status, row.message.partition("\n")[0][:300]) for row in lost)
    lines = [
        [status, str(count), reason, ", ".join(_named(row for row in lost if row.message.startswith(reason)))]
        for (status, reason), count in reasons.most_common()
    ]
    columns = [*words("status"), TableColumn("trials"), *words("reason", "which")]
    tables = [Table(columns=columns, lines=lines)] if lost else []
    text = "Nothing failed, nothing was stopped early." if rows and not lost else ""
    return Section(id="failures", title="What failed and why", markdown=text, tables=tables)


def _named(rows: Iterable[TrialRow], most: int = 4) -> list[str]:
    names = [f"{row.arm} at T' = {row.steps}" for row in rows]
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]


def _how(about: About, rows: Sequence[TrialRow], asked: Mapping[str, Any], results: Location, sweep_id: str) -> Section:
    """How to get these numbers again, and their provenance."""
    code = [about.command] if about.command else []
    code.append(command_line("raypol", "report", results, *(["--name", sweep_id] if sweep_id else [])))
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
        if title.startswith("first"):
            distinct = list(dict.fromkeys([*distinct[:1], *distinct[-1:]]))
        facts.append([title, list_briefly(distinct, most=_MOST_FACTS) or "not recorded"])
    tables = [Table(columns=words("what", "as recorded in the rows"), lines=facts)]
    if asked:
        settings = [[name, str(value)] for name, value in sorted(asked.items())]
        tables.append(
            Table(title="All settings of the sweep", columns=words("setting", "value"), lines=settings, folded=True)
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
