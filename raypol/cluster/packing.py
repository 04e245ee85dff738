"""Placing actors on nodes, all at once: each on one node, a share of a GPU within one GPU."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Self

from raypol.cluster.placement import DeviceRequest

_WHOLE: Final = 10_000
"""A GPU in Ray's smallest share, so that sums are exact."""
_MAX_STEPS: Final = 20_000
"""Limit of the search; a trial's handful of actors needs tens of steps."""


class Space(NamedTuple):
    """Free part of a node."""

    cpus: int
    gpus: tuple[int, ...]
    """Free part of each GPU, ascending."""
    models: frozenset[str]
    """Names under which Ray knows its GPUs."""

    @classmethod
    def of(cls, cpus: float, gpus: float, models: Sequence[str]) -> Self:
        """An empty node."""
        return cls(int(cpus), (_WHOLE,) * int(gpus), frozenset(models))

    def after(self, request: DeviceRequest) -> Iterator["Space"]:
        """Free parts with one more actor, for each choice of its GPU; the fullest GPU that takes it first."""
        if request.kind == "cpu":
            if self.cpus >= request.amount:
                yield self._replace(cpus=self.cpus - int(request.amount))
            return
        if request.accelerator and request.accelerator not in self.models:
            return
        share, needed = round(min(request.amount, 1.0) * _WHOLE), max(int(request.amount), 1)
        for left in sorted({left for left in self.gpus if left >= share}):
            at = self.gpus.index(left)
            if self.gpus[at : at + needed] == (left,) * needed:
                rest = (*self.gpus[:at], *self.gpus[at + needed :], *(left - share,) * needed)
                yield self._replace(gpus=tuple(sorted(rest)))


def hardest_first(requests: Sequence[DeviceRequest]) -> list[DeviceRequest]:
    """Order requests: named models before any GPU, GPUs before cores, large before small."""
    return sorted(requests, key=lambda r: (not r.accelerator, r.kind == "cpu", -r.amount, r.accelerator))


class Packing(NamedTuple):
    """Result of `pack_actors`."""

    feasible: bool
    """False only if no placement exists; True also if none was found within the limit of the search."""
    started: tuple[tuple[DeviceRequest, str], ...] = ()
    """Requests for which a further node is started, with its type."""


class _State(NamedTuple):
    spaces: Mapping[Space, int]
    left: Mapping[str, int]
    """How many more nodes of each type may start."""
    most: int
    """How many more nodes of all types may start."""
    started: tuple[tuple[DeviceRequest, str], ...]

    def key(self) -> tuple[object, ...]:
        return frozenset(self.spaces.items()), frozenset(self.left.items())


def pack_actors(
    requests: Sequence[DeviceRequest],
    spaces: Sequence[Space],
    types: Mapping[str, tuple[Space, int]] | None = None,
    most: int = 0,
) -> Packing:
    """Look for a placement of all requests at once; existing nodes are used before others are started.

    Args:
        requests: resolved, see `inventory.resolve`.
        spaces: the existing nodes.
        types: by name, a node that can be started, and how many of it.
        most: how many nodes can be started in all.
    """
    types = types or {}
    if _too_much(requests, spaces, types, most):
        return Packing(False)
    order = hardest_first(requests)
    first = _State(Counter(spaces), {name: number for name, (_, number) in types.items()}, most, ())
    empty = {name: space for name, (space, _) in types.items()}
    seen: set[tuple[object, ...]] = set()
    # Depth first, one iterator of choices per placed request.
    trail = [iter([first])]
    for _ in range(_MAX_STEPS):
        state = next(trail[-1], None)
        depth = len(trail) - 1
        if state is None:
            trail.pop()
            if not trail:
                return Packing(False)
            continue
        if depth == len(order):
            return Packing(True, state.started)
        key = (depth, *state.key())
        if key not in seen:
            seen.add(key)
            trail.append(_choices(state, order[depth], empty))
    return Packing(True)


def _too_much(
    requests: Sequence[DeviceRequest], spaces: Sequence[Space], types: Mapping[str, tuple[Space, int]], most: int
) -> bool:
    """True if already the sums exceed the nodes: a cheap answer to most impossible requests."""

    def exceeds(needed: float, parts: Sequence[int], startable: Sequence[tuple[int, int]]) -> bool:
        left, total = most, sum(parts)
        for size, number in sorted(startable, reverse=True):
            total, left = total + size * min(number, left), left - min(number, left)
        return needed > total

    if exceeds(
        sum(r.amount for r in requests if r.kind == "cpu"),
        [space.cpus for space in spaces],
        [(space.cpus, number) for space, number in types.values()],
    ):
        return True
    gpus = [request for request in requests if request.kind == "gpu"]
    for name in {"", *(request.accelerator for request in gpus)}:
        if exceeds(
            sum(round(request.amount * _WHOLE) for request in gpus if name in ("", request.accelerator)),
            [sum(space.gpus) for space in spaces if not name or name in space.models],
            [(sum(space.gpus), number) for space, number in types.values() if not name or name in space.models],
        ):
            return True
    return False


def _choices(state: _State, request: DeviceRequest, empty: Mapping[str, Space]) -> Iterator[_State]:
    for space in state.spaces:
        for rest in space.after(request):
            yield state._replace(spaces=_swap(state.spaces, space, rest))
    if state.most <= 0:
        return
    for name, space in empty.items():
        if state.left[name] > 0:
            for rest in space.after(request):
                yield _State(
                    _swap(state.spaces, None, rest),
                    {**state.left, name: state.left[name] - 1},
                    state.most - 1,
                    (*state.started, (request, name)),
                )


def _swap(spaces: Mapping[Space, int], old: Space | None, new: Space) -> dict[Space, int]:
    changed = dict(spaces)
    if old is not None:
        changed[old] -= 1
        if not changed[old]:
            del changed[old]
    changed[new] = changed.get(new, 0) + 1
    return changed
