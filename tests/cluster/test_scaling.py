"""What a running cluster has and can scale to: configuration files, and Ray itself with declared GPUs."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from raypol.cluster.cluster_file import read_cluster_file
from raypol.cluster.inventory import NO_AUTOSCALER, check_group, nodes_to_start
from raypol.cluster.placement import parse_device
from raypol.cluster.scaling import config_text_here, types_from_config, view_of_file
from raypol.core.errors import InputError
from tests.cluster.clusters import AUTOSCALED, GROUPS, STUCK

ROOT = Path(__file__).parents[2]


def test_node_types_of_a_cluster_file() -> None:
    found = types_from_config(AUTOSCALED)
    assert found.most == 3
    t4, v100 = found.types  # not the head, not one of which there may be none, not one that nothing is known of
    assert (t4.name, t4.cpus, t4.gpus, t4.accelerators, t4.count, t4.simulated) == ("t4", 4, 1, ("T4",), 2, True)
    assert (v100.name, v100.gpus, v100.accelerators) == ("v100", 4, ("Tesla-V100-SXM2-16GB",))
    assert v100.count == 3  # without a limit of its own, the cluster's
    assert not v100.simulated


@pytest.mark.parametrize("config", [{}, {"available_node_types": None}, {"provider": {"type": "local"}}])
def test_a_cluster_file_without_node_types_scales_to_nothing(config: dict[str, Any]) -> None:
    assert types_from_config(config) == NO_AUTOSCALER


def test_the_cluster_that_a_file_describes() -> None:
    view = view_of_file(read_cluster_file(ROOT / "cluster.yaml"))
    (head,) = view.nodes
    assert head.cpus > 0 == head.gpus
    assert {"T4", "V100", "A10G", "H100"} <= {name for kind in view.scalable.types for name in kind.accelerators}
    trial = [parse_device(text) for text in ("v100", "Tesla T4", "cpu")]
    check_group(trial, view.nodes, view.scalable)
    waits = nodes_to_start(trial, view.nodes, view.scalable)
    kinds = {kind.name: kind for kind in view.scalable.types}
    assert {(str(request), *kinds[name].accelerators) for request, name in waits} == {("V100", "V100"), ("T4", "T4")}
    with pytest.raises(InputError, match=r"offers P40; there is .*; the autoscaler can start "):
        check_group([parse_device("P40")], view.nodes, view.scalable)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--gcs-address=192.0.2.9:26123", "--autoscaling-config={}"], True),
        (["--gcs-address=192.0.2.9:26124", "--autoscaling-config={}"], False),  # another cluster on the same machine
        (["--gcs-address=192.0.2.9:26123"], False),
        (["--gcs-address=192.0.2.9:26123", "--autoscaling-config={}.gone"], False),
        (["--autoscaling-config={}"], False),
    ],
)
def test_the_autoscaler_names_its_file_on_its_command_line(words: list[str], found: bool, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("max_workers: 1")
    monitor = subprocess.Popen(
        [sys.executable, "-c", "input()", *(word.format(path) for word in words)], stdin=subprocess.PIPE
    )
    try:
        assert config_text_here("192.0.2.9:26123") == ("max_workers: 1" if found else "")
    finally:
        monitor.communicate(b"\n")


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What the script saw of three nodes; in a process of its own, as this one may be connected elsewhere."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.simulated_cluster"],
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.ray
@pytest.mark.slow
def test_nodes_with_what_is_free(seen: dict[str, Any]) -> None:
    assert sorted(seen["nodes"], key=lambda node: node[2]) == [
        [1, 1, 0, 0, [], False],
        [1, 1, 1, 1, ["GeForce-RTX-2080-Ti"], True],
        [1, 1, 2, 2, ["T4"], True],
    ]
    assert seen["scalable"] == 0


@pytest.mark.ray
@pytest.mark.slow
def test_nodes_are_shown(seen: dict[str, Any]) -> None:
    assert "three nodes" in seen["shown"]
    assert "RTX-2080-Ti (Ray: GeForce-RTX-2080-Ti)" in seen["shown"]
    (t4,) = (line for line in seen["shown"].splitlines() if " T4 " in line)
    assert "1/1" in t4
    assert "2/2" in t4
    assert "yes" in t4


@pytest.mark.ray
@pytest.mark.slow
def test_actors_find_their_bundles_in_a_placement_group(seen: dict[str, Any]) -> None:
    group = seen["in_group"]
    assert group["placed"]
    # RTX2080Ti, T4:0.5, T4, cpu: each in the group, on the node of a bundle that has what it asked for.
    assert {actor["group"] for actor in group["actors"]} == {group["group"]}
    assert [actor["node"] for actor in group["actors"]][:3] == group["bundles"][:3]
    assert len({actor["node"] for actor in group["actors"]}) >= 2
    assert [actor["resources"].get("GPU") for actor in group["actors"]] == [1, 0.5, 1, None]
    # Nothing is taken beside the group's bundles.
    free = Counter({"cpu": sum(cpu for cpu, _ in group["free"]), "gpu": sum(gpu for _, gpu in group["free"])})
    assert free == {"cpu": 2, "gpu": 0.5}


@pytest.mark.ray
@pytest.mark.slow
def test_ray_knows_no_aliases(seen: dict[str, Any]) -> None:
    assert seen["unresolved"] is False


@pytest.mark.ray
@pytest.mark.parametrize("text", GROUPS)
@pytest.mark.slow
def test_what_is_found_to_have_room_has_room(seen: dict[str, Any], text: str) -> None:
    found, placed = seen["verdicts"][text]
    assert found == (placed or text == STUCK)


@pytest.mark.ray
@pytest.mark.slow
def test_the_autoscalers_file_is_read_on_the_head_from_any_node(seen: dict[str, Any]) -> None:
    assert seen["from_file"] == seen["from_another_node"] == [["t4", 2], ["v100", 3]]


@pytest.mark.ray
@pytest.mark.slow
def test_what_the_autoscaler_reports_goes_before_its_file(seen: dict[str, Any]) -> None:
    assert seen["reported"] == [["gcs_t4", 3, ["T4"]]]
