"""The success ranges of a setting's arms as bars over T', with what binds at both ends written beside them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from raypol.figures.six_panels.data import SettingPanels
from raypol.figures.six_panels.success_ranges import ArmRange
from raypol.figures.style.arms import ArmStyle
from raypol.figures.style.axes import apply_steps, shifted
from raypol.figures.style.page import FAINT, INK, SMALL, TEXT, plain_axes, shortened

_ROW_IN: Final = 0.2
"""Height of an arm's row."""
_MOST_ROWS: Final = 16
_BAR: Final = 0.42
"""Height of a bar, as a part of its row's."""
_NAME_LETTERS: Final = 30
_WORDS_LETTERS: Final = 44
"""Most letters of what binds."""
_LETTER_PT: Final = 4.3
_TITLE: Final = "success range of T'"
_HEADS: Final = ("what binds below", "what binds above")


def strip_height(block: SettingPanels) -> float:
    """Inches for the bars; none where there are no two T' to be between."""
    if len(block.tried) < 2 or not block.ranges:
        return 0.0
    return _ROW_IN * min(len(block.ranges), _MOST_ROWS) + 0.75


def draw_ranges(ax: Axes, ranges: Sequence[ArmRange], styles: Mapping[str, ArmStyle], labels: dict[int, str]) -> None:
    """Draw one row per arm, top down; `labels` are those of the T' axis."""
    shown = ranges[:_MOST_ROWS]
    plain_axes(ax, x="T' (steps claimed)")
    apply_steps(ax, labels)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_yticks([])
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    to_x = ax.get_yaxis_transform()
    below = [shortened(one.below, _WORDS_LETTERS) for one in shown if one.ends]
    names = [shortened(one.arm, _NAME_LETTERS) for one in shown]
    letters = max(map(len, [_HEADS[0], *below])) + max(map(len, [f"{_TITLE}  ", *names]))
    # The words left of the bars are two columns: names, and what binds, which ends at the axis.
    to_names = to_x + shifted(ax, -(letters * _LETTER_PT + 16))
    to_words = to_names + shifted(ax, 9)
    for i, one in enumerate(shown):
        style = styles[one.arm]
        words: dict[str, Any] = {"va": "center", "parse_math": False, "fontsize": SMALL}
        if i % 2 == 0:
            ax.axhspan(i - 0.5, i + 0.5, color="#F7F7F7", lw=0, zorder=0)
        ax.plot([0.0], [i], transform=to_names, color=style.colour, marker=style.marker, markersize=5, clip_on=False)
        ax.text(0.0, i, names[i], transform=to_words, color=INK, ha="left", **words)
        words["transform"] = to_x
        if one.ends is None:
            ax.text(0.01, i, f"no T' succeeds: {one.below}", color=FAINT, ha="left", gid=f"{one.arm}:none", **words)
            continue
        for x, text, ha, end in ((-0.01, one.below, "right", "below"), (1.01, one.above, "left", "above")):
            ax.text(x, i, shortened(text, _WORDS_LETTERS), color=INK, ha=ha, gid=f"{one.arm}:{end}", **words)
        _draw_bar(ax, i, one, style.colour)
    head: dict[str, Any] = {"va": "bottom", "color": FAINT, "fontsize": SMALL}
    ax.text(-0.01, -0.7, _HEADS[0], ha="right", transform=to_x, **head)
    ax.text(1.01, -0.7, _HEADS[1], ha="left", transform=to_x, **head)
    title = {**head, "color": INK, "fontsize": TEXT, "fontweight": "bold"}
    ax.text(0.0, -0.7, _TITLE, ha="left", transform=to_names, **title)


def _draw_bar(ax: Axes, row: int, one: ArmRange, colour: str) -> None:
    for low, high in one.uncertain:
        ax.plot([low, high], [row, row], color=colour, linewidth=1.2, linestyle=(0, (1, 1.2)), gid=f"{one.arm}:end")
    for segment in one.segments:
        look: dict[str, Any] = {"color": colour, "alpha": 0.9 if segment.whole else 0.5, "gid": f"{one.arm}:bar"}
        if segment.low == segment.high:
            ax.plot([segment.low], [row], marker="s", markersize=5.5, markeredgewidth=0, linestyle="none", **look)
        else:
            ax.barh([row], [segment.high - segment.low], left=[segment.low], height=_BAR, lw=0, **look)
