"""Batches, indices, steps, hashes, own points and roots that are wrong."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.zoo.specimens import STRICT, Bad, Base, changed_at, continued, sealed
from raypol.core.proof import MemoryProof
from raypol.core.verification.replay import Conditions
from raypol.core.verification.verifier import select_intervals, verifier_seed
from tests.store.damage import Damage, Rows, column_type, put, rewrite
from tests.toys import rehash

_ORDER: Final = "steps that were really made; nobody but `fresh_order` and `bound_seed` judges their order"


def records(base: Base) -> Iterator[Bad]:
    """Steps and indices."""
    yield from _steps(base)
    yield from _indices(base)
    yield from _repeated(base)
    yield from _roots(base)


def _steps(base: Base) -> Iterator[Bad]:
    numbers: dict[str, Callable[[int], int]] = {
        "from 1": lambda s: s + 1,
        "backwards": lambda s: base.recipe.steps - 1 - s,
        "all 0": lambda s: 0 * s,
        "negative": lambda s: -s,
        "from 2^62": lambda s: 2**62 + s,
        "up to 2^63 - 1": lambda s: 2**63 - base.recipe.steps + s,
        "every other one": lambda s: 2 * s,
        "one repeated": lambda s: s - (s == 7),
        "two swapped": lambda s: {7: 8, 8: 7}.get(s, s),
    }
    for word, number in numbers.items():
        yield Bad(f"step numbers {word}", base.forged(partial(_renumber, number=number)))
    parts: dict[str, Callable[[list[Any]], list[Any]]] = {
        "one missing": lambda r: [*r[:7], *r[8:]],
        "the last missing": lambda r: r[:-1],
        "the first missing": lambda r: r[1:],
        "one twice": lambda r: [*r[:8], r[7], *r[8:]],
        "all twice": lambda r: [*r, *r],
        "half": lambda r: r[: len(r) // 2],
        "one alone": lambda r: r[:1],
        "none": lambda r: r[:0],
        "backwards": lambda r: r[::-1],
        "two in each other's place": lambda r: [*r[:7], r[8], r[7], *r[9:]],
    }
    for word, part in parts.items():
        yield Bad(f"batch records: {word}", base.forged(partial(_select, part=part)))
    for word, value in {"2^63": 2**63, "2^64 - 1": 2**64 - 1}.items():
        yield Bad(f"a step of {word}, unsigned", _as_unsigned("step", value))


def _renumber(proof: MemoryProof, number: Callable[[int], int]) -> None:
    proof.records = [record._replace(step=number(record.step)) for record in proof.records]


def _select(proof: MemoryProof, part: Callable[[list[Any]], list[Any]]) -> None:
    proof.records = part(proof.records)


def _as_unsigned(column: str, value: int) -> Damage:
    import pyarrow as pa

    from tests.store.damage import table

    def change(found: pa.Table) -> pa.Table:
        at = found.schema.get_field_index(column)
        values = pa.array([value, *found.column(column).to_pylist()[1:]], pa.uint64())
        return found.set_column(at, pa.field(column, pa.uint64()), values)

    return table("batches.parquet", change)


def _indices(base: Base) -> Iterator[Bad]:
    n = len(base.dataset)
    values = {
        "-1": -1,
        "N": n,
        "2^31": 2**31,
        "2^63 - 1": 2**63 - 1,
        "-2^63": -(2**63),
        "another point": None,
    }
    for word, value in values.items():
        for step in (0, 7, base.recipe.steps - 1):
            yield Bad(
                f"step {step}: an index of {word}",
                base.forged(partial(_set_index, step=step, value=value)),
                *_one_of(base, value),
            )
    for word, change in {
        "one less": lambda i: i[:-1],
        "one more": lambda i: np.append(i, i[0]),
        "none": lambda i: i[:0],
        "ten times as many": lambda i: np.tile(i, 10),
        "in another order": lambda i: i[::-1].copy(),
        "of the step before": lambda i: np.roll(i, 1),
    }.items():
        excuse = (
            ("the order within a batch changes rounding alone", STRICT)
            if word in ("in another order", "of the step before")
            else ("", ())
        )
        yield Bad(
            f"step 7: indices {word}",
            base.forged(partial(_set_indices, step=7, change=change)),
            *_without_crops(base, excuse),
        )
    import pyarrow as pa

    for kind in (pa.float64(), pa.int32(), pa.string()):
        yield Bad(f"indices as {kind}", column_type("batches.parquet", "indices", pa.list_(kind)))
    for word, digest in {"zero": bytes(32), "of the step before": None}.items():
        yield Bad(f"step 7: a digest {word}", sealed(rewrite("batches.parquet", partial(_set_digest, value=digest))))
    yield Bad("batches of two intervals exchanged", base.forged(partial(_exchange, a=0, b=base.recipe.interval)))
    yield Bad("every batch that of step 0", base.forged(lambda proof: _all_batches(proof, proof.records[0].indices)))


def _one_of(base: Base, value: int | None) -> tuple[str, tuple[str, ...]]:
    """One point of a batch in one step: its share of a gradient may be less than the slack of the interval."""
    del base
    return ("one point of one batch moves the weights by less than the slack", STRICT) if value is None else ("", ())


def _without_crops(base: Base, excuse: tuple[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
    return ("", ()) if base.recipe.transform.is_random else excuse


def _set_index(proof: MemoryProof, step: int, value: int | None) -> None:
    indices = proof.records[step].indices.copy()
    indices[0] = (indices[0] + 1) % 1000 if value is None else value
    proof.records[step] = proof.records[step]._replace(indices=indices)


def _set_indices(
    proof: MemoryProof, step: int, change: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
) -> None:
    proof.records[step] = proof.records[step]._replace(indices=change(proof.records[step].indices))


def _set_digest(rows: Rows, value: bytes | None) -> None:
    rows[7]["sha256"] = rows[6]["sha256"] if value is None else value


def _exchange(proof: MemoryProof, a: int, b: int) -> None:
    for step in range(5):
        one, other = proof.records[a + step], proof.records[b + step]
        proof.records[a + step] = one._replace(indices=other.indices)
        proof.records[b + step] = other._replace(indices=one.indices)


def _all_batches(proof: MemoryProof, indices: npt.NDArray[np.int64]) -> None:
    proof.records = [record._replace(indices=indices) for record in proof.records]


def _repeated(base: Base) -> Iterator[Bad]:
    """One point for a whole batch; and batches that a small file cannot hold."""
    size = base.recipe.batch_size
    yield Bad(
        "every batch one point, checkpoints as they were",
        base.forged(lambda proof: _all_batches(proof, np.zeros(size, np.int64))),
    )

    def trained(proof: MemoryProof, order: Callable[[int], npt.NDArray[np.int64]]) -> None:
        made = continued(base, proof.checkpoints[0], indices=order)
        proof.checkpoints, proof.records = made.checkpoints, made.records

    orders: dict[str, Callable[[int], npt.NDArray[np.int64]]] = {
        "one point": lambda _: np.zeros(size, np.int64),
        "the first points": lambda _: np.arange(size),
        "two points in turn": lambda step: np.full(size, step % 2),
        "one point per step": lambda step: np.full(size, step),
    }
    for word, order in orders.items():
        yield Bad(
            f"trained on {word} alone", base.forged(partial(trained, order=order)), _ORDER, (*STRICT, "calibrated")
        )
    for count in (10**3, 10**4, 10**6):
        for word, point in (("one point", 0), ("the dataset over and over", None)):

            def change(proof: MemoryProof, count: int = count, point: int | None = point) -> None:
                many = np.full(count, point) if point is not None else np.arange(count) % len(base.dataset)
                proof.recipe = replace(proof.recipe, batch_size=count, steps=proof.recipe.interval)
                proof.checkpoints, proof.records = proof.checkpoints[:2], proof.records[: proof.recipe.steps]
                _all_batches(proof, many.astype(np.int64))

            yield Bad(f"a batch of {count}: {word}", base.forged(change))
        yield Bad(f"a declared batch of {count}", sealed(put("recipe", "batch_size", value=count)))


def _roots(base: Base) -> Iterator[Bad]:
    """Roots, salted until a verifier whose nonce is known misses the bad interval."""
    for word, root in {
        "zeros": "0" * 64,
        "empty": "",
        "upper case": base.proof.root.upper(),
        "of 10^5 digits": "0" * 10**5,
        "no hex": "x" * 64,
        "of another proof": base.calibration[0].root,
    }.items():
        yield Bad(f"a root of {word}", put("root", value=root))
    yield Bad(
        "a root of another salt",
        base.forged(partial(_salt, number=1)),
        "informative words alone: it is the honest training",
    )
    yield Bad("a root of another salt, where the root is known", base.forged(partial(_salt, number=1)), knows_root=True)
    for bad_interval in (1, base.recipe.num_intervals - 2):
        for nonce in (1, 7):
            yield Bad(
                f"interval {bad_interval} forged, salted until nonce {nonce} misses it",
                base.forged(partial(_salted, dataset=base.dataset, bad=bad_interval, nonce=nonce)),
            )


def _salt(proof: MemoryProof, number: int) -> None:
    proof.recipe = replace(proof.recipe, threads=1000 + number)


def _salted(proof: MemoryProof, dataset: Any, bad: int, nonce: int) -> None:  # noqa: ANN401 - a Dataset
    checkpoint = proof.checkpoints[bad + 1]
    changed_at(proof, bad + 1, "parameters", {n: w + 0.05 * torch.sign(w) for n, w in checkpoint.parameters.items()})
    for number in range(1000):
        _salt(proof, number)
        rehash(proof, dataset)
        seed = verifier_seed(proof.root, Conditions(seed=nonce))
        drawn = select_intervals("random", 1, recipe=proof.recipe, dataset_size=len(dataset), movements=(), seed=seed)
        if not {bad, bad + 1} & {interval.index for interval in drawn}:
            return


def own_points(base: Base) -> Iterator[Bad]:
    """Points that the proof brings; of a base whose every batch is of them."""
    set_row: Callable[..., Damage] = lambda **values: rewrite(  # noqa: E731 - a table of them follows
        "points.parquet", lambda rows: rows[0].update(values)
    )
    honest = "honest steps on own points: `own_points` judges them"
    yield Bad("own points, honestly trained on", lambda _: None, honest, (*STRICT, "calibrated"))
    altered: dict[str, dict[str, object]] = {
        "a label of no class": {"label": 10},
        "a label below all": {"label": -1},
        "a label of 2^62": {"label": 2**62},
        "another label": {"label": 3},
        "pixels of zeros": {"pixels": bytes(64)},
        "a digest of zeros": {"sha256": bytes(32)},
        "a source beyond the dataset": {"source": 10**6},
        "a source below zero": {"source": -1},
        "another source": {"source": 5},
        "another position": {"position": 99},
        "a position of 2^62": {"position": 2**62},
    }
    for word, values in altered.items():
        told = (
            "told by the prover, judged by nobody"
            if word in ("another source", "another position", "a position of 2^62", "a digest of zeros")
            else ""
        )
        yield Bad(
            f"own point: {word}", sealed(set_row(**values)), *((told, (*STRICT, "calibrated")) if told else ("", ()))
        )
    for word, change in {
        "one less": lambda rows: rows[:-1],
        "one more": lambda rows: [*rows, rows[0]],
        "two swapped": lambda rows: [rows[1], rows[0], *rows[2:]],
        "none": lambda rows: rows[:0],
        "all the first": lambda rows: [rows[0]] * len(rows),
    }.items():
        yield Bad(f"own points: {word}", sealed(rewrite("points.parquet", change)))
    for count in (0, 1, 10**6, 2**62):
        yield Bad(f"own points: said to be {count}", sealed(put("points", "count", value=count)))
    for shape in ([1, 8, 9], [8, 8], [64], [1, 1, 64], [2**31, 2**31, 2**31], [1, 64, 1], [], [0, 8, 8], [-1, -8, 8]):
        yield Bad(f"own points: of shape {shape}", sealed(put("points", "shape", value=shape)))
    yield Bad("own points: said to be float32", sealed(put("points", "dtype", value="float32")))
    for word, value in {"NaN": math.nan, "infinity": math.inf, "2": 2.0, "-1e-30": -1e-30, "1e-40": 1e-40}.items():
        yield Bad(
            f"own points as float32, one pixel {word}", base.forged(partial(_as_floats, value=value)), *_pixel(word)
        )


def _pixel(word: str) -> tuple[str, tuple[str, ...]]:
    told = "a pixel of one point, almost as it was: less than the slack"
    return (told, (*STRICT, "calibrated")) if word == "1e-40" else ("", ())


def _as_floats(proof: MemoryProof, value: float) -> None:
    points = proof.all_points()
    pixels = points.pixels.float() / 255.0
    pixels.view(-1)[0] = value
    proof._points = [replace(points, pixels=pixels)]
