"""Spoof time per device, with the proof's as a line (Zhang et al. 2022, arXiv:2108.09454, figure 11)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from raypol.core.errors import InputError
from raypol.figures.series import settings_of
from raypol.figures.six_panels.text import not_measured
from raypol.figures.style.arms import ArmStyle, in_order, styles_of
from raypol.figures.style.axes import Scale, apply_scale, choose_scale, number
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
    Band,
    Entry,
    band,
    enumerate_briefly,
    lay_out,
    plain_axes,
    real,
    shortened,
)
from raypol.store.results.rows import TrialRow

By = Literal["device", "device_name"]

MOST_PANELS: Final = 9
"""Settings and T' that are shown."""
MOST_DEVICES: Final = 12
_PER_ROW: Final = 3
_PANEL_IN: Final = 2.7
_LABEL_LINE_IN: Final = 0.14
_DEVICE_IN: Final = 0.98
_LABEL_PITCH: Final = 0.12
"""Of the height of a panel: lines closer than this share a label."""
_LINES: Final = ("-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    points: dict[str, dict[str, list[TrialRow]]]
    """Spoofs by arm and device."""
    proofs: dict[str, list[TrialRow]]
    """Honest rows by their device."""

    def values(self) -> list[float]:
        """All times."""
        spoofs = [some for by_device in self.points.values() for some in by_device.values()]
        return [real(row.device_s) for some in (*spoofs, *self.proofs.values()) for row in some]


def time_per_device(rows: Sequence[TrialRow], *, by: By = "device") -> Figure:
    """Generation time of spoofs on each device, and of the honest proofs as lines across (figure 11).

    Each T' of each dataset and model has axes of its own. Seeds, and whatever else varies, become a median and a line from the
    smallest to the largest. A device is marked as simulated where a CPU did its work.

    Args:
        rows: any rows of a results folder.
        by: device: as asked for (cpu, V100); device_name: as the driver reports it.
    """
    if by not in ("device", "device_name"):
        raise InputError(f"expected by 'device' or 'device_name', got {by!r}")
    panels = _panels(rows, by)
    shown = _spread(panels, MOST_PANELS)
    devices = _devices(rows, by)
    drawn = devices[:MOST_DEVICES]
    arms = [arm for panel in shown for arm in panel.points]
    styles = styles_of(arms)
    proofs = list(dict.fromkeys(device for panel in shown for device in panel.proofs))
    columns = min(_PER_ROW, max(len(shown), 1))
    width = max(2.6, _DEVICE_IN * len(drawn)) if columns > 1 else max(4.5, _DEVICE_IN * len(drawn))
    columns = max(1, min(columns, int(16.8 / (width + 1.6))))
    lines = -(-max(len(shown), 1) // columns)
    labels = [_label(device, rows, by) for device in drawn]
    under = 0.2 + _LABEL_LINE_IN * max((label.count("\n") + 1 for label in labels), default=1)
    pitch = _PANEL_IN + under + 0.3
    page = lay_out(
        columns * (width + 1.6) + 0.4,
        lines * pitch,
        title="Generation time per device" if rows else "No trials",
        subtitle=" / ".join(s.name for s in settings_of(rows)),
        entries=[
            [_arm_entry(arm, style) for arm, style in styles.items()],
            [_proof_entry(device, i) for i, device in enumerate(proofs)],
            sign_entries(some for panel in shown for by_device in panel.points.values() for some in by_device.values()),
        ],
        notes=_notes(rows, panels, shown, devices),
    )
    scale = choose_scale([value for panel in shown for value in panel.values()], clip=False)
    for i, panel in enumerate(shown):
        left, bottom = (i % columns) * (width + 1.6) + 0.75, (lines - 1 - i // columns) * pitch + under
        ax = page.axes(left, bottom, width, _PANEL_IN)
        assert scale is not None, "panels have points"
        _draw(ax, panel, drawn, labels, styles, proofs, scale)
    if not shown:
        ax = page.axes(0.75, under, width, _PANEL_IN)
        plain_axes(ax)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no times", transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=TEXT)
    return page.figure


def _panels(rows: Sequence[TrialRow], by: By) -> list[_Panel]:
    found = []
    settings = settings_of(rows)
    for setting in settings:
        proofs: dict[str, list[TrialRow]] = {}
        for row in setting.honest:
            if not math.isnan(real(row.device_s)):
                proofs.setdefault(getattr(row, by), []).append(row)
        timed = [row for row in setting.spoofs if not math.isnan(real(row.device_s))]
        for steps in sorted({row.steps for row in timed}):
            points: dict[str, dict[str, list[TrialRow]]] = {}
            for row in timed:
                if row.steps == steps:
                    points.setdefault(row.arm, {}).setdefault(getattr(row, by), []).append(row)
            subject = f"{setting.name}, " if len(settings) > 1 else ""
            ordered = {arm: points[arm] for arm in in_order(points)}
            found.append(_Panel(f"{subject}T' = {steps:,}", ordered, proofs))
    return found


def _spread(panels: Sequence[_Panel], most: int) -> list[_Panel]:
    """All, or so many at even distances, the first and the last among them."""
    if len(panels) <= most:
        return list(panels)
    return [panels[round(i * (len(panels) - 1) / (most - 1))] for i in range(most)]


def _devices(rows: Sequence[TrialRow], by: By) -> list[str]:
    """Those of the spoofs, in the order in which they come."""
    return list(dict.fromkeys(getattr(row, by) for row in rows if not row.is_honest and row.is_ok))


def _label(device: str, rows: Sequence[TrialRow], by: By) -> str:
    own = [row for row in rows if getattr(row, by) == device and not row.is_honest and row.is_ok]
    lines = [shortened(device or "not recorded", 18)]
    names = {row.device_name for row in own} - {device, ""}
    if by == "device" and len(names) == 1:
        lines += _wrapped(names.pop())
    if any(row.simulated for row in own):
        lines.append("(simulated)" if all(row.simulated for row in own) else "(partly simulated)")
    return "\n".join(lines)


def _wrapped(name: str, letters: int = 17) -> list[str]:
    """A device's name in two short lines at most."""
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    kept = [shortened(line, letters) for line in lines[:2]]
    return kept[:1] + [shortened(" ".join(lines[1:]), letters)] * (len(lines) > 1)


def _draw(
    ax: Axes,
    panel: _Panel,
    devices: Sequence[str],
    labels: Sequence[str],
    styles: Mapping[str, ArmStyle],
    proofs: Sequence[str],
    scale: Scale,
) -> None:
    plain_axes(ax)
    ax.grid(visible=False, axis="x")
    ax.set_title(
        shortened(panel.title, 60), loc="left", fontsize=TEXT + 0.5, fontweight="bold", color=INK, parse_math=False
    )
    ax.set_ylabel("generation time (device s)", fontsize=TEXT - 0.5, color=INK)
    ax.set_xlim(-0.5, len(devices) - 0.5)
    ax.xaxis.set_major_locator(FixedLocator(range(len(devices))))
    ax.xaxis.set_major_formatter(FixedFormatter(list(labels)))
    ax.tick_params(axis="x", length=0, labelsize=SMALL)
    for text in ax.get_xticklabels():
        text.set_parse_math(False)
    honest = {device: band(real(row.device_s) for row in some) for device, some in panel.proofs.items()}
    apply_scale(ax, scale, below=False, above=False)
    for i in range(len(devices) - 1):
        ax.axvline(i + 0.5, color="#E4E4E4", linewidth=0.6, zorder=0)
    _draw_proofs(ax, honest, proofs)
    pitch = 0.8 / max(len(panel.points), 1)
    for i, (arm, by_device) in enumerate(panel.points.items()):
        for device, some in by_device.items():
            value = band(real(row.device_s) for row in some)
            if device not in devices:
                continue
            x = devices.index(device) + (i - (len(panel.points) - 1) / 2) * pitch
            low, y, high = (min(max(v, scale.low), scale.high) for v in (value.low, value.median, value.high))
            ax.vlines([x], [low], [high], color=styles[arm].colour, linewidth=1.2)
            kinds = [fill_of(some), *["ring"] * is_not_measured(some), *["strike"] * is_strict_apart(some)]
            for kind in kinds:
                look, zorder = look_of(kind, styles[arm], MARKER_PT)
                ax.plot([x], [y], **look, zorder=zorder, clip_on=False, gid=f"{arm}:{kind}")


def _draw_proofs(ax: Axes, honest: Mapping[str, Band], proofs: Sequence[str]) -> None:
    places: list[tuple[float, str]] = []
    for device, value in honest.items():
        if not math.isfinite(value.median):
            continue
        line = _LINES[proofs.index(device) % len(_LINES)]
        ax.axhline(value.median, color="black", linewidth=1.5, linestyle=line, zorder=2.5, gid=f"honest:{device}")
        if value.low < value.high:
            ax.axhspan(value.low, value.high, color="black", alpha=0.08, lw=0)
        at = float(ax.transAxes.inverted().transform(ax.transData.transform((0.0, value.median)))[1])
        places.append((min(max(at, 0.05), 0.95), device))
    groups: list[list[tuple[float, str]]] = []  # lines too close for a label each share one
    for at, device in sorted(places):
        if groups and at - groups[-1][-1][0] < _LABEL_PITCH:
            groups[-1].append((at, device))
        else:
            groups.append([(at, device)])
    look: dict[str, Any] = {"va": "center", "color": INK, "fontsize": SMALL - 0.5, "parse_math": False}
    for group in groups:
        of_group = {device: number(honest[device].median, 3) for _, device in reversed(group)}
        if len(honest) == 1:
            said = "\n".join(["honest", *of_group.values()])
        else:
            own = [f"{shortened(device, 9)} {time}" for device, time in of_group.items()]
            more = [f"and {len(own) - 3} more"] if len(own) > 3 else []
            said = "\n".join(["honest", *own[:3], *more])
        ax.text(1.02, (group[0][0] + group[-1][0]) / 2, said, transform=ax.transAxes, **look)


def _arm_entry(arm: str, style: ArmStyle) -> Entry:
    return Line2D([], [], **marker_look(style, "filled")), arm


def _proof_entry(device: str, place: int) -> Entry:
    line = Line2D([], [], color="black", linewidth=1.5, linestyle=_LINES[place % len(_LINES)])
    return line, f"honest proof on {device or 'a device not recorded'}"


def _notes(
    rows: Sequence[TrialRow], panels: Sequence[_Panel], shown: Sequence[_Panel], devices: Sequence[str]
) -> list[str]:
    ok = [row for row in rows if row.is_ok]
    notes = []
    if shown:
        notes.append("Device seconds: summed over actors, start-up, loading and verification apart.")
        counts = [len(some) for panel in shown for by_device in panel.points.values() for some in by_device.values()]
        if max(counts) > 1:
            notes.append(
                f"Up to {max(counts)} rows share a marker: their median, a line from the smallest to the largest."
            )
    else:
        notes.append("Missing: spoofs with status ok and a time.")
    if not any(panel.proofs for panel in panels):
        notes.append("Missing: an honest row with status ok and a time; there is no line to compare with.")
    untimed = [f"{row.arm} at T' = {row.steps:,}" for row in ok if not row.is_honest and math.isnan(real(row.device_s))]
    if untimed:
        notes.append(f"Without a time, not drawn: {enumerate_briefly(untimed)}.")
    beyond = [
        f"{row.arm} at T' = {row.steps:,}" for row in ok if row.device_s is not None and not 0 < row.device_s < math.inf
    ]
    if beyond:
        notes.append(f"Zero or infinite, drawn at the edge: {enumerate_briefly(beyond)}.")
    notes += not_measured(ok)
    if len(shown) < len(panels):
        notes.append(
            f"{len(panels) - len(shown)} of {len(panels)} panels are left out; shown are T' at even distances."
        )
    if len(devices) > MOST_DEVICES:
        notes.append(f"Not drawn: {enumerate_briefly(devices[MOST_DEVICES:])}.")
    return notes
