"""Forecasts against sweeps that were run, and by hand."""

from dataclasses import replace

import pytest
from ray import tune

from raypol.core.errors import InputError
from raypol.core.training.train_config import TrainConfig
from raypol.runs.designs.design import Design, Sweep
from raypol.runs.designs.paper_experiments import CIFAR10, PUBLISHED_SPOOF
from raypol.runs.sweeps.forecast import PEAK_TFLOPS, Forecast, Forecaster, ForecastLine, assumed_speed, trial_seconds
from raypol.runs.sweeps.plan import SweepOptions, plan_sweep
from tests.runs.conftest import Recorded
from tests.studies import QUICK_ARMS, SHORT, TRAIN


def forecast(design: Design, forecaster: Forecaster, *, estimate: int = 0) -> Forecast:
    sweep = Sweep(name="s", question="?", paper=design, smoke=design)
    return forecaster.of(plan_sweep(sweep, "paper", design, SweepOptions(name="s", estimate=estimate)))


def design(**changes: object) -> Design:
    fields = {"train": TRAIN, "arms": {"III-loss": QUICK_ARMS["III-loss"]}, "spoof": SHORT, "space": {}, **changes}
    return Design(**fields)  # type: ignore[arg-type]


def line(found: Forecast, what: str) -> ForecastLine:
    (one,) = (line for line in found.lines if line.what == what)
    return one


def test_proofs_checkpoints_and_honest_trainings_are_counted_once_each() -> None:
    found = forecast(
        design(space={"steps": tune.grid_search([10, 20]), "seed": tune.grid_search([0, 1, 2])}),
        Forecaster(gpu="cpu", steps_per_s=10.0),
    )
    honest, reference = line(found, "honest proofs"), line(found, "references for d_ref")
    assert (honest.proofs, honest.checkpoints) == (3, 3 * 5)
    assert (reference.proofs, reference.checkpoints) == (1, 2), "the proof of seed s + 1 serves seed s"
    assert honest.make_s == pytest.approx(3 * 40 / 10.0)
    assert reference.make_s == pytest.approx(40 / 10.0)
    for arm in ("null", "infinitesimal", "III-loss"):
        spoofs = line(found, arm)
        assert (spoofs.proofs, spoofs.checkpoints) == (6, 3 * (2 + 1) + 3 * (4 + 1))
        assert spoofs.verify_s == pytest.approx(2 * 3 * (10 + 20) / 10.0), (
            "each interval, and its unperturbed reference"
        )
    assert found.total().proofs == 3 + 1 + 18
    assert list(found.steps_per_s.values()) == [pytest.approx(10.0)]


def test_bytes_are_a_bound_that_is_near(recorded: Recorded) -> None:
    found = forecast(design(), Forecaster(steps_per_s=1.0))
    rows = {"honest proofs": recorded.honest.row} | {arm: recorded.spoofs[arm].row for arm in ("null", "III-loss")}
    for what, row in rows.items():
        assert row.size_bytes is not None
        # Parquet's own structure is not in it: 40 kB per file at this size, nothing at paper size.
        assert line(found, what).num_bytes >= row.size_bytes - (row.size_overhead_bytes or 0)
        assert line(found, what).num_bytes < 1.5 * row.size_bytes


def test_a_sample_takes_its_share() -> None:
    wide = design(space={"steps": tune.grid_search([100])})
    whole, sampled = (line(forecast(wide, Forecaster(steps_per_s=1.0), estimate=m), "III-loss") for m in (0, 5))
    assert (whole.checkpoints, sampled.checkpoints) == (21, 6)
    assert sampled.verify_s == pytest.approx(whole.verify_s / 4)
    assert sampled.num_bytes == 0, "nothing is kept of an estimate"
    assert whole.make_s / 4 < sampled.make_s <= whole.make_s, "bringing the carried state up costs too"


def test_devices_are_those_that_a_trial_names() -> None:
    gpus = {
        "prover": tune.grid_search(["V100"]),
        "spoofer": tune.grid_search(["T4", "RTX2080Ti"]),
        "verifier": tune.grid_search(["gpu"]),
    }
    found = forecast(design(space=gpus), Forecaster(gpu="h100"))
    assert {line.device for line in found.lines} == {"V100", "T4", "RTX-2080-Ti"}
    assert {line.verifier for line in found.lines if line.what == "III-loss"} == {"H100"}
    assert set(found.speeds) == {"V100", "T4", "RTX-2080-Ti", "H100"}
    with pytest.raises(InputError, match="no throughput is known for 'gpu'"):
        forecast(design(space=gpus), Forecaster())


def test_a_rate_is_the_peaks_share_or_the_hosts_launches_whichever_is_slower() -> None:
    small = forecast(design(), Forecaster(gpu="V100"))
    assert line(small, "honest proofs").make_s < 40 * 300 * 10e-6
    assert line(small, "honest proofs").make_s > 40 * 100 * 10e-6, "launches bind on 8x8 images"
    large = forecast(design(train=CIFAR10, spoof=PUBLISHED_SPOOF), Forecaster(gpu="V100"))
    flops = 242_421_504 * 128 * CIFAR10.steps
    assert line(large, "honest proofs").make_s == pytest.approx(flops / (0.3 * 15.7e12), rel=1e-6)
    assert assumed_speed("Tesla T4").flops_per_s == pytest.approx(0.3e12 * PEAK_TFLOPS["T4"])


def test_a_measured_rate_is_of_this_machine() -> None:
    found = forecast(design(train=TrainConfig(steps=40, interval=10, batch_size=32)), Forecaster(measure=True))
    ((_, speed),) = found.speeds.items()
    assert speed.source.startswith("measured here on ")
    assert 1.0 < next(iter(found.steps_per_s.values())) < 10_000.0


def test_trials_are_weighed_against_each_other() -> None:
    """By hand: a null trial trains T' steps and is replayed twice; III also evaluates gradients, once per iteration at least."""
    wide = design(space={"steps": tune.grid_search([20, 40]), "interval": tune.grid_search([5, 10])})
    sweep = Sweep(name="s", question="?", paper=wide, smoke=wide)
    trials = plan_sweep(sweep, "paper", wide, SweepOptions(name="s")).trials
    broken = replace(trials[0], train=replace(TRAIN, model="nowhere:model"), arm="broken")
    seconds = trial_seconds([*trials, broken], 0)
    weights = {(t.arm, t.spoof.steps, t.spoof.interval): s for t, s in zip([*trials, broken], seconds, strict=True)}
    step = weights["null", 20, 5] / (3 * 20)
    for interval in (5, 10):
        assert weights["null", 40, interval] == pytest.approx(3 * 40 * step)
        assert weights["III-loss", 40, interval] == pytest.approx(2 * weights["III-loss", 20, 5])
        assert weights["III-loss", 20, interval] > 3 * 20 * step + QUICK_ARMS["III-loss"].iterations * 20 * step / 3
    steps = sum(trial.spoof.steps for trial in trials)
    assert seconds[-1] == pytest.approx(sum(seconds[:-1]) / steps * broken.spoof.steps), "the mean for its T'"
    assert trial_seconds(trials[:2], 0, within_s=0.0) == [t.spoof.steps for t in trials[:2]]
