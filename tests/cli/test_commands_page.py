"""docs/commands.md is what `--help` prints, docs/verifier.md what the checks say of themselves."""

import re
import runpy
from pathlib import Path
from typing import Final

import pytest

from raypol.cli.main import COMMANDS
from raypol.core.attacks import PRESETS
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


def test_every_attack_has_its_page_and_its_place_in_the_menu() -> None:
    pages = runpy.run_path(str(SCRIPT.with_name("generate_attacks.py")))["attack_pages"]()
    folder, menu = SCRIPT.with_name("attacks"), (SCRIPT.parents[1] / "mkdocs.yml").read_text()
    assert {path.name for path in folder.glob("*.md")} == set(pages), "write them: make generate"
    for name, text in pages.items():
        assert (folder / name).read_text() == text, "write it: make generate"
        assert f"- attacks/{name}\n" in menu
    for preset in PRESETS:
        assert any(f"`{preset}`" in text.partition("\n")[0] for text in pages.values()), preset
    assert all(re.search("[Ss]top|reject|sees", text) for text in pages.values()), "each says what stops it"


def test_standings_and_findings_are_what_the_rows_say() -> None:
    for name, text in runpy.run_path(str(SCRIPT.with_name("generate_findings.py")))["standing_pages"]().items():
        assert (SCRIPT.parent / name).read_text() == text, "write it: make generate"


def test_the_page_of_the_verifier_has_every_check() -> None:
    page = runpy.run_path(str(SCRIPT.with_name("generate_verifier.py")))["verifier_page"]()
    for name in CHECKS:
        assert f"\n- `{name}` (" in page
    assert SCRIPT.with_name("verifier.md").read_text() == page, "write it: make generate"
