"""Seeds: their range, and what is derived from them."""

from collections.abc import Callable

import numpy as np
import pytest

from raypol import Conditions, Dataset, SpoofConfig, TrainConfig, load_dataset, prove
from raypol.core.errors import InputError
from raypol.core.relatives.dlg import DLG
from raypol.core.seeds import MAX_SEED, derive_seed, seed_of_32_bits
from tests.toys import toy_recipe

SEEDED: list[Callable[..., object]] = [TrainConfig, SpoofConfig, Conditions, DLG]


@pytest.mark.parametrize("kind", SEEDED)
def test_a_seed_is_a_whole_number_that_a_column_holds(kind: Callable[..., object]) -> None:
    for legal in (0, MAX_SEED, np.int64(3)):
        kind(seed=legal)
    for illegal in (-1, MAX_SEED + 1, 10**30, True, 1.0, "1", None):
        with pytest.raises(InputError, match=r"^expected seed in 0\.\.9223372036854775807, got "):
            kind(seed=illegal)


def test_a_recipe_of_ones_own_is_asked_before_it_is_trained(digits: Dataset) -> None:
    with pytest.raises(InputError, match=r"^expected seed in 0"):
        prove(toy_recipe(digits, seed=MAX_SEED + 1), digits)


def test_a_half_has_any_seed() -> None:
    one, other = (load_dataset(f"digits/D1@{seed}") for seed in (MAX_SEED, MAX_SEED - 1))
    assert len(one) == len(other)
    assert one.sha256 != other.sha256
    with pytest.raises(InputError, match=r"expected the seed of digits/D2@9223372036854775808 in 0\.\."):
        load_dataset(f"digits/D2@{MAX_SEED + 1}")


def test_the_reference_of_the_largest_seed_has_a_seed() -> None:
    assert TrainConfig(seed=3).reference().seed == 4
    assert TrainConfig(seed=MAX_SEED).reference().seed == 0


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32, MAX_SEED])
def test_libraries_with_smaller_seeds_get_the_same_or_a_derived_one(seed: int) -> None:
    found = seed_of_32_bits(seed)
    np.random.RandomState(found)
    assert (found == seed) == (seed < 2**32)
    assert 0 <= derive_seed(seed, "x") <= MAX_SEED
