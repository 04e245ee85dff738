"""What a report says comes from the rows, and every state of a results folder has a report."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from raypol.core.training.train_config import TrainConfig
from raypol.report.content import Report
from raypol.report.tables import to_html, to_markdown
from raypol.runs.designs.design import Design
from raypol.runs.designs.points import trial_at
from raypol.runs.sweeps.failed_trials import unworked_row
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.store.location import open_location
from tests.report.sweep_rows import ABOUT, NUMBERS, draw_blank_figures, folder_with, report_of, rows_of, section


@pytest.fixture(autouse=True)
def _blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "drawn" not in request.fixturenames:
        draw_blank_figures(monkeypatch)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """With every figure that there is something to draw of."""
    return report_of(folder_with(tmp_path_factory.mktemp("finished"), rows_of()))


def test_a_report_answers_with_the_rows_numbers(drawn: Report) -> None:
    report = drawn
    assert report.title == "Does it pass?"
    assert report.warnings == []
    text = section(report, "answer").markdown
    assert "6 of 6 trials have a row: 5 ran to the end" in text
    (arms,) = section(report, "answer").tables
    assert [line[0] for line in arms.lines] == ["null", "infinitesimal", "III"]
    assert arms.lines[0][-2:] == ["succeeds at 20, 50", "closest: size"]
    assert arms.lines[2][-2] == "succeeds at 20; no result at 50"
    assert len(text.split(". ")) <= 8
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
    better = replace(null, trial_id="a", arm="III", attack="iii", error_l2=0.5 * (null.error_l2 or 0.0))
    elsewhere = replace(better, trial_id="b", steps=50, error_l2=1e-6)
    (controls,) = section(report_of(folder_with(tmp_path, [honest, null, better, elsewhere])), "controls").tables
    (line,) = (line for line in controls.lines if line[0] == "III")
    cells = dict(zip((column.title for column in controls.columns), line, strict=True))
    assert (cells["n"], cells["pairs"], cells["l2 / null's"]) == ("2", "1", "0.5")


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
    for table in (table for part in report.sections for table in part.tables):
        assert all(len(line) in (0, len(table.columns)) for line in table.lines)
        assert to_html(table)
        assert to_markdown(table)


def test_a_sweep_that_has_only_begun_has_a_report_and_an_empty_folder_too(tmp_path: Path) -> None:
    nothing = report_of(tmp_path, "")
    assert (nothing.title, nothing.warnings[0][:18]) == ("No results yet", "There are no rows:")
    SweepRecord(open_location(tmp_path), "begun").write_about(About(question="Does it pass?", num_trials=6))
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
    assert "The honest proof (resnet8 on digits, 400 steps" in section(report, "answer").markdown
    assert section(report, "reproduce").markdown == "The command was not recorded."


def test_a_control_by_another_name_is_not_missing(tmp_path: Path) -> None:
    renamed = [replace(row, arm={"null": "baseline"}.get(row.arm, row.arm)) for row in rows_of()]
    report = report_of(folder_with(tmp_path, renamed))
    assert "Missing controls" not in section(report, "controls").markdown
    assert "The control baseline" in section(report, "answer").markdown
    foreign = [replace(row, attack="ii") if row.arm == "infinitesimal" else row for row in rows_of("other")]
    lacking = section(report_of(folder_with(tmp_path, foreign), "other"), "controls").markdown
    assert "Missing controls: infinitesimal." in lacking


def test_a_control_is_one_from_the_design_to_the_report_whatever_its_name(tmp_path: Path) -> None:
    design = Design(train=TrainConfig(steps=400), arms={"baseline": "null", "III": "iii_loss"}, space={})
    assert list(design.attacks()) == ["infinitesimal", "baseline", "III"]
    spoofs = [
        replace(unworked_row("made", trial_at(design, {"arm": arm, "steps": 20}), ""), status="ok", **NUMBERS)
        for arm in design.attacks()
    ]
    assert {row.arm: row.is_control for row in spoofs} == {"infinitesimal": True, "baseline": True, "III": False}
    rows = [rows_of()[0], *(replace(row, proof_reference="proof-0") for row in spoofs)]
    report = report_of(folder_with(tmp_path, rows))
    controls = section(report, "controls")
    assert "Missing controls" not in controls.markdown
    assert [line[:3] for line in controls.tables[0].lines if line[0] in ("baseline", "III")] == [
        ["III", "1", "1"],
        ["baseline", "1", "1"],
    ], "each has its pair in baseline"
    assert "The control baseline, ordinary batches with no perturbation" in section(report, "answer").markdown
