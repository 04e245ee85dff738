"""docs/commands.md is what `--help` prints, docs/verifier.md what the checks say of themselves."""

import runpy
from pathlib import Path
from typing import Final

import pytest

from raypol.cli.main import COMMANDS
from raypol.core.verification.checks import CHECKS

SCRIPT: Final = Path(__file__).parents[2] / "docs" / "generate_commands.py"


def test_the_page_is_what_help_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYPOL_RESULTS", "/machine/of/mine")
    page = runpy.run_path(str(SCRIPT))["commands_page"]()
    for name in COMMANDS:
        assert f"## raypol {name}\n" in page
    assert "## raypol relatives dlg\n" in page
    assert "mine" not in page
    assert "\x1b" not in page
    committed = SCRIPT.with_name("commands.md").read_text()
    assert committed == page, "write it: python docs/generate_commands.py"


def test_the_page_of_the_verifier_has_every_check() -> None:
    page = runpy.run_path(str(SCRIPT.with_name("generate_verifier.py")))["verifier_page"]()
    for name in CHECKS:
        assert f"\n- `{name}` (" in page
    assert SCRIPT.with_name("verifier.md").read_text() == page, "write it: make generate"
