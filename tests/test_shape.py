"""The shape of the code: what CONTRIBUTING promises of folders, modules, imports and names."""

from pathlib import Path

import pytest

from benchmarks import shape
from benchmarks.shape import arrows_up, import_cycles, measures, repeated_names


@pytest.mark.parametrize("measure", [one for one in measures() if "raypol/" not in one.name], ids=lambda one: one.name)
def test_every_bar_holds(measure: shape.Measure) -> None:
    """Lines of the whole are left out: the project may grow."""
    if measure.name != "lines of presentation":
        assert measure.is_met, f"{measure.value} > {measure.bar}: {measure.where}"


def test_a_cycle_is_found_between_modules_and_between_packages() -> None:
    modules = {"raypol.a.x": frozenset({"raypol.a.y"}), "raypol.a.y": frozenset({"raypol.a.x"})}
    assert [set(cycle) for cycle in import_cycles(modules)] == [{"raypol.a.x", "raypol.a.y"}]
    packages = {"raypol.a.x": frozenset({"raypol.b.x"}), "raypol.b.y": frozenset({"raypol.a.z"})}
    assert [set(cycle) for cycle in import_cycles(packages)] == [{"raypol.a", "raypol.b"}]
    face = {"raypol.a": frozenset({"raypol.a.x"}), "raypol.a.x": frozenset({"raypol.b"})}
    assert import_cycles(face) == []


def test_an_import_that_points_up_or_sideways_is_found() -> None:
    imports = {
        "raypol.core.x": frozenset({"raypol.store.x"}),
        "raypol.report.x": frozenset({"raypol.explorer.x", "raypol.figures.x"}),
    }
    assert arrows_up(imports) == ["raypol.core.x -> raypol.store.x", "raypol.report.x -> raypol.explorer.x"]


def test_a_name_that_two_modules_define_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "raypol"
    package.mkdir()
    (package / "one.py").write_text("LIMIT = 3\n\ndef main(): ...\n\nclass Plan: ...\n\n_plain = 1\n")
    (package / "two.py").write_text("LIMIT: int = 4\n\ndef main(): ...\n\ndef Plan(): ...\n\ndef _plain(): ...\n")
    monkeypatch.setattr(shape, "ROOT", tmp_path)
    monkeypatch.setattr(shape, "PACKAGE", package)
    assert list(repeated_names()) == ["LIMIT", "Plan"]
