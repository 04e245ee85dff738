"""Crops and flips against a slow per-image oracle, rotations against Pillow's; seeds."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from raypol.core.augment import Transform, apply_draws, augment, draw_augmentation, normalise, to_unit
from raypol.core.errors import InputError
from raypol.core.seeds import derive_seed, generator


def images(B: int, C: int, H: int, W: int, seed: int = 0) -> Tensor:
    """No zeros, so that padding is seen."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (B, C, H, W), generator=rng, dtype=torch.uint8)


def one_by_one(pixels: Tensor, transform: Transform, rng: torch.Generator) -> Tensor:
    """The slow, obvious augmentation: per image pad, cut out, mirror. The draws come in the declared order."""
    B, C, H, W = pixels.shape
    pad = transform.crop_padding
    offsets = torch.randint(0, 2 * pad + 1, (2, B), generator=rng) if pad else torch.zeros(2, B, dtype=torch.int64)
    flips = torch.rand(B, generator=rng) < 0.5 if transform.horizontal_flip else torch.zeros(B, dtype=torch.bool)
    out = []
    for i in range(B):
        canvas = torch.zeros(C, H + 2 * pad, W + 2 * pad, dtype=pixels.dtype)
        canvas[:, pad : pad + H, pad : pad + W] = pixels[i]
        top, left = int(offsets[0, i]), int(offsets[1, i])
        window = canvas[:, top : top + H, left : left + W]
        out.append(window.flip(2) if flips[i] else window)
    return torch.stack(out) if out else pixels.clone()


@example(B=8, C=2, H=4, W=6, pad=0, flip=True, seed=0)
@example(B=8, C=2, H=4, W=6, pad=2, flip=False, seed=0)
@example(B=8, C=2, H=4, W=6, pad=2, flip=True, seed=0)
@example(B=0, C=1, H=1, W=1, pad=0, flip=True, seed=0)
@given(
    st.integers(0, 5),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_equals_the_slow_per_image_augmentation(
    B: int, C: int, H: int, W: int, pad: int, flip: bool, seed: int
) -> None:
    pixels, transform = images(B, C, H, W), Transform(crop_padding=pad, horizontal_flip=flip)
    expected = one_by_one(pixels, transform, generator(seed)) if transform.is_random else pixels
    found = augment(pixels, transform, generator(seed))
    assert torch.equal(found, expected)
    assert found.dtype == torch.uint8


# --- rotation --------------------------------------------------------------------------------------------------------


def turned_by_pillow(image: Tensor, degrees: float) -> Tensor:
    """(C, H, W) turned as torchvision's RandomRotation turns a Pillow image: nearest pixel, zeros from outside."""
    from torchvision.transforms import functional

    picture = functional.to_pil_image(image)
    turned: Tensor = functional.pil_to_tensor(functional.rotate(picture, degrees))
    return turned


@pytest.mark.parametrize("size", [(32, 32), (9, 14), (1, 5)])
@pytest.mark.parametrize("widest", [15, 180])
def test_it_turns_as_torchvision_turns_pillow_images(size: tuple[int, int], widest: int) -> None:
    pixels, transform = images(40, 3, *size), Transform(rotation_degrees=widest)
    draws = draw_augmentation(transform, 40, generator(3))
    found = apply_draws(pixels, transform, draws)
    angles = (draws[3].double() / 1000).tolist()
    expected = torch.stack([turned_by_pillow(image, angle) for image, angle in zip(pixels, angles, strict=True)])
    # Pillow's own fixed point has 16 bits: a position on the very edge between two pixels may fall to the other one.
    assert (found != expected).double().mean() < 2e-3
    assert all(abs(angle) <= widest for angle in angles)
    assert max(angles) > 0.8 * widest
    assert min(angles) < -0.8 * widest


@pytest.mark.parametrize(("degrees", "quarter_turns"), [(0, 0), (90, 1), (-90, -1), (180, 2), (-180, 2)])
def test_quarter_turns_are_exact(degrees: int, quarter_turns: int) -> None:
    pixels, transform = images(2, 2, 6, 6), Transform(rotation_degrees=180)
    draws = torch.tensor([[0, 0, 0, degrees * 1000]]).T.expand(4, 2)
    assert torch.equal(apply_draws(pixels, transform, draws), pixels.rot90(quarter_turns, (2, 3)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_turning_there_and_back_keeps_the_middle_of_a_smooth_image(dtype: torch.dtype) -> None:
    ramp = torch.arange(32).expand(32, 32) * 4 + torch.arange(32)[:, None] * 3
    pixels, transform = ramp.to(dtype).expand(31, 1, 32, 32), Transform(rotation_degrees=15)
    there = torch.zeros(4, 31, dtype=torch.int64)
    there[3] = torch.arange(-15, 16) * 1000
    back = there * torch.tensor([1, 1, 1, -1])[:, None]
    returned = apply_draws(apply_draws(pixels, transform, there), transform, back)
    assert returned.dtype == dtype
    # Twice to the nearest pixel: at most one pixel off per axis, 4 + 3 grey levels.
    middle = (..., slice(8, 24), slice(8, 24))
    assert (returned[middle].int() - pixels[middle].int()).abs().max() <= 7
    assert torch.equal(returned[15], pixels[15])


@pytest.mark.parametrize(("pad", "flip"), [(0, False), (2, False), (0, True), (2, True)])
def test_the_order_is_crop_mirror_rotation_as_published(pad: int, flip: bool) -> None:
    whole = Transform(crop_padding=pad, horizontal_flip=flip, rotation_degrees=40)
    pixels, draws = images(16, 2, 7, 9), draw_augmentation(whole, 16, generator(5))
    first = apply_draws(pixels, Transform(crop_padding=pad, horizontal_flip=flip), draws)
    expected = apply_draws(first, Transform(rotation_degrees=40), draws * torch.tensor([0, 0, 0, 1])[:, None])
    assert torch.equal(apply_draws(pixels, whole, draws), expected)


def test_declaring_a_rotation_leaves_the_other_draws_as_they_were() -> None:
    plain = Transform(crop_padding=4, horizontal_flip=True)
    turning = Transform(crop_padding=4, horizontal_flip=True, rotation_degrees=15)
    without, with_it = (draw_augmentation(transform, 50, generator(1)) for transform in (plain, turning))
    assert torch.equal(without[:3], with_it[:3])
    assert not without[3].any()
    assert len(set(with_it[3].tolist())) > 40


def test_an_angle_as_a_whole_number_is_the_same_declaration() -> None:
    assert repr(Transform(rotation_degrees=15)) == repr(Transform(rotation_degrees=15.0))


# --- every transform -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_pixels_are_augmented_like_stored_ones(dtype: torch.dtype) -> None:
    pixels, transform = images(8, 2, 5, 4), Transform(crop_padding=2, horizontal_flip=True, rotation_degrees=30)
    found = augment(to_unit(pixels, dtype), transform, generator(1))
    assert torch.equal(found, to_unit(augment(pixels, transform, generator(1)), dtype))


@pytest.mark.parametrize(
    "transform",
    [
        Transform(crop_padding=2),
        Transform(horizontal_flip=True),
        Transform(crop_padding=2, horizontal_flip=True),
        Transform(rotation_degrees=15),
    ],
)
def test_same_seed_same_bytes_other_seed_other_bytes(transform: Transform) -> None:
    pixels = images(32, 3, 8, 8)
    before = pixels.clone()
    first, again, other = (augment(pixels, transform, generator(seed, "augmentation", 3)) for seed in (1, 1, 2))
    next_step = augment(pixels, transform, generator(1, "augmentation", 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, next_step)
    assert torch.equal(pixels, before), "the stored pixels must stay"


def test_every_offset_and_both_orientations_occur() -> None:
    pixels = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3).expand(4000, 1, 3, 3)
    found = augment(pixels, Transform(crop_padding=1, horizontal_flip=True), generator(0))
    kinds, counts = torch.unique(found.reshape(4000, 9), dim=0, return_counts=True)
    assert len(kinds) == 3 * 3 * 2
    assert counts.min() > 4000 / 18 * 0.7  # 222 +- 14 expected: five standard deviations


def test_nothing_random_declared_nothing_drawn() -> None:
    rng, pixels = generator(0), images(2, 1, 3, 3)
    state = rng.get_state()
    transform = Transform(mean=(0.5,), std=(0.2,))
    assert augment(pixels, transform, rng) is pixels
    assert torch.equal(rng.get_state(), state)
    assert not transform.is_random


def test_without_augmentation_keeps_the_normalisation_alone() -> None:
    transform = Transform(crop_padding=3, horizontal_flip=True, rotation_degrees=9, mean=(0.1,), std=(0.2,))
    assert transform.without_augmentation() == Transform(mean=(0.1,), std=(0.2,))


def test_unit_pixels_span_zero_to_one_and_stored_ones_stay() -> None:
    pixels = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    assert to_unit(pixels, torch.float64).flatten().tolist() == [0.0, 0.2, 1.0]
    assert pixels.flatten().tolist() == [0, 51, 255]
    floats = torch.tensor([[[[0.0, 0.25, 1.0]]]])
    assert torch.equal(to_unit(floats), floats)


def test_normalise_is_per_channel_and_differentiable() -> None:
    unit = to_unit(images(2, 3, 4, 4), torch.float64).requires_grad_()
    transform = Transform(mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    found = normalise(unit, transform)
    for channel, (mean, std) in enumerate(zip(transform.mean, transform.std, strict=True)):
        # One rounding more or less in float64.
        torch.testing.assert_close(found[:, channel], (unit[:, channel] - mean) / std, rtol=1e-15, atol=1e-15)
    (gradient,) = torch.autograd.grad(found.sum(), unit)
    assert gradient[0, :, 0, 0].tolist() == [1.0, 0.5, 0.25]
    assert normalise(unit, Transform()) is unit


@pytest.mark.parametrize(
    "options",
    [
        {"crop_padding": -1},
        {"crop_padding": 65},
        {"rotation_degrees": -1.0},
        {"rotation_degrees": 180.5},
        {"rotation_degrees": float("nan")},
        {"mean": (0.5,)},
        {"std": (0.5,)},
        {"mean": (0.5,), "std": (0.0,)},
        {"mean": (0.5,), "std": (-1.0,)},
        {"mean": (0.5,), "std": (float("nan"),)},
        {"mean": (0.5, 0.5), "std": (1.0,)},
    ],
)
def test_an_impossible_transform_is_an_error(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected"):
        Transform(**options)  # type: ignore[arg-type]


# --- seeds -----------------------------------------------------------------------------------------------------------


def test_streams_are_told_apart_by_root_and_by_every_name() -> None:
    paths: list[tuple[int, *tuple[str | int, ...]]] = [
        (0,), (1,), (0, "a"), (0, "a", 1), (0, "a", 11), (0, "a1"), (0, "a", "1"), (0, "a", 1, 1), (0, 1), (-1,), (0, ""),
    ]  # fmt: skip
    seeds = [derive_seed(*path) for path in paths]
    assert len(set(seeds)) == len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_does_not_depend_on_the_process_or_the_python_hash() -> None:
    # SHA-256 of the printed path, first eight bytes, halved: fixed for ever, or old proofs would not replay.
    assert derive_seed(0, "data order", 3) == 7187781812195099696


def test_a_numpy_integer_names_the_same_stream() -> None:
    import numpy as np

    assert derive_seed(int(np.int64(5)), "x", 7) == derive_seed(np.int64(5), "x", np.int64(7))  # type: ignore[arg-type]
