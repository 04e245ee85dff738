"""Links of README and docs/ lead somewhere, and claims about files, targets and datasets hold."""

import pkgutil
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import pytest

from raypol.cli.main import main
from raypol.core.datasets.load import DATASETS
from tests.docs.pages import PAGES, ROOT, anchors, blocks, prose, title

DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_pictures_and_anchors_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page, code=False)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), f"{title(page)} links {target}"
        assert there.suffix != ".png" or there.stat().st_size > 10_000
        if there.suffix == ".html":  # a cell of the arena's page, which it finds by itself
            assert all(value in there.read_text() for value in dict(parse_qsl(anchor)).values()), (
                f"{title(page)} links {target}"
            )
        else:
            assert not anchor or anchor in anchors(there), f"{title(page)} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_files_and_folders_named_are_there(page: Path) -> None:
    text = prose(page)
    for path in re.findall(r"`((?:raypol|sweeps|tests|dashboards|docs|benchmarks)/[\w/.-]*)`", text):
        assert (ROOT / path).exists(), f"{title(page)} names {path}"
    for name in re.findall(r"(?:`|^::: )(raypol(?:\.\w+)+)", text, flags=re.MULTILINE):
        assert pkgutil.resolve_name(name) is not None


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_make_target_named_is_there(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_contributing_names_every_make_target() -> None:
    documented = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert set(documented) - {"help"} == set(named)


def test_sections_of_the_protocol_that_docstrings_name_are_there() -> None:
    there = anchors(DOCS / "protocol.md")
    sources = [path for folder in ("raypol", "sweeps") for path in (ROOT / folder).rglob("*.py")]
    named = {
        (path.name, section)
        for path in sources
        for section in re.findall(r'docs/protocol\.md,?\s+[("]*([A-Z][a-z ]+[a-z])', path.read_text())
    }
    assert {(file, section) for file, section in named if section.lower().replace(" ", "-") not in there} == set()


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


def test_the_menu_of_the_site_has_every_page() -> None:
    menu = (ROOT / "mkdocs.yml").read_text()
    for page in DOCS.rglob("*.md"):
        assert f"- {page.relative_to(DOCS).as_posix()}\n" in menu, page


def test_the_table_of_datasets_names_all_of_them() -> None:
    table = (DOCS / "datasets.md").read_text().partition("|---")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", "\n".join(row.split(" | ")[0] for row in table.splitlines()[1:]))
    assert set(named) == set(DATASETS)


def test_every_sweep_has_its_command() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert {path.name for path in (ROOT / "sweeps").glob("*.py")} <= set(re.findall(r"python sweeps/(\w+\.py)", text))


def test_the_plan_shown_is_the_one_that_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = blocks(DOCS / "paper-figures.md", mark="plan output")
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main(["plan", "fig05", "--gpu", "V100"])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "\n".join(lines).startswith(shown.text.rstrip())


def test_readme_shows_lines_of_the_whole_demo() -> None:
    (excerpt,) = blocks(ROOT / "README.md", mark="demo output")
    (whole,) = blocks(DOCS / "demo.md", mark="demo output")
    assert [line for line in excerpt.text.splitlines() if line not in whole.text.splitlines()] == []
    assert {"honest", "null"} <= {line.split()[0] for line in excerpt.text.splitlines() if line.strip()}
