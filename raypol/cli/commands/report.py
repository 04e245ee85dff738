"""`raypol report`: a sweep as one HTML file that needs no network, and as Markdown with PNGs for a repository.

`raypol.report.content` puts together what it says; two templates lay it out.
"""

import base64
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from raypol.cli.console import ERR, say
from raypol.cli.options import Debug, ReadResults, open_results_folder
from raypol.cli.progress import progress
from raypol.core.errors import InputError, first_names, local_path
from raypol.report.content import Report, make_report
from raypol.report.tables import to_html, to_markdown
from raypol.runs.sweeps.record import sweeps_on_record, sweeps_with_rows
from raypol.store.escaping import harmless_markdown, markdown_block, markdown_code, markdown_text, visible_lines
from raypol.store.location import Location, atomic_output, open_location
from raypol.store.results_folder import ResultsFolder

_UNBROKEN: Final = "T'\u00a0=\u00a0"
"""Not broken over lines."""


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write a sweep's results as one HTML file that needs no network and as Markdown with PNGs. Marks an unfinished sweep."""

    results: ReadResults
    name: str = ""
    """Name of the sweep; empty = the one that changed last."""
    out: str | None = None
    """Local folder for index.html, report.md and figures/; None = RESULTS/report/NAME."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        results = open_results_folder(self.results)
        sweep_id, others = chosen_sweep(results, self.name)
        if self.out is None and not results.is_local:
            raise InputError(f"{results} is not on this machine: expected --out FOLDER")
        folder = local_path(self.out) if self.out else Path(ResultsFolder(results).report(sweep_id).path)
        with progress(ERR) as update:
            report = make_report(results, sweep_id, on_progress=update)
        if others and not self.name:
            say(f"of sweep {sweep_id}; others by --name: {first_names(others)}", console=ERR)
        say(*map(str, write_report(report, folder)))
        return 0


def chosen_sweep(results: Location, name: str) -> tuple[str, list[str]]:
    """The sweep that is meant, by default the one that changed last, and the names of the others; empty if there is none.

    Raises:
        InputError: no sweep of this name is in it.
    """
    there = list(dict.fromkeys([*sweeps_on_record(results), *sweeps_with_rows(results)]))
    if name and name not in there:
        raise InputError(f"{results} holds no sweep {name!r}; there are {first_names(there) or 'none'}")
    chosen = name or (there[0] if there else "")
    return chosen, [other for other in there if other != chosen]


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write FOLDER/index.html, report.md and figures/*.png; returns the first two.

    Raises:
        InputError: the folder cannot be written.
    """
    pictures = [picture for section in report.sections for picture in section.figures]
    written = {
        folder / "index.html": _rendered("report.html.j2", report).encode(),
        folder / "report.md": _rendered("report.md.j2", report).encode(),
        **{folder / "figures" / f"{picture.name}.png": picture.png for picture in pictures},
    }
    try:
        for path, content in written.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_output(open_location(path)) as stream:
                stream.write(content)
    except OSError as err:
        raise InputError(f"cannot write the report into {folder}: {err.strerror or err}") from err
    return list(written)[:2]


class _Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def _rendered(template: str, report: Report) -> str:
    is_page = template.endswith(".html.j2")
    # Rows may come from an adversary: whatever a template shows is escaped unless a filter has made Markdown or HTML of it.
    environment = Environment(
        autoescape=is_page,  # noqa: S701 - finalize escapes for Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown_on_page if is_page else _shown_in_markdown,
    )
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])

    def as_page(text: str) -> Markup:
        return Markup(markdown.render(visible_lines(text).replace("T' = ", _UNBROKEN)))  # noqa: S704 - html=False: escaped

    environment.filters |= {
        "markdown": as_page if is_page else lambda text: _Markdown(harmless_markdown(text)),
        "code": lambda text: _Markdown(markdown_code(text)),
        "block": lambda text: _Markdown(markdown_block(text)),
        "base64": lambda png: base64.b64encode(png).decode(),
        "table": to_html if is_page else lambda table: _Markdown(to_markdown(table)),
    }
    text = (files("raypol.report") / "templates" / template).read_text()
    return environment.from_string(text).render(report=report, sections=report.sections)


def _shown_on_page(value: object) -> object:
    return value if isinstance(value, Markup) else visible_lines(str(value))


def _shown_in_markdown(value: object) -> str:
    return value if isinstance(value, _Markdown) else markdown_text(str(value))
