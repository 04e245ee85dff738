"""The tables of `raypol cluster`."""

from io import StringIO

import pytest
from rich.console import Console

from raypol.cli.cluster_tables import cluster_tables, device_names, needs_table
from raypol.cli.console import print_tables
from raypol.cluster.inventory import NodeOffer, Scalable
from raypol.cluster.placement import parse_device
from raypol.cluster.scaling import ClusterView
from raypol.report.tables import Table

HEAD = NodeOffer(
    name="head", cpus=4, gpus=0, memory_bytes=16 * 10**9, labels={"ray.io/node-id": "1c8ca8e7753e53ac"}, free_cpus=3
)
TI = NodeOffer(
    name="desk[1]",
    cpus=8,
    gpus=2,
    accelerators=("GeForce-RTX-2080-Ti",),
    labels={"raypol/market": "on-prem"},
    free_cpus=8,
    free_gpus=0.5,
)
FAKE = NodeOffer(name="w", cpus=4, gpus=1, accelerators=("T4",), labels={"raypol/simulated": "true"})
T4S = NodeOffer(name="t4s", cpus=4, gpus=1, accelerators=("T4",), count=2)
VIEW = ClusterView(nodes=(HEAD, TI, FAKE), scalable=Scalable(types=(T4S,), most=3))


def text_of(*tables: Table) -> list[str]:
    shown = StringIO()
    print_tables(*tables, console=Console(file=shown))
    return [" ".join(line.split()) for line in shown.getvalue().splitlines()]


def test_nodes_and_types() -> None:
    assert text_of(*cluster_tables(VIEW, title="here")) == [
        "here",
        "node CPU GPU accelerators memory GB labels simulated",
        "head/1c8ca8e7 3/4 0 - 16.0 - -",
        "desk[1] 8/8 0.5/2 RTX-2080-Ti (Ray: GeForce-RTX-2080-Ti) 0.0 raypol/market=on-prem -",
        "w 4 1 T4 0.0 - yes",
        "",
        "node types of the autoscaler, at most 3 nodes in all",
        "type live at most CPU GPU accelerators labels simulated",
        "t4s 1 2 4 1 T4 - -",
    ]


def test_without_an_autoscaler_there_is_one_table() -> None:
    shown = text_of(*cluster_tables(ClusterView(nodes=(HEAD,)), title="here"))
    assert len(shown) == 3


@pytest.mark.parametrize(
    ("group", "row"),
    [
        ("cpu cpu", "2 x cpu 10 on live nodes"),
        ("T4 cpu", "T4, cpu 2 on live nodes"),
        ("T4 T4", "2 x T4 1 after the autoscaler has started a t4s node for T4"),
        ("gpu:0.1", "gpu:0.1 40 on live nodes"),
        ("P40", "P40 0 none: no live node and no type that the autoscaler can start offers P40; there is"),
    ],
)
def test_what_a_sweep_needs(group: str, row: str) -> None:
    requests = [parse_device(part) for part in group.split()]
    shown = text_of(needs_table([requests, requests[::-1]], 100, VIEW.nodes, VIEW.scalable))
    assert shown[0] == "what the sweep needs: 100 trials"
    assert shown[2].startswith(row)
    assert sum(line.startswith(row[:4]) for line in shown) == 1  # the same group in another order is the same


def test_devices_to_ask_for() -> None:
    assert device_names([HEAD, TI, FAKE, T4S]) == ["cpu", "cpu:8", "gpu", "gpu:0.5", "RTX-2080-Ti", "T4"]
    assert device_names([NodeOffer(name="a", cpus=1, gpus=1, accelerators=("Unheard Of GPU",))]) == [
        "cpu",
        "gpu",
        "gpu:0.5",
    ]
    assert device_names([]) == ["cpu"]
