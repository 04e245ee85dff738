"""Scales that suit their values: linear or log, ticks at round numbers, room for what lies far beyond the rest."""

import math
import statistics
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from raypol.figures.style.page import CHARACTER_IN, FAINT, SMALL

_MANY_TIMES: Final = 4.0
"""Values whose largest is this many times the smallest get a log axis."""
_GULF: Final = 100.0
"""A minority of values below a gap this wide is moved off the axis, where it would squash the others."""
_WIDE: Final = 20.0
"""T' whose largest is this many times the smallest get a log axis."""
_EACH_TICK: Final = 12
"""Among more T' than this ticks are at round numbers instead of at each T'."""
_EACH_MARK: Final = 30
"""Among more T' than this no tick marks each."""
_STRIP: Final = 0.085
"""Height of the strip for values beyond the axis, as a part of the panel's."""
STRIP_COLOUR: Final = "#F0F0F0"

Place = Literal["inside", "below", "above"]


@dataclass(frozen=True, slots=True)
class Band:
    """Median, smallest and largest of some values; NaN ones are passed over, all NaN gives NaN."""

    median: float
    low: float
    high: float


def band(values: Iterable[float]) -> Band:
    """The band of values that belong to one point."""
    known = [v for v in values if not math.isnan(v)]
    return Band(statistics.median(known), min(known), max(known)) if known else Band(math.nan, math.nan, math.nan)


def real(value: float | None) -> float:
    """A metric, NaN where there is none."""
    return math.nan if value is None else float(value)


@dataclass(frozen=True, slots=True)
class Scale:
    """A value axis: values below `low` or above `high` are drawn in a strip at the edge."""

    low: float
    high: float
    kind: Literal["linear", "log"]

    def place(self, value: float) -> Place:
        """Where a value lies, which must not be NaN."""
        assert not math.isnan(value), "missing values are not placed"
        return "below" if value < self.low else "above" if value > self.high else "inside"

    def clip(self, value: float) -> float:
        """The nearest value on the axis."""
        return min(max(value, self.low), self.high)

    def beyond(self, values: Iterable[float]) -> dict[Place, list[float]]:
        """The values below and above the axis, if there are any; NaN is passed over."""
        found: dict[Place, list[float]] = {}
        for value in values:
            if not math.isnan(value) and (place := self.place(value)) != "inside":
                found.setdefault(place, []).append(value)
        return found

    def limits(self, strips: Collection[Place] = ()) -> tuple[float, float]:
        """Axis limits with air around the values, and room for the strips that are needed."""
        first, last = (math.log10(self.low), math.log10(self.high)) if self.kind == "log" else (self.low, self.high)
        bottom, top = 0.06 + _STRIP * ("below" in strips), 0.06 + _STRIP * ("above" in strips)
        span = (last - first) or max(abs(last) * 0.2, 1e-12 if self.kind == "linear" else 0.2)
        whole = span / (1.0 - bottom - top)
        start = (first + last) / 2 - span / 2 - whole * bottom
        return (10.0**start, 10.0 ** (start + whole)) if self.kind == "log" else (start, start + whole)


def choose_scale(values: Iterable[float], keep: Iterable[float] = (), *, clip: bool = True) -> Scale | None:
    """The scale on which these values are told apart.

    Args:
        values: everything that is drawn; NaN and infinities are passed over.
        keep: values that must stay on the axis, if positive.
        clip: False = no positive value leaves the axis.

    Returns:
        Log where the values span a factor of 4 or more, else linear. None if no value is finite.
    """
    finite = sorted(v for v in values if math.isfinite(v))
    positive = [v for v in finite if v > 0.0]
    if not positive:
        return Scale(finite[0], finite[-1], "linear") if finite else None
    lowest = min([v for v in keep if v > 0.0 and math.isfinite(v)], default=math.inf)
    first = 0
    if clip:
        for i in range(1, len(positive)):
            if positive[i] > _GULF * positive[i - 1] and i < len(positive) / 2 and lowest >= positive[i]:
                first = i
    low, high = positive[first], positive[-1]
    return Scale(low, high, "log" if high >= _MANY_TIMES * low else "linear")


def apply_scale(ax: Axes, scale: Scale, strips: Collection[Place] = (), *, horizontal: bool = False) -> None:
    """Set limits, and ticks at round numbers; none in the strips, where the axis means nothing.

    Args:
        ax: whose value axis is set.
        scale: what is on it.
        strips: at which edges values lie that are beyond the axis.
        horizontal: the value axis is that of x.
    """
    axis, side = (ax.xaxis, "bottom") if horizontal else (ax.yaxis, "left")
    limits = scale.limits(strips)
    if scale.kind == "log":
        (ax.set_xscale if horizontal else ax.set_yscale)("log")
        decades = math.log10(limits[1] / limits[0])
        subs = (1, 1.5, 2, 3, 5, 7) if decades < 0.9 else (1, 2, 5) if decades < 2.2 else (1,)
        major: Locator = LogLocator(subs=subs, numticks=7 if decades >= 2.2 else 20)
        minor: Locator = LogLocator(subs=tuple(range(1, 10)), numticks=100)
    else:
        major, minor = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]), NullLocator()
    (ax.set_xlim if horizontal else ax.set_ylim)(*limits)
    edges = (_STRIP * ("below" in strips), 1 - _STRIP * ("above" in strips))
    first, last = limits if horizontal else (value_at(ax, edges[0]), value_at(ax, edges[1]))
    for locator, set_locator in ((major, axis.set_major_locator), (minor, axis.set_minor_locator)):
        set_locator(FixedLocator([tick for tick in locator.tick_values(*limits) if first < tick < last]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axis.set_minor_formatter(NullFormatter())
    ax.spines[side].set_bounds(first, last)


def strip_middle(place: Place) -> float:
    """The middle of a strip, as a part of the panel's height."""
    return _STRIP / 2 if place == "below" else 1.0 - _STRIP / 2


def draw_strips(ax: Axes, beyond: dict[Place, list[float]]) -> None:
    """Shade the strips at the edges, name them on the left and give their values on the right."""
    look: dict[str, Any] = {"transform": ax.transAxes, "va": "center", "color": FAINT, "linespacing": 0.9}
    for place, values in beyond.items():
        middle = strip_middle(place)
        corner = (0.0, middle - _STRIP / 2)
        ax.add_patch(Rectangle(corner, 1.0, _STRIP, facecolor=STRIP_COLOUR, zorder=0.6, transform=ax.transAxes))
        ax.text(-0.02, middle, f"{place}\naxis", ha="right", fontsize=SMALL - 1, **look)
        low, high = short_number(min(values), 1), short_number(max(values), 1)
        ax.text(1.02, middle, low if low == high else f"{low} to\n{high}", fontsize=SMALL - 0.5, **look)


def shifted(ax: Axes, points: float) -> ScaledTranslation:
    """A shift to the right, to be added to a transform."""
    return ScaledTranslation(points / 72.0, 0.0, ax.figure.dpi_scale_trans)


def height_of(ax: Axes, value: float) -> float:
    """The height of a value, as a part of the panel's."""
    return float(ax.transAxes.inverted().transform(ax.transData.transform((ax.get_xlim()[0], value)))[1])


def value_at(ax: Axes, height: float) -> float:
    """The value at a height, given as a part of the panel's."""
    return float(ax.transData.inverted().transform(ax.transAxes.transform((0.0, height)))[1])


def short_number(value: float, digits: int = 4) -> str:
    """A number in as few characters as possible: 0.05, 1.2e-7, 20,000."""
    if value == 0.0 or not math.isfinite(value):
        return "0" if value == 0.0 else str(value)
    if 1e-4 <= abs(value) < 1e6:
        rounded = float(f"{value:.{digits}g}")
        return f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.10g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def apply_steps(ax: Axes, labels: dict[int, str]) -> None:
    """The T' axis: ticks where there is data, or at round numbers where there is too much; crowded labels are dropped.

    Log where T' spans a factor of 20 or more, or where that spreads the T' better.
    """
    steps = sorted(labels)
    if not steps:
        ax.set_xticks([])
        return

    def closest(place: Callable[[float], float]) -> float:
        span = place(steps[-1]) - place(steps[0])
        return min((place(b) - place(a)) / span for a, b in pairwise(steps))

    log = len(steps) > 1 and (steps[-1] >= _WIDE * steps[0] or closest(math.log) > closest(float) + 1e-9)
    place: Callable[[float], float] = math.log10 if log else float
    first, span = place(steps[0]), place(steps[-1]) - place(steps[0])
    air = (0.16 if len(steps) <= _EACH_TICK else 0.05) * span or 1.0  # markers of one T' stand side by side
    if log:
        ax.set_xscale("log")
        ax.set_xlim(10 ** (first - air), 10 ** (first + span + air))
    else:
        ax.set_xlim(first - air, first + span + air)
    # The page is laid out when it is drawn, with somewhat other widths than now.
    inches = 0.85 * ax.get_window_extent().width / ax.figure.dpi * span / (span + 2 * air)
    needed = 0.08 + CHARACTER_IN * 1.15 * max(len(line) for label in labels.values() for line in label.split("\n"))
    at: list[int] = steps
    if len(steps) > _EACH_TICK:
        # A factor of ten or more between the ends leaves round numbers enough on a log axis.
        wide = steps[-1] >= 10 * steps[0]
        locator = LogLocator(subs=(1, 2, 5)) if log and wide else MaxNLocator(7, steps=[1, 2, 2.5, 5, 10], integer=True)
        at = [round(tick) for tick in locator.tick_values(steps[0], steps[-1]) if steps[0] <= tick <= steps[-1]]
    shown = at[-1:]
    for step in reversed(at[:-1]):
        if (place(shown[-1]) - place(step)) / span * inches >= needed:
            shown.append(step)
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: labels.get(round(value), f"{round(value):,}")))
    ax.xaxis.set_minor_locator(FixedLocator(steps) if len(steps) <= _EACH_MARK else NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
