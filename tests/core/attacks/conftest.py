"""The real if small case that the attacks are tried on, and what they are compared with."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest

from raypol.core.attacks import find_attack
from raypol.core.attacks.ii import AttackII
from raypol.core.attacks.iii import AttackIII
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.spoof_config import SpoofConfig
from tests.scenes import Forged, claiming, forge, stolen_digits

_VISIBLE: Final[dict[str, Any]] = {
    "linf_limit": 0.1,
    "retries": 0,
    "max_grad_norm2": math.inf,
    "max_perturbation_norm2": math.inf,
}
CASES: Final[dict[str, AttackII | AttackIII]] = {
    "II, loss": AttackII(objective="loss", crafting="signed", iterations=5, alpha=0.0, **_VISIBLE),
    "II, gradient": AttackII(iterations=4, alpha=0.1, line_search="strong_wolfe", **_VISIBLE),
    "III, loss": AttackIII(objective="loss", crafting="signed", iterations=5, alpha=0.0, **_VISIBLE),
    "III, gradient": AttackIII(iterations=4, alpha=0.0, line_search="strong_wolfe", **_VISIBLE),
}


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def stolen() -> MemoryProof:
    """Honest resnet8 on digits."""
    return stolen_digits()


@pytest.fixture(scope="session")
def claimed() -> SpoofConfig:
    """T' = 60, k = 10: moves about as large as what ordinary batches do in an interval, where an attack can matter."""
    return claiming(steps=60, interval=10)


@pytest.fixture(scope="session")
def null(stolen: MemoryProof, dataset: Dataset, claimed: SpoofConfig) -> Forged:
    """The control on the same trajectory with the same first batches, unperturbed."""
    return forge(find_attack("null"), stolen, dataset, claimed)


@pytest.fixture(scope="session")
def forged(stolen: MemoryProof, dataset: Dataset, claimed: SpoofConfig) -> Callable[[str], Forged]:
    """The spoof of one of `CASES`, made once."""
    return cache(lambda case: forge(CASES[case], stolen, dataset, claimed))
