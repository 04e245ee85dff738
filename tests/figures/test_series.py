"""Which rows share a curve: settings by dataset and model, variants by what differs at one T' and seed."""

from typing import Any

import pytest

from raypol.figures.series import Series, by_variant, moving, settings_of
from tests.figures.figure_rows import honest_row, row


def arms(rows: list[Any], **options: Any) -> list[str]:  # noqa: ANN401
    return sorted(by_variant(rows, **options).series)


@pytest.mark.parametrize(
    ("column", "values", "named"),
    [
        ("alpha", (0.1, 1.0), ["III, alpha 0.1", "III, alpha 1"]),
        ("linf_limit", (8 / 255, None), ["III, linf 8/255", "III, linf free"]),
        ("noise", (0.0, 0.3), ["III, noise 0", "III, noise 0.3"]),
        ("trajectory", ("linear", "noisy"), ["III, linear path", "III, noisy path"]),
        ("device", ("cpu", "T4"), ["III, T4", "III, cpu"]),
        ("interval", (5, 10), ["III, k 10", "III, k 5"]),
        ("replay_threads", (1, 2), ["III, replay threads 1", "III, replay threads 2"]),
        ("threshold_kind", ("static", "dynamic"), ["III, delta dynamic", "III, delta static"]),
        ("threshold_l1", (0.1, 0.2), ["III, delta l1 0.1", "III, delta l1 0.2"]),
        ("message", ("a", "b"), ["III"]),
    ],
)
def test_arms_are_named_by_what_differs(column: str, values: tuple[Any, Any], named: list[str]) -> None:
    rows = [row("III", steps, **{column: value}) for value in values for steps in (20, 60)]
    assert arms(rows) == named


def test_what_differs_from_length_to_length_or_seed_to_seed_names_nothing() -> None:
    rows = [row("III", 20, alpha=0.1), row("III", 60, alpha=1.0), row("III", 20, seed=1, alpha=1.0)]
    assert arms(rows) == ["III"]


def test_axes_that_move_together_are_named_once() -> None:
    rows = [row("II", device=d, prover_device=d, verifier_device=d, replay_device=d) for d in ("cpu", "T4")]
    assert arms(rows) == ["II, T4", "II, cpu"]


def test_repetitions_share_a_curve() -> None:
    assert arms([row("II", sweep_id=sweep) for sweep in ("a", "b")]) == ["II"]


def test_an_arm_without_the_axis_keeps_its_name() -> None:
    rows = [row("III", alpha=0.1), row("III", alpha=1.0), row("null", alpha=None)]
    assert arms(rows) == ["III, alpha 0.1", "III, alpha 1", "null"]


def test_every_arm_with_the_axis_is_named_by_it() -> None:
    rows = [row("III", device="cpu"), row("III", device="T4"), row("II", device="cpu")]
    assert arms(rows) == ["II, cpu", "III, T4", "III, cpu"]


def test_too_many_curves_are_merged() -> None:
    rows = [row("III", alpha=0.1 * i, noise=0.1 * j) for i in range(1, 5) for j in range(1, 5)]
    found = by_variant(rows, most=6)
    assert len(found.series) == 4
    assert found.merged == ["noise"]
    assert by_variant(rows, most=16).merged == []


def test_many_arms_alone_are_not_merged() -> None:
    rows = [row(f"own {i}") for i in range(40)]
    assert len(arms(rows)) == 40


def test_the_honest_proof_keeps_its_name_and_rows_stay_as_they_were() -> None:
    rows = [honest_row(device="cpu"), honest_row(device="T4"), row("II", device="cpu"), row("II", device="T4")]
    found = by_variant(rows).series
    assert {series: (series.arm, series.variant) for series in found} == {
        "honest": ("honest", ()),
        "II, cpu": ("II", ("cpu",)),
        "II, T4": ("II", ("T4",)),
    }
    assert found[Series("honest")] == rows[:2]
    assert [own for some in found.values() for own in some] == rows
    assert list(by_variant(rows).spoofs) == ["II, cpu", "II, T4"]


def test_a_name_with_commas_is_an_arm_and_no_variant() -> None:
    rows = [row("III, alpha 0.1", alpha=a) for a in (0.1, 0.2)] + [row("III", alpha=0.1)]
    assert [(series.arm, series.variant) for series in by_variant(rows).series] == [
        ("III, alpha 0.1", ("alpha 0.1",)),
        ("III, alpha 0.1", ("alpha 0.2",)),
        ("III", ("alpha 0.1",)),
    ]


def test_settings_are_datasets_and_models_halves_together() -> None:
    rows = [
        row("II", dataset="d/D1"),
        row("II", dataset="d/D2"),
        row("II", dataset="d", model="m"),
        row("II", dataset="e"),
    ]
    assert [(s.dataset, s.model, len(s.rows)) for s in settings_of(rows)] == [
        ("d", "resnet8", 2),
        ("d", "m", 1),
        ("e", "resnet8", 1),
    ]
    assert settings_of([]) == []


def test_what_moves_along_a_curve() -> None:
    assert moving([row("III", 20, alpha=0.1), row("III", 60, alpha=0.2, interval=20)]) == ["alpha"]
    assert moving([row("III", 20)]) == moving([]) == []
