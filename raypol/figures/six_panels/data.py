"""Data of the six panels: the rows of each point, the jump (errors of no update at all), success ranges, scales."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from raypol.core.distances import METRICS, Metric
from raypol.figures.series import Series, Setting, by_variant, moving
from raypol.figures.six_panels.success_ranges import ArmRange, arm_ranges
from raypol.figures.style.arms import in_order
from raypol.figures.style.axes import Place, Scale, band, choose_scale, real
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the six panels."""

    name: str
    title: str
    axis: str
    value: Callable[[TrialRow], float]
    metric: Metric | None = None


def _error(metric: Metric) -> Callable[[TrialRow], float]:
    return lambda row: real(getattr(row, f"error_{metric}"))


PANELS: Final = (
    *(
        Panel(m, f"({letter}) reproduction error, {m}", f"normalised error, {m} (unit: d_ref)", _error(m), m)
        for letter, m in zip("abcd", METRICS, strict=True)
    ),
    Panel("time", "(e) generation time", "generation time (device s)", lambda row: real(row.device_s)),
    Panel("size", "(f) size", "size (MB)", lambda row: real(row.size_bytes) / 1e6),
)

Jumps = tuple[float, ...]
"""In the order of METRICS."""


@dataclass(frozen=True, slots=True)
class Jump:
    """The errors of no update at all, on one trajectory that some arms share."""

    arms: list[Series]
    """Attacks before controls: it has the colour of the first."""
    values: dict[int, Jumps]
    """By T'."""

    def of(self, panel: Panel) -> dict[int, float]:
        """The values that belong in a panel, by T'; none in those of time and size."""
        if panel.metric is None:
            return {}
        return {steps: values[METRICS.index(panel.metric)] for steps, values in sorted(self.values.items())}


@dataclass(slots=True)
class SettingPanels:
    """One setting's rows."""

    setting: Setting
    honest: list[TrialRow]
    points: dict[Series, dict[int, list[TrialRow]]]
    """Spoofs by arm, in the order of legends, and T', ascending."""
    jumps: list[Jump]
    ranges: list[ArmRange]
    merged: list[str]
    """Names of columns that vary and have no curves of their own."""
    tried: list[int]
    """Every T' that is on the axis, ascending."""
    scales: dict[str, Scale | None] = field(default_factory=dict)
    """By panel."""

    @property
    def groups(self) -> list[list[TrialRow]]:
        """The rows of each point."""
        return [rows for by_steps in self.points.values() for rows in by_steps.values()]

    @property
    def named_spoofs(self) -> list[tuple[Series, TrialRow]]:
        """All spoofs that are drawn, with their curves."""
        return [(arm, row) for arm, by_steps in self.points.items() for rows in by_steps.values() for row in rows]

    @property
    def spoofs(self) -> list[TrialRow]:
        """All spoofs that are drawn."""
        return [row for _, row in self.named_spoofs]

    @property
    def steps(self) -> list[int]:
        """Every T' with a point, ascending."""
        return sorted({steps for by_steps in self.points.values() for steps in by_steps})

    def values(self, panel: Panel) -> list[float]:
        """All values that are drawn in a panel."""
        jumps = [value for jump in self.jumps for value in jump.of(panel).values()]
        return [*map(panel.value, [*self.honest, *self.spoofs]), *jumps]

    def places_beyond(self) -> list[Place]:
        """Below, above or both, if some panel has values there."""
        scaled = [(panel, scale) for panel in PANELS if (scale := self.scales[panel.name]) is not None]
        found = {place for panel, scale in scaled for place in scale.beyond(self.values(panel))}
        return sorted(found, reverse=True)

    def unjoined(self) -> dict[Series, list[str]]:
        """Arms between whose points no line is drawn, with what differs from point to point."""
        found = {}
        for arm, by_steps in self.points.items():
            firsts = [rows[0] for rows in by_steps.values()]
            differs = [name for name in moving(firsts) if name not in self.merged]
            if len(by_steps) > 1 and differs:
                found[arm] = differs
        return found


def setting_panels(setting: Setting, ranges: Sequence[RangeRow] = ()) -> SettingPanels:
    """The six panels of a setting."""
    curves = by_variant([row for row in setting.rows if row.status in ("ok", "stopped")])
    points: dict[Series, dict[int, list[TrialRow]]] = {}
    for series in in_order(curves.spoofs):
        for row in sorted(curves.spoofs[series], key=lambda row: row.steps):
            if row.is_ok:
                points.setdefault(series, {}).setdefault(row.steps, []).append(row)
    found = SettingPanels(
        setting=setting,
        honest=setting.honest,
        points=points,
        jumps=_jumps(points),
        ranges=arm_ranges(curves.spoofs, ranges),
        merged=curves.merged,
        tried=sorted({row.steps for rows in curves.spoofs.values() for row in rows}) if points else [],
    )
    for panel in PANELS:
        keep = map(panel.value, found.honest)
        found.scales[panel.name] = choose_scale(found.values(panel), keep=keep, clip=panel.metric is not None)
    return found


def _jumps(points: dict[Series, dict[int, list[TrialRow]]]) -> list[Jump]:
    """Arms that share a trajectory share one dashed line; the most common trajectory first."""
    found: list[Jump] = []
    attacks_first = sorted(points.items(), key=lambda item: next(iter(item[1].values()))[0].is_control)
    for arm, by_steps in attacks_first:
        values = {
            steps: tuple(band(real(getattr(row, f"jump_{m}")) for row in rows).median for m in METRICS)
            for steps, rows in by_steps.items()
        }
        values = {steps: jumps for steps, jumps in values.items() if any(map(math.isfinite, jumps))}
        if not values:
            continue
        for jump in found:
            if all(_alike(jumps, jump.values.get(steps, jumps)) for steps, jumps in values.items()):
                jump.arms.append(arm)
                jump.values.update(values)
                break
        else:
            found.append(Jump([arm], dict(values)))
    return sorted(found, key=lambda jump: -len(jump.arms))


def _alike(a: Jumps, b: Jumps) -> bool:
    # A percent: less than a line's width in any panel.
    return all(math.isclose(x, y, rel_tol=0.01) or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b, strict=True))
