"""Styles: an attack looks the same everywhere, and no two alike."""

import itertools
import sys

import numpy as np
import numpy.typing as npt
import pytest

from raypol.figures import save
from raypol.figures.style.arms import STYLES, family_of, in_order, style_of, styles_of
from tests.figures.figure_rows import ATTACKS, accuracies, demo_rows, honest_row, lines, row
from tests.figures.six_panels.test_figure import panels


def test_an_arm_looks_the_same_in_every_figure() -> None:
    few = panels(save.six_panels([honest_row(), row("II")]))
    many = panels(save.six_panels(demo_rows()))
    progress = save.accuracy_over_progress(accuracies(demo_rows()), demo_rows()).axes
    for ax in [*few, *many, *progress]:
        for line in lines(ax, "II") + lines(ax, "II:filled"):
            assert line.get_color() == style_of("II").colour == "#009E73"


def test_known_arms_differ_in_colour_and_marker() -> None:
    assert {"honest", "jump", *ATTACKS, "I", "selected"} == STYLES.keys()
    spoofs = [style for style in STYLES.values() if style.marker]
    assert len({style.marker for style in spoofs}) == len(spoofs) == len(STYLES) - 2
    assert len({style.line for style in spoofs if style.line != "-"}) >= len(spoofs) - 2
    assert len({style.colour for style in STYLES.values()}) == len(STYLES)


# Machado, Oliveira and Fernandes (2009), severity 1: what is left of linear RGB under each deficiency.
VISIONS = {
    "normal": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("vision", VISIONS)
def test_attacks_are_told_apart_under_every_colour_vision(vision: str) -> None:
    seen = {arm: cielab(style.colour, VISIONS[vision]) for arm, style in STYLES.items() if style.marker}
    distance, *pair = min((float(np.linalg.norm(seen[a] - seen[b])), a, b) for a, b in itertools.combinations(seen, 2))
    assert distance >= 16.0, pair


def cielab(colour: str, vision: list[list[float]]) -> npt.NDArray[np.float64]:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(vision) @ linear, 0.0, 1.0)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    xyz = to_xyz @ seen / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(
    ("arm", "attack"),
    [
        ("III", "III-gradient"), ("iii", "III-gradient"), ("zhang2022_iii_imagenet", "III-gradient"), ("i_tail", "I-tail"),
        ("III, linf 8/255", "III-gradient"), ("III-loss, alpha 1", "III-loss"), ("iii_loss", "III-loss"), ("I", "I"),
        ("zhang2022_i", "I"), ("II, cpu:2", "II"), ("selected_anew", "selected"), ("iii_select", "III-gradient"),
        ("null, noise 0.1", "null"),
        ("forged-momentum", "forged_momentum"), ("my_attack", None), ("nullify", None), ("IV", None), ("", None),
        ("IIII", None), ("infinitesimally", None),
    ],
)  # fmt: skip
def test_an_attack_has_one_colour_under_all_its_names(arm: str, attack: str | None) -> None:
    assert family_of(arm) == attack
    if attack is not None:
        assert style_of(arm).colour == STYLES[attack].colour
    else:
        assert style_of(arm).colour not in {style.colour for style in STYLES.values()}


def test_variants_drawn_together_differ_in_their_markers() -> None:
    arms = ["III", "III-gradient", *(f"III, alpha {i}" for i in range(10)), "null", "null, a", "my_attack", "yours"]
    styles = styles_of(arms)
    assert styles["III"] == STYLES["III-gradient"]
    of_three = [style for arm, style in styles.items() if arm.startswith("III")]
    assert len({style.marker for style in of_three}) == len(of_three) == 12
    assert {style.colour for style in of_three} == {STYLES["III-gradient"].colour}
    assert list(styles) == in_order(arms)


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
    save.six_panels(demo_rows())
    assert "matplotlib.pyplot" not in sys.modules
