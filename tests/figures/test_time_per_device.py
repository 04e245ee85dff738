"""Time per device: each marker is where its rows are, the proof is a line, what was simulated is marked."""

import math
from typing import Any

import pytest
from matplotlib.axes import Axes

from raypol.core.errors import InputError
from raypol.figures import save
from raypol.store.results.rows import TrialRow
from tests.figures.figure_rows import assert_well_laid, assert_words_apart, honest_row, legend, lines, row, words, xy

GPUS = {"T4": "Tesla T4", "P40": "Tesla P40", "V100": "Tesla V100-SXM2-32GB"}


def on(gpu: str, arm: str = "II", steps: int = 60, **changes: Any) -> TrialRow:  # noqa: ANN401
    return row(arm, steps, **{"device": gpu, "device_name": GPUS[gpu], **changes})


def proof(**changes: Any) -> TrialRow:  # noqa: ANN401
    return honest_row(**{"device": "V100", "device_name": GPUS["V100"], **changes})


def ticks(ax: Axes) -> list[str]:
    return [label.get_text().partition("\n")[0] for label in ax.get_xticklabels()]


def test_a_marker_per_arm_and_device_and_the_proof_as_a_line() -> None:
    rows = [proof(), *(on(g, arm, device_s=i + 1.0) for arm in ("II", "III") for i, g in enumerate(GPUS))]
    figure = save.time_per_device(rows)
    (ax,) = figure.axes
    assert ax.get_ylabel() == "generation time (device s)"
    assert ticks(ax) == list(GPUS)
    places, times = xy(lines(ax, "II:filled")[0])
    assert times == [1.0, 2.0, 3.0]
    assert [round(x) for x in places] == [0, 1, 2]
    assert xy(lines(ax, "honest:V100")[0])[1] == [5.0, 5.0]
    assert {"II", "III", "honest proof on V100"} <= set(legend(figure))
    assert_well_laid(figure)


def test_each_length_has_axes_of_its_own_on_one_scale() -> None:
    rows = [proof(), *(on(g, steps=steps) for g in GPUS for steps in (20, 60, 600))]
    figure = save.time_per_device(rows)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["T' = 20", "T' = 60", "T' = 600"]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert figure.axes[0].get_yscale() == "log"
    assert_well_laid(figure)


def test_seeds_become_a_median_with_a_line() -> None:
    rows = [proof(), *(on("T4", seed=i, device_s=t) for i, t in enumerate([1.0, 2.0, 4.0])), on("V100")]
    figure = save.time_per_device(rows)
    assert xy(lines(figure.axes[0], "II:filled")[0])[1] == pytest.approx([2.0, 0.6])
    assert "Up to 3 rows share a marker" in words(figure)


def test_devices_are_grouped_as_asked() -> None:
    rows = [proof(), on("T4"), on("P40", device_name="Tesla T4")]
    assert ticks(save.time_per_device(rows).axes[0]) == ["T4", "P40"]
    assert ticks(save.time_per_device(rows, by="device_name").axes[0]) == ["Tesla T4"]


def test_other_groupings_are_refused() -> None:
    with pytest.raises(InputError, match="unknown grouping 'node'; possible: device, device_name"):
        save.time_per_device([], by="node")  # type: ignore[arg-type]


def test_simulated_devices_are_marked_in_the_picture() -> None:
    rows = [proof(), on("T4", simulated=True, device_name="A Processor"), on("V100")]
    figure = save.time_per_device(rows)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[0] == "T4\nA Processor\n(simulated)"
    assert "simulated" not in labels[1]
    assert len(lines(figure.axes[0], "II:ring")) == 1
    assert "Simulated, not measured on that device: II at T' = 60." in words(figure)


def test_proofs_on_several_devices_are_told_apart() -> None:
    rows = [proof(), proof(device="T4", device_name=GPUS["T4"], device_s=9.0), on("V100"), on("T4")]
    figure = save.time_per_device(rows)
    one, two = (lines(figure.axes[0], f"honest:{device}")[0] for device in ("V100", "T4"))
    assert one.get_linestyle() != two.get_linestyle()
    assert {"honest proof on V100", "honest proof on T4"} <= set(legend(figure))
    assert_words_apart(figure.axes[0])


def test_lines_that_lie_close_share_a_label_with_all_their_times() -> None:
    rows = [proof(device_s=5.0), proof(device="T4", device_name=GPUS["T4"], device_s=5.1), on("V100"), on("T4")]
    figure = save.time_per_device(rows)
    (label,) = [text.get_text() for text in figure.axes[0].texts if text.get_text().startswith("honest")]
    assert label == "honest\nT4 5.1\nV100 5"
    more = [proof(device=name, device_name=name, device_s=5.2) for name in ("P40", "P100")]
    (label,) = [t.get_text() for t in save.time_per_device([*rows, *more]).axes[0].texts if "honest" in t.get_text()]
    assert label.splitlines()[-1] == "and 1 more"
    assert_words_apart(figure.axes[0])


BAD: dict[str, tuple[list[TrialRow], str]] = {
    "nothing": ([], "Missing: spoofs with status ok and a time"),
    "no honest row": ([on("T4"), on("V100")], "Missing: an honest row"),
    "honest alone": ([proof()], "Missing: spoofs"),
    "only errors": ([proof(status="error"), on("T4", status="error")], "Missing: spoofs"),
    "no times": ([proof(device_s=None), on("T4", device_s=None)], "Missing: an honest row with status ok and a time"),
    "NaN": ([proof(), on("T4", device_s=float("nan")), on("V100")], "Without a time, not drawn: II at T' = 60."),
    "zero": ([proof(), on("T4", device_s=0.0), on("V100", device_s=9.0)], "drawn at the edge: II at T' = 60."),
    "infinite": ([proof(device_s=math.inf), on("T4", device_s=math.inf), on("V100")], "drawn at the edge: honest"),
    "one": ([proof(), on("T4")], "Device seconds"),
    "foreign names": ([proof(), on("T4", device="_$x$_" * 9, device_name="$\n{}" * 20), on("T4", device="")], "Device"),
    "many devices": ([proof(), *(on("T4", device=f"gpu number {i}") for i in range(30))], "Not drawn: gpu number 12"),
    "many lengths": ([proof(), *(on("T4", steps=s) for s in range(10, 200, 10))], "10 of 19 panels are left out"),
    "many arms": ([proof(), *(on(g, f"own attack {i}") for g in GPUS for i in range(12))], "Device seconds"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_draw_and_say_what_is_missing(case: str) -> None:
    rows, told = BAD[case]
    figure = save.time_per_device(rows)
    assert told in words(figure)
    assert_well_laid(figure)
