"""The environment in which a number was obtained: versions and commit, recorded in every proof and row."""

import importlib.metadata
import json
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

from raypol.cluster.runners import Role, Runner

_PACKAGES = ("raypol", "torch", "numpy", "scipy", "ray", "pyarrow", "mlflow")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Version by package, and Python's."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def versions_text() -> str:
    """The versions as one JSON string."""
    return json.dumps(versions(), sort_keys=True)


def environment_of(runner: Runner, role: Role) -> dict[str, str]:
    """The environment that a proof declares: versions, the device's model, and whether that was simulated."""
    facts = runner.facts(role)
    return {**versions(), "device": facts.name, **({"simulated": "true"} if facts.simulated else {})}


@lru_cache(maxsize=1)
def commit() -> str:
    """Commit of raypol's source tree, "-dirty" if it has changes; empty if raypol does not run from a checkout."""
    here = Path(__file__).resolve()

    def git(*words: str) -> str:
        command = ["git", "-C", str(here.parent), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):  # no git here, or a very slow disk
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    if not git("ls-files", "--error-unmatch", here.name):
        return ""  # installed into another project's checkout, such as its .venv
    revision = git("rev-parse", "HEAD")
    return (
        f"{revision}-dirty"
        if revision and git("status", "--porcelain", "--untracked-files=no", ":/raypol")
        else revision
    )
