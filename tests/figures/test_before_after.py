"""Before and after: the pixels that are shown are those that were given, and the amplification is stated."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.figure import Figure

from raypol.core.errors import InputError
from raypol.figures import save
from raypol.figures.image_pairs import ImagePairs
from tests.figures.figure_rows import assert_well_laid, image_pairs, words


def images(figure: Figure) -> list[npt.NDArray[np.float64]]:
    return [np.asarray(image.get_array()) for ax in figure.axes for image in ax.images]


def row_names(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.get_yticklabels()]


def test_three_rows_of_images_per_arm() -> None:
    pairs = image_pairs()
    figure = save.before_after([pairs])
    shown = images(figure)
    assert len(shown) == 9
    # Drawn column by column: original, crafted, difference.
    assert shown[0] == pytest.approx(pairs.originals[0, 0].numpy())
    assert shown[1] == pytest.approx(pairs.crafted[0, 0].numpy())
    assert shown[2] == pytest.approx((pairs.crafted - pairs.originals)[0, 0].numpy() * 15.0, abs=1e-6)
    assert row_names(figure) == ["original", "crafted", "R × 15"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["label 0", "label 1", "label 2"]
    assert "III-loss, T' = 1,200: largest |R| = 15/255" in words(figure)


def test_images_are_shown_as_they_are() -> None:
    for ax in save.before_after([image_pairs()]).axes:
        for image in ax.images:
            assert image.get_interpolation() == "nearest"
            is_difference = image.get_clim() == (-1.0, 1.0)
            assert image.get_cmap().name == ("RdBu_r" if is_difference else "gray")
            assert is_difference or image.get_clim() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("linf", "factor"), [(1.0, "1"), (0.5, "2"), (15 / 255, "15"), (8 / 255, "30"), (1 / 255, "250"), (0.9, "1")]
)
def test_the_largest_difference_fills_the_scale_without_being_cut(linf: float, factor: str) -> None:
    pairs = image_pairs(n=1)
    originals = torch.zeros_like(pairs.originals)
    crafted = originals.clone()
    crafted[0, 0, 1, 1] = linf
    figure = save.before_after([replace(pairs, originals=originals, crafted=crafted)])
    assert f"R × {factor}" in row_names(figure)
    assert 0.5 < images(figure)[2].max() <= 1.0 + 1e-6


def test_a_given_amplification_that_cuts_says_so() -> None:
    figure = save.before_after([image_pairs()], amplification=40)
    assert "R × 40, cut off" in row_names(figure)


@pytest.mark.parametrize("amplification", [0.0, -1.0, math.nan, math.inf])
def test_a_senseless_amplification_is_refused(amplification: float) -> None:
    with pytest.raises(InputError, match="amplification > 0"):
        save.before_after([image_pairs()], amplification=amplification)


def test_colour_images_and_their_difference() -> None:
    pairs = image_pairs(channels=3, n=1)
    figure = save.before_after([pairs])
    before, _, difference = images(figure)
    assert before.shape == (4, 5, 3)
    R = (pairs.crafted - pairs.originals)[0].numpy()
    strongest = np.take_along_axis(R, np.abs(R).argmax(0)[None], 0)[0]
    assert difference == pytest.approx(strongest * 15.0, abs=1e-5)
    assert "channel that changed most" in words(figure)


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [image_pairs(n=0)],
        [image_pairs(n=1)],
        [image_pairs(linf=0.0, n=1), image_pairs("II", n=0)],
        [image_pairs(channels=2)],
        [image_pairs(arm, n=i + 1) for i, arm in enumerate(["I-tail", "II", "III-gradient", "III-loss", "$_x$"])],
    ],
    ids=["none", "empty", "one", "no difference", "two channels", "five arms"],
)
def test_few_or_many_pairs_draw(pairs: Sequence[ImagePairs]) -> None:
    figure = save.before_after(pairs)
    assert_well_laid(figure)
    assert len(images(figure)) == sum(3 * len(p.labels) for p in pairs)
    for pair in pairs:
        assert f"{pair.arm}" in words(figure)
