"""What nodes offer, and whether it is enough: one by one and at the same time."""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.cluster.inventory import (
    NO_AUTOSCALER,
    NodeOffer,
    Scalable,
    allot,
    check_group,
    check_requests,
    describe_nodes,
    gpu_models,
    groups_at_once,
    listed_requests,
    node_type_of,
    nodes_to_start,
    offers_from_ray,
    resolve,
    this_machine,
    usable_cores,
)
from raypol.cluster.placement import DeviceRequest, parse_device
from raypol.core.arithmetic.machine import device_name
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
    assert str(caught.value).endswith(describe_nodes(nodes))
    assert "\n" not in str(caught.value)


def test_nodes_are_told_in_one_line() -> None:
    assert describe_nodes([]) == "there is no live node"
    assert describe_nodes([node("a", 2), node("b", 8, 2, "T4", "V100"), node("c", 1, 1)]) == (
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


def test_actors_are_counted_under_any_name_of_their_model() -> None:
    nodes = [node("a", 2, 2, "GeForce-RTX-2080-Ti"), node("b", 2, 1, "T4")]
    asked = [parse_device("RTX2080Ti"), parse_device("tesla-t4")]
    assert allot(asked, nodes, 8) == {asked[0]: 2, asked[1]: 1}


# --- what can be started ---------------------------------------------------------------------------------------------

T4S = NodeOffer(name="t4s", cpus=4, gpus=1, accelerators=("T4",), count=2)
V100S = NodeOffer(name="v100s", cpus=8, gpus=4, accelerators=("Tesla-V100-SXM2-16GB",), count=1)
SCALABLE = Scalable(types=(T4S, V100S), most=2)
HEAD = node("head", 2)
LIVE_T4 = replace(node("w1", 4, 1, "T4"), node_type="t4s")


def asked(text: str) -> list[DeviceRequest]:
    return [parse_device(part) for part in text.split()]


@pytest.mark.parametrize(
    ("offer", "kind"),
    [
        (LIVE_T4, "t4s"),
        (node("w1", 4, 1, "T4"), "t4s"),  # by its resources
        (node("own", 16, 1, "T4"), ""),
        (replace(node("w1", 4, 1, "T4"), node_type="elsewhere"), ""),
        (HEAD, ""),
    ],
)
def test_the_type_of_a_live_node(offer: NodeOffer, kind: str) -> None:
    assert node_type_of(offer, SCALABLE) == kind


def test_live_nodes_count_against_what_can_be_started() -> None:
    left = SCALABLE.left([HEAD, LIVE_T4])
    assert [kind.count for kind in left.types] == [1, 1]
    assert left.most == 1
    assert SCALABLE.left([HEAD]) == SCALABLE
    assert [kind.count for kind in SCALABLE.left([LIVE_T4] * 5).types] == [0, 1]
    assert SCALABLE.left([LIVE_T4] * 5).most == 0
    assert NO_AUTOSCALER.left([HEAD]) == NO_AUTOSCALER


@pytest.mark.parametrize(
    ("nodes", "text", "waits"),
    [
        ([HEAD], "cpu:2", []),
        ([HEAD], "cpu cpu cpu", ["cpu: t4s"]),
        ([HEAD], "T4", ["T4: t4s"]),
        ([HEAD, LIVE_T4], "T4", []),
        ([HEAD, LIVE_T4], "T4 T4", ["T4: t4s"]),
        ([HEAD, LIVE_T4], "T4:0.5 T4:0.5 V100:2 V100", ["V100:2: v100s"]),
        ([HEAD], "T4 V100", ["T4: t4s", "V100: v100s"]),
        ([HEAD, LIVE_T4], "V100 gpu:2 gpu", ["V100: v100s"]),
        ([HEAD, LIVE_T4, LIVE_T4], "V100", ["V100: v100s"]),  # once an idle one has ended: two nodes in all
    ],
)
def test_what_waits_for_the_autoscaler(nodes: list[NodeOffer], text: str, waits: list[str]) -> None:
    check_group(asked(text), nodes, SCALABLE)
    assert sorted(f"{request}: {kind}" for request, kind in nodes_to_start(asked(text), nodes, SCALABLE)) == waits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("P40", "no live node and no type that the autoscaler can start offers P40"),
        ("P40 T4 gpu:8 cpu:9", "offers P40, cpu:9, gpu:8"),
        ("T4 T4 T4", "no room for 3 x T4 at the same time"),
        ("T4 T4 V100", "no room for 2 x T4, V100 at the same time"),  # three nodes, but there may be two
        ("cpu:8 cpu:8", "no room for 2 x cpu:8 at the same time"),
        ("V100 gpu:4", "no room for V100, gpu:4 at the same time"),
    ],
)
def test_what_the_cluster_at_its_largest_does_not_hold_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_group(asked(text), [HEAD, LIVE_T4], SCALABLE)
    message = str(caught.value)
    assert said in message
    assert "there is head: 2 CPU, no GPU; w1: 4 CPU, 1 GPU (T4)" in message
    assert message.endswith(
        "the autoscaler can start t4s: 4 CPU, 1 GPU (T4), up to 2; v100s: 8 CPU, 4 GPU (V100), up to 1, 2 nodes in all"
    )
    assert "\n" not in message


def test_a_group_on_live_nodes_alone() -> None:
    nodes = [node("a", 4, 1, "T4"), node("b", 4, 1, "V100")]
    check_group(asked("gpu T4 cpu cpu:4"), nodes)
    assert nodes_to_start(asked("gpu T4"), nodes) == ()
    with pytest.raises(InputError, match=r"no room for gpu, T4, V100:0\.5 at the same time; there is a: 4 CPU"):
        check_group(asked("gpu T4 V100:0.5"), nodes)


def test_a_name_that_two_cards_share_is_pointed_out() -> None:
    with pytest.raises(InputError, match="RTX-2080 may or may not be RTX-2080-Ti") as caught:
        check_requests(asked("RTX2080Ti"), [node("a", 2, 1, "RTX-2080")])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        check_requests(asked("RTX2080Ti"), [node("a", 2, 1, "RTX-3090")])
    assert "may or may not" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "most", "number"),
    [("T4", 9, 2), ("T4 cpu", 9, 2), ("V100", 9, 4), ("V100", 3, 3), ("gpu:0.5", 99, 10), ("P40", 9, 0), ("cpu", 0, 0)],
)
def test_how_many_equal_groups_have_room_at_once(text: str, most: int, number: int) -> None:
    # The cluster at its largest: the head and two of its types' nodes, a T4 and a V100 one or two T4 ones.
    assert groups_at_once(asked(text), [HEAD, LIVE_T4], SCALABLE, most=most) == number


def test_a_large_cluster_is_described_shortly_and_checked_quickly() -> None:
    nodes = [node(f"n{i}", 8, 4, ("T4", "Tesla-V100-SXM2-16GB")[i % 2]) for i in range(500)]
    assert describe_nodes(nodes).endswith("; 492 more")
    begin = time.process_time()
    check_group(asked("T4 " * 100 + "V100:0.3 " * 100 + "cpu " * 50), nodes)
    with pytest.raises(InputError):
        check_group(asked("T4 " * 1001), nodes)
    assert time.process_time() - begin < 10
    assert listed_requests(asked("T4 cpu T4")) == "2 x T4, cpu"


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


def test_what_is_free_is_told_where_it_is_known() -> None:
    available = {"1c8ca8e7753e53ac": {"CPU": 0.5}, "77": {"CPU": 8.0, "GPU": 1.5}}
    head, worker, bare = offers_from_ray(RECORDED, available)
    assert (head.free_cpus, head.free_gpus) == (0.5, 0.0)
    assert (worker.free_cpus, worker.free_gpus) == (8.0, 1.5)
    assert (bare.free_cpus, bare.free_gpus) == (0.0, 0.0)
    assert all(offer.free_cpus is None for offer in offers_from_ray(RECORDED))


def test_labels_tell_what_is_simulated_and_of_which_type() -> None:
    labels = {"raypol/simulated": "true", "ray.io/node-group": "t4s"}
    (offer,) = offers_from_ray([{"NodeID": "1", "Alive": True, "Resources": {"GPU": 1.0}, "Labels": labels}])
    assert offer.simulated
    assert offer.node_type == "t4s"
    assert not any(offer.simulated for offer in offers_from_ray(RECORDED))


def test_a_dead_node_offers_nothing() -> None:
    with pytest.raises(InputError, match=r"no live node offers cpu:64; there is head: 2 CPU"):
        check_requests([parse_device("cpu:64")], offers_from_ray(RECORDED))


def test_this_machine_has_what_this_process_may_use() -> None:
    here = this_machine()
    assert here.cpus == usable_cores() >= 1
    assert here.memory_bytes > 1 << 28
    check_requests([parse_device("cpu")], [here])
    assert device_name("cpu")


def test_the_models_of_a_cluster_most_common_first() -> None:
    nodes = [
        NodeOffer(name="a", cpus=1, gpus=1, accelerators=("Tesla-P40",)),
        NodeOffer(name="b", cpus=1, gpus=4, accelerators=("T4",)),
        NodeOffer(name="c", cpus=8, gpus=0),
    ]
    types = Scalable(types=(NodeOffer(name="v", cpus=1, gpus=8, accelerators=("V100",), count=3),), most=3)
    assert gpu_models(nodes, types) == ["T4", "P40", "V100"]
    assert gpu_models([], NO_AUTOSCALER) == []
