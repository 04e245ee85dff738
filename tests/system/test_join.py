"""`raypol join` and the words it hands to Ray, on a head of our own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raypol.cluster.join import Gpu, plan_joining
from raypol.cluster.placement import parse_device, ray_options
from tests.system.private_ray import RAY, eventually, free_port, short_folder, start_head

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]

_QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Address of a head without GPUs, environment for the nodes that join it, and a connected Ray."""
    import ray

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with short_folder() as folder:
        environment = _QUIET | {"RAY_TMPDIR": str(folder)}
        address = start_head(folder, environment, free_port(), "--num-cpus=1")
        ray.init(address=address, log_to_driver=False)
        yield address, os.environ | environment, ray
        ray.shutdown()


def test_this_machine_joins_under_its_label(head: tuple[str, dict[str, str], Any]) -> None:
    address, environment, ray = head
    raypol = Path(sys.executable).with_name("raypol")
    done = subprocess.run(
        [raypol, "join", address], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ray start --address={address}" in done.stdout
    assert (
        eventually(lambda: "on-prem" in [label.get("raypol/market") for label in _labels(ray)], within_s=30) is not None
    )


def test_a_gpu_that_ray_names_otherwise_is_found_by_the_name_people_use(head: tuple[str, dict[str, str], Any]) -> None:
    address, environment, ray = head
    words = plan_joining(address, [Gpu(name="NVIDIA GeForce RTX 2080 Ti")]).arguments()
    done = subprocess.run([*RAY, *words], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    class Party:
        def labels(self) -> dict[str, str]:
            return dict(ray.get_runtime_context().get_node_labels())

    actor = ray.remote(Party).options(**ray_options(parse_device("RTX2080Ti:0.5"))).remote()
    assert ray.get(actor.labels.remote(), timeout=60)["ray.io/accelerator-type"] == "RTX-2080-Ti"


def test_a_head_that_is_not_there_is_told_at_once() -> None:
    raypol = Path(sys.executable).with_name("raypol")
    address = f"127.0.0.1:{free_port()}"
    done = subprocess.run(
        [raypol, "join", address, "--auth", "disabled"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert f"nobody answers at {address}" in done.stderr


def _labels(ray: Any) -> list[dict[str, str]]:  # noqa: ANN401 - Ray is untyped
    return [dict(node["Labels"]) for node in ray.nodes() if node["Alive"]]
