"""Whether actors have room at the same time: against a search over every way, and its bounds."""

import time
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypol.cluster.packing import Space, hardest_first, pack_actors
from raypol.cluster.placement import DeviceRequest, parse_device

SPELLINGS = ["cpu", "cpu:2", "gpu", "gpu:0.5", "gpu:0.6", "gpu:0.3", "gpu:2", "T4", "T4:0.5", "V100:0.7"]


def requests_of(text: str) -> list[DeviceRequest]:
    return [parse_device(part) for part in text.split()]


def room_in_any_way(requests: Sequence[DeviceRequest], spaces: Sequence[Space]) -> bool:
    """The slow, obvious answer: every request on every node, and on each of its GPUs."""
    slots = [(n, g) for n, space in enumerate(spaces) for g in [None, *range(len(space.gpus))]]
    for way in product(slots, repeat=len(requests)):
        cores = [space.cpus for space in spaces]
        gpus = [list(space.gpus) for space in spaces]
        for request, (n, g) in zip(requests, way, strict=True):
            if request.kind == "cpu":
                cores[n] -= int(request.amount) if g is None else 10**6
            elif g is None or (request.accelerator and request.accelerator not in spaces[n].models):
                break
            else:
                needed = max(int(request.amount), 1)
                if g + needed > len(gpus[n]):  # whole GPUs: the ways with neighbours cover the rest, as they are equal
                    break
                for i in range(g, g + needed):
                    gpus[n][i] -= round(min(request.amount, 1.0) * 10_000)
        else:
            if all(left >= 0 for left in cores) and all(left >= 0 for node in gpus for left in node):
                return True
    return False


NODES = st.builds(
    Space.of, st.integers(0, 3), st.integers(0, 2), st.sampled_from([(), ("T4",), ("V100",), ("T4", "V100")])
)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(SPELLINGS), max_size=4), st.lists(NODES, max_size=2))
def test_the_search_finds_what_trying_every_way_finds(asked: list[str], spaces: list[Space]) -> None:
    requests = [parse_device(text) for text in asked]
    assert pack_actors(requests, spaces).feasible == room_in_any_way(requests, spaces)


@given(
    st.lists(st.sampled_from(SPELLINGS), max_size=4),
    st.lists(NODES, max_size=1),
    NODES,
    NODES,
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 3),
)
def test_startable_nodes_are_as_good_as_live_ones_up_to_their_number(
    asked: list[str], live: list[Space], one: Space, other: Space, ones: int, others: int, most: int
) -> None:
    requests = [parse_device(text) for text in asked]
    packing = pack_actors(requests, live, {"one": (one, ones), "other": (other, others)}, most)
    ways = [(i, j) for i in range(ones + 1) for j in range(others + 1) if i + j <= most]
    assert packing.feasible == any(pack_actors(requests, [*live, *[one] * i, *[other] * j]).feasible for i, j in ways)
    kinds = [kind for _, kind in packing.started]
    assert kinds.count("one") <= ones
    assert kinds.count("other") <= others
    assert len(kinds) <= most
    if packing.feasible:
        assert pack_actors(requests, [*live, *[one] * kinds.count("one"), *[other] * kinds.count("other")]).feasible
    if pack_actors(requests, live).feasible:
        assert packing.started == ()


@pytest.mark.parametrize(
    ("asked", "feasible"),
    [
        ("", True),
        ("gpu:0.6 gpu:0.6", True),
        ("gpu:0.6 gpu:0.6 gpu:0.6", False),  # 1.8 of 2 GPUs, but each on one
        ("gpu:0.6 gpu:0.4 gpu:0.6 gpu:0.4", True),
        ("gpu:0.5 gpu:0.3 gpu:0.3 gpu:0.3 gpu:0.3 gpu:0.2", True),
        ("gpu:0.5 gpu:0.3 gpu:0.3 gpu:0.3 gpu:0.3 gpu:0.21", False),
        ("gpu:2", True),
        ("gpu:2 gpu:0.1", False),
    ],
)
def test_shares_stay_within_a_gpu(asked: str, feasible: bool) -> None:
    assert pack_actors(requests_of(asked), [Space.of(0, 2, ())]).feasible == feasible


def test_the_hardest_come_first() -> None:
    order = hardest_first(requests_of("cpu gpu:0.5 T4:0.5 cpu:4 gpu T4 gpu:2"))
    assert " ".join(map(str, order)) == "T4 T4:0.5 gpu:2 gpu gpu:0.5 cpu:4 cpu"


@pytest.mark.parametrize(
    "asked",
    [
        "T4:0.31 T4:0.33 T4:0.35 T4:0.37 " * 8,
        "T4:0.51 T4:0.52 T4:0.53 T4:0.54 T4:0.26 T4:0.27 T4:0.28 " * 5,
        "T4 V100:0.3 gpu:0.7 gpu cpu " * 40,
        "gpu:0.35 gpu:0.34 gpu:0.33 " * 60,
    ],
)
def test_a_hard_question_is_answered_in_time(asked: str) -> None:
    nodes = [Space.of(8, 4, (("T4", "V100")[i % 2],)) for i in range(12)]
    begin = time.process_time()
    pack_actors(requests_of(asked), nodes)
    assert time.process_time() - begin < 10
