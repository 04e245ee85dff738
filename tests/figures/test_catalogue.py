"""The gallery: every plot survives every material, says why it does not apply, and is drawn the same twice."""

import math
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from pyarrow import fs

from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.figures import catalogue, draw_sweep, save
from raypol.figures.catalogue import PLOTS, Material, Plot, draw_all, read_material
from raypol.store.location import Location, open_location
from raypol.store.results.files import write_rows, write_trial
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from tests.conftest import Shown
from tests.figures.figure_rows import (
    ATTACKS,
    assert_well_laid,
    honest_row,
    image_pairs,
    interval_rows,
    judged,
    legend,
    row,
    says,
)
from tests.figures.six_panels.test_figure import range_row

NAMES = ("panels", "verdicts", "pareto", "frontier", "stages", "accuracy", "devices", "before_after")


def material(rows: list[TrialRow], **more: Any) -> Material:  # noqa: ANN401
    return Material(rows=rows, intervals=interval_rows(rows), **more)


NO_NUMBERS: dict[str, Any] = {f"error_{m}": math.nan for m in METRICS} | {"device_s": None, "size_bytes": None}
LONG = [f"an attack of our own with a long name, number {i}, and more" for i in range(12)]
MATERIALS: dict[str, Material] = {
    "nothing": Material(),
    "one trial": material([row("II")]),
    "honest alone": material([honest_row()]),
    "only errors": material([honest_row(status="error"), row("II", status="error", success=None)]),
    "errors among them": material([honest_row(), judged("II", 20), row("II", 90, status="error", success=None)]),
    "no numbers": material([honest_row(**NO_NUMBERS), row("II", **NO_NUMBERS)]),
    "12 arms with long names": material([honest_row(), *(judged(arm, s) for arm in LONG for s in (20, 60))]),
    "everything": material(
        [
            honest_row(),
            *(judged(arm, s) for arm in ("null", "II", "forged_momentum") for s in (20, 60)),
            *(judged("II", s, device="T4", simulated=True) for s in (20, 60)),
        ],
        pairs=[image_pairs(), image_pairs("II", n=0)],
        ranges=[range_row("II", low=20.0, high=60.0)],
        verdicts=[says("strict", judged("II", 60))],
    ),
    "foreign": material([honest_row(), row("_$x$\n{y}", dataset="$d$", model="\\frac", device="\t", device_name="$")]),
}


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
@pytest.mark.parametrize("case", MATERIALS)
def test_every_plot_survives_every_material(case: str, plot: Plot) -> None:
    given = MATERIALS[case]
    figure = plot.draw(given)
    assert isinstance(figure, Figure)
    assert_well_laid(figure)
    assert plot.applies(given) == (not plot.missing(given))
    caption = plot.caption(given)
    assert caption.endswith(".")
    assert "\n\n" not in caption


@pytest.mark.parametrize(
    ("accepted", "told"), [(True, "of those that the strict"), (False, "strict verifier accepts none")]
)
def test_the_caption_names_the_fronts_that_are_drawn(accepted: bool, told: str) -> None:
    (plot,) = [plot for plot in PLOTS if plot.name == "pareto"]
    given = material([honest_row(), judged("II", 60, accepted_strict=accepted)])
    assert told in plot.caption(given)
    assert any("strict verifier accepts" in text for text in legend(plot.draw(given))) == accepted


def test_plots_have_names_for_files() -> None:
    assert tuple(plot.name for plot in PLOTS) == NAMES
    assert all(plot.title for plot in PLOTS)


@pytest.mark.parametrize(
    ("case", "drawn"),
    [
        ("nothing", set[str]()),
        ("only errors", {"verdicts"}),
        ("honest alone", {"verdicts", "stages", "accuracy"}),
        ("one trial", {"panels", "verdicts", "pareto", "stages", "accuracy"}),
        ("everything", set(NAMES)),
    ],
)
def test_what_applies(case: str, drawn: set[str]) -> None:
    assert {plot.name for plot in PLOTS if plot.applies(MATERIALS[case])} == drawn
    reasons = [plot.missing(MATERIALS[case]) for plot in PLOTS if plot.name not in drawn]
    assert all(reasons)


def test_what_applies_is_drawn_the_same_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "DPI", 40)  # coarse: the bytes of a fine PDF and PNG are compared in test_figures
    given = MATERIALS["everything"]
    first, second = (
        [save.save_figure(plot.draw(given), tmp_path / run / plot.name, kinds=("png",))[0] for plot in PLOTS]
        for run in "ab"
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_all_that_applies_is_drawn_as_png_and_pdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Path] = []

    def noted(_: Figure, stem: Path) -> list[Path]:
        saved.append(stem)
        return [stem.with_suffix(".png"), stem.with_suffix(".pdf")]

    monkeypatch.setattr(save, "save_figure", noted)
    drawn = draw_all(MATERIALS["everything"], tmp_path)
    assert [stem.name for stem in saved] == list(NAMES)
    assert len(drawn) == 2 * len(NAMES)


def test_an_attack_has_one_colour_in_all_figures() -> None:
    given = MATERIALS["everything"]
    for plot in PLOTS:
        for ax in plot.draw(given).axes:
            for line in ax.get_lines():
                if str(line.get_gid()).partition(":")[0] == "null":
                    assert line.get_color() == "#595959", plot.name


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_results_folder_gives_what_figures_need(shown: Shown) -> None:
    sweep = shown.second.study.sweep_id
    found = read_material(open_location(shown.folder), sweep)
    assert {r.arm for r in found.rows} == {"honest", *ATTACKS}
    assert {r.sweep_id for r in found.rows} == {sweep}
    shows = {i.trial_id for i in found.intervals if isinstance(i, IntervalRow)}
    assert shows == {r.trial_id for r in found.rows}
    crafted = {r.arm for r in found.rows if r.num_points}
    assert {pair.arm for pair in found.pairs if len(pair.labels)} == crafted
    assert crafted
    assert not found.notes
    assert {plot.name for plot in PLOTS if plot.applies(found)} == set(NAMES) - {"devices"}
    assert len(read_material(open_location(shown.folder)).rows) > len(found.rows)


def results(folder: Path, rows: list[TrialRow]) -> Location:
    where = open_location(folder)
    for one in rows:
        write_trial(where, one, [])
    return where


def test_an_empty_folder_is_empty_material(tmp_path: Path) -> None:
    assert read_material(open_location(tmp_path)) == Material(
        rows=[], intervals=[], pairs=[], ranges=[], verdicts=[], notes=[]
    )
    assert draw_all(read_material(open_location(tmp_path / "nowhere")), tmp_path / "figures") == []
    assert not (tmp_path / "figures").exists()


def test_files_that_cannot_be_read_are_noted(tmp_path: Path) -> None:
    where = results(tmp_path, [row("II")])
    names = ("trials/x.parquet", "intervals/II-60.parquet", "ranges/s-published.parquet")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no Parquet")
    found = read_material(where)
    assert [f"{tmp_path}/{name}" in note for name, note in zip(names, found.notes, strict=True)] == [True] * 3
    assert len(found.rows) == 1


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        ("digits", "images of II at T' = 60"),  # no proof in the folder
        ("no_such", "images of no_such: unknown dataset"),
        ("cifar10", "images of cifar10: cifar10: expected"),  # not here, and not downloaded
        ("os:getcwd", "images of os:getcwd: a dataset of your own is not loaded here"),
        ("os:getcwd/D1", "images of os:getcwd/D1: a dataset of your own"),
    ],
)
def test_images_that_cannot_be_shown_are_noted(
    dataset: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYPOL_DATA", str(tmp_path / "data"))
    where = results(tmp_path / "results", [row("II", dataset=dataset, num_points=3, proof_id="gone")])
    found = read_material(where)
    assert [note for note in found.notes if note.startswith(reason)], found.notes
    before_after = PLOTS[-1]
    assert before_after.missing(found) == found.notes[0]


def test_own_code_runs_only_where_it_is_allowed(tmp_path: Path) -> None:
    where = results(tmp_path, [row("II", dataset="tests.figures.test_catalogue:loaded", num_points=3, proof_id="gone")])
    calls.clear()
    read_material(where)
    assert calls == []
    read_material(where, own_code=True)
    assert calls == [1]


calls: list[int] = []


def loaded() -> Dataset:
    calls.append(1)
    raise InputError("no")


def test_an_attack_that_changed_nothing_is_named_without_images(tmp_path: Path) -> None:
    where = results(tmp_path, [row("III", crafting="lbfgs", num_points=0), row("null", num_points=0)])
    (pair,) = read_material(where).pairs
    assert (pair.arm, len(pair.labels)) == ("III", 0)


def test_a_hostile_trial_id_reads_no_other_file(tmp_path: Path) -> None:
    where = results(tmp_path, [row("II")])
    secret = tmp_path / "secret.parquet"
    shutil.copy(next((tmp_path / "trials").glob("*.parquet")), secret)
    outside = replace(row("II"), trial_id="../secret")
    (tmp_path / "trials" / "II-60.parquet").unlink()
    write_rows(where / "trials", "x", TrialRow, [outside])
    assert read_material(where).intervals == []


# --- after a sweep ---------------------------------------------------------------------------------------------------


@pytest.fixture
def one_plot(monkeypatch: pytest.MonkeyPatch) -> str:
    """One figure instead of all: drawing takes time."""
    monkeypatch.setattr(catalogue, "PLOTS", PLOTS[1:2])
    return PLOTS[1].name


def test_a_sweep_ends_with_its_figures(tmp_path: Path, one_plot: str) -> None:
    where = results(tmp_path, [honest_row(), judged("II", 20), judged("II", 60)])
    with draw_sweep.drawn_figures(where, "s") as (drawn, problem):
        assert problem == ""
    assert {path.parent for path in drawn} == {tmp_path / "figures" / "s"}
    assert {path.stem for path in drawn} == {one_plot}
    assert all(path.is_file() for path in drawn)


@pytest.mark.usefixtures("one_plot")
def test_in_an_object_store_they_are_copied(tmp_path: Path) -> None:
    results(tmp_path, [honest_row(), judged("II", 20), judged("II", 60)])
    where = Location(fs.SubTreeFileSystem(str(tmp_path.parent), fs.LocalFileSystem()), tmp_path.name, "s3://bucket")
    with draw_sweep.drawn_figures(where, "s") as (drawn, problem):
        assert problem == ""
        contents = {path.name: path.read_bytes() for path in drawn}
    assert contents
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures" / "s").iterdir()} == contents
    assert not any(path.exists() for path in drawn)


@pytest.mark.parametrize("fault", [RuntimeError("two\nlines"), InputError("x"), pa.ArrowInvalid("x"), MemoryError()])
def test_what_cannot_be_drawn_fails_no_sweep(fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(catalogue, "draw_all", broken)
    with draw_sweep.drawn_figures(open_location(tmp_path), "s") as (drawn, problem):
        assert drawn == []
    assert "could not be drawn" in problem
    assert "\n" not in problem
