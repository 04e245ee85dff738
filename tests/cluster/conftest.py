"""One Ray for all tests that need it."""

import os
from collections.abc import Iterator
from types import ModuleType

import pytest

from raypol.cluster.connection import ray_folder
from raypol.cluster.ray_runner import RayRunner
from tests.studies import on


@pytest.fixture(scope="session")
def ray_session() -> Iterator[ModuleType]:
    """A local Ray that was not started by a runner: a CPU for each of `two_actors` and one for a test's own actor."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - at Ray's 15 a busy machine would not run them for minutes
    import ray

    ray.init(
        address="local",  # anything else may attach to somebody's cluster
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=128 << 20,
        _temp_dir=ray_folder(),
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def two_actors(ray_session: ModuleType) -> Iterator[RayRunner]:
    """A runner with two actors on the shared Ray."""
    with RayRunner(on("cpu"), max_actors=2) as runner:
        yield runner
    assert ray_session.is_initialized()
