"""README and the pages of docs/, as tests read them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
PAGES: Final = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK: Final = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One fenced block of a page."""

    language: str
    mark: str
    """Text of the comment on the line before; empty if there is none."""
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines without comments."""
        return [line for line in (re.sub(r"(^|\s+)#.*", "", line) for line in self.text.splitlines()) if line]


def title(page: Path) -> str:
    """Path of a page inside the project."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str = "", mark: str = "") -> list[Block]:
    """Fenced blocks of a page in order, of one language or with one mark if given."""
    found = [
        Block(language=match["language"], mark=match["mark"] or "", text=match["text"])
        for match in _BLOCK.finditer(page.read_text())
    ]
    return [b for b in found if language in ("", b.language) and mark in ("", b.mark)]


def prose(page: Path, *, code: bool = True) -> str:
    """A page without its fenced blocks, and without inline code if `code` is false."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return text if code else re.sub(r"`[^`\n]*`", "", text)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the site and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}
