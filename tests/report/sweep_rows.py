"""A results folder as a small sweep leaves it, and the report of it without its figures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from raypol.figures.catalogue import PLOTS
from raypol.report import content
from raypol.report.content import Report, Section, make_report
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.store.location import open_location
from raypol.store.results.files import write_trial
from raypol.store.results.rows import TrialRow
from tests.rows import made_intervals, made_row

ABOUT = About(question="Does it pass?", num_trials=6, command="python sweeps/x.py --size smoke")
NUMBERS: dict[str, Any] = {
    "error_l1": 0.04, "error_l2": 0.05, "error_linf": 0.06, "error_cos": 0.007, "ratio_error_l1": 0.5, "ratio_error_l2": 0.6,
    "ratio_error_linf": 0.7, "ratio_error_cos": 0.8, "ratio_time": 0.1, "ratio_size": 0.2, "device_s": 1.5, "size_bytes": 10_000,
    "accepted_published": True, "accepted_strict": True, "success": True, "success_strict": True, "bound_by": "size",
}  # fmt: skip
ATTACKS = {"null": "null", "infinitesimal": "infinitesimal", "III": "iii"}


def rows_of(sweep_id: str = "made") -> list[TrialRow]:
    """An honest row, both controls and an attack at two T'; one of them failed."""
    honest = replace(made_row(0, sweep_id=sweep_id), arm="honest", attack="none", steps=400, interval=10, **NUMBERS)
    spoofs = [
        replace(
            made_row(1 + i, sweep_id=sweep_id),
            arm=arm,
            attack=ATTACKS[arm],
            steps=steps,
            interval=10,
            seed=0,
            **NUMBERS,
        )
        for i, (arm, steps) in enumerate((arm, steps) for steps in (20, 50) for arm in ("null", "infinitesimal", "III"))
    ]
    failed = replace(
        spoofs[-1], status="error", message="RuntimeError: out of memory\nTraceback", success=None, error_l2=None
    )
    return [honest, *spoofs[:-1], failed]


def folder_with(folder: Path, rows: list[TrialRow], about: About | None = ABOUT) -> Path:
    for row in rows:
        write_trial(open_location(folder), row, made_intervals(row))
    if about is not None and rows:
        SweepRecord(open_location(folder), rows[0].sweep_id).write_about(about)
    return folder


def report_of(folder: Path, name: str = "made") -> Report:
    return make_report(open_location(folder), name)


def section(report: Report, name: str) -> Section:
    (one,) = (section for section in report.sections if section.id == name)
    return one


def draw_blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of a figure stays, but it is an empty one: real ones are drawn once, and by the tests of figures."""
    blank = tuple(replace(plot, draw=lambda _: Figure(figsize=(1, 1))) for plot in PLOTS)
    monkeypatch.setattr(content, "PLOTS", blank)
