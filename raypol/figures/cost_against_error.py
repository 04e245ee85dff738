"""Cost against error of all spoofs, with the Pareto front: which attack buys how low an error for how much time."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from raypol.core.distances import METRICS, Metric
from raypol.core.errors import InputError
from raypol.figures.series import Setting, by_variant, settings_of
from raypol.figures.six_panels.panel import STRIP_COLOUR
from raypol.figures.six_panels.text import not_measured
from raypol.figures.style.arms import HONEST, ArmStyle, is_control, styles_of
from raypol.figures.style.axes import STRIP, apply_scale, choose_scale, number
from raypol.figures.style.markers import (
    MARKER_PT,
    fill_of,
    is_not_measured,
    is_strict_apart,
    look_of,
    marker_look,
    sign_entries,
)
from raypol.figures.style.page import (
    FAINT,
    INK,
    SMALL,
    TEXT,
    Entry,
    enumerate_briefly,
    lay_out,
    plain_axes,
    real,
    shortened,
)
from raypol.store.results.rows import TrialRow

Error = Literal["largest"] | Metric
"""largest = the largest of the four."""

MOST_SETTINGS: Final = 6
_ALL: Final = "#CFCFCF"
_STRICT: Final = "#B00020"
_AXES_IN: Final = (6.6, 4.2)
_MANY: Final = 200
"""More points than this are drawn smaller."""
_LISTED: Final = 6
"""Trials on a front that a footnote names."""
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Block:
    setting: Setting
    ratios: bool
    """True if both axes are in units of the honest proof's."""
    points: dict[str, list[tuple[Point, TrialRow]]]
    """(cost, error) by arm."""
    lost: list[str]


def cost_against_error(rows: Sequence[TrialRow], *, error: Error = "largest") -> Figure:
    """Generation time against reproduction error, a marker per spoof, both in units of the honest proof's.

    Below 1 on both axes (shaded) a spoof beats the proof. Two Pareto fronts: of all spoofs, and of those that the strict
    verifier accepts. Controls are marked in the legend; an attack behind them has not earned its cost. Without a proof to
    compare with the axes are device seconds and the normalised l2 error.

    Args:
        rows: any rows of a results folder.
        error: largest: the largest of the four errors' ratios; else the ratio of one.
    """
    if error != "largest" and error not in METRICS:
        raise InputError(f"expected error 'largest' or one of {', '.join(METRICS)}, got {error!r}")
    settings = settings_of(rows) or [Setting("", "", ())]
    blocks = [_block(setting, error) for setting in settings[:MOST_SETTINGS]]
    styles = styles_of([arm for block in blocks for arm in block.points])
    columns = min(2, len(blocks))
    pitch_x, pitch_y = _AXES_IN[0] + 1.5, _AXES_IN[1] + 0.65 + 0.3 * (len(blocks) > 1)
    lines = -(-len(blocks) // columns)
    title = "Cost against error" if len(blocks) > 1 or not rows else f"{settings[0].name}: cost against error"
    page = lay_out(
        columns * pitch_x + 0.4,
        lines * pitch_y,
        title=title if rows else "No trials",
        entries=_legend(blocks, styles),
        notes=_notes(blocks, rows, [s.name for s in settings[MOST_SETTINGS:]]),
    )
    for i, block in enumerate(blocks):
        left, bottom = (i % columns) * pitch_x + 0.8, (lines - 1 - i // columns) * pitch_y + 0.55
        ax = page.axes(left, bottom, *_AXES_IN)
        if len(blocks) > 1:
            ax.set_title(
                shortened(block.setting.name, 60), loc="left", fontsize=TEXT + 0.5, color=INK, parse_math=False
            )
        _draw(ax, block, styles, error)
    return page.figure


def front_of(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in one and equals in the other, by rising cost."""
    front: list[Point] = []
    for cost, error in sorted(set(points)):
        if not front or error < front[-1][1]:
            front.append((cost, error))
    return front


def _block(setting: Setting, error: Error) -> _Block:
    curves = by_variant(setting.spoofs)
    ratios = any(row.ratio_time is not None for row in curves.rows)
    points: dict[str, list[tuple[Point, TrialRow]]] = {}
    lost = []
    for row in curves.rows:
        point = (
            (real(row.ratio_time), _error_ratio(row, error))
            if ratios
            else (real(row.device_s), real(row.error_l2 if error == "largest" else getattr(row, f"error_{error}")))
        )
        if math.isnan(point[0]) or math.isnan(point[1]):
            lost.append(f"{row.arm} at T' = {row.steps:,}")
        else:
            points.setdefault(row.arm, []).append((point, row))
    ordered = {arm: points[arm] for arm in styles_of(points)}
    return _Block(setting, ratios, ordered, lost)


def _error_ratio(row: TrialRow, error: Error) -> float:
    names = METRICS if error == "largest" else (error,)
    ratios = [real(getattr(row, f"ratio_error_{name}")) for name in names]
    return math.nan if any(map(math.isnan, ratios)) else max(ratios)


def _draw(ax: Axes, block: _Block, styles: Mapping[str, ArmStyle], error: Error) -> None:
    plain_axes(ax)
    unit = ["generation time in device seconds (proof's = 1)", f"{_named(error)} (proof's = 1)"]
    if not block.ratios:
        unit = [
            "generation time (device s)",
            f"normalised error, {'l2' if error == 'largest' else error} (unit: d_ref)",
        ]
    ax.set_xlabel(unit[0], fontsize=TEXT, color=INK)
    ax.set_ylabel(unit[1], fontsize=TEXT, color=INK)
    every = [point for some in block.points.values() for point, _ in some]
    ones = [1.0] if block.ratios else []
    x_scale = choose_scale([*(x for x, _ in every), *ones], clip=False)
    y_scale = choose_scale([*(y for _, y in every), *ones], keep=ones)
    if not every or x_scale is None or y_scale is None:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=TEXT)
        return
    below = any(y_scale.place(y) == "below" for _, y in every)
    above = any(y_scale.place(y) == "above" for _, y in every)
    apply_scale(ax, y_scale, below=below, above=above)
    apply_scale(ax, x_scale, below=False, above=False, horizontal=True)
    if block.ratios:
        low_x, low_y = ax.get_xlim()[0], ax.get_ylim()[0]
        ax.fill_between([low_x, 1.0], low_y, 1.0, color="#0072B2", alpha=0.06, linewidth=0, zorder=0.5, gid="better")
        for draw in (ax.axvline, ax.axhline):
            draw(1.0, color="black", linewidth=1.3, zorder=1.5, gid=HONEST)
    strips = [place for place, there in (("below", below), ("above", above)) if there]
    for place in strips:
        _draw_strip(ax, place, [y for _, y in every if y_scale.place(y) == place])
    middles = {place: _strip_middle(ax, place) for place in strips}

    def onto(point: Point) -> Point:
        """The point, or its place at the edge if it lies beyond an axis."""
        place = y_scale.place(point[1])
        return min(max(point[0], x_scale.low), x_scale.high), point[1] if place == "inside" else middles[place]

    _draw_front(ax, [onto(point) for point in front_of(every)], _ALL, 4.0, "front")
    _draw_front(ax, [onto(point) for point in front_of(_strict(block))], _STRICT, 1.4, "front strict")
    size = MARKER_PT if len(every) <= _MANY else 3.0
    for arm, some in block.points.items():
        alike: dict[str, list[Point]] = {}
        for point, row in some:
            shown = onto(point)
            alike.setdefault(fill_of([row]), []).append(shown)
            if is_not_measured([row]):
                alike.setdefault("ring", []).append(shown)
            if is_strict_apart([row]):
                alike.setdefault("strike", []).append(shown)
        for kind, places in alike.items():
            look, zorder = look_of(kind, styles[arm], size)
            xs, ys = zip(*places, strict=True)
            ax.plot(xs, ys, **look, zorder=zorder, clip_on=False, gid=f"{arm}:{kind}")


def _draw_strip(ax: Axes, place: str, values: Sequence[float]) -> None:
    """Room at the edge for errors so small, or so large, that they would squash the others; their numbers in the margin."""
    bottom = 0.0 if place == "below" else 1.0 - STRIP
    strip = Rectangle((0.0, bottom), 1.0, STRIP, facecolor=STRIP_COLOUR, zorder=0.6, transform=ax.transAxes)
    ax.add_patch(strip)
    low, high = number(min(values), 1), number(max(values), 1)
    look: dict[str, Any] = {"transform": ax.transAxes, "va": "center", "color": FAINT, "linespacing": 0.9}
    said = low if low == high else f"{low} to\n{high}"
    ax.text(1.02, bottom + STRIP / 2, said, fontsize=SMALL - 0.5, **look)
    ax.text(-0.02, bottom + STRIP / 2, f"{place}\naxis", ha="right", fontsize=SMALL - 1, **look)


def _strip_middle(ax: Axes, place: str) -> float:
    """The middle of a strip on the value axis."""
    at = STRIP / 2 if place == "below" else 1.0 - STRIP / 2
    return float(ax.transData.inverted().transform(ax.transAxes.transform((0.0, at)))[1])


def _draw_front(ax: Axes, front: Sequence[Point], colour: str, width: float, gid: str) -> None:
    """As stairs: between two of its points no spoof is better than the nearer one on the left."""
    if front:
        right, top = ax.get_xlim()[1], ax.get_ylim()[1]
        xs, ys = [front[0][0], *(x for x, _ in front), right], [top, *(y for _, y in front), front[-1][1]]
        ax.step(xs, ys, where="post", color=colour, linewidth=width, zorder=2, gid=gid)


def _strict(block: _Block) -> list[Point]:
    return [point for some in block.points.values() for point, row in some if row.accepted_strict]


def _named(error: Error) -> str:
    return "largest of the four errors" if error == "largest" else f"error, {error}"


def _legend(blocks: Sequence[_Block], styles: Mapping[str, ArmStyle]) -> list[list[Entry]]:
    arms: list[Entry] = [
        (Line2D([], [], **marker_look(style, "filled")), f"{arm} (control)" if is_control(arm) else arm)
        for arm, style in styles.items()
    ]
    lines: list[Entry] = []
    if arms:
        lines.append((Line2D([], [], color=_ALL, linewidth=4.0), "Pareto front of all spoofs"))
    if any(map(_strict, blocks)):
        lines.append((Line2D([], [], color=_STRICT, linewidth=1.4), "of those the strict verifier accepts"))
    if any(block.ratios for block in blocks):
        lines.append((Line2D([], [], color="black", linewidth=1.3), "honest proof"))
        lines.append((Patch(facecolor="#0072B2", alpha=0.1), "less time and error than the proof"))
    return [arms, lines, sign_entries([row] for block in blocks for some in block.points.values() for _, row in some)]


def _notes(blocks: Sequence[_Block], rows: Sequence[TrialRow], left_out: Sequence[str]) -> list[str]:
    notes = []
    drawn = [(point, row) for block in blocks for some in block.points.values() for point, row in some]
    if drawn:
        notes.append("A marker per trial. Error: the largest over the verified intervals. Time: device seconds.")
    else:
        notes.append("Missing: spoofs with status ok, a time and an error.")
    if drawn and not all(block.ratios for block in blocks):
        notes.append("Missing: an honest row to compare with; axes are absolute.")
    beyond = [row.arm for (x, _), row in drawn if not 0.0 < x < math.inf]
    if beyond:
        notes.append(f"Zero or infinite time, drawn at the edge: {enumerate_briefly(beyond)}.")
    lost = [name for block in blocks for name in block.lost]
    if lost:
        notes.append(f"Without a value, not drawn: {enumerate_briefly(lost)}.")
    notes += not_measured([row for row in rows if row.is_ok])
    failed = sum(not row.is_ok for row in rows)
    if failed:
        notes.append(f"Left out, {failed:,} of {len(rows):,} rows: failed or stopped early.")
    if left_out:
        notes.append(f"Not drawn: {enumerate_briefly(left_out)}.")
    best = _best(drawn)
    return [*notes, best] if best else notes


def _best(drawn: Sequence[tuple[Point, TrialRow]]) -> str:
    """In words, what lies on the front of what the strict verifier accepts."""
    accepted = [(point, row) for point, row in drawn if row.accepted_strict]
    front = set(front_of([point for point, _ in accepted]))
    on_it = sorted(((point, row) for point, row in accepted if point in front), key=lambda pair: pair[0])
    if not on_it:
        return ""
    if len(on_it) > _LISTED:
        counts = Counter(row.arm for _, row in on_it)
        return f"On the strict front: {enumerate_briefly([f'{arm} {n:,}' for arm, n in counts.most_common()])} trials."
    said = [f"{row.arm} at T' = {row.steps:,} ({number(x, 2)}, {number(y, 2)})" for (x, y), row in on_it]
    return f"On the strict front (time, error): {'; '.join(said)}."
