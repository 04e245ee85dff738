"""Manifests that are deep, doubled, endless or no JSON at all."""

import json
from collections.abc import Iterator
from copy import deepcopy

from benchmarks.zoo.specimens import STRICT, Bad, Base, sealed
from tests.store.damage import Damage


def json_texts(base: Base) -> Iterator[Bad]:
    """Manifests that are deep, doubled, endless or no JSON at all."""
    whole = (base.folder / "manifest.json").read_text()
    manifest = json.loads(whole)

    def written(text: str | bytes) -> Damage:
        raw = text if isinstance(text, bytes) else text.encode()
        return lambda folder: (folder / "manifest.json").write_bytes(raw)

    for depth in (100, 1_000, 100_000, 4_000_000):
        yield Bad(f"lists {depth} deep", written("[" * depth))
        yield Bad(f"objects {depth} deep", written('{"recipe":' * depth))
        deep = whole.replace('"environment": {', f'"environment": {{"x": {"[" * depth}{"]" * depth},', 1)
        yield Bad(f"an environment with lists {depth} deep", written(deep))
    for key in manifest:
        again = json.dumps({key: manifest[key]})[1:-1]
        yield Bad(f"{key} twice, the same", written(f"{{{again}, {whole.lstrip()[1:]}"), "the same, said twice")
        nothing = json.dumps({key: {} if isinstance(manifest[key], dict) else "x"})[1:-1]
        # Which of both counts is the reader's choice; here the first one is wrong, then the last.
        yield Bad(
            f"{key} twice, the first wrong",
            written(f"{{{nothing}, {whole.lstrip()[1:]}"),
            "the last one counts, and is right",
        )
        yield Bad(f"{key} twice, the last wrong", written(f"{whole.rstrip()[:-1]}, {nothing}}}"), *_told_only(key))
    for key, value in manifest["recipe"].items():
        recipe = json.dumps(manifest["recipe"])
        other = recipe[:-1] + f', "{key}": {json.dumps(_other(value))}}}'
        parts = {**manifest, "recipe": "HERE"}
        made = json.dumps(parts).replace('"HERE"', other)
        yield Bad(f"recipe.{key} twice, another value last", sealed(written(made)), *_other_excuse(base, key))
    for name, text in {
        "a byte order mark": b"\xef\xbb\xbf" + whole.encode(),
        "UTF-16": whole.encode("utf-16"),
        "zeros behind it": whole.encode() + bytes(1000),
        "spaces behind it": whole.encode() + b" " * 10**6,
        "a second manifest behind it": (whole + whole).encode(),
        "comments": b"// a proof\n" + whole.encode(),
        "8 MiB of digits": b'{"format": ' + b"9" * (8 << 20 - 20) + b"}",
        "a million files": json.dumps(
            {**manifest, "files": {**manifest["files"], **{f"{i}": -1 for i in range(300_000)}}}
        ).encode(),
        "200,000 checkpoints": json.dumps({**manifest, "checkpoint_steps": [0] * 1_000_000}).encode(),
        "a million keys": json.dumps({**manifest, "environment": {f"{i}": "" for i in range(500_000)}}).encode(),
    }.items():
        harmless = {"spaces behind it": "white space", "a million keys": "told by the prover, judged by nobody"}
        yield Bad(f"manifest: {name}", written(text), harmless.get(name, ""))


def _told_only(key: str) -> tuple[str]:
    told = key in ("sizes", "generation", "environment", "asserted", "taken_up_at", "points")
    return ("told by the prover, judged by nobody",) if told else ("",)


def _other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x" if isinstance(value, str) else deepcopy(value)


def _other_excuse(base: Base, key: str) -> tuple[str, tuple[str, ...]]:
    everyone = (*STRICT, "calibrated", "bound")
    if key in ("device", "threads"):
        return "informative: a verifier uses what it has", everyone
    if key in ("optimizer", "schedule", "transform", "given", "shares"):
        return "the same value", everyone
    if key == "channels_last":
        return "rounding alone", STRICT
    if key == "seed" and not base.recipe.transform.is_random:
        return "which seed it was, `bound_seed` says", (*STRICT, "calibrated")
    return "", ()
