"""Whether every node sees the folder that results go to: found out at the start, not in the morning."""

import uuid
from typing import Final

from raypol.core.errors import InputError
from raypol.store.location import Location, open_location

_ANSWER_S: Final = 60.0


def check_visible(results: Location) -> None:
    """Write a mark in the results folder here and have every live node read it.

    Raises:
        InputError: names the nodes that do not see it, or do not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    said = uuid.uuid4().hex
    mark = results / f".seen-{said}"
    with mark.filesystem.open_output_stream(mark.path) as stream:
        stream.write(said.encode())
    try:
        look = ray.remote(num_cpus=0, max_retries=2)(read_mark)
        asked = {
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                mark.address
            ): f"{node['NodeManagerHostname']}/{node['NodeID'][:8]}"
            for node in ray.nodes()
            if node["Alive"]
        }
        answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_S)
        blind = sorted(asked[one] for one in answered if ray.get(one) != said)
    except ray.exceptions.RayError as err:
        raise InputError(f"a node could not be asked whether it sees {results}: {str(err).splitlines()[0]}") from err
    finally:
        mark.remove()
    if blind:
        raise InputError(
            f"{len(blind)} of {len(asked)} nodes do not see the results folder {results}: {', '.join(blind)}; "
            "expected one that all nodes share: s3://..., gs://..., or a network drive"
        )
    if silent:
        raise InputError(f"no answer within {_ANSWER_S:g} s from {', '.join(asked[one] for one in silent)}")


def read_mark(address: str) -> str:
    """What the file at an address says; empty if there is none."""
    place = open_location(address)
    if not place.exists():
        return ""
    with place.filesystem.open_input_file(place.path) as stream:
        return bytes(stream.read()).decode()
