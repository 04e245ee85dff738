"""The success ranges of a setting's arms as bars over T', with what binds at both ends written beside them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from raypol.figures.six_panels.success_ranges import Span
from raypol.figures.style.arms import ArmStyle
from raypol.figures.style.page import FAINT, INK, SMALL, TEXT, shortened

ROW_IN: Final = 0.2
"""Height of an arm's row, in inches."""
MOST_ROWS: Final = 16
TITLE: Final = "success range of T'"
_BAR: Final = 0.42
"""Height of a bar, as a part of its row's."""
_NAME_LETTERS: Final = 30
_WORDS_LETTERS: Final = 44
"""Most letters of what binds."""
_LETTER_IN: Final = 0.06
_HEADS: Final = ("what binds below", "what binds above")


def margins(spans: Sequence[Span]) -> tuple[float, float]:
    """Room that the words take on the left and on the right of the bars, in inches."""
    names, below, above = (
        _LETTER_IN * max(min(max(map(len, words), default=0), most), len(head))
        for words, most, head in (
            ([span.arm for span in spans], _NAME_LETTERS, TITLE),
            ([span.below for span in spans if span.ends], _WORDS_LETTERS, _HEADS[0]),
            ([span.above for span in spans if span.ends], _WORDS_LETTERS, _HEADS[1]),
        )
    )
    return names + below + 0.5, above + 0.2


def draw_spans(ax: Axes, spans: Sequence[Span], styles: Mapping[str, ArmStyle]) -> None:
    """Draw on axes whose T' axis is set; one row per arm, top down."""
    shown = spans[:MOST_ROWS]
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_yticks([])
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    to_x = ax.get_yaxis_transform()
    inches = ax.get_window_extent().width / ax.figure.dpi
    names_at = (0.06 - margins(spans)[0]) / inches
    for i, span in enumerate(shown):
        style = styles[span.arm]
        words: dict[str, Any] = {"transform": to_x, "va": "center", "parse_math": False, "fontsize": SMALL}
        if i % 2 == 0:
            ax.axhspan(i - 0.5, i + 0.5, color="#F7F7F7", lw=0, zorder=0)
        ax.plot([names_at], [i], transform=to_x, color=style.colour, marker=style.marker, markersize=5, clip_on=False)
        ax.text(names_at + 0.1 / inches, i, shortened(span.arm, _NAME_LETTERS), color=INK, ha="left", **words)
        if span.ends is None:
            ax.text(0.01, i, f"no T' succeeds: {span.below}", color=FAINT, ha="left", gid=f"{span.arm}:none", **words)
            continue
        ax.text(
            -0.01, i, shortened(span.below, _WORDS_LETTERS), color=INK, ha="right", gid=f"{span.arm}:below", **words
        )
        ax.text(1.01, i, shortened(span.above, _WORDS_LETTERS), color=INK, ha="left", gid=f"{span.arm}:above", **words)
        _draw_bar(ax, i, span, style.colour)
    head: dict[str, Any] = {"transform": ax.transAxes, "va": "bottom", "color": FAINT, "fontsize": SMALL}
    ax.text(-0.01, 1.02, _HEADS[0], ha="right", **head)
    ax.text(1.01, 1.02, _HEADS[1], ha="left", **head)
    title = {**head, "color": INK, "fontsize": TEXT, "fontweight": "bold"}
    ax.text(names_at - 0.06 / inches, 1.02, TITLE, ha="left", **title)


def _draw_bar(ax: Axes, row: int, span: Span, colour: str) -> None:
    for low, high in span.uncertain:
        ax.plot([low, high], [row, row], color=colour, linewidth=1.2, linestyle=(0, (1, 1.2)), gid=f"{span.arm}:end")
    for segment in span.segments:
        alpha = 0.9 if segment.whole else 0.5
        if segment.low == segment.high:
            look: dict[str, Any] = {"color": colour, "alpha": alpha, "marker": "s", "markersize": 5.5}
            ax.plot([segment.low], [row], **look, markeredgewidth=0, linestyle="none", gid=f"{span.arm}:bar")
            continue
        (bar,) = ax.barh(
            [row], [segment.high - segment.low], left=[segment.low], height=_BAR, color=colour, alpha=alpha, lw=0
        )
        bar.set_gid(f"{span.arm}:bar")
