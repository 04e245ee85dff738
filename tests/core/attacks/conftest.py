"""The real if small case that the attacks are tried on, and what they are compared with."""

import pytest

from raypol.core.attacks import find_attack
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.spoof_config import SpoofConfig
from tests.scenes import Forged, forge, stolen_digits


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
    return SpoofConfig(steps=60, interval=10)


@pytest.fixture(scope="session")
def null(stolen: MemoryProof, dataset: Dataset, claimed: SpoofConfig) -> Forged:
    """The control on the same trajectory with the same first batches, unperturbed."""
    return forge(find_attack("null"), stolen, dataset, claimed)
