"""The verifier's checks. Each module of this folder has its checks by name, `CHECKS`; a module added here is found by itself.

Where a check has parameters that honest runs decide, `CALIBRATIONS` has a function from their evidence and a margin to these
parameters. `NEED_ACCURACY` names the checks that look at accuracies, which cost a pass over the test set per recorded model;
`NEED_EXACT` those that look at a replay under recorded augmentation, bit by bit;
`GATHER` has the function that gathers what no other check needs, with the check's parameters of the same names (see `Wish`).
A check of your own is the same kind of function anywhere else, added to a policy by import path: `strict+my_lab.checks:steady`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, Final

from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

_MODULES: Final = [importlib.import_module(module.name) for module in pkgutil.walk_packages(__path__, f"{__name__}.")]

CHECKS: Final[dict[str, Callable[..., Check]]] = {
    name: check for module in _MODULES for name, check in getattr(module, "CHECKS", {}).items()
}
"""What a policy may be made of."""
CALIBRATIONS: Final[dict[str, Callable[[Sequence[Evidence], float], dict[str, Any]]]] = {
    name: measure for module in _MODULES for name, measure in getattr(module, "CALIBRATIONS", {}).items()
}
"""From evidence about honest runs and a margin to a check's parameters."""
GATHER: Final[dict[str, Callable[..., tuple[Any, ...]]]] = {
    name: gather for module in _MODULES for name, gather in getattr(module, "GATHER", {}).items()
}
"""Checks that need more evidence than every survey has, and what gathers it."""
NEED_EXACT: Final = frozenset(name for module in _MODULES for name in getattr(module, "NEED_EXACT", ()))
"""Checks that look at every bit of a replay under recorded augmentation."""
NEED_ACCURACY: Final = frozenset(name for module in _MODULES for name in getattr(module, "NEED_ACCURACY", ()))
