"""Spoof time per device, with the proof's as a line (Zhang et al. 2022, arXiv:2108.09454, figure 11)."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raypol.core.errors import reject_choice
from raypol.figures.series import settings_of
from raypol.figures.style.arms import ArmStyle, in_order, styles_of
from raypol.figures.style.axes import Band, Scale, apply_scale, band, choose_scale, height_of, real, short_number
from raypol.figures.style.markers import draw_markers, marker_look, sign_entries
from raypol.figures.style.notes import note_names, note_not_measured, row_name
from raypol.figures.style.page import INK, SMALL, add_axes, new_page, plain_axes, say_empty, shortened
from raypol.store.results.rows import TrialRow

By = Literal["device", "device_name"]

_MOST_PANELS: Final = 9
"""Settings and T' that are shown."""
_MOST_DEVICES: Final = 12
_PER_ROW: Final = 3
_PAGE_IN: Final = 16.8
"""Widest page."""
_LABEL_PITCH: Final = 0.12
"""Of the height of a panel: lines closer than this share a label."""
_LINES: Final = ("-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))


@dataclass(frozen=True, slots=True)
class DevicePanel:
    """The times of one T' of one setting."""

    title: str
    points: dict[str, dict[str, list[TrialRow]]]
    """Spoofs by arm and device."""
    proofs: dict[str, list[TrialRow]]
    """Honest rows by their device."""

    @property
    def groups(self) -> list[list[TrialRow]]:
        """The spoofs of each marker."""
        return [some for by_device in self.points.values() for some in by_device.values()]


def time_per_device(rows: Sequence[TrialRow], *, by: By = "device") -> Figure:
    """Generation time of spoofs on each device, and of the honest proofs as lines across (figure 11).

    Each T' of each dataset and model has axes of its own. Seeds, and whatever else varies, become a median and a line from the
    smallest to the largest. A device is marked as simulated where a CPU did its work.

    Args:
        rows: any rows of a results folder.
        by: device: as asked for (cpu, V100); device_name: as the driver reports it.
    """
    if by not in ("device", "device_name"):
        reject_choice("grouping", by, ("device", "device_name"))
    panels = device_panels(rows, by)
    shown = panels
    if len(panels) > _MOST_PANELS:  # at even distances, the first and the last among them
        shown = [panels[round(i * (len(panels) - 1) / (_MOST_PANELS - 1))] for i in range(_MOST_PANELS)]
    devices = list(dict.fromkeys(getattr(row, by) for row in rows if not row.is_honest and row.is_ok))
    labels = {device: _label(device, rows, by) for device in devices[:_MOST_DEVICES]}
    styles = styles_of([arm for panel in shown for arm in panel.points])
    proofs = {
        device: _LINES[i % len(_LINES)] for i, device in enumerate(dict.fromkeys(d for p in shown for d in p.proofs))
    }
    width = max(2.6 if len(shown) > 1 else 4.5, 0.98 * len(labels)) + 1.5
    columns = max(1, min(_PER_ROW, len(shown), int(_PAGE_IN / width)))
    lines = -(-max(len(shown), 1) // columns)
    figure, body = new_page(
        columns * width,
        lines * (3.1 + 0.14 * max((label.count("\n") + 1 for label in labels.values()), default=1)),
        title="Generation time per device" if rows else "No trials",
        subtitle=" / ".join(setting.name for setting in settings_of(rows)),
        entries=[
            [(Line2D([], [], **marker_look(style)), arm) for arm, style in styles.items()],
            [
                (Line2D([], [], color="black", lw=1.5, ls=line), f"honest proof on {device or 'a device not recorded'}")
                for device, line in proofs.items()
            ],
            sign_entries(some for panel in shown for some in panel.groups),
        ],
        notes=[*_notes(rows, panels, shown), *note_names("Not drawn", devices[_MOST_DEVICES:])],
    )
    times = (row.device_s for panel in shown for some in (*panel.groups, *panel.proofs.values()) for row in some)
    scale = choose_scale(map(real, times), clip=False)
    axes = add_axes(body, max(len(shown), 1), columns)
    for ax, panel in zip(axes, shown, strict=False):
        assert scale is not None, "panels have points"
        _draw(ax, panel, labels, styles, proofs, scale)
    if not shown:
        plain_axes(axes[0])
        say_empty(axes[0], "no times")
    return figure


def device_panels(rows: Sequence[TrialRow], by: By) -> list[DevicePanel]:
    """The rows with a time by setting, T', arm and device."""
    found = []
    settings = settings_of(rows)
    for setting in settings:
        proofs: dict[str, list[TrialRow]] = {}
        points: dict[int, dict[str, dict[str, list[TrialRow]]]] = {}
        for row in (*setting.honest, *setting.spoofs):
            if not math.isnan(real(row.device_s)):
                of = proofs if row.is_honest else points.setdefault(row.steps, {}).setdefault(row.arm, {})
                of.setdefault(getattr(row, by), []).append(row)
        subject = f"{setting.name}, " if len(settings) > 1 else ""
        for steps, by_arm in sorted(points.items()):
            ordered = {arm: by_arm[arm] for arm in in_order(by_arm)}
            found.append(DevicePanel(f"{subject}T' = {steps:,}", ordered, proofs))
    return found


def _label(device: str, rows: Sequence[TrialRow], by: By) -> str:
    """A device's name as its driver reports it, in two short lines at most, below the name that was asked for."""
    own = [row for row in rows if getattr(row, by) == device and not row.is_honest and row.is_ok]
    lines = [shortened(device or "not recorded", 18)]
    names = {row.device_name for row in own} - {device, ""}
    if by == "device" and len(names) == 1:
        lines += textwrap.wrap(shortened(names.pop(), 34), 17, max_lines=2, placeholder="...")
    if any(row.simulated for row in own):
        lines.append("(simulated)" if all(row.simulated for row in own) else "(partly simulated)")
    return "\n".join(lines)


def _draw(
    ax: Axes,
    panel: DevicePanel,
    labels: Mapping[str, str],
    styles: Mapping[str, ArmStyle],
    proofs: Mapping[str, Any],
    scale: Scale,
) -> None:
    plain_axes(ax, title=shortened(panel.title, 60), y="generation time (device s)")
    ax.grid(visible=False, axis="x")
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.set_xticks(range(len(labels)), list(labels.values()), parse_math=False)
    ax.tick_params(axis="x", length=0, labelsize=SMALL)
    apply_scale(ax, scale)
    for i in range(len(labels) - 1):
        ax.axvline(i + 0.5, color="#E4E4E4", linewidth=0.6, zorder=0)
    _draw_proofs(
        ax, {device: band(real(row.device_s) for row in some) for device, some in panel.proofs.items()}, proofs
    )
    pitch = 0.8 / max(len(panel.points), 1)
    places = {device: i for i, device in enumerate(labels)}
    for i, (arm, by_device) in enumerate(panel.points.items()):
        points = []
        for device in by_device.keys() & places.keys():
            x = places[device] + (i - (len(panel.points) - 1) / 2) * pitch
            value = band(real(row.device_s) for row in by_device[device])
            points.append((x, scale.clip(value.median), by_device[device]))
            ax.vlines([x], [scale.clip(value.low)], [scale.clip(value.high)], color=styles[arm].colour, linewidth=1.2)
        draw_markers(ax, sorted(points, key=lambda point: point[0]), styles[arm], gid=arm)


def _draw_proofs(ax: Axes, honest: Mapping[str, Band], lines: Mapping[str, Any]) -> None:
    places: list[tuple[float, str]] = []
    for device, value in honest.items():
        if not math.isfinite(value.median):
            continue
        ax.axhline(value.median, color="black", lw=1.5, linestyle=lines[device], zorder=2.5, gid=f"honest:{device}")
        if value.low < value.high:
            ax.axhspan(value.low, value.high, color="black", alpha=0.08, lw=0)
        places.append((min(max(height_of(ax, value.median), 0.05), 0.95), device))
    groups: list[list[tuple[float, str]]] = []  # lines too close for a label each share one
    for at, device in sorted(places):
        if groups and at - groups[-1][-1][0] < _LABEL_PITCH:
            groups[-1].append((at, device))
        else:
            groups.append([(at, device)])
    look: dict[str, Any] = {"va": "center", "color": INK, "fontsize": SMALL - 0.5, "parse_math": False}
    for group in groups:
        times = [(device, short_number(honest[device].median, 3)) for _, device in reversed(group)]
        told = [f"{shortened(device, 9)} {time}" if len(honest) > 1 else time for device, time in times]
        more = [f"and {len(told) - 3} more"] if len(told) > 3 else []
        at = (group[0][0] + group[-1][0]) / 2
        ax.text(1.02, at, "\n".join(["honest", *told[:3], *more]), transform=ax.transAxes, **look)


def _notes(rows: Sequence[TrialRow], panels: Sequence[DevicePanel], shown: Sequence[DevicePanel]) -> list[str]:
    ok = [row for row in rows if row.is_ok]
    notes = []
    if shown:
        notes.append("Device seconds: summed over actors, start-up, loading and verification apart.")
        most = max(len(some) for panel in shown for some in panel.groups)
        if most > 1:
            notes.append(f"Up to {most} rows share a marker: their median, a line from the smallest to the largest.")
    else:
        notes.append("Missing: spoofs with status ok and a time.")
    if not any(panel.proofs for panel in panels):
        notes.append("Missing: an honest row with status ok and a time; there is no line to compare with.")
    untimed = (row_name(row) for row in ok if not row.is_honest and math.isnan(real(row.device_s)))
    notes += note_names("Without a time, not drawn", untimed)
    at_edge = (row_name(row) for row in ok if row.device_s is not None and not 0 < row.device_s < math.inf)
    notes += note_names("Zero or infinite, drawn at the edge", at_edge)
    notes += note_not_measured(ok)
    if len(shown) < len(panels):
        notes.append(
            f"{len(panels) - len(shown)} of {len(panels)} panels are left out: shown are T' at even distances."
        )
    return notes
