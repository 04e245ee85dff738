"""Attack against verifier policy: what share of trials each policy accepts, how many succeed, and by which check others fall."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from raypol.figures.series import Setting, by_variant, settings_of
from raypol.figures.style.arms import HONEST, in_order, is_control
from raypol.figures.style.page import FAINT, INK, SMALL, TEXT, enumerate_briefly, lay_out, shortened
from raypol.store.results.rows import TrialRow

MOST_ARMS: Final = 40
MOST_SETTINGS: Final = 4
_ROW_IN: Final = 0.3
_CELL_IN: Final = 1.15
_NAMES_IN: Final = 2.85
_WORDS_IN: Final = 2.75
_HEAD_IN: Final = 0.75
_NAME_LETTERS: Final = 39
_COLOURS: Final = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#9CC7E4", "#0B4F83"])
"""White to dark blue: told apart under every kind of colour vision, and in grey."""


@dataclass(frozen=True, slots=True)
class _Column:
    policy: str
    title: str
    says: Callable[[TrialRow], bool | None]


_COLUMNS: Final = (
    _Column("published", "accepted", lambda row: row.accepted_published),
    _Column("published", "succeeded", lambda row: row.success),
    _Column("strict", "accepted", lambda row: row.accepted_strict),
    _Column("strict", "succeeded", lambda row: row.success_strict),
)


@dataclass(frozen=True, slots=True)
class _Block:
    setting: Setting
    rows: dict[str, list[TrialRow]]
    """By arm, trials of every status."""
    merged: list[str]


def verdict_matrix(rows: Sequence[TrialRow]) -> Figure:
    """A row per attack, columns for what the published and the strict verifier say: share in per cent, and of how many.

    Beside them the checks that reject most often, and how many trials failed. The honest proof comes first. A trial counts in a
    cell only if that verdict was reached; one that was stopped early has none on acceptance and did not succeed.

    Args:
        rows: any rows of a results folder.
    """
    settings = settings_of(rows) or [Setting("", "", ())]
    blocks = [_block(setting) for setting in settings[:MOST_SETTINGS]]
    several = len(blocks) > 1
    heights = [_HEAD_IN + 0.25 * several + _ROW_IN * max(min(len(b.rows), MOST_ARMS), 1) + 0.15 for b in blocks]
    width = _NAMES_IN + len(_COLUMNS) * _CELL_IN + 2 * _WORDS_IN + 0.4
    title = (
        "Attack against verifier policy"
        if several or not rows
        else f"{settings[0].name}: attack against verifier policy"
    )
    page = lay_out(
        width,
        sum(heights),
        title=title if rows else "No trials",
        notes=_notes(blocks, rows, [s.name for s in settings[MOST_SETTINGS:]]),
    )
    top = page.body[3]
    for block, height in zip(blocks, heights, strict=True):
        if several:
            page.text(0.0, top - 0.2, block.setting.name, size=TEXT + 0.5, weight="bold")
        shown = dict(list(block.rows.items())[:MOST_ARMS])
        ax = page.axes(0.0, top - height + 0.15, page.body[2], height - 0.15 - 0.25 * several)
        _draw(ax, shown)
        top -= height
    return page.figure


def _block(setting: Setting) -> _Block:
    curves = by_variant(setting.rows, most=MOST_ARMS - 1)
    found: dict[str, list[TrialRow]] = {}
    for row in curves.rows:
        found.setdefault(row.arm, []).append(row)
    return _Block(setting, {arm: found[arm] for arm in in_order(found)}, curves.merged)


def _draw(ax: Axes, by_arm: dict[str, list[TrialRow]]) -> None:
    """In inches: the axes are as wide and high as their limits say."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "the axes are on a page"
    box = ax.get_position()
    width, height = box.width * figure.get_size_inches()[0], box.height * figure.get_size_inches()[1]
    ax.set_axis_off()
    ax.set_xlim(0.0, width)
    ax.set_ylim(height, 0.0)
    small: dict[str, Any] = {"fontsize": SMALL + 0.5, "va": "center", "parse_math": False}
    for i, column in enumerate(_COLUMNS):
        ax.text(_NAMES_IN + (i + 0.5) * _CELL_IN, 0.56, column.title, ha="center", color=INK, **small)
    for i, policy in enumerate(("published", "strict")):
        middle = _NAMES_IN + (2 * i + 1) * _CELL_IN
        ax.text(middle, 0.22, policy, ha="center", va="center", fontsize=TEXT, fontweight="bold", color=INK)
        ax.plot([middle - 0.95 * _CELL_IN, middle + 0.95 * _CELL_IN], [0.38, 0.38], color=FAINT, linewidth=0.7)
    first = _NAMES_IN + len(_COLUMNS) * _CELL_IN + 0.2
    for i, policy in enumerate(("published", "strict")):
        ax.text(first + i * _WORDS_IN, 0.56, f"{policy} rejects by", ha="left", color=FAINT, **small)
    if not by_arm:
        ax.text(0.05, _HEAD_IN + _ROW_IN / 2, "no trials", ha="left", color=FAINT, **small)
    for i, (arm, rows) in enumerate(by_arm.items()):
        y = _HEAD_IN + (i + 0.5) * _ROW_IN
        name = "honest proof" if arm == HONEST else f"{arm} (control)" if is_control(arm) else arm
        marked = [word for word in ("simulated", "estimated") if any(getattr(row, word) for row in rows)]
        ax.text(
            0.05,
            y,
            shortened(" ".join([name, *(f"[{w[:3]}.]" for w in marked)]), _NAME_LETTERS),
            ha="left",
            color=INK,
            **small,
        )
        for j, column in enumerate(_COLUMNS):
            honest_success = arm == HONEST and column.title == "succeeded"
            _draw_cell(ax, _NAMES_IN + j * _CELL_IN, y, [] if honest_success else rows, column, gid=f"{arm}:{j}")
        for j, name in enumerate(("rejected_by_published", "rejected_by")):
            said = shortened(_reasons(rows, name), 46)
            ax.text(first + j * _WORDS_IN, y, said, ha="left", color=FAINT, gid=f"{arm}:{name}", **small)


def _draw_cell(ax: Axes, left: float, middle: float, rows: Sequence[TrialRow], column: _Column, *, gid: str) -> None:
    said = [answer for answer in map(column.says, rows) if answer is not None]
    place = (left + 0.02, middle - _ROW_IN / 2 + 0.015)
    size = (_CELL_IN - 0.04, _ROW_IN - 0.03)
    if not said:
        ax.add_patch(Rectangle(place, *size, facecolor="#F3F3F3", lw=0))
        text, colour = "-", FAINT
    else:
        share = sum(said) / len(said)
        ax.add_patch(Rectangle(place, *size, facecolor=_COLOURS(share), edgecolor="#D5D5D5", lw=0.5))
        # Rounded, but never to all or none where it is not.
        rounded = "<1%" if 0.0 < share < 0.005 else ">99%" if 0.995 <= share < 1.0 else f"{share:.0%}"
        text, colour = f"{rounded} of {len(said):,}", "white" if share > 0.6 else INK
    ax.text(left + _CELL_IN / 2, middle, text, ha="center", va="center", fontsize=SMALL + 0.5, color=colour, gid=gid)


def _reasons(rows: Sequence[TrialRow], column: str) -> str:
    """The checks that reject, the most frequent first, with how often; several can reject one trial."""
    found = Counter(check for row in rows for check in (getattr(row, column) or "").split(",") if check)
    return ", ".join(f"{check.replace('_', ' ')} {count:,}" for check, count in found.most_common(4))


def _notes(blocks: Sequence[_Block], rows: Sequence[TrialRow], left_out: Sequence[str]) -> list[str]:
    notes = []
    num_honest = sum(row.is_honest for row in rows)
    if rows:
        notes.append(
            "Share of the trials with a verdict, and their number: all T', k and seeds together. Accepted: every check of the "
            "policy passed. Succeeded: accepted, all four errors below the honest proof's, less time and less storage."
        )
    else:
        notes.append("Missing: rows.")
    for status, meaning in (("error", "failed"), ("stopped", "stopped early, they did not succeed")):
        counts = Counter(
            row.arm for block in blocks for some in block.rows.values() for row in some if row.status == status
        )
        proofs = counts.pop(HONEST, 0)
        if counts:
            of = enumerate_briefly([f"{arm} {counts[arm]:,}" for arm in in_order(counts)])
            notes.append(f"{counts.total():,} of {len(rows) - num_honest:,} trials {meaning}: {of}.")
        if proofs:
            notes.append(f"{proofs:,} of {num_honest:,} honest proofs {meaning.partition(',')[0]}.")
    for word in ("simulated", "estimated"):
        count = sum(bool(getattr(row, word)) for row in rows)
        if count:
            notes.append(f"[{word[:3]}.]: {word} rows among them, {count:,} in all.")
    merged = sorted({name for block in blocks for name in block.merged})
    if merged:
        notes.append(f"Put together: rows that differ in {', '.join(merged)}.")
    hidden = [arm for block in blocks for arm in list(block.rows)[MOST_ARMS:]]
    if hidden or left_out:
        notes.append(f"Not drawn: {enumerate_briefly([*hidden, *left_out])}.")
    return notes
