"""Every attack on images with three channels, in both memory formats: the embedded digits have one."""

from dataclasses import fields, replace
from typing import Any

import pytest

from raypol import prove
from raypol.core.attacks import PRESETS, find_attack, method_of
from raypol.core.augment import Transform
from raypol.core.datasets.load import random_points
from raypol.core.datasets.shapes import Shape
from raypol.core.spoofing.grants import GRANTS
from tests.scenes import claiming, forge, small_recipe

COLOURED = Shape(num_points=64, image_shape=(3, 8, 8), num_classes=4)
NORMALISED = Transform(crop_padding=1, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", PRESETS)
def test_every_attack_takes_coloured_images(name: str, channels_last: bool) -> None:
    data = random_points(COLOURED, COLOURED.num_points)
    honest = prove(
        small_recipe(
            data, model="resnet8", steps=8, interval=4, batch_size=8, transform=NORMALISED, channels_last=channels_last
        ),
        data,
    )
    cheap: dict[str, Any] = {"iterations": 2, "retries": 0, "query_budget": 1}
    possible = {field.name for field in fields(PRESETS[name])}
    attack = find_attack(name, **{key: value for key, value in cheap.items() if key in possible})
    choices = claiming(steps=4, interval=2)
    if method_of(attack).declares_trace:
        choices = claiming(steps=8, interval=4, augmentation="honest")
    forged = forge(attack, honest, data, replace(choices, grants=GRANTS))
    assert len(forged.replays) == 2
    assert all(replay.error.is_finite for replay in forged.replays)
    own_points = hasattr(attack, "crafting") or name == "distil"
    assert (forged.proof.num_points > 0) == own_points
