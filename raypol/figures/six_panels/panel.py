"""Drawing one of the six panels: what lies on its axis, what lies beyond it, and what a marker says."""

import math
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation, Transform

from raypol.figures.style.arms import HONEST, JUMP, ArmStyle, style_of
from raypol.figures.style.axes import STRIP, Scale, apply_scale, number
from raypol.figures.style.markers import MARKER_PT, fill_of, is_not_measured, is_strict_apart, look_of
from raypol.figures.style.page import FAINT, INK, SMALL, Band
from raypol.store.results.rows import TrialRow

STRIP_COLOUR: Final = "#F0F0F0"


class Pen:
    """Draws on one panel, and keeps what falls beyond its axis."""

    def __init__(self, ax: Axes, scale: Scale, values: Sequence[float]) -> None:
        self.ax, self.scale = ax, scale
        places = {scale.place(value) for value in values if not math.isnan(value)}
        self.strips = {"below": "below" in places, "above": "above" in places}
        self.beyond: dict[str, list[float]] = {"below": [], "above": []}
        apply_scale(ax, scale, below=self.strips["below"], above=self.strips["above"])
        for place, bottom in (("below", 0.0), ("above", 1.0 - STRIP)):
            if self.strips[place]:
                strip = Rectangle((0.0, bottom), 1.0, STRIP, facecolor=STRIP_COLOUR, zorder=1.2)
                strip.set_transform(ax.transAxes)
                ax.add_patch(strip)

    def honest(self, value: Band) -> None:
        """The proof's own value: a line across the panel, its number in the margin."""
        if math.isnan(value.median):
            return
        style, place = style_of(HONEST), self.scale.place(value.median)
        y, transform = (value.median, self.ax.get_yaxis_transform())
        if place != "inside":
            y, transform = _strip_middle(place), self.ax.transAxes
        elif value.low < value.high:
            self.ax.axhspan(
                max(value.low, self.scale.low), min(value.high, self.scale.high), color=style.colour, alpha=0.1, lw=0
            )
        self.ax.plot([0, 1], [y, y], color=style.colour, linewidth=1.6, transform=transform, zorder=2.5, gid=HONEST)
        # In the margin, clear of what the strips say there.
        at = float(self.ax.transAxes.inverted().transform(transform.transform((0.0, y)))[1])
        lowest, highest = (0.19 if self.strips["below"] else 0.05), (0.81 if self.strips["above"] else 0.95)
        at = min(max(at, lowest), highest)
        self._margin(at, f"honest\n{number(value.median, 3)}", INK)

    def jump(self, values: dict[int, float], style: ArmStyle, *, across: bool) -> None:
        """What no update at all would measure, as a thin line; `across` the panel where there is one T' only."""
        known = {steps: value for steps, value in values.items() if not math.isnan(value)}
        inside = {steps: value for steps, value in known.items() if self.scale.place(value) == "inside"}
        look: dict[str, Any] = {"color": style.colour, "linewidth": 1.0, "markersize": 14, "gid": JUMP, "zorder": 2.2}
        if across:
            for value in inside.values():
                transform = self.ax.get_yaxis_transform()
                self.ax.plot([0, 1], [value, value], **look, linestyle=style.line, transform=transform)
        else:
            ys = [inside.get(steps, math.nan) for steps in known]
            self.ax.plot(list(known), ys, **look, linestyle=style.line, marker="_" if len(inside) == 1 else "")
        for steps in sorted(known.keys() - inside.keys()):
            place = self.scale.place(known[steps])
            self.beyond[place].append(known[steps])
            y, transform = _strip_middle(place), self.ax.get_xaxis_transform()
            self.ax.plot([steps], [y], **look, marker="_", linestyle="none", transform=transform)

    def arm(
        self,
        arm: str,
        style: ArmStyle,
        series: dict[int, list[TrialRow]],
        bands: dict[int, Band],
        *,
        shift: float,
        joined: bool = True,
        size: float = MARKER_PT,
    ) -> None:
        """One arm's line, bands and markers.

        Args:
            arm: its name.
            style: its look.
            series: its rows by T'.
            bands: of their values.
            shift: sideways, in points.
            joined: False = no line, markers alone.
            size: of markers, in points.
        """
        figure = self.ax.get_figure(root=True)
        assert figure is not None, "the axes are on a page"
        sideways = ScaledTranslation(shift / 72.0, 0.0, figure.dpi_scale_trans)
        moved = self.ax.transData + sideways
        inside = {
            steps: value
            for steps, value in bands.items()
            if not math.isnan(value.median) and self.scale.place(value.median) == "inside"
        }
        if any(value.low < value.high for value in inside.values()):
            low = [max(value.low, self.scale.low) for value in inside.values()]
            high = [min(value.high, self.scale.high) for value in inside.values()]
            if joined:
                look: dict[str, Any] = {"color": style.colour, "alpha": 0.13, "linewidth": 0}
                self.ax.fill_between(list(inside), low, high, transform=moved, **look)
            self.ax.vlines(list(inside), low, high, color=style.colour, linewidth=1.0, alpha=0.7, transform=moved)
        # A gap where a value is missing or beyond the axis.
        ys = [inside[steps].median if steps in inside else math.nan for steps in bands]
        line = style.line if joined else "none"
        self.ax.plot(list(bands), ys, color=style.colour, linestyle=line, lw=1.1, transform=moved, zorder=3, gid=arm)
        at: dict[str, list[int]] = {}
        for steps, value in bands.items():
            if not math.isnan(value.median):
                place = self.scale.place(value.median)
                at.setdefault(place, []).append(steps)
                if place != "inside":
                    self.beyond[place].append(value.median)
        for where, some in at.items():
            transform = moved if where == "inside" else self.ax.get_xaxis_transform() + sideways
            heights = {s: bands[s].median if where == "inside" else _strip_middle(where) for s in some}
            self._markers(heights, transform, style, series, gid=arm, size=size)

    def _markers(
        self,
        heights: dict[int, float],
        transform: Transform,
        style: ArmStyle,
        series: dict[int, list[TrialRow]],
        *,
        gid: str,
        size: float,
    ) -> None:
        """Markers by T'; those that look alike are one artist: thousands of them are drawn in no time."""
        alike: dict[str, list[int]] = {}
        for steps in heights:
            rows = series[steps]
            alike.setdefault(fill_of(rows), []).append(steps)
            if is_not_measured(rows):
                alike.setdefault("ring", []).append(steps)
            if is_strict_apart(rows):
                alike.setdefault("strike", []).append(steps)
        for kind, some in alike.items():
            look, zorder = look_of(kind, style, size)
            ys = [heights[steps] for steps in some]
            self.ax.plot(some, ys, **look, transform=transform, zorder=zorder, clip_on=False, gid=f"{gid}:{kind}")

    def note_strips(self) -> None:
        """Name the strips on the left, and give their numbers on the right."""
        for place in ("below", "above"):
            if self.strips[place]:
                y = _strip_middle(place)
                self.ax.text(
                    -0.02,
                    y,
                    f"{place}\naxis",
                    transform=self.ax.transAxes,
                    ha="right",
                    va="center",
                    color=FAINT,
                    fontsize=SMALL - 1,
                    linespacing=0.85,
                )
            values = self.beyond[place]
            if values:
                low, high = number(min(values), 1), number(max(values), 1)
                self._margin(_strip_middle(place), low if low == high else f"{low} to\n{high}", FAINT)

    def _margin(self, y: float, text: str, colour: str) -> None:
        self.ax.text(
            1.02, y, text, transform=self.ax.transAxes, va="center", color=colour, fontsize=SMALL - 0.5, linespacing=1.0
        )


def _strip_middle(place: str) -> float:
    return STRIP / 2 if place == "below" else 1.0 - STRIP / 2
