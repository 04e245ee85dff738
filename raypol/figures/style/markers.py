"""What a marker says in every figure: whether the spoof succeeds, against which verifier, and whether it was measured."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from matplotlib.lines import Line2D

from raypol.figures.style.arms import ArmStyle
from raypol.figures.style.page import FAINT, INK, Entry
from raypol.store.results.rows import TrialRow

MARKER_PT: Final = 5.5

Fill = Literal["filled", "half", "hollow"]

RING: Final[dict[str, Any]] = {
    "marker": "o",
    "markersize": MARKER_PT + 3.5,
    "markerfacecolor": "none",
    "markeredgecolor": INK,
    "markeredgewidth": 0.7,
    "linestyle": "none",
}
STRIKE: Final[dict[str, Any]] = {
    "marker": (2, 0, -45),
    "markersize": 2.1 * MARKER_PT,
    "markeredgecolor": INK,
    "markeredgewidth": 1.0,
    "linestyle": "none",
}


def look_of(kind: str, style: ArmStyle, size: float = MARKER_PT) -> tuple[dict[str, Any], float]:
    """Matplotlib's options for markers of a kind (a fill, ring or strike) and their zorder."""
    if kind == "ring":
        return {**RING, "markersize": size + 3.5}, 3.5
    if kind == "strike":
        return {**STRIKE, "markersize": 2.1 * size}, 5
    fill: Fill = "filled" if kind == "filled" else "half" if kind == "half" else "hollow"
    return marker_look(style, fill, size), 4


def marker_look(style: ArmStyle, fill: Fill, size: float = MARKER_PT) -> dict[str, Any]:
    """Matplotlib's options for a marker without a line."""
    return {
        "color": style.colour,
        "marker": style.marker,
        "markersize": size,
        "markeredgewidth": 0.2 * size,
        "markeredgecolor": style.colour,
        "markerfacecolor": "white" if fill == "hollow" else style.colour,
        "markerfacecoloralt": "white",
        "fillstyle": "left" if fill == "half" else "full",
        "linestyle": "none",
    }


def fill_of(rows: Sequence[TrialRow]) -> Fill:
    """Filled if the spoofs of these rows succeed, half if some do, else hollow."""
    succeeded = [row.success is True for row in rows]
    return "filled" if all(succeeded) else "half" if any(succeeded) else "hollow"


def is_strict_apart(rows: Sequence[TrialRow]) -> bool:
    """True if the spoof succeeds against the published verifier only."""
    strict = [row.success_strict for row in rows if row.success]
    return bool(strict) and all(value is False for value in strict)


def is_not_measured(rows: Sequence[TrialRow]) -> bool:
    """True if a device was simulated or a value estimated."""
    return any(row.simulated or row.estimated for row in rows)


def sign_entries(groups: Iterable[Sequence[TrialRow]]) -> list[Entry]:
    """What the legend says of the markers that are drawn.

    Args:
        groups: the rows of each marker.
    """
    every = list(groups)
    if not every:
        return []
    grey = ArmStyle(FAINT, "o", "-")
    signs: list[Entry] = [
        (Line2D([], [], **marker_look(grey, "filled")), "filled: spoof succeeds"),
        (Line2D([], [], **marker_look(grey, "hollow")), "hollow: it does not"),
    ]
    if any(fill_of(rows) == "half" for rows in every):
        signs.append((Line2D([], [], **marker_look(grey, "half")), "half: some of its rows do"))
    if any(map(is_strict_apart, every)):
        struck = (Line2D([], [], **marker_look(grey, "filled")), Line2D([], [], **STRIKE))
        signs.append((struck, "struck out: succeeds under published alone"))
    if any(map(is_not_measured, every)):
        signs.append((Line2D([], [], **RING), "ring: simulated or estimated"))
    return signs
