"""Every figure of a sweep: what each needs, whether it can be drawn, what it shows. Report, MLflow and the app take them from here.

    material = read_material(open_location("results"), "quickstart-smoke")
    for plot in PLOTS:
        if plot.applies(material):
            figure = plot.draw(material)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from raypol.face import figures
from raypol.face.arm_styles import HONEST
from raypol.runs.images import ImagePairs
from raypol.store.location import Location
from raypol.store.ranges import RangeRow, read_ranges
from raypol.store.results import IntervalRow, TrialRow, read_rows, read_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """What figures are drawn from."""

    rows: Sequence[TrialRow] = ()
    intervals: Sequence[IntervalRow | Mapping[str, Any]] = ()
    """Of some of the rows at least; a mapping needs the columns that a figure shows."""
    pairs: Sequence[ImagePairs] = ()
    ranges: Sequence[RangeRow] = ()
    notes: Sequence[str] = ()
    """What could not be read, a line each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """One kind of figure."""

    name: str
    """Stem of its files."""
    title: str
    caption: Callable[[Material], str]
    """A sentence on what it shows."""
    missing: Callable[[Material], str]
    """What it would need and the material lacks; empty = it can be drawn."""
    draw: Callable[[Material], Figure]

    def applies(self, material: Material) -> bool:
        """True if there is something to draw."""
        return not self.missing(material)


def read_material(results: Location, sweep_id: str | None = None) -> Material:
    """What a results folder holds for figures; None = of all its sweeps."""
    return Material(
        rows=read_trials(results, sweep_id=sweep_id or ""),
        intervals=read_rows(results / "intervals", IntervalRow, sweep_id or ""),
        ranges=read_ranges(results, sweep_id=sweep_id or ""),
    )


def draw_all(material: Material, folder: Path) -> list[Path]:
    """Draw what applies into FOLDER/<name>.png and .pdf; returns the files."""
    drawn: list[Path] = []
    for plot in PLOTS:
        if plot.applies(material):
            drawn += figures.save(plot.draw(material), folder / plot.name)
    return drawn


def _no_spoofs(material: Material) -> str:
    spoofs = any(row.status == "ok" and row.arm != HONEST for row in material.rows)
    return "" if spoofs else "no spoof with status ok"


PLOTS: Final[tuple[Plot, ...]] = (
    Plot(
        name="panels",
        title="Error, time and size against T'",
        caption=lambda _: "Normalised reproduction error in four metrics, generation time and size of each spoof against T'.",
        missing=_no_spoofs,
        draw=lambda material: figures.six_panels(material.rows),
    ),
)
"""In the order of a report."""
