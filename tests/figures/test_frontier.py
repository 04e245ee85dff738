"""The fronts: under each policy what no other accepted spoof of W_T beats, drawn with the honest proof and the jumps."""

from dataclasses import replace
from typing import Any

import pytest

from raypol.core.distances import METRICS
from raypol.figures import save
from raypol.figures.frontier import policy_fronts
from raypol.figures.series import settings_of
from raypol.runs.trials.relative_costs import costs_of
from raypol.store.results.rows import TrialRow
from tests.figures.figure_rows import assert_well_laid, honest_row, legend, lines, row, says, words, xy


def at(arm: str, cost: float, error: float, **changes: Any) -> TrialRow:  # noqa: ANN401
    """A spoof at this share of the proof's 4 working seconds, and this multiple of its errors."""
    fields: dict[str, Any] = {f"ratio_error_{m}": error if m == "l2" else error / 2 for m in METRICS}
    fields |= {"trial_id": f"{arm} {cost} {error}", "proof_reference": "honest", "trajectory": "linear"}
    fields |= {"device_s": 4.0 * cost + 1.0, "writing_s": 1.0, "start": "rank_matched", "claimed_l2": 0.0}
    return row(arm, 60, **{**fields, **changes})


HONEST = honest_row(proof_id="honest", device_s=5.0, writing_s=1.0)
FREE, TRUE, DEAR = at("null, no momentum", 0.01, 0.5), at("steered", 1.0, 0.1), at("II", 3.0, 0.4)
OTHER = at("retrain", 0.5, 0.0, claimed_l2=1.2)
ROWS = [HONEST, FREE, TRUE, DEAR, OTHER]
VERDICTS = [
    *(says("strict", trial) for trial in ROWS[1:]),
    *(says("tight", trial, accepted=trial is DEAR) for trial in ROWS[1:]),
    *(says("none", trial, accepted=False) for trial in ROWS[1:]),
]


def test_costs_are_working_time_and_the_largest_error_over_the_proofs() -> None:
    assert costs_of(ROWS)[FREE.trial_id] == pytest.approx((0.01, 0.5))
    lost = [at("II", 1.0, 0.1, ratio_error_cos=None), at("III", 1.0, 0.1, proof_reference="another")]
    assert set(costs_of([HONEST, *lost])) == set()


def test_each_policy_has_the_front_of_what_it_accepts_and_no_other_model_is_on_one() -> None:
    (setting,) = settings_of(ROWS)
    fronts = {one.policy: one for one in policy_fronts(setting, VERDICTS)}
    assert [row.arm for _, _, row in fronts["strict"].front] == ["null, no momentum", "steered"]
    assert [row.arm for _, _, row in fronts["tight"].front] == ["II"]
    assert fronts["none"].front == []
    assert fronts["strict"].error_at(0.5) == pytest.approx(0.5)
    assert fronts["strict"].error_at(0.001) == float("inf")


def test_the_figure_has_a_line_per_front_the_proof_and_the_jump() -> None:
    figure = save.frontier(ROWS, VERDICTS)
    (ax,) = figure.axes
    (front,) = lines(ax, "strict")
    xs, ys = xy(front)
    assert xs[:3] == pytest.approx([0.01, 0.01, 1.0])
    assert ys[1:3] == pytest.approx([0.5, 0.1])
    assert lines(ax, "tight")
    assert not lines(ax, "none")
    assert len(lines(ax, "honest")) == 2
    (jump,) = lines(ax, "jump 60")
    assert xy(jump)[1][0] == pytest.approx(min(1.9 / 4, 1.9 / 20, 1.9 / 5)), "least over trials"
    assert [xy(line)[0] for line in lines(ax, "retrain:hollow")] == [[pytest.approx(0.5)]]
    assert {"front under strict", "front under tight", "honest proof"} <= set(legend(figure))
    shown = " ".join(words(figure).split())
    assert "On the front under none: nothing, it accepts none." in shown
    assert "Claim another model than W_T, on no front: retrain" in shown
    assert_well_laid(figure)


@pytest.mark.parametrize("rows", [[], [HONEST], [FREE]], ids=["no rows", "no spoof", "no proof"])
def test_with_too_little_to_draw_the_page_says_so(rows: list[TrialRow]) -> None:
    figure = save.frontier(rows, [])
    assert_well_laid(figure)
    assert any(text.get_text() == "no values" for ax in figure.axes for text in ax.texts)


def test_many_policies_are_drawn_as_far_as_lines_reach() -> None:
    many = [says(f"policy {i}", FREE) for i in range(11)]
    figure = save.frontier(ROWS, many)
    assert "Fronts not drawn: policy 8; policy 9; policy 10" in " ".join(words(figure).split())
    assert_well_laid(figure)


def test_policies_of_one_name_that_differ_have_fronts_of_their_own() -> None:
    (setting,) = settings_of(ROWS)
    verdicts = [says("calibrated", FREE), replace(says("calibrated", TRUE), policy_sha256="ab" * 32)]
    fronts = {one.policy: [row.arm for _, _, row in one.front] for one in policy_fronts(setting, verdicts)}
    assert fronts == {"calibrated 00000000": ["null, no momentum"], "calibrated abababab": ["steered"]}


@pytest.mark.parametrize("change", [{"simulated": True}, {"device_name": "B", "prover_device_name": "A"}], ids=str)
def test_seconds_of_another_device_or_a_simulated_one_are_on_no_front(change: dict[str, Any]) -> None:
    away = replace(FREE, **change)
    rows = [HONEST, away, TRUE]
    (setting,) = settings_of(rows)
    (front,) = policy_fronts(setting, [says("strict", away), says("strict", TRUE)])
    assert [row.arm for _, _, row in front.front] == ["steered"]
    text = " ".join(words(save.frontier(rows, [says("strict", TRUE)])).split())
    assert "on another device than the prover's or on a simulated one: null, no momentum" in text


def test_the_jump_is_over_the_errors_that_the_row_was_compared_with() -> None:
    """The same proof may be judged under two conditions, and has two rows."""
    smaller: dict[str, Any] = {f"error_{m}": 5e-5 for m in METRICS}
    other = replace(HONEST, trial_id="other", **smaller)
    for rows in ([HONEST, other, FREE], [other, HONEST, FREE]):
        (jump,) = lines(save.frontier(rows, []).axes[0], "jump 60")
        # error_m is 2 / 60 and ratio_error_m 0.5 in l2, 0.25 in the others: the proof's errors were 4 / 60 and 8 / 60
        assert xy(jump)[1][0] == pytest.approx(1.9 / 4)
