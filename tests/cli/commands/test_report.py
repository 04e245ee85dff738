"""`raypol report`: what it says comes from the rows, and every state of a results folder has a report or one clear line."""

import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from raypol.cli.commands.report import chosen_sweep, write_report
from raypol.cli.main import main
from raypol.core.errors import InputError
from raypol.figures.catalogue import PLOTS
from raypol.report import content
from raypol.report.content import Report, Section, make_report
from raypol.runs.sweeps.record import About, Ledger
from raypol.store.location import open_location
from raypol.store.results.files import write_trial
from raypol.store.results.rows import TrialRow
from tests.rows import made_intervals, made_row

ABOUT = About(question="Does it pass?", num_trials=6, command="python sweeps/x.py --size smoke")
NUMBERS = {
    "error_l1": 0.04, "error_l2": 0.05, "error_linf": 0.06, "error_cos": 0.007, "ratio_error_l1": 0.5, "ratio_error_l2": 0.6,
    "ratio_error_linf": 0.7, "ratio_error_cos": 0.8, "ratio_time": 0.1, "ratio_size": 0.2, "device_s": 1.5, "size_bytes": 10_000,
    "accepted_published": True, "accepted_strict": True, "success": True, "success_strict": True, "bound_by": "size",
}  # fmt: skip


def rows_of(sweep_id: str = "made") -> list[TrialRow]:
    """An honest row, both controls and an attack at two T'; one of them failed."""
    honest = replace(made_row(0, sweep_id=sweep_id), arm="honest", attack="none", steps=400, interval=10, **NUMBERS)  # type: ignore[arg-type]
    spoofs = [
        replace(made_row(1 + i, sweep_id=sweep_id), arm=arm, steps=steps, interval=10, seed=0, **NUMBERS)  # type: ignore[arg-type]
        for i, (arm, steps) in enumerate((arm, steps) for steps in (20, 50) for arm in ("null", "infinitesimal", "III"))
    ]
    failed = replace(
        spoofs[-1], status="error", message="RuntimeError: out of memory\nTraceback", success=None, error_l2=None
    )
    return [honest, *spoofs[:-1], failed]


def folder_with(folder: Path, rows: list[TrialRow], about: About | None = ABOUT) -> Path:
    for row in rows:
        write_trial(open_location(folder), row, made_intervals(row))
    if about is not None and rows:
        Ledger(open_location(folder), rows[0].sweep_id).describe(about)
    return folder


@pytest.fixture(autouse=True)
def _blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of a figure stays, but it is an empty one: real ones are drawn once, and by the gallery's tests."""
    if "drawn" not in request.fixturenames:
        blank = tuple(replace(plot, draw=lambda _: Figure(figsize=(1, 1))) for plot in PLOTS)
        monkeypatch.setattr(content, "PLOTS", blank)


def report_of(folder: Path, name: str = "made") -> Report:
    return make_report(open_location(folder), name)


def section(report: Report, name: str) -> Section:
    (one,) = (section for section in report.sections if section.id == name)
    return one


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


@pytest.fixture(scope="module")
def drawn(finished: Path) -> Report:
    """With every figure that there is something to draw of."""
    return report_of(finished)


def test_a_report_answers_with_the_rows_numbers(drawn: Report) -> None:
    report = drawn
    assert report.title == "Does it pass?"
    assert report.warnings == []
    text = section(report, "answer").markdown
    assert "6 of 6 trials have a row: 5 ran to the end" in text
    assert "null: succeeds under published in 2 of 2 trials, T' in 20 .. 50" in text
    (controls,) = section(report, "controls").tables
    assert [line[:2] for line in controls.lines] == [["null", "2"], ["infinitesimal", "2"], ["III", "1"]]
    assert [line[2:5] for line in controls.lines] == [["2", "1", "1"], ["2", "1", "1"], ["1", "1", "1"]]
    (trials,) = section(report, "trials").tables
    assert len(trials.lines) == 6
    (failures,) = section(report, "failures").tables
    assert failures.lines == [["error", "1", "RuntimeError: out of memory", "III at T' = 50"]]
    how = section(report, "reproduce")
    assert how.code[0] == ABOUT.command
    assert ["commit", "c0ffee"] in [list(line) for line in how.tables[0].lines]
    figures = section(report, "figures").figures
    assert len(figures) >= 2
    assert all(figure.png.startswith(b"\x89PNG") and len(figure.png) > 10_000 for figure in figures)


def test_an_attack_is_held_against_null_at_equal_points_alone(tmp_path: Path) -> None:
    honest, null, *_ = rows_of()
    better = replace(null, trial_id="a", arm="III", error_l2=0.5 * (null.error_l2 or 0.0))
    elsewhere = replace(better, trial_id="b", steps=50, error_l2=1e-6)
    (controls,) = section(report_of(folder_with(tmp_path, [honest, null, better, elsewhere])), "controls").tables
    (line,) = (line for line in controls.lines if line[0] == "III")
    assert dict(zip(controls.columns, line, strict=True)) | {"n": "2", "pairs": "1", "l2 / null's": "0.5"} == dict(
        zip(controls.columns, line, strict=True)
    )


def test_the_page_needs_no_network_and_no_script(drawn: Report, tmp_path: Path) -> None:
    page_file, markdown_file = write_report(drawn, tmp_path / "out")
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


def test_a_half_finished_sweep_says_so(tmp_path: Path) -> None:
    report = report_of(folder_with(tmp_path, rows_of()[:4]))
    assert report.warnings == ["This sweep is not finished: 3 of 6 trials have a row."]
    assert "3 of 6 trials have a row" in section(report, "answer").markdown


STATES = {
    "one trial": (lambda rows: rows[1:2], "no honest proof"),
    "the honest row alone": (lambda rows: rows[:1], "0 of 6 trials"),
    "errors only": (lambda rows: [replace(row, status="error", message="boom") for row in rows], "no honest proof"),
    "NaN everywhere": (lambda rows: [replace(row, error_l2=float("nan"), device_s=None, ratio_time=None) for row in rows], ""),
    "simulated": (lambda rows: [replace(row, simulated=True) for row in rows], "7 of 7 rows are simulated"),
    "estimated": (lambda rows: [*rows[:2], replace(rows[2], estimated=True, estimate_beyond=3)], "1 of 3 rows are estimated"),
    "versions differ": (lambda rows: [*rows, replace(rows[1], trial_id="x", versions="other")], "2 different sets of versions"),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_folder_has_a_report(state: str, tmp_path: Path) -> None:
    change, told = STATES[state]
    report = report_of(folder_with(tmp_path, change(rows_of())))  # type: ignore[no-untyped-call]
    assert told in " ".join(report.warnings)
    page_file, _ = write_report(report, tmp_path / "out")
    assert "Does it pass?" in page_file.read_text()


def test_a_sweep_that_has_only_begun_has_a_report_and_an_empty_folder_too(tmp_path: Path) -> None:
    nothing = report_of(tmp_path, "")
    assert (nothing.title, nothing.warnings[0][:18]) == ("No results yet", "There are no rows:")
    (page_file, _) = write_report(nothing, tmp_path / "out")
    assert "raypol report of <code>" in page_file.read_text()
    Ledger(open_location(tmp_path), "begun").describe(About(question="Does it pass?", num_trials=6))
    assert chosen_sweep(open_location(tmp_path), "") == ("begun", [])
    begun = report_of(tmp_path, "begun")
    assert begun.title == "Does it pass?"
    assert begun.warnings[0] == "This sweep is not finished: 0 of 6 trials have a row."


def test_its_command_can_be_pasted_and_versions_read(tmp_path: Path) -> None:
    versions = json.dumps({"python": "3.11.7", "torch": "2.9.0"})
    folder = tmp_path / "it's a folder"
    how = section(report_of(folder_with(folder, [replace(row, versions=versions) for row in rows_of()])), "reproduce")
    assert shlex.split(how.code[-1]) == ["raypol", "report", str(folder), "--name", "made"]
    assert ["versions", "python 3.11.7, torch 2.9.0"] in [list(line) for line in how.tables[0].lines]


def test_a_folder_without_a_ledger_is_told_as_a_run(tmp_path: Path) -> None:
    report = report_of(folder_with(tmp_path, rows_of(), about=None))
    assert report.title == "Sweep made"
    assert "The honest proof trained resnet8 on digits" in section(report, "answer").markdown
    assert section(report, "reproduce").markdown == "The command was not recorded."


def test_the_sweep_that_is_meant(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    assert chosen_sweep(results, "") == ("", [])
    with pytest.raises(InputError, match="no such results folder"):
        chosen_sweep(open_location(tmp_path / "nowhere"), "")
    with pytest.raises(InputError, match="no sweep 'c'; there are none"):
        chosen_sweep(results, "c")
    folder_with(tmp_path, rows_of("a"))
    assert chosen_sweep(results, "") == ("a", [])
    folder_with(tmp_path, rows_of("b"))
    assert chosen_sweep(results, "a") == ("a", ["b"])
    Ledger(results, "b").describe(About(question="Later?"))
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
        (("{full}", "--out", "{file}/x"), "cannot write"),
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
