"""Descriptions of columns: complete, in the page of the results, and enough to add a column in one place."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pytest

from raypol.core.scoring import CONTROLS
from raypol.store.results.columns import Group, column, columns_of, row
from raypol.store.results.describe import describe_results
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import NO_ATTACK, TrialRow
from tests.rows import made_row

ROW_TYPES = (TrialRow, IntervalRow, RangeRow)


@pytest.mark.parametrize("row_type", ROW_TYPES)
def test_each_column_has_a_title_of_its_own_and_a_meaning(row_type: type) -> None:
    found = columns_of(row_type)
    for one in found:
        assert one.meaning[:1].strip(), f"{one.name} has no meaning"
        assert one.meaning.endswith("."), one.name
        assert "{" not in one.meaning.replace("W_{t-k}", ""), one.name
        assert one.group in get_args(Group)
    assert len({one.title for one in found}) == len(found)


def test_a_field_that_is_not_described_is_no_column() -> None:
    @dataclass
    class Bare:
        number: int

    with pytest.raises(TypeError, match="meaning"):
        columns_of(Bare)
    with pytest.raises(TypeError, match="meaning"):
        column("cost", "time")  # type: ignore[call-arg]


def test_the_page_of_the_results_is_what_the_columns_say() -> None:
    page = Path(__file__).parents[3] / "docs" / "results.md"
    assert page.read_text() == describe_results(), "write it: python -m raypol.store.results.describe > docs/results.md"
    for row_type in ROW_TYPES:
        assert all(f"| `{one.name}` |" in page.read_text() for one in columns_of(row_type))


def test_one_field_adds_a_hyperparameter_to_every_view() -> None:
    @row
    class More:
        shrink: float | None = column("attack", "shrink", "Factor that shrinks the perturbation.", default=None)
        mode: str | None = column("attack", "mode", "How.", default=None)

    for view in ("param", "filter", "swept", "strength"):
        assert [one.name for one in columns_of(More, view)] == ["shrink"] + ["mode"] * (view != "strength")
    assert columns_of(More)[0].name_curve(0.5) == "shrink 0.5"
    assert columns_of(More, "point") == (), "attack and control differ in it"


def test_what_a_row_is_follows_from_its_attack_and_not_from_its_name() -> None:
    base = made_row(0)
    assert [replace(base, attack=attack, arm="baseline").is_control for attack in (*CONTROLS, "iii", NO_ATTACK)] == [
        True,
        True,
        False,
        False,
    ]
    assert not replace(base, arm="null").is_control
    assert not replace(base, arm="honest").is_honest
    assert replace(base, attack=NO_ATTACK, arm="any").is_honest
    assert [replace(base, status=status).is_ok for status in ("ok", "error", "stopped")] == [True, False, False]


def test_cells_in_words() -> None:
    by_name = {one.name: one for one in columns_of(TrialRow)}
    told = [
        ("linf_limit", 8 / 255, "8/255", "linf 8/255"),
        ("linf_limit", None, "free", "linf free"),
        ("alpha", 0.1, "0.1", "alpha 0.1"),
        ("alpha", None, "", "alpha none"),
        ("device", "T4", "T4", "T4"),
    ]
    for name, value, text, curve in told:
        assert (by_name[name].text(value), by_name[name].name_curve(value)) == (text, curve)
    assert [by_name["accepted_strict"].text(verdict) for verdict in (True, False, None)] == [
        "accepts",
        "rejects",
        "no verdict",
    ]
