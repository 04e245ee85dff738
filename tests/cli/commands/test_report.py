"""`raypol report`: its page and its Markdown show what the report holds; every state of a results folder has one clear line."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from raypol.cli.commands.report import chosen_sweep, write_report
from raypol.cli.main import main
from raypol.cli.options import open_results_folder
from raypol.core.errors import InputError
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.tracking.sweep_runs import Summary
from raypol.runs.tracking.sync import keep_summary
from raypol.store.location import open_location
from raypol.store.results.columns import columns_of
from raypol.store.results.files import write_trial
from raypol.store.results.rows import TrialRow
from tests.report.sweep_rows import ABOUT, draw_blank_figures, folder_with, report_of, rows_of
from tests.rows import made_intervals


@pytest.fixture(autouse=True)
def _blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_blank_figures(monkeypatch)


class Page(HTMLParser):
    """Tags that are opened, what they load, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_with(tmp_path_factory.mktemp("finished"), rows_of())


def test_the_page_needs_no_network_and_no_script(finished: Path, tmp_path: Path) -> None:
    page_file, markdown_file = write_report(report_of(finished), tmp_path / "out")
    page = Page(page_file.read_text())
    assert "script" not in page.tags
    assert all(load.startswith(("data:", "#")) for load in page.loads), page.loads
    for words in ("Does it pass?", "Attacks and controls", "How to reproduce", "III at T' = 50"):
        assert words in page.text
    markdown = markdown_file.read_text()
    named = re.findall(r"!\[[^]]*\]\(([^)]+)\)", markdown)
    assert named
    assert all((tmp_path / "out" / name).is_file() for name in named)
    # GitHub's tables need an empty line before them, and as many cells in each line.
    for table in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE):
        assert f"\n\n{table}" in markdown
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_what_an_adversary_writes_into_a_row_stays_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> | <img src=x onerror=alert(1)> [x](javascript:alert(1))"
    rows = [
        replace(row, message=evil, arm=row.arm if row.arm == "honest" else evil, status="error") for row in rows_of()
    ]
    page_file, _ = write_report(
        report_of(folder_with(tmp_path, rows, replace(ABOUT, question=evil, command=evil))), tmp_path
    )
    page = Page(page_file.read_text())
    assert "script" not in page.tags
    assert all(load.startswith(("data:", "#")) for load in page.loads), page.loads
    assert "<script>alert(1)</script>" in page.text


BEACON = (
    "![x](http://127.0.0.1:9/x.png) [click](http://evil) <b>x</b> <!-- `` | $x$ \x1b]52;c;AAAA\x07 \u202e"
    "\n\n# h\n\n```\n[d]: http://evil"
)


def hostile_folder(folder: Path, text: str) -> Path:
    """A results folder in which every text that need not be a name is this one."""
    free = [
        one.name
        for one in columns_of(TrialRow)
        if one.kind is str and one.name not in ("sweep_id", "trial_id", "proof_id", "proof_reference", "started_at")
    ]
    rows = rows_of("a`b [c](d) <e>")
    changed: dict[str, Any] = {name: text for name in free if name not in ("status", "attack")}
    evil = [replace(row, **changed) for row in rows]
    for row, was in zip(evil, rows, strict=True):
        row = replace(row, arm=was.arm) if was.is_honest else row
        write_trial(open_location(folder), row, made_intervals(row))
    record = SweepRecord(open_location(folder), rows[0].sweep_id)
    record.write_about(About(question=text, command=text, search="range", num_trials=3))
    record.write_asked({text: text})
    keep_summary(record.results, rows[0].sweep_id, Summary(answer=text))
    return folder


def test_a_hostile_folder_loads_and_links_nothing(tmp_path: Path) -> None:
    folder = hostile_folder(tmp_path / "results", BEACON)
    report = report_of(folder, "a`b [c](d) <e>")
    page_file, markdown_file = write_report(report, tmp_path / "out")
    page, markdown = Page(page_file.read_text()), markdown_file.read_text()
    assert all(load.startswith(("data:", "#")) for load in page.loads), page.loads
    assert not {"script", "b>", "blockquote"} & set(page.tags)
    parsed = MarkdownIt("commonmark").enable("table").parse(markdown)
    tokens = [one for token in parsed for one in (token, *(token.children or ()))]
    assert not {"html_inline", "html_block", "link_open"} & {one.type for one in tokens}
    loads = [str(one.attrs["src"]) for one in tokens if one.type == "image"]
    assert loads
    assert all(load.startswith("figures/") for load in loads), loads
    outside_code = "".join(one.content for one in parsed if one.type == "inline")
    assert "![x](http" not in outside_code
    for text in (page.text, page_file.read_text(), markdown):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    headings = [parsed[i + 1].content for i, one in enumerate(parsed) if one.type == "heading_open" and one.tag == "h2"]
    assert headings == [section.title for section in report.sections]


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    (page_file, _) = write_report(report_of(tmp_path, ""), tmp_path / "out")
    assert "raypol report of <code>" in page_file.read_text()


def test_the_sweep_that_is_meant(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    assert chosen_sweep(results, "") == ("", [])
    with pytest.raises(InputError, match="no such results folder"):
        open_results_folder(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="no sweep 'c'; there are none"):
        chosen_sweep(results, "c")
    folder_with(tmp_path, rows_of("a"))
    assert chosen_sweep(results, "") == ("a", [])
    folder_with(tmp_path, rows_of("b"))
    assert chosen_sweep(results, "a") == ("a", ["b"])
    SweepRecord(results, "b").write_about(About(question="Later?"))
    assert chosen_sweep(results, "") == ("b", ["a"])
    with pytest.raises(InputError, match="no sweep 'c'; there are b, a"):
        chosen_sweep(results, "c")


def test_the_command_prints_its_two_files(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(finished), "--out", str(tmp_path / "r")])
    assert ended.value.code == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "r" / "index.html"), str(tmp_path / "r" / "report.md")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("{empty}/nowhere",), "no such results folder"),
        (("{file}", "--name", "x"), ""),
        (("{full}", "--out", "{file}/x"), "cannot open"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], told: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "file": tmp_path / "file", "full": finished}
    with pytest.raises(SystemExit) as ended:
        main(["report", *(word.format(**places) for word in words)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert told in said
    assert len([line for line in said.splitlines() if not line.startswith("[")]) == 1
