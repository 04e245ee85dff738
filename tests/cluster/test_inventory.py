"""What nodes offer, and whether it is enough: one by one and at the same time."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.cluster.inventory import (
    NodeOffer,
    allot,
    check_requests,
    describe,
    device_name,
    offers_from_ray,
    resolve,
    this_machine,
    usable_cores,
)
from raypol.cluster.placement import DeviceRequest, parse_device
from raypol.core.errors import InputError


def node(name: str = "a", cpus: float = 8, gpus: float = 0, *accelerators: str) -> NodeOffer:
    return NodeOffer(name=name, cpus=cpus, gpus=gpus, accelerators=accelerators)


@pytest.mark.parametrize(
    ("offer", "spelling", "count"),
    [
        (node(cpus=4), "cpu", 4),
        (node(cpus=4), "cpu:3", 1),
        (node(cpus=4), "cpu:5", 0),
        (node(cpus=0), "cpu", 0),
        (node(cpus=4), "gpu", 0),
        (node(gpus=2), "gpu", 2),
        (node(gpus=2), "gpu:2", 1),
        (node(gpus=3), "gpu:2", 1),
        (node(gpus=1), "gpu:2", 0),
        (node(gpus=1), "gpu:0.5", 2),
        (node(gpus=2), "gpu:0.6", 2),  # 0.4 and 0.4 are left, and do not add up
        (node(gpus=3), "gpu:0.3", 9),
        (node(gpus=1), "gpu:0.1", 10),
        (node("a", 8, 2, "T4"), "T4", 2),
        (node("a", 8, 2, "T4"), "V100", 0),
        (node("a", 8, 2, "T4"), "gpu", 2),
        (node("a", 8, 2, "T4"), "t4", 2),
        (node("a", 8, 2, "T4", "V100"), "V100:0.5", 4),
    ],
)
def test_how_many_fit_on_a_node(offer: NodeOffer, spelling: str, count: int) -> None:
    assert offer.fits(parse_device(spelling)) == count


@given(st.integers(1, 10_000))
def test_shares_of_a_gpu_are_counted_exactly(share: int) -> None:
    assert node(gpus=1).fits(DeviceRequest("gpu", share / 10_000)) == 10_000 // share


@pytest.mark.parametrize(
    ("nodes", "asked", "missing"),
    [
        ([node(cpus=2)], ["cpu", "cpu:2"], None),
        ([node("a", 2), node("b", 2)], ["cpu:4"], "cpu:4"),
        ([node("a", 2, 1), node("b", 2, 1)], ["gpu:2"], "gpu:2"),  # two nodes with one GPU are not one with two
        ([node("a", 2, 1), node("b", 2, 2)], ["gpu:2"], None),
        ([node("a", 2, 1, "T4")], ["V100", "gpu:0.5", "P40"], "P40, V100"),
        ([], ["cpu"], "cpu"),
    ],
)
def test_every_request_must_fit_on_one_live_node(nodes: list[NodeOffer], asked: list[str], missing: str | None) -> None:
    requests = [parse_device(text) for text in asked]
    if missing is None:
        check_requests(requests, nodes)
        return
    with pytest.raises(InputError, match=rf"^no live node offers {re.escape(missing)}; there is ") as caught:
        check_requests(requests, nodes)
    assert str(caught.value).endswith(describe(nodes))
    assert "\n" not in str(caught.value)


def test_nodes_are_told_in_one_line() -> None:
    assert describe([]) == "there is no live node"
    assert describe([node("a", 2), node("b", 8, 2, "T4", "V100"), node("c", 1, 1)]) == (
        "there is a: 2 CPU, no GPU; b: 8 CPU, 2 GPU (T4, V100); c: 1 CPU, 1 GPU (model unknown)"
    )


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "asked", "spelled"),
    [
        ([node("a", 2, 1, "GeForce-RTX-2080-Ti")], "RTX2080Ti:0.5", "GeForce-RTX-2080-Ti"),
        ([node("a", 2, 1, "Tesla-P40")], "p40", "Tesla-P40"),
        ([node("a", 2, 1, "P40"), node("b", 2, 3, "Tesla-P40")], "p40", "Tesla-P40"),
        ([node("a", 2, 2, "P40"), node("b", 2, 2, "Tesla-P40")], "p40", "P40"),
        ([node("a", 2, 1, "RTX-2080")], "RTX2080Ti", "RTX-2080-Ti"),  # that node may have a plain RTX 2080
        ([node("a", 2, 1, "GeForce-RTX-2080-Ti")], "RTX2080", "RTX-2080"),
        ([node("a", 2, 1, "RTX-2080")], "2080", "RTX-2080"),
        ([node("a", 2, 1, "OurCard")], "OurCard", "OurCard"),
        ([node("a", 2, 1, "T4")], "V100", "V100"),
        ([], "T4", "T4"),
    ],
)
def test_a_model_is_asked_for_as_the_nodes_spell_it(nodes: list[NodeOffer], asked: str, spelled: str) -> None:
    request = parse_device(asked)
    resolved = resolve(request, nodes)
    assert resolved == replace(request, accelerator=spelled)
    assert str(resolved) == str(request)
    assert resolve(resolved, nodes) == resolved
    assert any(n.fits(resolved) for n in nodes) == any(spelled in n.accelerators for n in nodes)


@pytest.mark.parametrize("asked", ["cpu:2", "gpu:0.5"])
def test_a_request_without_a_model_has_no_name_to_resolve(asked: str) -> None:
    assert resolve(parse_device(asked), [node("a", 2, 1, "T4")]) == parse_device(asked)


# --- all at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "asked", "counts"),
    [
        ([node(cpus=2)], ["cpu"], {"cpu": 2}),
        ([node(cpus=3)], ["cpu:2", "cpu"], {"cpu:2": 1, "cpu": 1}),
        ([node(cpus=4)], ["cpu", "cpu:2"], {"cpu:2": 1, "cpu": 2}),
        ([node("a", 2), node("b", 1)], ["cpu", "cpu:2"], {"cpu:2": 1, "cpu": 1}),
        ([node("a", 4, 1, "T4")], ["cpu", "T4:0.5", "gpu:0.5"], {"cpu": 4, "T4:0.5": 1, "gpu:0.5": 1}),
        # Devices that do not compete do not halve each other.
        ([node("a", 4, 2, "T4"), node("b", 4, 3, "V100")], ["T4", "V100"], {"T4": 2, "V100": 3}),
        ([node("a", 4, 2, "T4"), node("b", 4, 1, "V100")], ["gpu", "V100"], {"gpu": 2, "V100": 1}),
        ([node(gpus=2)], ["gpu:0.6", "gpu:0.4"], {"gpu:0.6": 2, "gpu:0.4": 2}),
    ],
)
def test_actors_are_shared_out_so_that_all_run_at_once(
    nodes: list[NodeOffer], asked: list[str], counts: dict[str, int]
) -> None:
    found = allot([parse_device(text) for text in asked], nodes, 1 << 30)
    assert {str(request): count for request, count in found.items()} == counts


@pytest.mark.parametrize(
    ("nodes", "asked"),
    [
        ([node(cpus=2)], ["cpu:2", "cpu"]),
        ([node("a", 2, 1, "T4")], ["T4", "gpu"]),
        ([node("a", 2, 1)], ["gpu:0.7", "gpu:0.4"]),
        ([node("a", 2, 1, "T4"), node("b", 2, 1, "T4")], ["T4", "T4:0.5", "T4:0.6"]),
    ],
)
def test_what_fits_alone_but_not_together_is_refused(nodes: list[NodeOffer], asked: list[str]) -> None:
    requests = [parse_device(text) for text in asked]
    check_requests(requests, nodes)
    with pytest.raises(InputError, match="at the same time; there is a: 2 CPU") as caught:
        allot(requests, nodes, 1 << 30)
    assert " beside ".join(asked) in str(caught.value)


def test_no_more_actors_than_asked() -> None:
    assert allot([parse_device("cpu")], [node(cpus=64)], 3) == {parse_device("cpu"): 3}
    assert allot([parse_device("cpu")], [node(cpus=64)], 1) == {parse_device("cpu"): 1}


@given(
    cpus=st.integers(0, 6),
    gpus=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "T4", "V100"])), min_size=1, max_size=3),
    asked=st.sets(
        st.sampled_from(["cpu", "cpu:2", "gpu", "gpu:0.5", "gpu:0.3", "gpu:2", "T4", "V100:0.25"]),
        min_size=1,
        max_size=4,
    ),
)
def test_nothing_is_handed_out_twice(cpus: int, gpus: list[tuple[int, str]], asked: set[str]) -> None:
    nodes = [node(f"n{i}", cpus, count, *filter(None, [name])) for i, (count, name) in enumerate(gpus)]
    requests = [parse_device(text) for text in sorted(asked)]
    try:
        counts = allot(requests, nodes, 100)
    except InputError:
        return
    assert set(counts) == set(requests)
    assert min(counts.values()) >= 1
    assert sum(r.amount * n for r, n in counts.items() if r.kind == "cpu") <= cpus * len(nodes)
    for name in ("T4", "V100"):
        offered = sum(count for count, of in gpus if of == name)
        assert sum(r.amount * n for r, n in counts.items() if r.accelerator == name) <= offered + 1e-9
    if len(requests) == 1:
        assert counts[requests[0]] == min(sum(n.fits(requests[0]) for n in nodes), 100)


# --- looking -----------------------------------------------------------------------------------------------------------

# As `ray.nodes()` of ray 2.60 gave it, shortened: a head, a node with a GPU, one that has died.
RECORDED: list[Mapping[str, Any]] = [
    {
        "NodeID": "1c8ca8e7753e53ac",
        "Alive": True,
        "NodeManagerHostname": "head",
        "Resources": {
            "CPU": 2.0,
            "memory": 24153804800.0,
            "object_store_memory": 134217728.0,
            "node:192.0.2.2": 1.0,
            "node:__internal_head__": 1.0,
        },
        "Labels": {"ray.io/node-id": "1c8ca8e7753e53ac"},
    },
    {
        "NodeID": "77",
        "Alive": True,
        "NodeManagerHostname": "",
        "Resources": {"CPU": 8.0, "GPU": 2.0, "accelerator_type:V100": 1.0, "accelerator_type:T4": 1.0, "memory": 1e9},
        "Labels": {"ray.io/accelerator-type": "V100", "raypol/gpu": "v100"},
    },
    {"NodeID": "88", "Alive": False, "NodeManagerHostname": "gone", "Resources": {"CPU": 64.0, "GPU": 8.0}},
    {"NodeID": "99", "Alive": True},
]


def test_live_nodes_are_read_from_rays_own_account() -> None:
    head, worker, bare = offers_from_ray(RECORDED)
    assert (head.name, head.cpus, head.gpus, head.accelerators) == ("head", 2.0, 0.0, ())
    assert head.memory_bytes == 24153804800
    assert (worker.name, worker.cpus, worker.gpus, worker.accelerators) == ("77", 8.0, 2.0, ("T4", "V100"))
    assert worker.labels == {"ray.io/accelerator-type": "V100", "raypol/gpu": "v100"}
    assert (bare.name, bare.cpus, bare.gpus, bare.memory_bytes, bare.labels) == ("99", 0.0, 0.0, 0, {})
    assert offers_from_ray([]) == []


def test_a_dead_node_offers_nothing() -> None:
    with pytest.raises(InputError, match=r"no live node offers cpu:64; there is head: 2 CPU"):
        check_requests([parse_device("cpu:64")], offers_from_ray(RECORDED))


def test_this_machine_has_what_this_process_may_use() -> None:
    here = this_machine()
    assert here.cpus == usable_cores() >= 1
    assert here.memory_bytes > 1 << 28
    check_requests([parse_device("cpu")], [here])
    assert device_name("cpu")
