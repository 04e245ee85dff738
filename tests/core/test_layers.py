"""The core imports nothing above science, checked in a fresh process."""

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FORBIDDEN: Final = ["ray", "mlflow", "pyarrow", "duckdb", "pydantic", "matplotlib", "rich", "tyro"]

IMPORT_ALL: Final = """
import importlib, pkgutil, sys
import raypol.core
names = [m.name for m in pkgutil.walk_packages(raypol.core.__path__, "raypol.core.", onerror=lambda name: sys.exit(name))]
for name in names:
    importlib.import_module(name)
assert "raypol.core.verification.verifier" in names and "raypol.core.attacks.ii" in names, names
print(*sorted(sys.modules))
"""


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh Python holds after running the code."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_core_leaves_everything_above_science_unloaded() -> None:
    loaded = loaded_by(IMPORT_ALL)
    assert "torch" in loaded
    assert [name for name in FORBIDDEN if name in loaded] == []
    assert [name for name in loaded if name.startswith("raypol.") and not name.startswith("raypol.core")] == []


def test_the_check_would_notice() -> None:
    assert "pydantic" in loaded_by("import pydantic, sys; print(*sys.modules)")
