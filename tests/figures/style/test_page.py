"""Pages: title, legend and footnotes of any length keep clear of the axes, and nothing is cut off."""

import pytest
from matplotlib.lines import Line2D

from raypol.figures.style.page import Entry, add_axes, new_page, plain_axes
from tests.figures.figure_rows import assert_well_laid, legend, words


def entries(*labels: str) -> list[Entry]:
    return [(Line2D([], []), label) for label in labels]


@pytest.mark.parametrize("letters", [1, 300], ids=["short", "long"])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_parts_of_a_page_keep_clear_of_each_other(count: int, letters: int) -> None:
    text = "x$_ " * letters
    names = [f"{i} {text}" for i in range(count)]
    figure, body = new_page(
        8.0, 3.0, title=text, subtitle=text, entries=[entries(*names), entries("a sign")], notes=[text] * min(count, 3)
    )
    for ax in add_axes(body, 3, 2):
        plain_axes(ax, title="Title", x="x", y="y")
    assert len(figure.axes) == 3
    assert_well_laid(figure)
    assert len(legend(figure)) == count + 1


def test_each_group_of_a_legend_starts_a_column() -> None:
    figure, _ = new_page(8.0, 1.0, title="T", entries=[entries("a", "b", "c"), entries("d"), []])
    assert legend(figure) == ["a", "b", "c", "d"]
    assert "T" in words(figure)


def test_labels_are_cut_only_where_they_do_not_fit() -> None:
    label = "an arm with a name of fifty letters, or thereabouts"
    wide, _ = new_page(12.0, 1.0, title="T", entries=[entries(label)])
    narrow, _ = new_page(3.0, 1.0, title="T", entries=[entries(label), entries("another")])
    assert legend(wide) == [label]
    assert legend(narrow)[0].endswith("...")
