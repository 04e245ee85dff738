"""What is said of success ranges: ends, conditions, uncertainty, cost, and whether an attack beats its control."""

from raypol.report.range_summary import conclude_ranges, range_table
from raypol.runs.success_range.estimate import RangeEstimate, estimate_range
from raypol.runs.success_range.search import FAILED, PointOutcome, RangeSearch, SearchGrid
from raypol.runs.sweeps.driver import SweepRun
from raypol.runs.sweeps.plan import SweepOptions, plan_sweep
from raypol.runs.sweeps.success_ranges import range_rows
from raypol.store.results.rows import TrialRow
from tests.cli.commands.test_range import SWEEP
from tests.report.demo_rows import printed, row

SPAN = SearchGrid(low=10, high=640, resolution=10)


def found(
    arm: str, low: int, high: int, *, seeds: int = 3, hole: int = 0, below: str = "rejected:replay"
) -> RangeEstimate:
    """Success for low <= T' <= high but for a hole."""
    search = RangeSearch(SPAN, range(seeds))
    while proposals := search.proposals():
        for steps, seed in proposals:
            reason = below if steps < low else "time,size"
            search.record(steps, seed, PointOutcome(success=low <= steps <= high and steps != hole, bound_by=reason))
    return estimate_range(arm, search, {"verifier": "cpu"})


def shown(
    *estimates: RangeEstimate, rows: tuple[TrialRow, ...] = (), stopped: str = ""
) -> tuple[dict[str, list[str]], str]:
    """The table's line of each arm, and what is said."""
    plan = plan_sweep(SWEEP, "paper", SWEEP.paper, SweepOptions(name="x", search="range"))
    run = SweepRun(plan=plan, rows=rows or (row("null"), row("III")), resumed=0, stopped=stopped)
    found = conclude_ranges(run, estimates, SPAN, "published")
    (table,) = found.tables
    assert printed(table, 250)
    return {line[0]: list(line) for line in table.lines}, "\n".join((*found.summary, *found.remarks))


def test_ends_conditions_uncertainty_and_cost_are_told() -> None:
    table, said = shown(found("null", 60, 300), found("III", 40, 300))
    assert table["III"][:4] == ["III", "40", "30..40", "rejected by replay"]
    assert table["III"][4:10] == ["300", "300..310", "time, size", "40..300", "75%", "3/3"]
    assert "T' was searched from 10 to 640 in steps of 10, 3 seeds per arm" in said
    assert "III against null: reaches down to 40 instead of 60." in said
    assert "within the uncertainty" not in said
    assert " trials stand for a grid of 384 (" in said


def test_an_attack_that_is_no_better_than_a_control_has_not_earned_its_cost() -> None:
    _, said = shown(found("null", 60, 300), found("III", 60, 300))
    assert "III against null: its range is no wider; by this measure it has not earned its cost" in said
    table, said = shown(found("null", 60, 300), found("III", 700, 800))
    assert table["III"][1:4] == ["none", "-", "-"]
    assert "III: no success found in [10, 640]" in said
    assert "III against null: its range is no wider" in said
    _, said = shown(found("null", 700, 800), found("III", 60, 300))
    assert "null succeeds nowhere, the whole range is the attack's" in said


def test_controls_are_known_by_their_attack() -> None:
    rows = (row("baseline", attack="null"), row("null", attack="ii"))
    _, said = shown(found("baseline", 60, 300), found("null", 40, 300), rows=rows)
    assert "null against baseline: reaches down to 40 instead of 60." in said
    assert "baseline against" not in said


def test_what_must_not_be_overlooked_is_said() -> None:
    table, _ = shown(found("III", 10, 640))
    assert table["III"][3] == table["III"][6] == "bound of the search"
    table, said = shown(found("III", 60, 300, hole=160))
    assert "III: not one interval for 3 seeds: T' = 160 fails between successes." in said
    assert "3 T' fail between successes" in table["III"]
    table, said = shown(found("III", 60, 300, below=FAILED), stopped="the storage cannot be written")
    assert table["III"][3] == "a failed trial"
    assert "trials failed, counted as no success" in table["III"][-1]
    assert "The search ended early: the storage cannot be written" in said
    table, _ = shown(found("III", 60, 300, seeds=1))
    assert table["III"][2:9] == ["50..60", "rejected by replay", "300", "300..310", "time, size", "-", "-"]
    idle = row("III", attack="iii", num_points=0)
    _, said = shown(found("III", 60, 300), rows=(row("null"), idle))
    assert "III: changed no data point in 1 of 1 trials" in said


def test_a_report_shows_each_seed() -> None:
    rows = range_rows([found("III", 60, 300)], SPAN, "s", "published")
    table = range_table(rows, seeds=True)
    assert [line[:3] for line in table.lines] == [["III", "published", seed] for seed in ("all", "0", "1", "2")]
    assert {line[3] for line in table.lines} == {"60"}
