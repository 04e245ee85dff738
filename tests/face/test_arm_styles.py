"""Styles: an attack looks the same everywhere, and no two alike."""

import sys

from raypol.face import figures
from raypol.face.arm_styles import STYLES, in_order, style_of
from tests.face.figure_rows import ATTACKS, accuracies, demo_rows, honest_row, lines, row
from tests.face.test_panels import panels


def test_an_arm_looks_the_same_in_every_figure() -> None:
    few = panels(figures.six_panels([honest_row(), row("II")]))
    many = panels(figures.six_panels(demo_rows()))
    progress = figures.accuracy_over_progress(accuracies(demo_rows()), demo_rows()).axes
    for ax in [*few, *many, *progress]:
        for line in lines(ax, "II") + lines(ax, "II:filled"):
            assert line.get_color() == style_of("II").colour == "#009E73"


def test_known_arms_differ_in_colour_and_marker() -> None:
    assert {"honest", "jump", *ATTACKS} == STYLES.keys()
    spoofs = [STYLES[arm] for arm in ATTACKS]
    assert len({style.marker for style in spoofs}) == len(spoofs)
    assert len({style.line for style in spoofs if style.line != "-"}) >= len(spoofs) - 2
    assert len({style.colour for style in STYLES.values()}) == len(STYLES)


def test_an_unknown_arm_keeps_its_style() -> None:
    # Fixed values: the style must not depend on the process, as hash() would.
    assert style_of("my_attack") == style_of("my_attack")
    assert (style_of("my_attack").colour, style_of("my_attack").marker) == ("#882255", "*")
    assert style_of("my_attack").colour not in {style.colour for style in STYLES.values()}


def test_arms_are_ordered_as_in_the_demo_then_by_name() -> None:
    assert in_order(["zeta", "III-loss", "null", "alpha", "honest", "null"]) == [
        "honest",
        "null",
        "III-loss",
        "alpha",
        "zeta",
    ]


def test_no_pyplot() -> None:
    figures.six_panels(demo_rows())
    assert "matplotlib.pyplot" not in sys.modules
