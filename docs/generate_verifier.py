"""Write docs/verifier.md from the docstrings of the checks: `python docs/generate_verifier.py`."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from raypol.core.verification import checks
from raypol.core.verification.policies import policies_with

PAGE = Path(__file__).with_name("verifier.md")
MARK = "<!-- checks: the rest is written by `make generate` -->"


def verifier_page() -> str:
    """The page: what is written above the mark, then every check."""
    head, _, _ = PAGE.read_text().partition(MARK)
    found = pkgutil.walk_packages(checks.__path__, f"{checks.__name__}.")
    modules = [importlib.import_module(module.name) for module in found if not module.ispkg]
    return "\n".join([f"{head}{MARK}\n", *(part for module in modules for part in _section(module))])


def _section(module: ModuleType) -> Iterator[str]:
    about = inspect.getdoc(module) or ""
    first, _, rest = about.partition("\n")
    names = ", ".join(f"`{name}`" for name in module.CHECKS)
    yield f"## {names}\n"
    yield _capitalised(first.partition(": ")[2]) + "\n"
    if rest.strip():
        yield rest.strip() + "\n"
    for name, check in module.CHECKS.items():
        function = getattr(check, "func", check)  # of a partial
        line = (inspect.getdoc(function) or "").partition("\n")[0]
        parameters = [
            parameter if one.default is inspect.Parameter.empty else f"{parameter} = {_shown(one.default)}"
            for parameter, one in inspect.signature(check).parameters.items()
            if one.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        told = f" Parameters: `{', '.join(parameters)}`." if parameters else ""
        yield f"- `{name}` ({_policies(name)}): {line}{told}"
    yield ""


def _policies(name: str) -> str:
    having = policies_with(name)
    return "in " + ", ".join(having) if having else "by name"


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    PAGE.write_text(verifier_page())
    sys.stdout.write(f"{PAGE}\n")
