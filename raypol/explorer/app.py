"""The analysis app as a marimo notebook. `raypol explore RESULTS` serves it; in a checkout

    marimo edit raypol/explorer/app.py -- --results RESULTS

opens it for editing: the cells run on RESULTS while you change them. Elements are made in `views.py`, tables in `html.py`.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="raypol explorer")


@app.cell
def _():
    import os

    import marimo as mo

    from raypol.core.errors import InputError
    from raypol.explorer import filters, html, session, views

    where = mo.cli_args().get("results") or os.environ.get(session.RESULTS_VARIABLE, "")
    data_dir = mo.cli_args().get("data-dir") or os.environ.get(session.DATA_VARIABLE) or None
    mo.stop(
        not where,
        mo.callout("Give a results folder: marimo edit raypol/explorer/app.py -- --results RESULTS", kind="warn"),
    )
    remembered = {}
    return InputError, data_dir, filters, html, mo, remembered, session, views, where


@app.cell
def _(mo, remembered):
    read_again = mo.ui.button(
        value=0, on_click=lambda times: times + 1, label="Read again", tooltip="Look for new trials"
    )
    clear = mo.ui.button(
        value=0, on_click=lambda _: remembered.clear(), label="Clear filters", tooltip="Show all trials"
    )
    return clear, read_again


@app.cell
def _(InputError, session, filters, mo, read_again, where):
    try:
        opened = session.open_results(where, again=bool(read_again.value))
    except InputError as err:
        mo.stop(True, mo.callout(str(err), kind="danger"))
    offered, constant = filters.offers(opened.database)
    return constant, offered, opened


@app.cell
def _(clear, filters, mo, offered, remembered):
    clear
    chosen = filters.widgets(mo, offered, remembered)
    return (chosen,)


@app.cell
def _(chosen, clear, constant, views, mo, offered, read_again):
    mo.sidebar(mo.vstack(views.sidebar(mo, offered, chosen, constant, [clear, read_again])), width="21rem")
    return


@app.cell
def _(chosen, filters, offered, remembered):
    remembered.update(chosen.value)
    conditions = filters.conditions(offered, chosen.value)
    return (conditions,)


@app.cell
def _(conditions, views, mo, opened):
    mo.vstack(views.header(mo, opened, conditions))
    return


@app.cell
def _(mo):
    tab = mo.ui.tabs({name: mo.Html("") for name in ("Overview", "Figures", "Trials", "SQL")})
    tab
    return (tab,)


@app.cell
def _(conditions, html, views, mo, opened, tab):
    mo.stop(tab.value != "Overview")
    mo.Html(html.page(views.overview(opened, conditions)))
    return


@app.cell
def _(views, mo, tab):
    mo.stop(tab.value != "Figures")
    figure_name = views.figure_choice(mo)
    figure_name
    return (figure_name,)


@app.cell
def _(conditions, data_dir, views, figure_name, mo, opened):
    mo.vstack(views.figure(mo, opened, conditions, figure_name.value, data_dir))
    return


@app.cell
def _(conditions, views, mo, opened, tab):
    mo.stop(tab.value != "Trials")
    trials = views.trial_table(mo, opened, conditions)
    mo.vstack([views.downloads(mo, opened, conditions), trials])
    return (trials,)


@app.cell
def _(data_dir, views, mo, opened, trials):
    mo.vstack(views.trial_page(mo, opened, trials.value, data_dir))
    return


@app.cell
def _(views, mo, tab):
    mo.stop(tab.value != "SQL")
    question = mo.ui.code_editor(views.FIRST_QUESTION, language="sql", min_height=120, label=views.about_sql()).form(
        submit_button_label="Run", bordered=False
    )
    question
    return (question,)


@app.cell
def _(conditions, views, mo, opened, question):
    mo.vstack(views.answer(mo, opened, conditions, question.value))
    return


if __name__ == "__main__":
    app.run()
