"""Markers, the same in every figure: whether the spoof succeeds, against which verifier, and whether it was measured."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import Transform

from raypol.figures.style.arms import ArmStyle
from raypol.figures.style.page import FAINT, INK, Entry
from raypol.store.results.rows import TrialRow

MARKER_PT: Final = 5.5

Sign = Literal["filled", "half", "hollow", "ring", "strike"]


def marker_look(style: ArmStyle, sign: Sign = "filled", size: float = MARKER_PT) -> dict[str, Any]:
    """Matplotlib's options for a marker without a line."""
    edge = {"markeredgecolor": INK, "linestyle": "none"}
    if sign == "ring":
        return {**edge, "marker": "o", "markersize": size + 3.5, "markerfacecolor": "none", "markeredgewidth": 0.7}
    if sign == "strike":
        return {**edge, "marker": (2, 0, -45), "markersize": 2.1 * size, "markeredgewidth": 1.0}
    return {
        "color": style.colour,
        "marker": style.marker,
        "markersize": size,
        "markeredgewidth": 0.2 * size,
        "markeredgecolor": style.colour,
        "markerfacecolor": "white" if sign == "hollow" else style.colour,
        "markerfacecoloralt": "white",
        "fillstyle": "left" if sign == "half" else "full",
        "linestyle": "none",
    }


def signs_of(rows: Sequence[TrialRow]) -> list[Sign]:
    """The parts of the marker of these rows: filled if the spoofs succeed, half if some do, else hollow; ring; strike."""
    succeeded = [row.success is True for row in rows]
    strict = [row.success_strict for row in rows if row.success]
    signs: list[Sign] = ["filled" if all(succeeded) else "half" if any(succeeded) else "hollow"]
    if is_not_measured(rows):
        signs.append("ring")
    if strict and all(value is False for value in strict):
        signs.append("strike")
    return signs


def is_not_measured(rows: Sequence[TrialRow]) -> bool:
    """True if a device was simulated or a value estimated."""
    return any(row.simulated or row.estimated for row in rows)


def draw_markers(
    ax: Axes,
    points: Iterable[tuple[float, float, Sequence[TrialRow]]],
    style: ArmStyle,
    *,
    gid: str,
    size: float = MARKER_PT,
    transform: Transform | None = None,
) -> None:
    """Draw a marker per point: x, y and the rows that share it, in data coordinates unless a transform is given.

    Markers that look alike are one artist, whose id ends with their sign: thousands are drawn in no time.
    """
    alike: dict[Sign, list[tuple[float, float]]] = {}
    for x, y, rows in points:
        for sign in signs_of(rows):
            alike.setdefault(sign, []).append((x, y))
    for sign, places in alike.items():
        xs, ys = zip(*places, strict=True)
        look = {**marker_look(style, sign, size), "zorder": {"ring": 3.5, "strike": 5}.get(sign, 4)}
        ax.plot(xs, ys, **look, transform=transform or ax.transData, clip_on=False, gid=f"{gid}:{sign}")


def sign_entries(groups: Iterable[Sequence[TrialRow]]) -> list[Entry]:
    """Legend entries for the signs of the markers that are drawn, given the rows of each."""
    seen = {sign for rows in groups for sign in signs_of(rows)}
    if not seen:
        return []
    texts: dict[Sign, str] = {
        "filled": "filled: spoof succeeds",
        "hollow": "hollow: it does not",
        "half": "half: some of its rows do",
        "strike": "struck out: succeeds under published alone",
        "ring": "ring: simulated or estimated",
    }
    grey = ArmStyle(FAINT, "o", "-")
    handles = {sign: Line2D([], [], **marker_look(grey, sign)) for sign in texts}
    return [
        ((handles["filled"], handles[sign]) if sign == "strike" else handles[sign], text)
        for sign, text in texts.items()
        if sign in seen or sign in ("filled", "hollow")
    ]
