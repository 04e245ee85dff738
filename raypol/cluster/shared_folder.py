"""Checking before a sweep that every node sees the results folder."""

import logging
import uuid
from typing import Any, Final

from raypol.core.errors import InputError
from raypol.store.location import Location, open_location

_log = logging.getLogger(__name__)

_ANSWER_S: Final = 60.0


def check_visible(results: Location) -> None:
    """Write a file into the results folder here and have every live node read it.

    Raises:
        InputError: some nodes do not see it; names them.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    content = uuid.uuid4().hex
    mark = results / f".seen-{content}"
    with mark.filesystem.open_output_stream(mark.path) as stream:
        stream.write(content.encode())
    try:
        look = ray.remote(num_cpus=0, max_retries=2)(read_mark)
        asked = {
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                mark.address
            ): node
            for node in _live_nodes()
        }
        answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_S)
        seen = {asked[one]: _answer(one) for one in answered}
    finally:
        mark.remove()
    names = _live_nodes()  # a node that died meanwhile does not matter
    blind = sorted(names[node] for node, read in seen.items() if node in names and read is not None and read != content)
    if blind:
        raise InputError(
            f"{len(blind)} of {len(asked)} nodes do not see the results folder {results}: {', '.join(blind)}; "
            "expected one that all nodes share: s3://..., gs://..., or a network drive"
        )
    for one in silent:  # trials look again before they begin
        _log.warning(
            "node %s did not answer within %g s whether it sees %s", names.get(asked[one], "?"), _ANSWER_S, results
        )


def _live_nodes() -> dict[str, str]:
    """Node id -> name."""
    import ray

    return {n["NodeID"]: f"{n['NodeManagerHostname']}/{n['NodeID'][:8]}" for n in ray.nodes() if n["Alive"]}


def _answer(reference: Any) -> str | None:  # noqa: ANN401 - Ray is untyped
    """Content that a node read; empty if it cannot open the folder, None if the node does not answer: it is going away."""
    import ray

    try:
        return str(ray.get(reference))
    except ray.exceptions.RayTaskError as err:
        _log.warning("a node cannot read the results folder: %s", str(err).strip().splitlines()[-1])
        return ""
    except ray.exceptions.RayError as err:
        _log.debug("a node could not be asked: %s", err)
        return None


def read_mark(address: str) -> str:
    """Read the file at an address; empty if it does not exist."""
    place = open_location(address)
    if not place.exists():
        return ""
    with place.filesystem.open_input_file(place.path) as stream:
        return bytes(stream.read()).decode()
