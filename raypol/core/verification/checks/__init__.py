"""The verifier's checks. Each module of this folder has its checks by name, `CHECKS`; a module added here is found by itself.

A check of your own is the same kind of function anywhere else, added to a policy by import path: `strict+my_lab.checks:steady`.
"""

import importlib
import pkgutil
from typing import Final

from raypol.core.verification.verdict import CheckFunction

CHECKS: Final[dict[str, CheckFunction]] = {
    name: check
    for module in pkgutil.iter_modules(__path__, f"{__name__}.")
    for name, check in importlib.import_module(module.name).CHECKS.items()
}
"""What a policy may be made of."""
