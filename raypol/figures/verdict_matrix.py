"""Attack against verifier policy: which share of trials each policy accepts, how many succeed, and which checks reject."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from raypol.figures.series import Series, Setting, by_variant, settings_of
from raypol.figures.style.arms import in_order
from raypol.figures.style.notes import list_briefly, note_merged, note_names
from raypol.figures.style.page import FAINT, INK, SMALL, TEXT, add_heading, new_page, shortened
from raypol.store.results.rows import HONEST, TrialRow

_MOST_ARMS: Final = 40
_MOST_SETTINGS: Final = 4
_ROW_IN: Final = 0.3
_HEAD: Final = 2.2
"""Height of the column titles, in rows."""
_WORDS: Final = 2.4
"""Width of the checks that reject, in cells."""
_COLOURS: Final = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#9CC7E4", "#0B4F83"])
"""White to dark blue: told apart under every kind of colour vision, and in grey."""
_COLUMNS: Final = (
    ("accepted", "accepted_published"),
    ("succeeded", "success"),
    ("accepted", "accepted_strict"),
    ("succeeded", "success_strict"),
)
"""Title, and column of the rows: two under published, two under strict."""


@dataclass(frozen=True, slots=True)
class VerdictBlock:
    """The trials of one setting."""

    setting: Setting
    rows: dict[Series, list[TrialRow]]
    """By arm, trials of every status."""
    merged: list[str]

    @property
    def shown(self) -> dict[Series, list[TrialRow]]:
        """The arms that are drawn."""
        return dict(list(self.rows.items())[:_MOST_ARMS])


def verdict_matrix(rows: Sequence[TrialRow]) -> Figure:
    """A row per attack, columns for what the published and the strict verifier say: share in per cent, and of how many.

    Beside them the checks that reject most often, and how many trials failed. The honest proof comes first. A trial counts in a
    cell only if that verdict was reached; one that was stopped early has none on acceptance and did not succeed.

    Args:
        rows: any rows of a results folder.
    """
    settings = settings_of(rows) or [Setting("", "", ())]
    blocks = [_block(setting) for setting in settings[:_MOST_SETTINGS]]
    several = len(blocks) > 1
    heights = [_ROW_IN * (_HEAD + max(len(block.shown), 1)) + 0.1 + 0.25 * several for block in blocks]
    title = "Attack against verifier policy"
    if not several:
        title = f"{settings[0].name}: attack against verifier policy" if rows else "No trials"
    hidden: list[str] = [arm for block in blocks for arm in list(block.rows)[_MOST_ARMS:]]
    hidden += [setting.name for setting in settings[_MOST_SETTINGS:]]
    notes = [*_notes(blocks, rows), *note_names("Not drawn", hidden)]
    figure, body = new_page(13.0, sum(heights), title=title, notes=notes)
    grid = body.add_gridspec(len(blocks), 1, height_ratios=heights)
    for i, block in enumerate(blocks):
        part = body.add_subfigure(grid[i])
        if several:
            add_heading(part, block.setting.name, size=TEXT + 0.5, weight="bold")
        _draw(part.subplots(), block.shown)
    return figure


def _block(setting: Setting) -> VerdictBlock:
    """The trials of a setting by arm."""
    curves = by_variant(setting.rows, most=_MOST_ARMS - 1)
    return VerdictBlock(setting, {arm: curves.series[arm] for arm in in_order(curves.series)}, curves.merged)


def _draw(ax: Axes, by_arm: Mapping[Series, list[TrialRow]]) -> None:
    """A cell is 1 wide and 1 high, the first row is at 0; arms are the ticks."""
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlim(0.0, len(_COLUMNS) + 2 * _WORDS)
    ax.set_ylim(max(len(by_arm), 1) - 0.5, -_HEAD - 0.5)
    ax.set_xticks([])
    names = [_name(arm, rows) for arm, rows in by_arm.items()]
    ax.set_yticks(range(len(names)), names, ha="left", fontsize=SMALL + 0.5, color=INK, parse_math=False)
    letters = max(map(len, names), default=0)
    ax.tick_params(axis="y", length=0, pad=(SMALL + 0.5) * 0.62 * letters + 6)
    small: dict[str, Any] = {"fontsize": SMALL + 0.5, "va": "center", "parse_math": False}
    for i, (title, _) in enumerate(_COLUMNS):
        ax.text(i + 0.5, -0.9, title, ha="center", color=INK, **small)
    for i, policy in enumerate(("published", "strict")):
        ax.text(2 * i + 1, -2.0, policy, ha="center", va="center", fontsize=TEXT, fontweight="bold", color=INK)
        ax.plot([2 * i + 0.05, 2 * i + 1.95], [-1.5, -1.5], color=FAINT, linewidth=0.7)
        left = len(_COLUMNS) + 0.15 + i * _WORDS
        ax.text(left, -0.9, f"{policy} rejects by", ha="left", color=FAINT, **small)
        name = ("rejected_by_published", "rejected_by")[i]
        for y, (arm, rows) in enumerate(by_arm.items()):
            ax.text(left, y, shortened(_reasons(rows, name), 44), ha="left", color=FAINT, gid=f"{arm}:{name}", **small)
    if not by_arm:
        ax.text(0.05, 0, "no trials", ha="left", color=FAINT, **small)
    for y, (arm, rows) in enumerate(by_arm.items()):
        for x, (title, column) in enumerate(_COLUMNS):
            counted = rows if arm != HONEST or title == "accepted" else []
            _draw_cell(ax, x, y, [getattr(row, column) for row in counted], gid=f"{arm}:{x}")


def _name(arm: str, rows: Sequence[TrialRow]) -> str:
    name = "honest proof" if arm == HONEST else f"{arm} (control)" if rows[0].is_control else arm
    marks = [f"[{word[:3]}.]" for word in ("simulated", "estimated") if any(getattr(row, word) for row in rows)]
    return shortened(" ".join([name, *marks]), 39)


def _draw_cell(ax: Axes, x: int, y: int, verdicts: Sequence[bool | None], *, gid: str) -> None:
    known = [verdict for verdict in verdicts if verdict is not None]
    share = sum(known) / len(known) if known else 0.0
    # Rounded, but never to all or none where it is not.
    rounded = "<1%" if 0.0 < share < 0.005 else ">99%" if 0.995 <= share < 1.0 else f"{share:.0%}"
    text, colour = (f"{rounded} of {len(known):,}", "white" if share > 0.6 else INK) if known else ("-", FAINT)
    face, edge = (_COLOURS(share), "#D5D5D5") if known else ("#F3F3F3", "none")
    ax.add_patch(Rectangle((x + 0.02, y - 0.45), 0.96, 0.9, facecolor=face, edgecolor=edge, lw=0.5))
    ax.text(x + 0.5, y, text, ha="center", va="center", fontsize=SMALL + 0.5, color=colour, gid=gid)


def _reasons(rows: Sequence[TrialRow], column: str) -> str:
    """The checks that reject, the most frequent first, with how often; several can reject one trial."""
    found = Counter(check for row in rows for check in (getattr(row, column) or "").split(",") if check)
    return ", ".join(f"{check.replace('_', ' ')} {count:,}" for check, count in found.most_common(4))


_ENDS: Final = (
    ("error", "failed"),
    ("refused", "were refused, they use what was not granted"),
    ("stopped", "stopped early, they did not succeed"),
)


def _notes(blocks: Sequence[VerdictBlock], rows: Sequence[TrialRow]) -> list[str]:
    if not rows:
        return ["Missing: rows."]
    notes = [
        "Share of the trials with a verdict, and their number: all T', k and seeds together. Accepted: every check of the "
        "policy passed. Succeeded: accepted, all four errors below the honest proof's, less time and less storage."
    ]
    num_honest = sum(row.is_honest for row in rows)
    drawn = [(arm, row) for block in blocks for arm, some in block.rows.items() for row in some]
    for status, meaning in _ENDS:
        counts: Counter[str] = Counter(arm for arm, row in drawn if row.status == status)
        proofs = counts.pop(HONEST, 0)
        if counts:
            of = list_briefly(f"{arm} {counts[arm]:,}" for arm in in_order(counts))
            notes.append(f"{counts.total():,} of {len(rows) - num_honest:,} trials {meaning}: {of}.")
        if proofs:
            notes.append(f"{proofs:,} of {num_honest:,} honest proofs {meaning.partition(',')[0]}.")
    for word in ("simulated", "estimated"):
        count = sum(bool(getattr(row, word)) for row in rows)
        if count:
            notes.append(f"[{word[:3]}.]: {word} rows among them, {count:,} in all.")
    return [*notes, *note_merged(name for block in blocks for name in block.merged)]
