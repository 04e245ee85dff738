"""Every figure of a sweep: what it needs, whether it can be drawn, its caption. Report, MLflow and the app read this list.

material = read_material(open_location("results"), "quickstart-smoke")
for plot in PLOTS:
    if plot.applies(material):
        figure = plot.draw(material)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from raypol.figures import save
from raypol.figures.inputs import Material, read_material
from raypol.figures.over_training.data import by_trial, choose
from raypol.figures.series import settings_of
from raypol.figures.style.axes import real

__all__ = ["PLOTS", "Material", "Plot", "draw_all", "read_material"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """One kind of figure."""

    name: str
    """Stem of its files."""
    title: str
    shows: Callable[[Material], str]
    """The caption after the names of the settings."""
    missing: Callable[[Material], str]
    """The material that it needs and lacks; empty = there is something to draw."""
    draw: Callable[[Material], Figure]
    """Draws any material; if the plot does not apply, a page that says so."""

    def applies(self, material: Material) -> bool:
        """True if there is something to draw."""
        return not self.missing(material)

    def caption(self, material: Material) -> str:
        """The settings, and a sentence or two on what the figure shows of them."""
        settings = settings_of([row for row in material.rows if row.is_ok])
        names = "; ".join(setting.name for setting in settings[:3]) + (" and others" if len(settings) > 3 else "")
        return f"{names}: {self.shows(material)}"


def draw_all(material: Material, folder: Path) -> list[Path]:
    """Draw what applies into FOLDER/<name>.png and .pdf; returns the files.

    Raises:
        InputError: the folder cannot be written.
    """
    shown = [plot for plot in PLOTS if plot.applies(material)]
    return [path for plot in shown for path in save.save_figure(plot.draw(material), folder / plot.name)]


def _no_spoofs(material: Material) -> str:
    return "" if any(row.is_ok and not row.is_honest for row in material.rows) else "no spoof with status ok"


def _no_verdicts(material: Material) -> str:
    return _no_spoofs(material) or ("" if material.verdicts else "no verdicts of policies")


def _no_intervals(column: str) -> Callable[[Material], str]:
    """Whether a column has a value in some trial that would be shown."""

    def missing(material: Material) -> str:
        shown = {row.trial_id for setting in settings_of(material.rows) for row in choose(setting).rows}
        if not shown:
            return "no row with status ok"
        cells = by_trial(material.intervals, shown).values()
        known = any(not math.isnan(real(cell.get(column))) for own in cells for cell in own)
        return "" if known else "no interval rows of the trials that would be shown"

    return missing


def _no_second_device(material: Material) -> str:
    timed = [row for row in material.rows if row.is_ok and not row.is_honest and row.device_s is not None]
    if not timed:
        return "no spoof with status ok and a time"
    return "" if len({row.device for row in timed}) > 1 else "spoofs on one device only"


def _no_images(material: Material) -> str:
    if any(len(pair.labels) for pair in material.pairs):
        return ""
    return next((note for note in material.notes if note.startswith("images")), "no spoof has points of its own")


def _length(material: Material) -> str:
    """T' of the figures over training."""
    steps = sorted({block.steps for block in map(choose, settings_of(material.rows)) if block.steps})
    return f"T' = {', '.join(f'{s:,}' for s in steps)}" if steps else "no T'"


def _spoofs_with_images(material: Material) -> str:
    count = sum(len(pair.labels) > 0 for pair in material.pairs)
    return "one spoof" if count == 1 else f"{count} spoofs"


def _successes(material: Material) -> str:
    attacks = [r for r in material.rows if not r.is_honest and not r.is_control and r.success is not None]
    published, strict = sum(row.success is True for row in attacks), sum(row.success_strict is True for row in attacks)
    return f"Of {len(attacks):,} trials of attacks {published:,} succeed against published, {strict:,} against strict."


def _fronts(material: Material) -> str:
    if any(row.accepted_strict for row in material.rows if not row.is_honest and row.is_ok):
        return "the Pareto fronts of all spoofs and of those that the strict verifier accepts"
    return "the Pareto front of all spoofs; the strict verifier accepts none"


PLOTS: Final[tuple[Plot, ...]] = (
    Plot(
        name="panels",
        title="Error, time and size against T'",
        shows=lambda _: (
            "normalised reproduction error in four metrics, generation time and size of each spoof against the number T' of "
            "steps that it claims, the honest proof as a line, and the range of T' in which each arm succeeds with what binds "
            "at its ends."
        ),
        missing=_no_spoofs,
        draw=lambda material: save.six_panels(material.rows, material.ranges),
    ),
    Plot(
        name="verdicts",
        title="Attack against verifier policy",
        shows=lambda material: (
            f"share of trials that each policy accepts and that succeed, with the checks that reject. {_successes(material)}"
        ),
        missing=lambda material: "" if material.rows else "no rows",
        draw=lambda material: save.verdict_matrix(material.rows),
    ),
    Plot(
        name="pareto",
        title="Cost against error",
        shows=lambda material: (
            "generation time against the largest of the four errors, both in units of the honest "
            f"proof's, with {_fronts(material)}."
        ),
        missing=_no_spoofs,
        draw=lambda material: save.cost_against_error(material.rows),
    ),
    Plot(
        name="frontier",
        title="Fronts of the policies",
        shows=lambda _: (
            "generation time without writing against the largest of the four errors, both in units of the honest proof's, with "
            "the least error of an accepted spoof at each cost under each policy, and the jump of each T'."
        ),
        missing=_no_verdicts,
        draw=lambda material: save.frontier(material.rows, material.verdicts),
    ),
    Plot(
        name="stages",
        title="Reproduction error over training",
        shows=lambda material: (
            "normalised reproduction error of each verified interval against training progress, proof and "
            f"spoofs of {_length(material)}, with the threshold that judged and the other kind for comparison."
        ),
        missing=_no_intervals("normalised"),
        draw=lambda material: save.error_over_training(material.intervals, material.rows),
    ),
    Plot(
        name="accuracy",
        title="Accuracy over training",
        shows=lambda material: (
            "test accuracy of the intermediate models against training progress, proof and spoofs of "
            f"{_length(material)}."
        ),
        missing=_no_intervals("accuracy"),
        draw=lambda material: save.accuracy_over_progress(material.intervals, material.rows),
    ),
    Plot(
        name="devices",
        title="Generation time per device",
        shows=lambda _: (
            "generation time of spoofs on each device, the honest proof's as a line; simulated devices are marked."
        ),
        missing=_no_second_device,
        draw=lambda material: save.time_per_device(material.rows),
    ),
    Plot(
        name="before_after",
        title="Crafted points, before and after",
        shows=lambda material: (
            f"points of {_spoofs_with_images(material)} as they were and as they were crafted, and the "
            "difference, amplified as each row says."
        ),
        missing=_no_images,
        draw=lambda material: save.before_after(material.pairs),
    ),
)
"""In the order of a report."""
