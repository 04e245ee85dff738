"""One Ray for all tests that need it."""

import os
from collections.abc import Iterator

import pytest

from raypol.cluster.runners import RayRunner
from tests.studies import on


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A local Ray of two CPUs that was not started by a runner."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        address="local",  # anything else may attach to somebody's cluster
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=128 << 20,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def two_actors(ray_session: None) -> Iterator[RayRunner]:
    """A runner with an actor per CPU, on the shared Ray."""
    with RayRunner(on("cpu")) as runner:
        yield runner
