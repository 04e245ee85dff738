"""The benchmarks' parts run, on tiny sizes, and what they compare is the same work."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.loops import bare_loop, classic_pipeline, proving
from benchmarks.paper_scale import bind, random_images, recipe_for, replayed
from benchmarks.peak_memory import measured_work, memory_ratios, peak_mb
from benchmarks.ratios import Ratio, at_least, at_most
from benchmarks.store_speed import store_ratios
from raypol.core.distances import parameter_distances
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (Ratio("speed", [0.4, 9.0, 0.5], ">= 0.5", at_least(0.5)), "0.50     0.40 .. 9.00   n=3     >= 0.5   holds"),
        (Ratio("time", [1.2], "<= 1.10", at_most(1.1)), "1.20     1.20 .. 1.20   n=1    <= 1.10   MISSED"),
        (Ratio("size", [1.00001], digits=4), "1.0000   1.0000 .. 1.0000   n=1"),
    ],
    ids=["the median counts", "a bar that is missed", "no bar, no verdict"],
)
def test_a_line_has_median_spread_and_verdict(ratio: Ratio, expected: str) -> None:
    assert " ".join(ratio.line().split()[1:]) == " ".join(expected.split())


@pytest.mark.parametrize(
    ("model", "shape"),
    [("resnet8", (40, 3, 32, 32)), ("benchmarks.loops:two_convolutions", (40, 1, 28, 28))],
)
def test_the_three_loops_make_the_same_steps(model: str, shape: tuple[int, int, int, int], tmp_path: Path) -> None:
    dataset = random_images(shape)
    recipe = replace(
        recipe_for(dataset, model, steps=4, interval=2), batch_size=16
    )  # two batches an epoch: the loader ends
    for spent in (
        proving(recipe, dataset, tmp_path, CPU),
        bare_loop(recipe, dataset, CPU),
        classic_pipeline(recipe, dataset, tmp_path, CPU),
    ):
        assert spent.wall_s > 0
        assert spent.cpu_s > 0
    proof = ParquetProof(open_location(tmp_path / "proofs" / "bench"))
    assert [int(path.name.rpartition("_")[2]) for path in sorted(tmp_path.glob("model_step_*"))] == [0, 2, 4]
    assert list(proof.checkpoint_steps) == [0, 2, 4]
    saved = torch.load(tmp_path / "model_step_4", weights_only=True)["net"]
    recorded = proof.checkpoint(2)
    assert {name: t.shape for name, t in saved.items()} == {
        name: t.shape for name, t in [*recorded.parameters.items(), *recorded.buffers.items()]
    }


def test_two_float64_replays_agree_and_float32_is_near() -> None:
    dataset = random_images((32, 3, 8, 8))
    recipe = replace(recipe_for(dataset, "resnet8", steps=2, interval=2), batch_size=16)
    (fine, spent_s), (again, _), (coarse, _) = (
        replayed(recipe, dataset, CPU, precision) for precision in ("float64", "float64", "float32")
    )
    assert spent_s > 0
    assert parameter_distances(fine.parameters, again.parameters).l2 == 0.0
    assert 0.0 < parameter_distances(fine.parameters, coarse.parameters).l2 < 1e-2


def test_binding_takes_time_for_every_point() -> None:
    dataset = random_images((300, 1, 8, 8))
    assert 0 < bind(dataset.pixels, dataset.labels) < 10


def test_the_store_is_compared_file_by_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lines = list(store_ratios(CPU, 1, model="resnet8", checkpoints=3))
    ratios = [line for line in lines if isinstance(line, Ratio)]
    assert len(ratios) == 6
    assert all(value > 0 for ratio in ratios for value in ratio.values)
    assert list(tmp_path.iterdir()) == []


def test_both_kinds_of_work_whose_memory_is_taken_run(tmp_path: Path) -> None:
    for work in ("prove", "verify"):
        peak, before = measured_work(work, 10, tmp_path, CPU)
        assert peak >= before > 0


@pytest.mark.slow
def test_the_peak_memory_of_a_process_is_its_own() -> None:
    held = torch.ones(1 << 31, dtype=torch.uint8)
    lines = [line for line in memory_ratios(CPU, 1, steps=10) if isinstance(line, str)]
    assert peak_mb() > held.nbytes / 1e6
    for line in lines:
        assert float(line.split()[0]) < held.nbytes / 1e6
