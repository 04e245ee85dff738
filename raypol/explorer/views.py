"""What the analysis app shows, as marimo elements: the sidebar, the tabs' contents. The notebook only puts them in order."""

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pa_csv
from matplotlib.figure import Figure

from raypol.core.errors import InputError
from raypol.explorer.filters import Offer
from raypol.explorer.html import arm_table, counted, number, page, success_map, table, tiles
from raypol.explorer.session import Opened
from raypol.explorer.trial_page import configuration, headline, images, origin, verdicts
from raypol.figures.catalogue import PLOTS
from raypol.figures.inputs import material_of
from raypol.figures.over_training.intervals import interval_chart
from raypol.store.results.files import to_rows
from raypol.store.results.queries import (
    Condition,
    by_arm,
    count,
    export,
    free_sql,
    listing,
    read_intervals,
    rows,
    select,
    success_by_steps,
    trial,
)
from raypol.store.results.rows import TrialRow

MOST_DRAWN: Final = 2000
"""Trials that a figure is drawn from; it would take seconds and show nothing but ink."""
MOST_INTERVALS: Final = 500
"""Trials whose interval files a question in SQL may open."""
MOST_ANSWERED: Final = 10_000
"""Rows of an answer in SQL."""
FIRST_QUESTION: Final = """SELECT arm, steps, count(*) AS trials, median(error_l2) AS error_l2,
       avg(success::INT) AS succeed
FROM selected
WHERE status = 'ok'
GROUP BY ALL
ORDER BY arm, steps"""
_DPI: Final = 110

Elements = list[Any]
"""marimo's, or HTML text to be wrapped."""


def sidebar(
    mo: Any,  # noqa: ANN401 - marimo
    offered: Sequence[Offer],
    chosen: Mapping[str, Any],
    constant: Mapping[str, str],
    buttons: Sequence[Any],
) -> Elements:
    """The filters by topic, and what is the same in all trials."""
    shown: Elements = [mo.hstack(buttons, justify="start").style({"flex": "none"})]
    for group in dict.fromkeys(offer.column.group for offer in offered):
        shown.append(mo.Html(page(f'<b class="faint">{escape(group.capitalize())}</b>')))
        shown += [chosen[offer.column.name] for offer in offered if offer.column.group == group]
    same = [[escape(label), escape(name)] for label, name in constant.items() if name != "none"]
    if same:
        shown.append(mo.Html(page(table([], same, caption="The same in all trials", left=True))))
    return shown


def header(mo: Any, opened: Opened, conditions: Sequence[Condition]) -> Elements:  # noqa: ANN401 - marimo
    """Where the numbers come from, what is amiss with them, how many trials the filters leave."""
    every = count(opened.database)
    left = count(opened.database, conditions) if conditions else every
    title = f"<p class='title'>Results in {escape(str(opened.results))}</p>"
    where = f'<p class="faint">{escape(opened.origin)}.</p>'
    shown: Elements = [mo.Html(page(title, where, tiles(left, every) if every.trials else ""))]
    shown += [mo.callout(note, kind="warn") for note in opened.trials.notes]
    if not every.trials:
        shown.append(
            mo.callout(
                "This folder holds no trials: expected RESULTS/trials/*.parquet, as a sweep or the demo writes them. "
                "Read again when there are some.",
                kind="warn",
            )
        )
    elif not left.trials:
        shown.append(mo.callout("The filters leave no trial.", kind="warn"))
    return shown


@lru_cache(maxsize=64)
def overview(opened: Opened, conditions: tuple[Condition, ...]) -> str:
    """Per arm, and per arm and T', as HTML."""
    arms = by_arm(opened.database, conditions)
    return arm_table(arms) + success_map(success_by_steps(opened.database, conditions)) if arms else ""


def figure_choice(mo: Any) -> Any:  # noqa: ANN401 - marimo
    """Which figure of the gallery."""
    return mo.ui.dropdown({plot.title: plot.name for plot in PLOTS}, value=PLOTS[0].title, label="figure")


def figure(mo: Any, opened: Opened, conditions: Sequence[Condition], name: str, data_dir: str | None) -> Elements:  # noqa: ANN401
    """One of the gallery's figures of the trials that the filters leave."""
    num = count(opened.database, conditions).trials
    if num == 0:
        return []
    if num > MOST_DRAWN:
        return [
            mo.callout(
                f"Figures are drawn from up to {MOST_DRAWN:,} trials, the filters leave {num:,}. Narrow them down: one sweep, "
                "one dataset, some arms. The overview counts them all.",
                kind="info",
            )
        ]
    try:
        png, caption = _drawn(opened, tuple(conditions), name, data_dir)
    except InputError as err:
        return [mo.callout(f"Not drawn: {err}.", kind="info")]

    def pdf() -> bytes:
        return _file(_draw(opened, conditions, name, data_dir)[0], "pdf")

    return [
        _image(mo, png, caption, 1300),
        mo.Html(page(f'<p class="faint">{escape(caption)}</p>')),
        mo.hstack(
            [
                mo.download(png, filename=f"{name}.png", label="PNG"),
                mo.download(pdf, filename=f"{name}.pdf", label="PDF"),
            ],
            justify="start",
        ),
    ]


@lru_cache(maxsize=32)
def _drawn(opened: Opened, conditions: tuple[Condition, ...], name: str, data_dir: str | None) -> tuple[bytes, str]:
    drawn, caption = _draw(opened, conditions, name, data_dir)
    return _file(drawn, "png"), caption


def _draw(opened: Opened, conditions: Sequence[Condition], name: str, data_dir: str | None) -> tuple[Figure, str]:
    """The figure and its caption.

    Raises:
        InputError: it needs what these trials have not.
    """
    (plot,) = (plot for plot in PLOTS if plot.name == name)
    found = rows(opened.database, conditions)
    sweeps = {row.sweep_id for row in found}
    material = material_of(opened.results, found, sweeps.pop() if len(sweeps) == 1 else None, data_dir=data_dir)
    missing = plot.missing(material)
    if missing:
        raise InputError(missing)
    return plot.draw(material), plot.caption(material)


def trial_table(mo: Any, opened: Opened, conditions: Sequence[Condition]) -> Any:  # noqa: ANN401 - marimo
    """Every trial that the filters leave; a tick opens its page. Sorted and searched where it lies, a page of it is sent."""
    found = listing(opened.database, conditions)
    return mo.ui.table(
        found,
        selection="single",
        page_size=15,
        show_column_summaries=False,
        show_data_types=False,
        show_download=False,
        format_mapping=dict.fromkeys(_floats(found), number),
        freeze_columns_left=["trial"],
        label="Tick a trial to open its page.",
    )


def downloads(mo: Any, opened: Opened, conditions: Sequence[Condition]) -> Any:  # noqa: ANN401 - marimo
    """Buttons that make the file when they are pressed."""
    num = count(opened.database, conditions).trials
    return mo.hstack(
        [
            mo.download(
                lambda: export(opened.database, conditions, "csv"),
                filename="trials.csv",
                label=f"CSV, {counted(num, 'trial')}",
            ),
            mo.download(
                lambda: export(opened.database, conditions, "parquet"),
                filename="trials.parquet",
                mimetype="application/vnd.apache.parquet",
                label=f"Parquet, {counted(num, 'trial')}",
            ),
            mo.Html(page('<span class="faint">every column of the trials that the filters leave</span>')),
        ],
        justify="start",
        align="center",
    )


def trial_page(mo: Any, opened: Opened, ticked: Any, data_dir: str | None) -> Elements:  # noqa: ANN401 - marimo
    """The page of the trial that is ticked."""
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


def _intervals(mo: Any, opened: Opened, row: Mapping[str, Any]) -> Elements:  # noqa: ANN401 - marimo
    found, unread = read_intervals(opened.results, [row["trial_id"]])
    if not len(found):
        why = "its file is not there or cannot be read" if unread else "none was verified"
        return [mo.callout(f"No intervals of this trial: {why}.", kind="info")]
    chart = _file(interval_chart(found.to_pylist(), arm=str(row["arm"])), "png")
    judged = len(set(found["step_to"].to_pylist()))
    told = (
        f"Reproduction error of {judged:,} verified intervals of {number(row['num_intervals'])}, against its threshold"
    )
    return [
        mo.Html(page(f"<b>Intervals</b><p class='faint'>{told}.</p>")),
        _image(mo, chart, told, 1100),
    ]


def _images(mo: Any, opened: Opened, row: Mapping[str, Any], data_dir: str | None) -> Elements:  # noqa: ANN401 - marimo
    try:
        (typed,) = to_rows(pa.Table.from_pylist([dict(row)]), TrialRow)
        drawn, missing = images(typed, opened.results, data_dir)
    except (InputError, OSError, TypeError) as err:
        drawn, missing = None, f"no images: {err}"
    if drawn is None:
        return [mo.callout(missing[:1].upper() + missing[1:] + ".", kind="info")]
    return [
        mo.Html(page("<b>Points before and after</b>")),
        _image(mo, _file(drawn, "png"), "points before and after crafting", 1100),
    ]


def about_sql() -> str:
    """What can be asked, in Markdown."""
    return (
        "DuckDB, read only. `trials`: every trial; `selected`: those that the filters leave; `intervals`: of the selected "
        f"ones, if they are at most {MOST_INTERVALS}. `DESCRIBE trials` lists the columns."
    )


def answer(mo: Any, opened: Opened, conditions: Sequence[Condition], question: str | None) -> Elements:  # noqa: ANN401
    """The answer to a question in SQL."""
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
    told = (
        f"the first {MOST_ANSWERED:,} rows; there are more"
        if len(found) > MOST_ANSWERED
        else counted(len(found), "row")
    )

    def csv() -> bytes:
        stream = io.BytesIO()
        pa_csv.write_csv(shown, stream)
        return stream.getvalue()

    return [
        mo.hstack(
            [mo.Html(page(f"<span>{told}</span>")), mo.download(csv, filename="answer.csv", label="CSV")],
            justify="start",
            align="center",
        ),
        mo.ui.table(
            shown,
            selection=None,
            page_size=15,
            show_column_summaries=False,
            show_download=False,
            format_mapping=dict.fromkeys(_floats(shown), lambda value: "" if value is None else f"{value:.6g}"),
        ),
    ]


def _image(mo: Any, png: bytes, alt: str, width_px: int) -> Any:  # noqa: ANN401 - marimo
    """Within the page: an address of its own would be gone if the next figure came before it was loaded."""
    source = base64.b64encode(png).decode()
    return mo.Html(
        f'<img src="data:image/png;base64,{source}" alt="{escape(alt)}" style="width:100%;max-width:{width_px}px">'
    )


def _floats(found: pa.Table) -> list[str]:
    return [
        name for name, kind in zip(found.column_names, found.schema.types, strict=True) if pa.types.is_floating(kind)
    ]


def _file(drawn: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    drawn.savefig(stream, format=kind, dpi=_DPI)
    return stream.getvalue()
