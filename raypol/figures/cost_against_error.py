"""Cost against error of all spoofs, with the Pareto front: which attack buys how low an error for how much time."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from raypol.core.distances import METRICS, Metric
from raypol.core.errors import reject_choice
from raypol.figures.series import Series, Setting, by_variant, settings_of
from raypol.figures.style.arms import ArmStyle, in_order, styles_of
from raypol.figures.style.axes import (
    Place,
    apply_scale,
    choose_scale,
    draw_strips,
    real,
    short_number,
    strip_middle,
    value_at,
)
from raypol.figures.style.markers import MARKER_PT, draw_markers, marker_look, sign_entries
from raypol.figures.style.notes import list_briefly, note_left_out, note_names, note_not_measured, row_name
from raypol.figures.style.page import Entry, add_axes, new_page, plain_axes, say_empty, shortened
from raypol.store.results.rows import HONEST, TrialRow

Error = Literal["largest"] | Metric
"""largest = the largest of the four."""
Costed = tuple[float, float]
"""Cost and error of a trial."""

_MOST_SETTINGS: Final = 6
_ALL: Final = "#CFCFCF"
_STRICT: Final = "#B00020"
_BETTER: Final = "#0072B2"
_MANY: Final = 200
"""More points than this are drawn smaller."""
_LISTED: Final = 6
"""Trials on a front that a footnote names."""


@dataclass(frozen=True, slots=True)
class CostBlock:
    """Cost and error of the spoofs of one setting."""

    setting: Setting
    error: Error
    is_relative: bool
    """True if both axes are in units of the honest proof's."""
    points: dict[Series, list[tuple[Costed, TrialRow]]]
    """By arm."""
    lost: list[str]
    """Trials without a value."""

    @property
    def labels(self) -> tuple[str, str]:
        """What the axes say."""
        if not self.is_relative:
            metric = "l2" if self.error == "largest" else self.error
            return "generation time (device s)", f"normalised error, {metric} (unit: d_ref)"
        error = "largest of the four errors" if self.error == "largest" else f"error, {self.error}"
        return "generation time in device seconds (proof's = 1)", f"{error} (proof's = 1)"

    def costs(self, *, strict: bool = False) -> list[Costed]:
        """All points, or those of the trials that the strict verifier accepts."""
        return [at for some in self.points.values() for at, row in some if row.accepted_strict or not strict]


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
        reject_choice("error", error, ("largest", *METRICS))
    settings = settings_of(rows) or [Setting("", "", ())]
    blocks = [cost_block(setting, error) for setting in settings[:_MOST_SETTINGS]]
    styles = styles_of([arm for block in blocks for arm in block.points])
    columns = min(2, len(blocks))
    title = "Cost against error" if len(blocks) > 1 else f"{settings[0].name}: cost against error"
    figure, body = new_page(
        8.1 * columns,
        4.8 * -(-len(blocks) // columns),
        title=title if rows else "No trials",
        entries=_legend(blocks, styles),
        notes=[*_notes(blocks, rows), *note_names("Not drawn", (s.name for s in settings[_MOST_SETTINGS:]))],
    )
    for ax, block in zip(add_axes(body, len(blocks), columns), blocks, strict=True):
        _draw(ax, block, styles, title=shortened(block.setting.name, 60) if len(blocks) > 1 else "")
    return figure


def cost_block(setting: Setting, error: Error) -> CostBlock:
    """Cost and error of the spoofs of a setting."""
    curves = by_variant(setting.spoofs)
    is_relative = any(row.ratio_time is not None for row in setting.spoofs)
    points: dict[Series, list[tuple[Costed, TrialRow]]] = {}
    lost = []
    for series, row in ((series, row) for series, rows in curves.series.items() for row in rows):
        if is_relative:
            names = METRICS if error == "largest" else (error,)
            ratios = [real(getattr(row, f"ratio_error_{name}")) for name in names]
            at = (real(row.ratio_time), math.nan if any(map(math.isnan, ratios)) else max(ratios))
        else:
            at = (real(row.device_s), real(getattr(row, f"error_{'l2' if error == 'largest' else error}")))
        if any(map(math.isnan, at)):
            lost.append(row_name(row, series))
        else:
            points.setdefault(series, []).append((at, row))
    return CostBlock(setting, error, is_relative, {arm: points[arm] for arm in in_order(points)}, lost)


def front_of(points: Iterable[Costed]) -> list[Costed]:
    """The points that no other point dominates, by rising cost."""
    front: list[Costed] = []
    for cost, error in sorted(set(points)):
        if not front or error < front[-1][1]:
            front.append((cost, error))
    return front


def _draw(ax: Axes, block: CostBlock, styles: Mapping[str, ArmStyle], *, title: str) -> None:
    plain_axes(ax, title=title, x=block.labels[0], y=block.labels[1])
    every = block.costs()
    ones = [1.0] if block.is_relative else []
    x_scale = choose_scale([*(x for x, _ in every), *ones], clip=False)
    y_scale = choose_scale([*(y for _, y in every), *ones], keep=ones)
    if not every or x_scale is None or y_scale is None:
        say_empty(ax, "no values")
        return
    beyond = y_scale.beyond(y for _, y in every)
    apply_scale(ax, y_scale, beyond)
    apply_scale(ax, x_scale, horizontal=True)
    if block.is_relative:
        low_x, low_y = ax.get_xlim()[0], ax.get_ylim()[0]
        ax.fill_between([low_x, 1.0], low_y, 1.0, color=_BETTER, alpha=0.06, linewidth=0, zorder=0.5, gid="better")
        for draw in (ax.axvline, ax.axhline):
            draw(1.0, color="black", linewidth=1.3, zorder=1.5, gid=HONEST)
    draw_strips(ax, beyond)
    edges: dict[Place, float] = {place: value_at(ax, strip_middle(place)) for place in beyond}

    def onto(at: Costed) -> Costed:
        """The point, or its place at the edge if it lies beyond an axis."""
        return x_scale.clip(at[0]), edges.get(y_scale.place(at[1]), at[1])

    _draw_front(ax, [onto(at) for at in front_of(every)], _ALL, 4.0, "front")
    _draw_front(ax, [onto(at) for at in front_of(block.costs(strict=True))], _STRICT, 1.4, "front strict")
    size = MARKER_PT if len(every) <= _MANY else 3.0
    for arm, some in block.points.items():
        draw_markers(ax, [(*onto(at), [row]) for at, row in some], styles[arm], gid=arm, size=size)


def _draw_front(ax: Axes, front: Sequence[Costed], colour: str, width: float, gid: str) -> None:
    """Draw a front as stairs: between two of its points no spoof is better than the nearer one on the left."""
    if front:
        right, top = ax.get_xlim()[1], ax.get_ylim()[1]
        xs, ys = [front[0][0], *(x for x, _ in front), right], [top, *(y for _, y in front), front[-1][1]]
        ax.step(xs, ys, where="post", color=colour, linewidth=width, zorder=2, gid=gid)


def _legend(blocks: Sequence[CostBlock], styles: Mapping[str, ArmStyle]) -> list[list[Entry]]:
    controls = {arm for block in blocks for arm, some in block.points.items() if some[0][1].is_control}
    arms: list[Entry] = [
        (Line2D([], [], **marker_look(style)), f"{arm} (control)" if arm in controls else arm)
        for arm, style in styles.items()
    ]
    lines: list[Entry] = []
    if arms:
        lines.append((Line2D([], [], color=_ALL, linewidth=4.0), "Pareto front of all spoofs"))
    if any(block.costs(strict=True) for block in blocks):
        lines.append((Line2D([], [], color=_STRICT, linewidth=1.4), "of those the strict verifier accepts"))
    if any(block.is_relative for block in blocks):
        lines.append((Line2D([], [], color="black", linewidth=1.3), "honest proof"))
        lines.append((Patch(facecolor=_BETTER, alpha=0.1), "less time and error than the proof"))
    return [arms, lines, sign_entries([row] for block in blocks for some in block.points.values() for _, row in some)]


def _notes(blocks: Sequence[CostBlock], rows: Sequence[TrialRow]) -> list[str]:
    drawn = [(arm, *pair) for block in blocks for arm, some in block.points.items() for pair in some]
    notes = ["Missing: spoofs with status ok, a time and an error."]
    if drawn:
        notes = ["A marker per trial. Error: the largest over the verified intervals. Time: device seconds."]
        if not all(block.is_relative for block in blocks):
            notes.append("Missing: an honest row to compare with; axes are absolute.")
    at_edge = (arm for arm, (x, _), _ in drawn if not 0.0 < x < math.inf)
    notes += note_names("Zero or infinite time, drawn at the edge", at_edge)
    notes += note_names("Without a value, not drawn", (name for block in blocks for name in block.lost))
    notes += note_not_measured([row for row in rows if row.is_ok])
    return [*notes, *note_left_out(rows), *_note_front(drawn)]


def _note_front(drawn: Sequence[tuple[Series, Costed, TrialRow]]) -> list[str]:
    """A footnote on what lies on the front of the trials that the strict verifier accepts."""
    accepted = [one for one in drawn if one[2].accepted_strict]
    front = set(front_of(at for _, at, _ in accepted))
    on_it = sorted((one for one in accepted if one[1] in front), key=lambda one: one[1])
    if len(on_it) > _LISTED:
        counts = Counter(arm for arm, _, _ in on_it)
        return [f"On the strict front: {list_briefly(f'{arm} {n:,}' for arm, n in counts.most_common())} trials."]
    listed = (f"{row_name(row, arm)} ({short_number(x, 2)}, {short_number(y, 2)})" for arm, (x, y), row in on_it)
    return note_names("On the strict front (time, error)", listed)
