"""Names in a results folder are part of its format: other versions and other tools look for these."""

from pathlib import Path

from raypol.store.location import open_location
from raypol.store.results_folder import ResultsFolder


def test_everything_is_where_other_versions_look_for_it(tmp_path: Path) -> None:
    paths = ResultsFolder(open_location(tmp_path))
    places = {
        "proofs/p": paths.proof("p"),
        ".staging": paths.staging,
        ".locks": paths.locks,
        "trials": paths.trials,
        "intervals": paths.intervals,
        "ranges": paths.ranges,
        "sweeps/s": paths.sweep("s"),
        "figures": paths.figures,
        "report/s": paths.report("s"),
    }
    assert {name: place.path for name, place in places.items()} == {name: f"{tmp_path}/{name}" for name in places}


def test_a_proof_is_there_once_it_has_its_manifest(tmp_path: Path) -> None:
    paths = ResultsFolder(open_location(tmp_path))
    paths.proof("p").make_folder()
    assert not paths.has_proof("p")
    (tmp_path / "proofs" / "p" / "manifest.json").write_text("{}")
    assert paths.has_proof("p")
