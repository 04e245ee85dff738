"""Words of the six panels: titles, legend, footnotes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.typing import LineStyleType

from raypol.figures.six_panels.data import PANELS, SettingPanels
from raypol.figures.style.arms import JUMP, ArmStyle, style_of
from raypol.figures.style.axes import STRIP_COLOUR
from raypol.figures.style.markers import is_not_measured, marker_look, sign_entries
from raypol.figures.style.notes import (
    SPREAD,
    UNITS,
    list_briefly,
    note_left_out,
    note_merged,
    note_names,
    note_no_proof,
    note_not_measured,
    note_proofs,
    row_name,
)
from raypol.figures.style.page import Entry
from raypol.store.results.rows import HONEST, TrialRow

_TICKS_WITH_K: Final = 4
"""Among more T' than this some ticks may go without a label, and k with it."""
_JUMP_LINES: Final[tuple[LineStyleType, ...]] = (
    style_of(JUMP).line,
    (0, (1.5, 1.5)),
    (0, (9, 2, 2, 2)),
    (0, (4, 1.5, 1, 1.5, 1, 1.5)),
)
_LISTED: Final = 12
"""T' that a footnote lists."""


def titles(block: SettingPanels) -> tuple[str, str]:
    """Title and subtitle of a setting's panels: the proof, and the conditions."""
    rows = block.setting.rows

    def each(values: Iterable[object]) -> str:
        return list_briefly((str(value) for value in values if value != ""), separator=" / ") or "not recorded"

    proof = "no honest proof"
    if block.honest:
        steps, k = each(f"{r.steps:,}" for r in block.honest), each(r.interval for r in block.honest)
        proof = f"honest proof of T = {steps} steps, k = {k}"
    shown = [row for row in rows if row.is_ok] or rows
    replays, devices = each(r.replay for r in shown), each(r.device_name for r in shown)
    return (
        f"{each(r.dataset for r in shown)}, {block.setting.model}: spoofs against T', {proof}",
        f"Batch size: {each(r.batch_size for r in shown)}.  Replay: {replays}.  Device: {devices}.",
    )


def step_labels(block: SettingPanels) -> dict[int, str]:
    """Labels of T', with k where it differs."""
    with_interval = len({row.interval for row in block.spoofs}) > 1
    labels = {}
    for steps in block.tried:
        ks = sorted({row.interval for by_steps in block.points.values() for row in by_steps.get(steps, ())})
        shown = ", ".join(map(str, ks)) if len(ks) <= 2 else f"{ks[0]}..{ks[-1]}"
        labels[steps] = f"{steps:,}\nk={shown}" if with_interval and ks else f"{steps:,}"
    return labels


def legend(blocks: Sequence[SettingPanels], styles: Mapping[str, ArmStyle]) -> tuple[list[Entry], list[Entry]]:
    """Entries for lines, and for the signs of markers."""
    entries: list[Entry] = []
    arms = {arm for block in blocks for arm in block.points}
    for arm, style in styles.items():
        if arm in arms:
            look = {**marker_look(style), "linestyle": style.line}
            entries.append((Line2D([], [], linewidth=1.1, **look), arm))
    honest = [row for block in blocks for row in block.honest]
    if honest:
        label = "honest proof" + (" (simulated or estimated)" if is_not_measured(honest) else "")
        entries.append((Line2D([], [], color=style_of(HONEST).colour, linewidth=1.6), label))
    for label, style in dict.fromkeys(look for block in blocks for look in jump_looks(block, styles)):
        entries.append((Line2D([], [], color=style.colour, linewidth=1.0, linestyle=style.line), label))
    signs = sign_entries(rows for block in blocks for rows in block.groups)
    where = " or ".join(dict.fromkeys(place for block in blocks for place in block.places_beyond()))
    if where:
        signs.append((Patch(facecolor=STRIP_COLOUR, edgecolor="#CCCCCC"), f"{where} the axis; values beside it"))
    return entries, signs


def jump_looks(block: SettingPanels, styles: Mapping[str, ArmStyle]) -> list[tuple[str, ArmStyle]]:
    """Name and look of each jump: by the setting that its arms alone have, in grey where several arms share it."""
    grey = style_of(JUMP)
    settings = [[set(series.variant) for series in jump.arms] for jump in block.jumps]
    looks = []
    for i, jump in enumerate(block.jumps):
        others = [words for j, some in enumerate(settings) if j != i for words in some]
        own = set.intersection(*settings[i]).difference(*others) if len(jump.arms) > 1 and others else set()
        if own:
            name = ", ".join(["jump", *(word for word in jump.arms[0].variant if word in own)])
        elif i == 0:
            name = "jump (no update)"
        else:
            more = f" and {len(jump.arms) - 1} more" if len(jump.arms) > 1 else ""
            name = f"jump (no update) of {jump.arms[0]}{more}"
        colour = styles[jump.arms[0]].colour if i and len(jump.arms) == 1 else grey.colour
        looks.append((name, ArmStyle(colour, "", _JUMP_LINES[i % len(_JUMP_LINES)])))
    return looks


def notes(blocks: Sequence[SettingPanels], rows: Sequence[TrialRow], *, shaded: bool, strip: bool) -> list[str]:
    """Footnotes on what is drawn of all rows, in shaded ranges and a strip below the panels too, and what is not."""
    every = [row for block in blocks for row in block.spoofs]
    honest = [row for block in blocks for row in block.honest]
    found = note_proofs([block.setting for block in blocks])
    if every:
        found.append(
            f"{UNITS} The largest over the verified intervals is shown. A spoof succeeds if the published verifier accepts it "
            "and it lies below the honest line in all six panels. Markers of one T' are set side by side. MB: 10^6 bytes."
        )
    if any(len(rows) > 1 for block in blocks for rows in block.groups):
        found.append(SPREAD)
    if strip:
        found.append(_about_strip(blocks, shaded=shaded))
    for block in blocks:
        ks = {row.interval for row in block.spoofs}
        if len(ks) > 1 and len(block.steps) > _TICKS_WITH_K:
            found.append(f"k by T': {'; '.join(_steps_with(block, k) for k in sorted(ks))}.")
    found += note_merged(name for block in blocks for name in block.merged)
    unjoined = {arm: differs for block in blocks for arm, differs in block.unjoined().items()}
    found += note_names(
        "No line where more than T' differs from point to point",
        (f"{arm} ({', '.join(differs)})" for arm, differs in unjoined.items()),
    )
    found += note_no_proof([block.setting for block in blocks])
    if not every:
        found.append("Missing: spoofs with status ok.")
    found += note_names(
        "Without a value, not drawn",
        (
            f"{row_name(row, name)} ({', '.join(missing)})"
            for block in blocks
            for name, row in [*(("", row) for row in block.honest), *block.named_spoofs]
            if (missing := [panel.name for panel in PANELS if math.isnan(panel.value(row))])
        ),
    )
    found += note_names(
        "Success not judged, drawn hollow",
        (row_name(row, name) for block in blocks for name, row in block.named_spoofs if row.success is None),
    )
    return [*found, *note_not_measured([*honest, *every]), *note_left_out(rows)]


def _about_strip(blocks: Sequence[SettingPanels], *, shaded: bool) -> str:
    ranges = [one for block in blocks for one in block.ranges]
    searched = any(one.searched for one in ranges)
    source = "found by search, ends are medians over seeds" if searched else "of those tried"
    found = f"Success range: T' that succeed against the published verifier, {source}"
    if any(not segment.whole for one in ranges for segment in one.segments):
        found += "; pale where only some seeds do"
    if any(one.uncertain for one in ranges):
        found += "; an end lies somewhere on its dotted line"
    return found + (". Attacks' ranges are shaded in the panels." if shaded else ".")


def _steps_with(block: SettingPanels, k: int) -> str:
    steps = sorted({row.steps for row in block.spoofs if row.interval == k})
    others = {row.steps for row in block.spoofs if row.interval != k}
    if len(steps) > _LISTED and not any(steps[0] <= other <= steps[-1] for other in others):
        return f"k = {k} from {steps[0]:,} to {steps[-1]:,}"
    listed = " ".join(f"{s:,}" for s in steps[:_LISTED])
    return f"k = {k} at {listed}" + (f" and {len(steps) - _LISTED} more" if len(steps) > _LISTED else "")
