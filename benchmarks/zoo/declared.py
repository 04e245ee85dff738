"""Declared values that no training has, one at a time, and records that contradict each other; the root goes with them."""

import json
import math
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.zoo.specimens import STRICT, Bad, Base, sealed
from tests.store.damage import Damage, Manifest, put

_NUMBERS: Final[dict[str, object]] = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "-1": -1,
    "-1e-9": -1e-9,
    "0": 0,
    "1e-308": 1e-308,
    "1e-30": 1e-30,
    "1e30": 1e30,
    "1e308": 1e308,
    "2^63": 2**63,
    "10^400": 10**400,
    "a text": "0.1",
    "true": True,
    "null": None,
    "a list": [0.1],
}
_COUNTS: Final[dict[str, object]] = {
    "-1": -1,
    "0": 0,
    "1": 1,
    "0.5": 0.5,
    "NaN": math.nan,
    "2^31": 2**31,
    "2^63": 2**63,
    "10^30": 10**30,
    "10^8": 10**8,
    "10^6": 10**6,
    "a text": "7",
    "true": True,
    "null": None,
}
_TEXTS: Final[dict[str, object]] = {
    "empty": "",
    "of 10^6 letters": "x" * 10**6,
    "with a line break": "a\nb",
    "a path": "../../etc/passwd",
    "a program": "os:system",
    "0": 0,
    "null": None,
    "a list": ["a"],
    "NUL": "\0",
}

_NUMBER_PLACES: Final = (
    *(("optimizer", "options", name) for name in ("lr", "momentum", "weight_decay", "dampening", "nesterov", "eps")),
    ("schedule", "options", "gamma"),
    ("transform", "rotation_degrees"),
)
_COUNT_PLACES: Final = (
    ("batch_size",),
    ("steps",),
    ("interval",),
    ("seed",),
    ("threads",),
    ("schedule", "base_steps"),
    ("transform", "crop_padding"),
)
_TEXT_PLACES: Final = (
    ("dataset",),
    ("dataset_sha256",),
    ("model",),
    ("optimizer", "name"),
    ("schedule", "name"),
    ("loss",),
    ("precision",),
    ("device",),
)
_WHOLE_PLACES: Final[dict[tuple[str, ...], list[object]]] = {
    ("transform", "mean"): [[], [math.nan], [math.inf], [1e30], [-1e30], [0.0, 0.0], [None], "x", [11.0]],
    ("transform", "std"): [[], [math.nan], [math.inf], [1e30], [1e-30], [-1.0], [0.0], [0.5, 0.5], ["x"]],
    ("schedule", "options", "milestones"): [[], [0], [-1], [10**30], [math.nan], ["x"], [20] * 1000, None, 7],
    ("schedule", "options"): [{}, {"gamma": 0.1}, {"last_epoch": 10**9}, {"lr_lambda": "x"}, None],
    ("schedule",): [
        {"name": "CosineAnnealingLR", "options": {"T_max": 0}, "base_steps": 0},
        {"name": "CosineAnnealingLR", "options": {"T_max": 40, "eta_min": -0.05}, "base_steps": 0},
        {"name": "CyclicLR", "options": {"base_lr": 0.1, "max_lr": 1.0}, "base_steps": 0},
        {"name": "ExponentialLR", "options": {"gamma": 1e30}, "base_steps": 0},
        {"name": "ExponentialLR", "options": {"gamma": -1.0}, "base_steps": 0},
        {"name": "LambdaLR", "options": {"lr_lambda": "os.system"}, "base_steps": 0},
        {"name": "constant", "options": {"gamma": 7}, "base_steps": 0},
        {"name": "StepLR", "options": {"step_size": 0}, "base_steps": 0},
        {"name": "StepLR", "options": {"step_size": 10}, "base_steps": 10**8},
    ],
    ("optimizer",): [
        *(
            {"name": name, "options": {"lr": 0.05}}
            for name in ("Adam", "Adagrad", "Rprop", "ASGD", "Muon", "LBFGS", "SparseAdam")
        ),
        {"name": "SGD", "options": {}},
        {"name": "SGD", "options": {"lr": 0.05, "momentum": 0.9, "maximize": True}},
        {"name": "SGD", "options": {"lr": 0.05, "momentum": 0.9, "differentiable": True}},
        {"name": "Adam", "options": {"lr": 0.05, "eps": math.nan}},
        {"name": "Adam", "options": {"lr": 0.05, "eps": -1.0}},
        {"name": "Adam", "options": {"lr": 0.05, "amsgrad": True, "capturable": True}},
        {"name": "Optimizer", "options": {"lr": 0.05}},
    ],
    ("given",): [{"x": "y"}, {"": ""}, {"conv1.weight": "0" * 64}, {f"{i}": "" for i in range(100_000)}],
    ("shares",): [[], ["0"], ["0", "x" * 129], ["", ""], ["0", "0", "0"]],
    ("channels_last",): [None, 1, "true"],
}


def declared(base: Base) -> Iterator[Bad]:
    """All of them."""
    places = (
        *((place, word, value) for place in _NUMBER_PLACES for word, value in _NUMBERS.items()),
        *((place, word, value) for place in _COUNT_PLACES for word, value in _COUNTS.items()),
        *((place, word, value) for place in _TEXT_PLACES for word, value in _TEXTS.items()),
        *((place, _short(value), value) for place, values in _WHOLE_PLACES.items() for value in values),
    )
    manifest = json.loads((base.folder / "manifest.json").read_text())
    for place, word, value in places:
        honest: Any = manifest["recipe"]
        for key in place:
            honest = honest.get(key) if isinstance(honest, dict) else None
        if type(honest) is type(value) and honest == value:
            continue
        name = f"declared {'.'.join(place)}: {word}"
        yield Bad(name, sealed(put("recipe", *place, value=value)), *_excuse(base, place, value))
    yield from _contradictions(base, manifest)


def _excuse(base: Base, place: tuple[str, ...], value: object) -> tuple[str, tuple[str, ...]]:
    """Why a declaration may be accepted: told by what it does to the rates, or by what nobody computes with."""
    everyone, before_bound = (*STRICT, "calibrated", "bound"), (*STRICT, "calibrated")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if place in (("device",), ("threads",)):
        return "informative: a verifier uses what it has", everyone
    if place == ("shares",):
        return "whose seed it is, `bound_seed` says", before_bound
    if place == ("seed",) and not base.recipe.transform.is_random:
        return "which seed it was, `bound_seed` says", before_bound
    if place[-1] == "weight_decay" and number and 0 <= value <= 1e-3:  # type: ignore[operator]
        return "it moves the weights by less than the slack", STRICT
    if place[-1] in ("dampening", "nesterov", "rotation_degrees") and number and 0 <= value < 1e-9:  # type: ignore[operator]
        return "the default, said, or what rounds to it", everyone
    if place == ("schedule", "base_steps") and value == base.recipe.steps:
        return "the same rates", everyone
    return "", ()


def _contradictions(base: Base, manifest: Manifest) -> Iterator[Bad]:
    """One fact off from all others, then pairs that agree with each other alone."""
    recipe, steps, k = base.recipe, base.recipe.steps, base.recipe.interval
    checkpoints = list(manifest["checkpoint_steps"])
    facts: dict[str, list[Damage]] = {
        "steps": [put("recipe", "steps", value=v) for v in (steps - 1, steps + 1, steps - k, steps + k, 2 * steps, k)],
        "k": [put("recipe", "interval", value=v) for v in (k - 1, k + 1, 2 * k, steps)],
        "batch size": [
            put("recipe", "batch_size", value=v)
            for v in (recipe.batch_size - 1, recipe.batch_size + 1, 2 * recipe.batch_size)
        ],
        "checkpoint steps": [
            put("checkpoint_steps", value=v)
            for v in (
                checkpoints[:-1],
                checkpoints[1:],
                checkpoints[::-1],
                checkpoints * 2,
                [*checkpoints, checkpoints[-1]],
                [],
                [*checkpoints[:2], *checkpoints[:1], *checkpoints[3:]],
                [c + 1 for c in checkpoints],
                [-c for c in checkpoints],
                [0] * len(checkpoints),
                [checkpoints[-1]] * len(checkpoints),
                [*checkpoints[:-1], 2**63],
                [*checkpoints[:-1], 2**200],
            )
        ],
        "points": [
            put("points", "count", value=1),
            put("points", "count", value=-1),
            put("points", "count", value=2**63),
        ],
        "dataset": [put("recipe", "dataset", value="digits/D1"), put("recipe", "dataset_sha256", value="0" * 64)],
        "model": [put("recipe", "model", value=name) for name in ("resnet20", "resnet8", "resnet18_small")],
    }
    for what, damages in facts.items():
        for number, damage in enumerate(damages):
            if what == "model" and ("resnet8", "resnet20", "resnet18_small")[number] == recipe.model:
                continue
            yield Bad(f"{what} against all other records, {number}", sealed(damage))
    pairs: dict[str, tuple[Damage, ...]] = {
        "steps and checkpoints of half": (
            put("recipe", "steps", value=steps // 2),
            put("checkpoint_steps", value=[c for c in checkpoints if c <= steps // 2]),
        ),
        "steps of half and k of the whole": (
            put("recipe", "steps", value=steps // 2),
            put("recipe", "interval", value=steps // 2),
        ),
        "k doubled, every other checkpoint": (
            put("recipe", "interval", value=2 * k),
            put("checkpoint_steps", value=checkpoints[::2]),
        ),
        "steps doubled, k doubled": (put("recipe", "steps", value=2 * steps), put("recipe", "interval", value=2 * k)),
        "batch halved, steps doubled": (
            put("recipe", "batch_size", value=recipe.batch_size // 2),
            put("recipe", "steps", value=2 * steps),
        ),
        "base_steps doubled, steps halved": (
            put("recipe", "schedule", "base_steps", value=2 * steps),
            put("recipe", "steps", value=steps // 2),
        ),
    }
    everyone = (*STRICT, "calibrated", "bound")
    excuses: dict[str, tuple[str, tuple[str, ...]]] = {
        "steps and checkpoints of half": ("an honest proof of half the training", everyone),
        # The steps were made; that weights between are not told is what a longer k says.
        "k doubled, every other checkpoint": ("the same steps, recorded less often", STRICT),
    }
    for what, both in pairs.items():
        yield Bad(what, sealed(*both), *excuses.get(what, ("", ())))
    for place in (
        ("sizes", "weights"),
        ("sizes", "points"),
        ("generation", "device_s"),
        ("generation", "gradient_evals"),
    ):
        for value in (-1, 0, 2**63, 10**30, math.nan, "x"):
            told = "told by the prover, bound by nothing, judged by nobody"
            yield Bad(f"{'.'.join(place)} {value}", sealed(put(*place, value=value)), told)
    for name in ("environment", "asserted", "taken_up_at"):
        for other in ({}, {"x": "y" * 10**6}, ["x"], [0, 0], [-1], [2**70], None):
            told = "told by the prover, bound by nothing, judged by nobody"
            yield Bad(f"{name} {_short(other)}", sealed(put(name, value=other)), told)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"
