"""raypol: which proof-of-learning spoofs pass which verifier, for which T', k and strength, at what cost.

What is named here is the public interface. Each name is imported on first use: `import raypol` loads neither torch nor Ray.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from raypol.cli.sweep import run_sweep
    from raypol.core.attacks import find_attack
    from raypol.core.datasets.dataset import Dataset
    from raypol.core.datasets.load import load_dataset
    from raypol.core.proof import Recipe
    from raypol.core.protocol import prove, spoof, verify
    from raypol.core.spoofing.spoof_config import SpoofConfig
    from raypol.core.spoofing.trajectory import TrajectoryConfig
    from raypol.core.training.train_config import TrainConfig
    from raypol.core.verification.policies import published, strict
    from raypol.core.verification.replay import Conditions
    from raypol.core.verification.thresholds import Thresholds
    from raypol.core.verification.verifier import examine
    from raypol.runs.designs.design import Design, Sweep
    from raypol.store.results.cache import read_results

__version__ = "0.1.0"
__all__ = [
    "Conditions", "Dataset", "Design", "Recipe", "SpoofConfig", "Sweep", "Thresholds", "TrainConfig", "TrajectoryConfig",
    "examine", "find_attack", "load_dataset", "prove", "published", "read_results", "run_sweep", "spoof", "strict", "verify",
]  # fmt: skip

_MODULES: Final = {
    "Conditions": "core.verification.replay",
    "Dataset": "core.datasets.dataset",
    "Design": "runs.designs.design",
    "Recipe": "core.proof",
    "SpoofConfig": "core.spoofing.spoof_config",
    "Sweep": "runs.designs.design",
    "Thresholds": "core.verification.thresholds",
    "TrainConfig": "core.training.train_config",
    "TrajectoryConfig": "core.spoofing.trajectory",
    "examine": "core.verification.verifier",
    "find_attack": "core.attacks",
    "load_dataset": "core.datasets.load",
    "prove": "core.protocol",
    "published": "core.verification.policies",
    "read_results": "store.results.cache",
    "run_sweep": "cli.sweep",
    "spoof": "core.protocol",
    "strict": "core.verification.policies",
    "verify": "core.protocol",
}
"""The module of each name, as the type checker sees it above."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
