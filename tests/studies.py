"""A study small enough for a test: an honest proof of 40 steps on real digits, its reference, and quick arms of every attack."""

from collections.abc import Mapping
from typing import Any, Final

import duckdb

from raypol.cluster.placement import DeviceRequest, parse_device
from raypol.cluster.runners import ROLES, Role, Runner
from raypol.core.attacks import find_attack
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.runs.trials.study import Study, Trial
from raypol.runs.trials.trial import prepare_study
from raypol.store.location import Location

TRAIN: Final = TrainConfig(steps=40, interval=10, batch_size=32)
SHORT: Final = SpoofConfig(steps=10, interval=5, grants=("usual", "interval"))

QUICK_ARMS: Final[Mapping[str, Any]] = {
    "null": find_attack("null"),
    "infinitesimal": find_attack("infinitesimal"),
    "forged_momentum": find_attack("forged_momentum"),
    "I-tail": find_attack("i_tail", iterations=2, retries=0),
    "II": find_attack("zhang2022_ii", iterations=2, retries=0),
    "III-gradient": find_attack("iii", iterations=2, retries=0),
    "III-loss": find_attack("iii_loss", iterations=2, retries=0),
    "III-invisible": find_attack("iii_invisible", iterations=2),
}
"""The demo's arms with next to no search: what is tested is the way, not the attack."""

FEW_ARMS: Final = {arm: QUICK_ARMS[arm] for arm in ("null", "III-loss")}


def on(spelling: str = "cpu") -> dict[Role, DeviceRequest]:
    """Every role on the same device."""
    return dict.fromkeys(ROLES, parse_device(spelling))


def trial(arm: str, **changes: Any) -> Trial:  # noqa: ANN401 - any field of Trial
    """One of the quick arms, T' = 10, k = 5."""
    return Trial(**{"train": TRAIN, "arm": arm, "attack": QUICK_ARMS.get(arm), "spoof": SHORT, **changes})


def prepare(runner: Runner, results: Location, *, sweep_id: str = "test", train: TrainConfig = TRAIN) -> Study:
    """The honest proof and its reference, made or found, ready for trials."""
    return prepare_study(runner, results, train, sweep_id)


def query(sql: str) -> list[tuple[Any, ...]]:
    """What DuckDB answers."""
    return list(duckdb.execute(sql).fetchall())
