"""Recorded tensors that are no numbers, not the model's, not the step's or not from their law; hashed and sealed after."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.zoo.specimens import STRICT, Bad, Base, changed_at, continued
from raypol.core.distances import parameter_distances
from raypol.core.proof import Checkpoint, MemoryProof
from raypol.core.training.optimizers import learning_rates
from raypol.core.training.prover import initial_checkpoint
from raypol.core.verification.thresholds import MOVES, within

_VALUES: Final = {"NaN": math.nan, "infinity": math.inf, "-infinity": -math.inf, "1e-40": 1e-40, "3e38": 3e38, "0": 0.0}
_NO_STATISTICS: Final = "statistics of the order of the replayed ones: `norm_statistics` judges them"
_IN_SLACK: Final = "less than the slack"
_FEW: Final = 16


def tensors(base: Base) -> Iterator[Bad]:
    """All of them."""
    yield from _entries(base)
    yield from _forms(base)
    yield from _whole_checkpoints(base)
    yield from _starts(base)


# --- single entries --------------------------------------------------------------------------------------------------


def _entries(base: Base) -> Iterator[Bad]:
    """One entry of one tensor of one checkpoint."""
    proof = base.proof
    last = len(proof.checkpoints) - 1
    for position in (0, 1, last // 2, last):
        checkpoint = proof.checkpoints[position]
        for group, name in _chosen(checkpoint):
            for word, value in _VALUES.items():
                tensor = getattr(checkpoint, group)[name].clone()
                if not tensor.is_floating_point():
                    value = {"NaN": -1.0, "infinity": 2.0**62, "-infinity": -(2.0**62)}.get(word, 0.0)
                if position == 0 and group == "optimizer_state":
                    continue  # there is none
                tensor.view(-1)[0] = value
                change = partial(changed_at, position=position, group=group, tensors={name: tensor})
                excuse, by = _entry_excuse(base, position, group, name, tensor)
                yield Bad(f"step {checkpoint.step}: {word} in {group} {name}", base.forged(change), excuse, by)


def _chosen(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    parameters, buffers, state = list(checkpoint.parameters), list(checkpoint.buffers), list(checkpoint.optimizer_state)
    constants = [name for name in parameters if not checkpoint.parameters[name].any()] or parameters[1:2]
    for group, names in (
        ("parameters", [parameters[0], constants[0], parameters[-1]]),
        (
            "buffers",
            [name for end in ("mean", "var", "tracked") for name in [n for n in buffers if n.endswith(end)][:1]],
        ),
        ("optimizer_state", [state[0], state[-1]] if state else []),
    ):
        for name in dict.fromkeys(names):
            yield group, name


def _entry_excuse(base: Base, position: int, group: str, name: str, forged: Tensor) -> tuple[str, tuple[str, ...]]:
    """Why a policy may accept a forged tensor, told by an oracle of its own: the honest tensor and the slack."""
    none: tuple[str, ...] = ()
    checkpoint, recipe = base.proof.checkpoints[position], base.recipe
    honest = getattr(checkpoint, group)[name]
    if not forged.isfinite().all():
        return "", none
    if torch.equal(forged, honest):
        return "the same value", (*STRICT, "calibrated", "bound")
    if position == 0:
        return "", none
    before = base.proof.checkpoints[position - 1]
    limit = MOVES.at(1.0, None, parameter_distances(before.parameters, checkpoint.parameters))
    if group == "parameters":
        apart = parameter_distances(checkpoint.parameters, {**checkpoint.parameters, name: forged})
        after = base.proof.checkpoints[min(position + 1, len(base.proof.checkpoints) - 1)]
        next_limit = MOVES.at(1.0, None, parameter_distances(checkpoint.parameters, after.parameters))
        small = within(apart, limit) and (after is checkpoint or within(apart, next_limit))
        return (_IN_SLACK, (*STRICT, "calibrated", "bound")) if small else ("", none)
    if group == "buffers":
        if not honest.is_floating_point() or (name.endswith("var") and bool((forged < 0).any())):
            return "", none
        small = float((forged - honest).norm()) <= 10.0 * float(honest.norm())
        return (_NO_STATISTICS, (*STRICT, "calibrated", "bound")) if small else ("", none)
    if checkpoint.step == recipe.steps:
        return "a state after the last step moves nothing", (*STRICT, "calibrated", "bound")
    rate, momentum = float(learning_rates(recipe)[checkpoint.step :].max()), float(recipe.optimizer.options["momentum"])
    drift = rate * momentum / (1.0 - momentum) * float((forged - honest).norm())
    return (_IN_SLACK, (*STRICT, "calibrated", "bound")) if drift <= 2.0 * min(limit.l2, limit.linf) else ("", none)


# --- other shapes, dtypes, names -------------------------------------------------------------------------------------


def _forms(base: Base) -> Iterator[Bad]:
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "of float64": lambda t: t.double(),
        "of float16": lambda t: t.half(),
        "of bfloat16": lambda t: t.bfloat16(),
        "of int32": lambda t: t.int(),
        "of bool": lambda t: t.bool(),
        "of complex64": lambda t: t.to(torch.complex64),
        "flat": lambda t: t.reshape(-1),
        "transposed": lambda t: (
            t.transpose(0, -1).contiguous() if t.dim() > 1 and t.shape[0] != t.shape[-1] else t[None]
        ),
        "of one dimension more": lambda t: t[None],
        "empty": lambda t: t.reshape(-1)[:0],
        "of one entry": lambda t: t.reshape(-1)[:1],
        "doubled": lambda t: torch.cat([t, t]) if t.dim() else torch.stack([t, t]),
    }
    last = len(base.proof.checkpoints) - 1
    for position in (0, last // 2, last):
        checkpoint = base.proof.checkpoints[position]
        for group, name in list(_chosen(checkpoint))[::2]:
            tensor = getattr(checkpoint, group)[name]
            for word, change in changes.items():
                if change(tensor).dtype == tensor.dtype and change(tensor).shape == tensor.shape:
                    continue
                made = partial(changed_at, position=position, group=group, tensors={name: change(tensor)})
                yield Bad(f"step {checkpoint.step}: {group} {name} {word}", base.forged(made))
        for group in ("parameters", "buffers", "optimizer_state"):
            tensors: Mapping[str, Tensor] = getattr(checkpoint, group)
            first = next(iter(tensors), None)
            others: dict[str, dict[str, Tensor]] = {
                "and one more": {**tensors, "extra": torch.zeros(3)},
                "and one more of NaN": {**tensors, "extra": torch.full((3,), math.nan)},
                "and one with an endless name": {**tensors, "x" * 100_000: torch.zeros(1)},
                "and one with a line break": {**tensors, "a\nb": torch.zeros(1)},
            }
            if first is not None:
                without = {n: t for n, t in tensors.items() if n != first}
                others["without its first"] = without
                others["with its first renamed"] = {**without, f"{first}.": tensors[first]}
                others["none at all"] = {}
            for word, made_up in others.items():
                replaced = partial(_with_group, position=position, group=group, tensors=made_up)
                yield Bad(f"step {checkpoint.step}: {group} {word}", base.forged(replaced))


def _with_group(proof: MemoryProof, position: int, group: str, tensors: Mapping[str, Tensor]) -> None:
    changes: dict[str, Any] = {group: tensors, "claimed_digests": None}
    proof.checkpoints[position] = replace(proof.checkpoints[position], **changes)


# --- whole checkpoints -----------------------------------------------------------------------------------------------


def _whole_checkpoints(base: Base) -> Iterator[Bad]:
    """Swapped, repeated, equal."""
    count = len(base.proof.checkpoints)
    for a, b in ((0, 1), (1, 2), (count - 2, count - 1), (0, count - 1), (2, count - 2)):
        yield Bad(
            f"checkpoints {a} and {b} swapped, with their steps as they were", base.forged(partial(_swap, a=a, b=b))
        )
        yield Bad(f"checkpoints {a} and {b} in each other's place", base.forged(partial(_swap, a=a, b=b, steps=True)))
    for which in (0, count // 2, count - 1):
        yield Bad(f"all checkpoints are the one of position {which}", base.forged(partial(_all_equal, which=which)))
    for rate in (0.0, 1e-30, 1e-12):
        for which in (0, count - 1):
            yield Bad(
                f"all checkpoints are the one of position {which}, at rate {rate:g}",
                base.forged(partial(_all_equal, which=which, rate=rate)),
            )
    yield Bad("a straight line from W_0 to W_T", base.forged(_straight))
    yield Bad("every checkpoint W_T but the first", base.forged(lambda proof: _all_equal(proof, count - 1, first=1)))
    yield Bad("checkpoints in reverse", base.forged(_reversed))


def _swap(proof: MemoryProof, a: int, b: int, *, steps: bool = False) -> None:
    one, other = proof.checkpoints[a], proof.checkpoints[b]
    proof.checkpoints[a] = other if steps else replace(other, step=one.step)
    proof.checkpoints[b] = one if steps else replace(one, step=other.step)


def _all_equal(proof: MemoryProof, which: int, *, first: int = 0, rate: float | None = None) -> None:
    chosen = proof.checkpoints[which]
    for position, checkpoint in enumerate(proof.checkpoints[first:], first):
        state = chosen.optimizer_state if position else {}
        proof.checkpoints[position] = replace(chosen, step=checkpoint.step, optimizer_state=state)
    if rate is not None:
        _set_rate(proof, rate)
        for position, checkpoint in enumerate(proof.checkpoints):
            if position:  # what an honest state would be without its gradients, which nobody sees at that rate
                zeros = {name: torch.zeros_like(t) for name, t in checkpoint.optimizer_state.items()}
                proof.checkpoints[position] = replace(checkpoint, optimizer_state=zeros)


def _set_rate(proof: MemoryProof, rate: float) -> None:
    options = {**proof.recipe.optimizer.options, "lr": rate}
    proof.recipe = replace(proof.recipe, optimizer=replace(proof.recipe.optimizer, options=options))


def _straight(proof: MemoryProof) -> None:
    first, last = proof.checkpoints[0], proof.checkpoints[-1]
    for position, checkpoint in enumerate(proof.checkpoints):
        share = checkpoint.step / last.step
        weights = {n: torch.lerp(w, last.parameters[n], share) for n, w in first.parameters.items()}
        proof.checkpoints[position] = replace(checkpoint, parameters=weights)


def _reversed(proof: MemoryProof) -> None:
    steps = proof.checkpoint_steps
    proof.checkpoints = [replace(c, step=step) for c, step in zip(reversed(proof.checkpoints), steps, strict=True)]


# --- W_0 -------------------------------------------------------------------------------------------------------------


def _starts(base: Base) -> Iterator[Bad]:
    """Honest steps from a W_0 that is not from its law in one tensor, or in a few entries of it."""
    start = initial_checkpoint(base.recipe, base.dataset)
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "twice as wide": lambda t: 2.0 * t,
        "half as wide": lambda t: 0.5 * t,
        "shifted by its width": lambda t: t + t.abs().max(),
        "of zeros": torch.zeros_like,
        "of ones": torch.ones_like,
        "folded to one side": torch.abs,
        "with one entry of 1000": lambda t: _with_entries(t, 1, 1000.0),
        "with one entry of 1e30": lambda t: _with_entries(t, 1, 1e30),
        "with one entry ten times its width": lambda t: _with_entries(t, 1, 10.0 * max(float(t.abs().max()), 0.1)),
    }
    for name, tensor in start.parameters.items():
        for word, change in changes.items():
            made = change(tensor)
            if torch.equal(made, tensor):
                continue
            bound = float(tensor.abs().max())
            few = (
                tensor.numel() <= _FEW
                and float(made.abs().max()) <= bound
                and bool(tensor.any())
                and bool((made > 0).any())
            )
            few = few and bool((made < 0).any())
            told = "a dozen entries in their bounds: too few for any test of a law" if few else ""
            begun = replace(start, parameters={**start.parameters, name: made})
            yield replace(_from_start(base, f"W_0: {name} {word}", begun), excuse=told, excused=(*STRICT, "calibrated"))
    for name, tensor in start.parameters.items():
        if not tensor.any() or bool((tensor == 1.0).all()):
            for by in (1e-40, 1e-7, 0.1):
                made = _with_entries(tensor, 1, float(tensor.view(-1)[0]) + by)
                if not torch.equal(made, tensor):
                    altered = {**start.parameters, name: made}
                    yield _from_start(base, f"W_0: constant {name} off by {by:g}", replace(start, parameters=altered))
    for name, buffer in start.buffers.items():
        altered = {**start.buffers, name: buffer + 1}
        yield _from_start(base, f"W_0: buffer {name} off by one", replace(start, buffers=altered))
    stolen = base.proof.checkpoints[-1]
    as_stolen = replace(stolen, step=0, optimizer_state={})
    yield _from_start(base, "W_0 = W_T, then trained on", as_stolen)
    yield _from_start(base, "W_0 with the weights of W_T", replace(start, parameters=stolen.parameters))
    yield _from_start(base, "W_0 with a state", replace(start, optimizer_state=stolen.optimizer_state))


def _with_entries(tensor: Tensor, count: int, value: float) -> Tensor:
    made = tensor.clone()
    made.view(-1)[:count] = value
    return made


def _from_start(base: Base, name: str, start: Checkpoint) -> Bad:
    def change(proof: MemoryProof) -> None:
        made = continued(base, start)
        proof.checkpoints, proof.records = made.checkpoints, made.records

    return Bad(name, base.forged(change))
