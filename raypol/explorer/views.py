"""Views of the analysis app as marimo elements: the sidebar and the tabs. `app.py` only puts them in order."""

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from html import escape
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
from matplotlib.figure import Figure

from raypol.core.errors import InputError
from raypol.explorer.filters import Offer
from raypol.explorer.html import arm_table, counted, number_text, page, success_map, table, tiles
from raypol.explorer.session import Opened
from raypol.explorer.trial_page import configuration, headline, images, origin, verdicts
from raypol.figures.catalogue import PLOTS
from raypol.figures.inputs import material_of
from raypol.figures.over_training.intervals import interval_chart
from raypol.figures.save import figure_bytes
from raypol.store.results.files import to_rows
from raypol.store.results.free_sql import free_sql
from raypol.store.results.queries import (
    Condition,
    by_arm,
    count,
    export,
    listing,
    read_intervals,
    rows,
    select,
    success_by_steps,
    trial,
)
from raypol.store.results.rows import TrialRow

MOST_DRAWN: Final = 2000
"""Trials that one figure shows; more would take seconds to draw and hide one another."""
MOST_INTERVALS: Final = 500
"""Trials whose interval files one SQL query may open."""
MOST_ANSWERED: Final = 10_000
"""Rows of the result of an SQL query."""
FIRST_QUESTION: Final = """SELECT arm, steps, count(*) AS trials, median(error_l2) AS error_l2,
       avg(success::INT) AS succeed
FROM selected
WHERE status = 'ok'
GROUP BY ALL
ORDER BY arm, steps"""
_DPI: Final = 110

Marimo = Any
"""The module, or one of its elements; it is not imported here, so that only the app needs it."""
Elements = list[Marimo]


def sidebar(
    mo: Marimo, offered: Sequence[Offer], chosen: Mapping[str, Any], constant: Mapping[str, str], buttons: Elements
) -> Elements:
    """The filters by topic, and the columns that are the same in all trials."""
    shown: Elements = [mo.hstack(buttons, justify="start").style({"flex": "none"})]
    for group in dict.fromkeys(offer.column.group for offer in offered):
        shown.append(mo.Html(page(f'<b class="faint">{escape(group.capitalize())}</b>')))
        shown += [chosen[offer.column.name] for offer in offered if offer.column.group == group]
    same = [[escape(label), escape(name)] for label, name in constant.items() if name != "none"]
    if same:
        shown.append(mo.Html(page(table([], same, caption="The same in all trials", left=True))))
    return shown


def header(mo: Marimo, opened: Opened, conditions: Sequence[Condition]) -> Elements:
    """Source of the numbers, warnings about them, and counts of the trials that the filters leave."""
    every = count(opened.database)
    left = count(opened.database, conditions) if conditions else every
    title = f"<p class='title'>Results in {escape(str(opened.results))}</p>"
    where = f'<p class="faint">{escape(opened.origin)}.</p>'
    shown: Elements = [mo.Html(page(title, where, tiles(left, every) if every.trials else ""))]
    shown += [mo.callout(note, kind="warn") for note in opened.trials.notes]
    if left.trials:
        return shown
    expected = "expected RESULTS/trials/*.parquet, as a sweep or the demo writes them. Read again when there are some."
    text = "The filters leave no trial." if every.trials else f"This folder holds no trials: {expected}"
    return [*shown, mo.callout(text, kind="warn")]


@lru_cache(maxsize=64)
def overview(opened: Opened, conditions: tuple[Condition, ...]) -> str:
    """Results by arm, and by arm and T', as HTML."""
    arms = by_arm(opened.database, conditions)
    return arm_table(arms) + success_map(success_by_steps(opened.database, conditions)) if arms else ""


def figure_choice(mo: Marimo) -> Marimo:
    """The choice among the figures."""
    return mo.ui.dropdown({plot.title: plot.name for plot in PLOTS}, value=PLOTS[0].title, label="figure")


def figure(mo: Marimo, opened: Opened, conditions: Sequence[Condition], name: str, data_dir: str | None) -> Elements:
    """One figure of the trials that the filters leave."""
    num = count(opened.database, conditions).trials
    if num == 0:
        return []
    if num > MOST_DRAWN:
        told = (
            f"A figure shows at most {MOST_DRAWN:,} trials, the filters leave {num:,}. Narrow them down: one sweep, one dataset, "
            "some arms. The overview counts them all."
        )
        return [mo.callout(told, kind="info")]
    try:
        png, caption = _drawn(opened, tuple(conditions), name, data_dir)
    except InputError as err:
        return [mo.callout(f"Not drawn: {err}.", kind="info")]

    def pdf() -> bytes:
        return figure_bytes(_draw(opened, conditions, name, data_dir)[0], "pdf")

    files = [
        mo.download(png, filename=f"{name}.png", label="PNG"),
        mo.download(pdf, filename=f"{name}.pdf", label="PDF"),
    ]
    text = mo.Html(page(f'<p class="faint">{escape(caption)}</p>'))
    return [_image(mo, png, caption, 1300), text, mo.hstack(files, justify="start")]


@lru_cache(maxsize=32)
def _drawn(opened: Opened, conditions: tuple[Condition, ...], name: str, data_dir: str | None) -> tuple[bytes, str]:
    drawn, caption = _draw(opened, conditions, name, data_dir)
    return figure_bytes(drawn, dpi=_DPI), caption


def _draw(opened: Opened, conditions: Sequence[Condition], name: str, data_dir: str | None) -> tuple[Figure, str]:
    """The figure and its caption.

    Raises:
        InputError: these trials lack what it needs.
    """
    (plot,) = (plot for plot in PLOTS if plot.name == name)
    found = rows(opened.database, conditions)
    sweeps = {row.sweep_id for row in found}
    material = material_of(opened.results, found, sweeps.pop() if len(sweeps) == 1 else None, data_dir=data_dir)
    missing = plot.missing(material)
    if missing:
        raise InputError(missing)
    return plot.draw(material), plot.caption(material)


def trial_table(mo: Marimo, opened: Opened, conditions: Sequence[Condition]) -> Marimo:
    """Every trial that the filters leave; ticking one opens its page. The server sorts, searches and sends one page at a time."""
    found = listing(opened.database, conditions)
    return _table(
        mo,
        found,
        selection="single",
        show_data_types=False,
        format_mapping=dict.fromkeys(_floats(found), number_text),
        freeze_columns_left=["trial"],
        label="Tick a trial to open its page.",
    )


def downloads(mo: Marimo, opened: Opened, conditions: Sequence[Condition]) -> Marimo:
    """Buttons that write a file when pressed."""
    num = counted(count(opened.database, conditions).trials, "trial")
    kinds: tuple[tuple[Literal["csv", "parquet"], str, str], ...] = (
        ("csv", "text/csv", "CSV"),
        ("parquet", "application/vnd.apache.parquet", "Parquet"),
    )
    files = [
        mo.download(
            partial(export, opened.database, conditions, kind),
            filename=f"trials.{kind}",
            mimetype=mime,
            label=f"{name}, {num}",
        )
        for kind, mime, name in kinds
    ]
    note = mo.Html(page('<span class="faint">every column of the trials that the filters leave</span>'))
    return mo.hstack([*files, note], justify="start", align="center")


def trial_page(mo: Marimo, opened: Opened, ticked: pa.Table | None, data_dir: str | None) -> Elements:
    """The page of the ticked trial."""
    names = ticked["trial"].to_pylist() if ticked is not None and len(ticked) else []
    row = trial(opened.database, names[0]) if names else None
    if row is None:
        return []
    shown: Elements = [mo.Html(page("<hr>", headline(row), verdicts(row)))]
    shown += _intervals(mo, opened, row)
    shown += _images(mo, opened, row, data_dir)
    shown.append(mo.accordion({"Configuration and measurements": mo.Html(page(configuration(row)))}))
    shown.append(mo.Html(page(origin(row, opened.results))))
    return shown


def _intervals(mo: Marimo, opened: Opened, row: Mapping[str, Any]) -> Elements:
    found, unread = read_intervals(opened.results, [row["trial_id"]])
    if not len(found):
        why = "its file is not there or cannot be read" if unread else "none was verified"
        return [mo.callout(f"No intervals of this trial: {why}.", kind="info")]
    chart = figure_bytes(interval_chart(found.to_pylist(), arm=str(row["arm"])), dpi=_DPI)
    judged = len(set(found["step_to"].to_pylist()))
    told = f"Reproduction error of {judged:,} of {number_text(row['num_intervals'])} intervals, against its threshold"
    return [mo.Html(page(f"<b>Intervals</b><p class='faint'>{told}.</p>")), _image(mo, chart, told, 1100)]


def _images(mo: Marimo, opened: Opened, row: Mapping[str, Any], data_dir: str | None) -> Elements:
    try:
        (typed,) = to_rows(pa.Table.from_pylist([dict(row)]), TrialRow)
        drawn, missing = images(typed, opened.results, data_dir)
    except (InputError, OSError, TypeError) as err:
        drawn, missing = None, f"no images: {err}"
    if drawn is None:
        return [mo.callout(missing[:1].upper() + missing[1:] + ".", kind="info")]
    picture = _image(mo, figure_bytes(drawn, dpi=_DPI), "points before and after crafting", 1100)
    return [mo.Html(page("<b>Points before and after</b>")), picture]


def about_sql() -> str:
    """The tables that SQL can query, in Markdown."""
    return (
        "DuckDB, read only. `trials`: every trial; `selected`: those that the filters leave; `intervals`: those of the "
        f"selected trials, if there are at most {MOST_INTERVALS}. `DESCRIBE trials` lists the columns."
    )


def answer(mo: Marimo, opened: Opened, conditions: Sequence[Condition], question: str | None) -> Elements:
    """The result of an SQL query."""
    if not question or not question.strip():
        return []

    def intervals() -> pa.Table:
        ids = select(opened.database, conditions, ["trial_id"])["trial_id"].to_pylist()
        if len(ids) > MOST_INTERVALS:
            raise InputError(
                f"intervals are read of at most {MOST_INTERVALS} trials, the filters leave {len(ids):,}; narrow them down"
            )
        return read_intervals(opened.results, ids)[0]

    more = {"intervals": intervals, "selected": lambda: select(opened.database, conditions)}
    try:
        found = free_sql(opened.database, question, more=more, max_rows=MOST_ANSWERED)
    except InputError as err:
        return [mo.callout(str(err), kind="danger")]
    shown = found.slice(0, MOST_ANSWERED)
    is_whole = len(found) <= MOST_ANSWERED
    told = counted(len(found), "row") if is_whole else f"the first {MOST_ANSWERED:,} rows; there are more"

    def csv() -> bytes:
        stream = io.BytesIO()
        pa_csv.write_csv(shown, stream)
        return stream.getvalue()

    head = [mo.Html(page(f"<span>{told}</span>")), mo.download(csv, filename="answer.csv", label="CSV")]
    form = dict.fromkeys(_floats(shown), lambda value: "" if value is None else f"{value:.6g}")
    return [mo.hstack(head, justify="start", align="center"), _table(mo, shown, selection=None, format_mapping=form)]


def _image(mo: Marimo, png: bytes, alt: str, width_px: int) -> Marimo:
    """An image within the page: a separate address could be gone before the browser loads it."""
    source = base64.b64encode(png).decode()
    return mo.Html(
        f'<img src="data:image/png;base64,{source}" alt="{escape(alt)}" style="width:100%;max-width:{width_px}px">'
    )


def _table(mo: Marimo, rows: pa.Table, **options: Any) -> Marimo:  # noqa: ANN401 - marimo's
    return mo.ui.table(rows, page_size=15, show_column_summaries=False, show_download=False, **options)


def _floats(found: pa.Table) -> list[str]:
    return [
        name for name, kind in zip(found.column_names, found.schema.types, strict=True) if pa.types.is_floating(kind)
    ]
