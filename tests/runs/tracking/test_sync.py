"""Figures of an earlier run: shown again only if they are of the same rows, by the same code, as they were drawn."""

from dataclasses import replace
from pathlib import Path

import pytest

from raypol.runs.tracking.sweep_runs import Summary
from raypol.runs.tracking.sync import keep_summary, kept_figures
from raypol.store.location import open_location
from tests.rows import made_row

ROWS = [made_row(number) for number in range(3)]


@pytest.fixture
def figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A figure that a run of three rows drew."""
    monkeypatch.setattr("raypol.runs.tracking.sync.commit", lambda: "abc")
    path = tmp_path / "figures" / "s" / "front.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"drawn")
    keep_summary(open_location(tmp_path), "s", Summary(answer="", figures=(path,)), ROWS)
    return path


def test_figures_of_the_same_rows_are_kept(figure: Path, tmp_path: Path) -> None:
    results = open_location(tmp_path)
    assert kept_figures(results, "s", ROWS) == (figure,)
    assert kept_figures(results, "s", ROWS[::-1]) == (figure,), "in any order"
    assert kept_figures(results, "another", ROWS) == ()
    assert kept_figures(results, "s", ROWS[:2]) == ()
    assert kept_figures(results, "s", [*ROWS[:2], replace(ROWS[2], status="error")]) == ()


@pytest.mark.parametrize("code", ["abd", "abc-dirty"])
def test_other_code_draws_anew(code: str, figure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del figure
    monkeypatch.setattr("raypol.runs.tracking.sync.commit", lambda: code)
    assert kept_figures(open_location(tmp_path), "s", ROWS) == ()


def test_code_that_is_being_changed_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypol.runs.tracking.sync.commit", lambda: "abc-dirty")
    (tmp_path / "f.png").write_bytes(b"drawn")
    keep_summary(open_location(tmp_path), "s", Summary(answer="", figures=(tmp_path / "f.png",)), ROWS)
    assert kept_figures(open_location(tmp_path), "s", ROWS) == ()


@pytest.mark.parametrize("change", ["gone", "another", "no JSON", "no object"])
def test_a_figure_that_is_not_as_it_was_drawn_is_drawn_anew(change: str, figure: Path, tmp_path: Path) -> None:
    summary = tmp_path / "sweeps" / "s" / "summary.json"
    match change:
        case "gone":
            figure.unlink()
        case "another":
            figure.write_bytes(b"other")
        case "no JSON":
            summary.write_text("{")
        case _:
            summary.write_text("[]")
    assert kept_figures(open_location(tmp_path), "s", ROWS) == ()
