"""The committed costs of proofs by verifiable computation: counts that the code gives again, the bars, the fit, the estimate."""

import math

import numpy as np
import pytest

from benchmarks.vc import FITTED, ROWS, CostRow, extrapolations, fit, read_rows
from benchmarks.vc_figure import draw_costs
from raypol.core.verifiable.circuit import memory_bytes, num_constraints
from raypol.core.verifiable.integer_model import ModelShape
from raypol.core.verifiable.networks import network_constraints


@pytest.fixture(scope="module")
def rows() -> list[CostRow]:
    return read_rows(ROWS)


def test_constraints_are_those_that_the_compiler_counted(rows: list[CostRow]) -> None:
    assert len({row.constraints for row in rows}) == len(rows) >= 12
    assert {(row.features, row.classes) for row in rows} == {(16, 10), (64, 10)}
    for row in rows:
        shape = ModelShape(features=row.features, classes=row.classes, batch_size=row.batch_size)
        assert num_constraints(shape) == row.constraints


def test_memory_is_foreseen_and_not_by_far_too_much(rows: list[CostRow]) -> None:
    for row in rows:
        assert row.setup_peak_bytes <= memory_bytes(row.constraints) <= 1.6 * row.setup_peak_bytes
        assert row.prove_peak_bytes <= row.setup_peak_bytes


def test_the_bars_hold(rows: list[CostRow]) -> None:
    (row,) = [row for row in rows if (row.features, row.batch_size) == (64, 16)]
    assert row.prove_cpu_s <= 10.0
    assert row.verify_cpu_s <= 0.1
    assert row.proof_bytes <= 300


def test_a_fit_finds_its_own_curve() -> None:
    ns = [1_000, 2_000, 5_000, 20_000, 50_000, 90_000]
    found = fit(ns, [0.5 + 3e-6 * n * math.log2(n) for n in ns])
    assert found.a == pytest.approx(0.5)
    assert found.b == pytest.approx(3e-6)
    assert found.r2 == pytest.approx(1.0)
    assert max(map(abs, found.residuals)) < 1e-9
    bent = fit(ns, [float(n) ** 2 for n in ns])
    assert bent.r2 < 0.97
    assert sum(bent.residuals) == pytest.approx(0.0, abs=1.0)


def test_an_estimate_counts_three_products_per_multiplication_and_a_weights_ranges() -> None:
    """simple_conv on 28x28: 8 x 24^2 x 25, then 16 x 8^2 x 8 x 25, then 256 x 10 multiplications per point."""
    forward = 8 * 24**2 * 25 + 16 * 8**2 * 8 * 25 + 2560
    assert network_constraints("simple_conv", (1, 28, 28), 4) == 3 * 4 * forward + 5_994 * (40 + 12 + 2)


def test_the_figure_is_drawn_from_the_rows(rows: list[CostRow]) -> None:
    fitted = {name: fit([r.constraints for r in rows], [getattr(r, name) for r in rows]) for name in FITTED}
    figure = draw_costs(rows, fitted, extrapolations(fitted))
    (body,) = figure.subfigs
    assert [ax.get_title(loc="left") for ax in body.axes] == [
        "Proving",
        "Residuals of the fit",
        "Peak memory, and the proving key",
        "Carried on",
    ]
    drawn = [line for line in body.axes[1].lines if line.get_marker() in ("o", "s")]
    assert [np.asarray(line.get_ydata()).item() for line in drawn] == list(fitted["prove_cpu_s"].residuals)
