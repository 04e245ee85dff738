"""The figure of `benchmarks.vc`: costs of a proved step against the number of constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from raypol.figures.style.axes import short_number
from raypol.figures.style.page import add_axes, new_page, plain_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.vc import CostRow, Extrapolated, Fit

_WIDTHS: Final = (("#0072B2", "o"), ("#D55E00", "s"))
"""Colour and marker by width, the smallest first."""
_FAINT: Final = "#666666"


def draw_costs(rows: Sequence[CostRow], fitted: Mapping[str, Fit], estimates: Sequence[Extrapolated]) -> Figure:
    """Proving time with its fit, residuals, memory and key, and the fit carried on to two networks."""
    widths = sorted({(row.features, row.classes) for row in rows})
    looks = dict(zip(widths, _WIDTHS, strict=True))
    entries = [
        [
            (Line2D([], [], color=c, marker=m, linestyle=""), f"{f} x {k} weights, batch 1 to 32")
            for (f, k), (c, m) in looks.items()
        ],
        [
            (Line2D([], [], color="black"), "fit a + b n log2 n"),
            (Line2D([], [], color=_FAINT, marker="D", linestyle=""), "estimate, not measured"),
        ],
    ]
    prove = fitted["prove_cpu_s"]
    ratios = [row.prove_cpu_s / row.step_cpu_s for row in rows]
    notes = [
        f"Proving: {prove.a:.2g} s + {prove.b:.2g} s n log2 n, r^2 = {prove.r2:.4f}. CPU seconds, one thread, with the witness.",
        f"The honest step takes {1e6 * min(r.step_cpu_s for r in rows):.0f} to {1e6 * max(r.step_cpu_s for r in rows):.0f} us: "
        f"a proof costs {min(ratios):,.0f} to {max(ratios):,.0f} times as much, for a forger as well.",
        *(
            f"Estimate for {one.name}: {one.constraints:.2g} constraints at least, {one.prove_s / 3600:,.0f} h per step, "
            f"{one.memory_bytes / 1e9:,.0f} GB of memory."
            for one in estimates
        ),
    ]
    figure, body = new_page(9.0, 7.0, title="Proving one step of SGD on a linear model", entries=entries, notes=notes)
    time_ax, residual_ax, size_ax, far_ax = add_axes(body, 4, 2)
    _draw(time_ax, rows, looks, "prove_cpu_s", prove, 1.0)
    plain_axes(time_ax, title="Proving", x="constraints n", y="CPU seconds per step")
    for row, residual in zip(rows, prove.residuals, strict=True):
        colour, marker = looks[row.features, row.classes]
        residual_ax.plot(row.constraints, residual, marker, color=colour)
    residual_ax.axhline(0.0, color="black")
    plain_axes(residual_ax, title="Residuals of the fit", x="constraints n", y="measured - fitted (s)")
    for name in ("setup_peak_bytes", "prove_peak_bytes", "key_bytes"):
        _draw(size_ax, rows, looks, name, fitted[name], 1e6)
        words = {"setup_peak_bytes": "set-up", "prove_peak_bytes": "proving", "key_bytes": "key"}[name]
        middle = rows[3 * len(rows) // 4]
        place = (middle.constraints, getattr(middle, name) / 1e6)
        size_ax.annotate(words, place, xytext=(0, 8), textcoords="offset points", fontsize=8, ha="center")
    plain_axes(size_ax, title="Peak memory, and the proving key", x="constraints n", y="MB")
    for ax in (time_ax, residual_ax, size_ax):
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    _draw_far(far_ax, rows, looks, prove, estimates)
    return figure


def _draw(
    ax: Axes,
    rows: Sequence[CostRow],
    looks: Mapping[tuple[int, int], tuple[str, str]],
    name: str,
    fit: Fit,
    unit: float,
) -> None:
    for row in rows:
        colour, marker = looks[row.features, row.classes]
        ax.plot(row.constraints, getattr(row, name) / unit, marker, color=colour, markersize=5)
    ns = np.linspace(rows[0].constraints, rows[-1].constraints, 100)
    ax.plot(ns, [fit.at(n) / unit for n in ns], color="black", linewidth=1.0, zorder=1)


def _draw_far(
    ax: Axes,
    rows: Sequence[CostRow],
    looks: Mapping[tuple[int, int], tuple[str, str]],
    fit: Fit,
    estimates: Sequence[Extrapolated],
) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    for row in rows:
        colour, marker = looks[row.features, row.classes]
        ax.plot(row.constraints, row.prove_cpu_s, marker, color=colour, markersize=4)
        ax.plot(row.constraints, row.step_cpu_s, marker, color=colour, markersize=4, fillstyle="none")
    ns = np.geomspace(rows[0].constraints, estimates[-1].constraints, 100)
    ax.plot(ns, [fit.at(n) for n in ns], color="black", linewidth=1.0, linestyle="--", zorder=1)
    for one in estimates:
        ax.plot(one.constraints, one.prove_s, "D", color=_FAINT)
        ax.annotate(
            f"{one.name}\n(estimate)",
            (one.constraints, one.prove_s),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=7.5,
        )
    ax.annotate(
        "honest step (open)",
        (rows[0].constraints, rows[0].step_cpu_s),
        xytext=(0, 8),
        textcoords="offset points",
        fontsize=7.5,
    )
    plain_axes(ax, title="Carried on", x="constraints n", y="CPU seconds per step")
