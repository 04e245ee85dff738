"""The search for both ends of a success range, on made-up successes: exact, cheap, and honest about what is not an interval."""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.errors import InputError
from raypol.runs.success_range.estimate import RangeEstimate, estimate_range, is_wider, median_rank
from raypol.runs.success_range.search import FAILED, PointOutcome, RangeSearch, SearchGrid

Truth = Callable[[int, int], PointOutcome]
"""(T', seed) -> what a trial would say."""


def between(low: int, high: int, *, below: str = "rejected:replay,error_l2", above: str = "time") -> Truth:
    """Success for low <= T' <= high, whatever the seed."""

    def truth(steps: int, _seed: int) -> PointOutcome:
        if low <= steps <= high:
            return PointOutcome(success=True, bound_by="time")
        return PointOutcome(success=False, bound_by=below if steps < low else above)

    return truth


def searched(
    span: SearchGrid, seeds: Sequence[int], truth: Truth, *, order: random.Random | None = None
) -> RangeSearch:
    """A search run to its end: all proposals at once, or one at a time in any order."""
    search = RangeSearch(span, seeds)
    tried: set[tuple[int, int]] = set()
    while proposals := search.proposals():
        assert len(set(proposals)) == len(proposals)
        for steps, seed in proposals if order is None else [order.choice(proposals)]:
            assert (steps, seed) not in tried
            assert steps in span.points
            tried.add((steps, seed))
            search.record(steps, seed, truth(steps, seed))
    assert search.num_trials == len(tried) <= search.num_grid
    return search


def ends(search: RangeSearch) -> list[tuple[int, int] | None]:
    """Outermost successes per seed."""
    return [(one.lower.success, one.upper.success) if one.lower and one.upper else None for one in search.found()]


@st.composite
def spans(draw: st.DrawFn, most: int = 300) -> SearchGrid:
    resolution = draw(st.sampled_from([1, 5, 100]))
    low = draw(st.integers(1, 40)) * resolution
    high = low + draw(st.integers(1, most)) * resolution
    return SearchGrid(low=low, high=high, resolution=resolution, factor=draw(st.sampled_from([1.5, 2.0, 4.0])))


@given(st.data())
def test_finds_the_exact_ends_of_every_interval(data: st.DataObject) -> None:
    span = data.draw(spans())
    low, high = sorted(data.draw(st.tuples(*[st.sampled_from(span.points)] * 2)))
    search = searched(span, [4, 7], between(low, high))
    assert ends(search) == [(low, high), (low, high)]
    for one in search.found():
        assert one.is_done
        assert (one.holes, one.islands, one.failed) == ((), (), 0)
        assert one.lower is not None
        assert one.upper is not None
        below, above = low - span.resolution, high + span.resolution
        assert one.lower.failure == (below if below in span.points else None)
        assert one.upper.failure == (above if above in span.points else None)
        assert one.lower.bound_by == ("rejected:replay,error_l2" if below in span.points else "")
        assert one.upper.bound_by == ("time" if above in span.points else "")


@given(st.data())
def test_what_binds_need_not_tell_the_side_where_the_range_holds_a_scanned_point(data: st.DataObject) -> None:
    span = data.draw(spans())
    inside = span.points[data.draw(st.sampled_from(span.scan()))]
    low = data.draw(st.sampled_from([p for p in span.points if p <= inside]))
    high = data.draw(st.sampled_from([p for p in span.points if p >= inside]))
    truth = between(low, high, below="rejected:initial_state", above="rejected:initial_state")
    assert ends(searched(span, [0, 1, 2], truth)) == [(low, high)] * 3


def test_the_scan_leaves_no_gap_wider_than_its_factor() -> None:
    for low, high, factor in product((1, 3, 100), (120, 200, 5000), (1.3, 2.0, 3.0)):
        span = SearchGrid(low=low, high=high, resolution=1, factor=factor)
        scanned = [span.points[position] for position in span.scan()]
        assert (scanned[0], scanned[-1]) == (low, high)
        gaps = pairwise(scanned)
        assert all(b <= factor * a + 1.0 or b - a == 1 for a, b in gaps), scanned


CHEAP = [(64, 3), (64, 5), (128, 1), (200, 3), (781, 1), (781, 3)]


@pytest.mark.parametrize(("points", "seeds"), CHEAP)
@given(data=st.data())
def test_takes_five_times_fewer_trials_than_the_grid(points: int, seeds: int, data: st.DataObject) -> None:
    """From 64 T' on with three seeds, from 128 on with one."""
    start = data.draw(st.sampled_from([1, 2, 10]))
    span = SearchGrid(low=start, high=start + points - 1, resolution=1)
    low, high = sorted(data.draw(st.tuples(*[st.sampled_from(span.points)] * 2)))
    search = searched(span, range(seeds), between(low, high))
    assert search.num_trials * 5 <= search.num_grid
    assert search.num_trials <= seeds * span.at_most()


@given(st.integers(0, 1000), st.integers(64, 400))
def test_noisy_ends_terminate_and_stay_cheap(seed: int, points: int) -> None:
    """Time measured with 5 % of noise: success comes and goes around the upper end."""
    draw = random.Random(seed)
    span = SearchGrid(low=1, high=points, resolution=1)
    low = draw.randint(1, points // 3)
    high = draw.randint(2 * low, points)
    noise = {(steps, s): draw.gauss(1.0, 0.05) for steps in span.points for s in range(3)}

    def truth(steps: int, s: int) -> PointOutcome:
        if steps < low:
            return PointOutcome(success=False, bound_by="error_l2")
        time = steps * noise[steps, s] / high
        return PointOutcome(success=time < 1.0, bound_by="time")

    search = searched(span, [0, 1, 2], truth)
    assert search.num_trials * 4 <= search.num_grid
    for one in search.found():
        assert one.lower is not None
        assert one.upper is not None
        assert one.lower.success == low
        assert one.upper.success == pytest.approx(high, rel=0.25, abs=1)


@given(st.integers(0, 10_000), spans(most=60))
def test_any_outcomes_at_all_terminate_and_are_told_as_they_are(seed: int, span: SearchGrid) -> None:
    draw = random.Random(seed)
    reasons = ["error", "rejected:replay", "time,size", "error_l1,time", "rejected:initial_state", FAILED]
    made: dict[tuple[int, int], PointOutcome] = {}

    def truth(steps: int, s: int) -> PointOutcome:
        return made.setdefault((steps, s), PointOutcome(success=draw.random() < 0.4, bound_by=draw.choice(reasons)))

    search = searched(span, [0, 1, 2], truth, order=draw if seed % 2 else None)
    for one in search.found():
        known = {steps: outcome for (steps, s), outcome in made.items() if s == one.seed}
        wins = [steps for steps, outcome in known.items() if outcome.success]
        assert one.trials == len(known)
        assert one.failed == sum(not o.success and o.bound_by == FAILED for o in known.values())
        assert (one.lower is None) == (not wins)
        if one.lower is None or one.upper is None:
            continue
        assert set(one.holes) == {t for t in known if not known[t].success and min(wins) < t < max(wins)}
        assert set(one.islands) == {t for t in wins if not one.lower.success <= t <= one.upper.success}
        assert not any(one.lower.success <= t <= one.upper.success for t in one.holes)
        for end, step in ((one.lower, -span.resolution), (one.upper, span.resolution)):
            assert known[end.success].success
            assert end.failure == (end.success + step if end.success + step in span.points else None)
            if end.failure is not None:
                assert known[end.failure] == PointOutcome(success=False, bound_by=end.bound_by)


@given(st.integers(0, 10_000))
def test_the_ends_do_not_depend_on_the_order_in_which_trials_end(seed: int) -> None:
    draw = random.Random(seed)
    span = SearchGrid(low=1, high=90, resolution=1)
    low, high = sorted(draw.choices(span.points, k=2))
    shifted = {s: between(low + draw.randint(-3, 3), high + draw.randint(-3, 3)) for s in range(4)}

    def truth(steps: int, s: int) -> PointOutcome:
        return shifted[s](steps, s)

    at_once, one_by_one = (searched(span, range(4), truth, order=order) for order in (None, draw))
    # Which T' are tried on the way does: an outcome known early saves trials.
    for one, other in zip(at_once.found(), one_by_one.found(), strict=True):
        assert (one.lower, one.upper) == (other.lower, other.upper)
        assert (one.is_done, one.holes, one.islands) == (True, other.holes, other.islands)


def test_seeds_whose_ends_lie_elsewhere_are_followed() -> None:
    truths = {0: between(40, 120), 1: between(47, 101), 2: between(38, 190), 3: between(120, 130), 4: between(201, 300)}
    search = searched(SearchGrid(low=1, high=200, resolution=1), range(5), lambda steps, s: truths[s](steps, s))
    assert ends(search) == [(40, 120), (47, 101), (38, 190), (120, 130), None]
    assert [one.trials for one in search.found()][1] < 25


def test_trials_that_do_not_depend_on_each_other_are_proposed_at_once() -> None:
    span = SearchGrid(low=10, high=640, resolution=10)
    search, truth = RangeSearch(span, [0, 1, 2]), between(30, 400)
    rounds = []
    while proposals := search.proposals():
        rounds.append([seed for _, seed in proposals])
        for steps, seed in proposals:
            search.record(steps, seed, truth(steps, seed))
    assert rounds[0] == [0] * len(span.scan())
    assert all(len(seeds) <= 2 for seeds in rounds[1:] if seeds[0] == 0)
    assert [1, 1, 1, 1, 2, 2, 2, 2] in rounds
    assert len(rounds) <= 10


def test_a_success_beyond_a_failure_is_reported() -> None:
    def truth(steps: int, _seed: int) -> PointOutcome:
        return PointOutcome(success=30 <= steps <= 70 or steps == 72, bound_by="time" if steps > 70 else "error")

    (one,) = searched(SearchGrid(low=1, high=100, resolution=1), [0], truth).found()
    assert one.upper is not None
    assert (one.upper.success, one.upper.failure) == (70, 71)
    assert (one.holes, one.islands) == ((71,), (72,))


def test_no_success_and_success_everywhere_are_answers_of_their_own() -> None:
    span = SearchGrid(low=8, high=512, resolution=8)
    never = estimate_range("II", searched(span, [0, 1], between(1000, 2000)))
    assert (never.lower, never.upper, never.num_found, never.reason) == (None, None, 0, "rejected:replay,error_l2")
    assert never.trials == 2 * len(span.scan())
    always = estimate_range("II", searched(span, [0, 1], between(1, 2000)))
    assert always.lower is not None
    assert always.upper is not None
    assert (always.lower.value, always.lower.is_open, always.lower.bound_by) == (8, True, "")
    assert (always.upper.value, always.upper.is_open, always.upper.bound_by) == (512, True, "")


def test_a_narrow_range_is_found_where_the_error_gives_way_to_the_time() -> None:
    span = SearchGrid(low=1, high=1000, resolution=1)
    assert 137 not in [span.points[p] for p in span.scan()]
    assert ends(searched(span, [0], between(137, 137))) == [(137, 137)]


def test_a_search_that_is_not_over_says_so() -> None:
    search = RangeSearch(SearchGrid(low=1, high=100, resolution=1), [0, 1])
    assert [one.is_done for one in search.found()] == [False, False]
    assert not estimate_range("II", search).is_done
    with pytest.raises(InputError, match="at least one seed"):
        RangeSearch(SearchGrid(low=1, high=100, resolution=1), [])


BAD: list[tuple[int, int, int, int, str]] = [
    (100, 100, 10, 10, "expected the lowest T' below the highest, got 100 and 100"),
    (100, 50, 10, 10, "expected the lowest T' below the highest"),
    (100, 150, 60, 10, "expected a resolution in 1..50"),
    (100, 150, 0, 10, "expected a resolution in 1..50"),
    (101, 199, 90, 10, "fewer than two multiples of 90"),
    (5, 100, 10, 10, "T' = 5 is not reachable with k = 10"),
    (10, 100, 15, 10, "expected a resolution that is a multiple of k = 10, got 15"),
]


@pytest.mark.parametrize(("low", "high", "resolution", "interval", "said"), BAD)
def test_a_span_that_cannot_be_searched_is_refused(
    low: int, high: int, resolution: int, interval: int, said: str
) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        SearchGrid(low=low, high=high, resolution=resolution).check(interval)


# --- over seeds --------------------------------------------------------------------------------------------------------


def test_ranks_of_the_median_are_those_of_counting_signs() -> None:
    """Each of n values lies above or below the median like a coin: count the outcomes for which the ranks enclose it."""
    for number in range(2, 12):
        rank, confidence = median_rank(number)
        sides = [sum(coins) for coins in product((0, 1), repeat=number)]
        enclosed = sum(rank <= below <= number - rank for below in sides) / len(sides)
        assert confidence == pytest.approx(enclosed)
        assert confidence >= 0.95 or rank == 1
    assert median_rank(1) == (1, 0.0)


def test_the_interval_of_an_end_holds_brackets_and_spread() -> None:
    span = SearchGrid(low=10, high=1000, resolution=10)
    truths = {0: between(200, 600), 1: between(180, 640), 2: between(230, 610)}
    found = estimate_range("III", searched(span, range(3), lambda steps, s: truths[s](steps, s)), {"verifier": "cpu"})
    assert found.lower is not None
    assert found.upper is not None
    assert (found.lower.value, found.lower.interval, found.lower.confidence) == (200, (170, 230), 0.75)
    assert (found.upper.value, found.upper.interval, found.upper.bound_by) == (610, (600, 650), "time")
    assert found.lower.bound_by == "rejected:replay,error_l2"
    (alone,) = [estimate_range("III", searched(span, [0], truths[0]))]
    assert alone.lower is not None
    assert (alone.lower.interval, alone.lower.confidence) == ((190, 200), 0.0)


def of(low: int, high: int, *, spread: int = 0) -> RangeEstimate:
    def truth(steps: int, s: int) -> PointOutcome:
        return between(low + spread * (s - 1), high + spread * (s - 1))(steps, s)

    return estimate_range("x", searched(SearchGrid(low=1, high=200, resolution=1), range(3), truth))


def test_an_attack_is_wider_than_its_control_only_beyond_the_uncertainty() -> None:
    control = of(40, 120)
    assert is_wider(of(20, 120), control) == "yes"
    assert is_wider(of(40, 150), control) == "yes"
    assert is_wider(of(40, 120), control) == "no"
    assert is_wider(of(60, 100), control) == "no"
    assert is_wider(of(38, 120, spread=5), control) == "uncertain"
    assert is_wider(of(300, 400), control) == "no"
    assert is_wider(control, of(300, 400)) == "yes"
