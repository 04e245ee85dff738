"""What a dispute costs: `python -m benchmarks.dispute`. A table of the cases, with bars; exits with 1 if one is missed.

A linear model on digits, T' / k = 1,000 intervals of 8 steps. Two processes are the parties, with proofs in folders; this one is
the referee, on one thread each. Its seconds are of the one step, and of all its work: model, W_0, checks, that step.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from raypol.core.datasets.load import load_dataset
from raypol.core.dispute.merkle import Opening
from raypol.core.dispute.moves import Answer, Side
from raypol.core.dispute.training import DeclaredTraining, ProofParty
from raypol.core.proof import Checkpoint, Cost, Recipe
from raypol.runs.disputes.arithmetic import Bench
from raypol.runs.disputes.party import serve_party
from raypol.runs.disputes.recheck import recheck_dispute
from raypol.runs.disputes.referee import referee_dispute
from raypol.store.disputes.folder import answer_name
from raypol.store.disputes.verdict_file import DisputeFile
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.writer import new_proof
from tests.disputants import LyingTraining, record_lies

INTERVALS: Final = 1000
K: Final = 8
MODEL: Final = "benchmarks.dispute:linear"
BENCH: Final = Bench(model=MODEL)
_PATIENCE_S: Final = 120.0
_SHORT_S: Final = 2.0
"""Patience where a party says nothing."""
_LAST: Final = INTERVALS * K - 1
HONEST: Final = ()
FIRST, MIDDLE, LAST = (3,), (4100,), (_LAST - 2,)
TWO: Final = (1600, 6403)


def linear(*, in_channels: int, num_classes: int) -> nn.Module:
    """Logistic regression on digits: the cheapest training that there is."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Two parties by the steps at which they lie, what one of them does besides, and what must be found."""

    name: str
    a: tuple[int, ...] = HONEST
    b: tuple[int, ...] = HONEST
    odd: str = ""
    """What party b does instead of an answer, see `_ODD`."""
    liar: str
    step: int | None = None


CASES: Final = (
    Case(name="a lie in the first interval", a=FIRST, liar="a", step=3),
    Case(name="a lie in a middle interval", a=MIDDLE, liar="a", step=4100),
    Case(name="a lie in the last interval", a=LAST, liar="a", step=_LAST - 2),
    Case(name="two lies", a=TWO, liar="a", step=1600),
    Case(name="a challenger who lies", b=MIDDLE, liar="b", step=4100),
    Case(name="both lie, at other steps", a=MIDDLE, b=TWO, liar="b", step=1600),
    Case(name="no answer", b=MIDDLE, odd="silent", liar="b"),
    Case(name="answers twice", b=MIDDLE, odd="twice", liar="b", step=4100),
    Case(name="garbage", b=MIDDLE, odd="garbage", liar="b"),
    Case(name="a file of a terabyte", b=MIDDLE, odd="terabyte", liar="b"),
    Case(name="JSON, 400,000 levels deep", b=MIDDLE, odd="deep", liar="b"),
    Case(name="a leaf that is not in the tree", b=MIDDLE, odd="leaf", liar="b"),
    Case(name="nothing to dispute", liar="agreed"),
)


def recipe_of() -> Recipe:
    """The declared training of all cases."""
    data = load_dataset("digits")
    return Recipe(
        dataset="digits", dataset_sha256=data.sha256, model=MODEL, steps=INTERVALS * K, interval=K, batch_size=32
    )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    spawn = get_context("spawn")
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor(2, spawn, initializer=_one_thread) as pool:
        folder = Path(place)
        lies = sorted({case.a for case in CASES} | {case.b for case in CASES})
        list(pool.map(partial(_write_proof, folder), lies))
        rows = [(case, *_settle(case, folder, pool)) for case in CASES]
    missed = _show(rows)
    say = Console(highlight=False, markup=False).print
    say(
        f"T'/k = {INTERVALS}, k = {K}, {len(CASES)} cases, {time.perf_counter() - began:.0f} s in all, one thread per process"
    )
    sys.exit(missed)


def _show(rows: list[tuple[Case, DisputeFile, bool]]) -> bool:
    """Print a line per case; true if a bar is missed."""
    table = Table(box=None, pad_edge=False)
    names = (
        "case",
        "found",
        "interval",
        "step",
        "rounds",
        "kB raw",
        "of which state",
        "kB files",
        "step, ms",
        "all, s",
        "",
    )
    for name in names:
        table.add_column(name, justify="left" if name in ("case", "found", "") else "right", overflow="fold")
    missed = False
    for case, file, is_repeated in rows:
        verdict = file.verdict
        kinds = ", ".join(dict.fromkeys(fault.kind for fault in verdict.faults))
        holds = is_repeated and _holds(case, file)
        missed |= not holds
        table.add_row(
            case.name,
            f"{verdict.outcome}: {kinds}" if kinds else verdict.outcome,
            *("-" if one is None else f"{one}" for one in (verdict.interval, verdict.step)),
            f"{verdict.interval_rounds} + {verdict.step_rounds}",
            f"{verdict.exchanged_bytes / 1e3:.1f}",
            f"{verdict.state_bytes / 1e3:.1f}",
            f"{file.file_bytes / 1e3:.1f}",
            f"{1e3 * file.referee.step_s:.1f}" if verdict.replayed_steps else "-",
            f"{file.referee.seconds:.2f}",
            "holds" if holds else "MISSED",
        )
    Console(highlight=False, markup=False, width=180).print(table)
    return missed


def _holds(case: Case, file: DisputeFile) -> bool:
    """The right party and step; rounds <= 10 + log2 k; one step at most."""
    verdict = file.verdict
    right = verdict.outcome == (case.liar if case.liar == "agreed" else f"{case.liar} lied")
    rounds = verdict.interval_rounds + verdict.step_rounds <= math.ceil(math.log2(INTERVALS)) + math.ceil(math.log2(K))
    return right and rounds and verdict.step == case.step and verdict.replayed_steps <= 1


def _settle(case: Case, folder: Path, pool: ProcessPoolExecutor) -> tuple[DisputeFile, bool]:
    """One dispute, and whether a third person confirms it."""
    exchange = folder / f"exchange-{CASES.index(case)}"
    place, patience_s = open_location(exchange), _SHORT_S if case.odd == "silent" else _PATIENCE_S
    list(
        pool.map(partial(_party, folder), (case.a, case.b))
    )  # read their proofs beforehand, so that patience may be short
    parties = [
        pool.submit(_serve, folder, exchange, "a", case.a, ""),
        pool.submit(_serve, folder, exchange, "b", case.b, case.odd),
    ]
    file = referee_dispute(place, BENCH, patience_s=patience_s)
    for party in parties:
        party.result(60)
    return file, not recheck_dispute(place, BENCH).differences


# --- in the parties' processes -------------------------------------------------------------------------------------------


def _one_thread() -> None:
    torch.set_num_threads(1)


def _name(lies: tuple[int, ...]) -> str:
    return "-".join(map(str, lies)) or "honest"


def _write_proof(folder: Path, lies: tuple[int, ...]) -> None:
    data, recipe = load_dataset("digits"), recipe_of()
    with new_proof(open_location(folder), _name(lies), recipe, len(data)) as writer:
        record_lies(LyingTraining(recipe, data, frozenset(lies)), data, writer)
        writer.finish(Cost(), {})


@lru_cache(maxsize=16)
def _read_party(folder: Path, lies: tuple[int, ...]) -> ProofParty:
    data, recipe = load_dataset("digits"), recipe_of()
    training = LyingTraining(recipe, data, frozenset(lies)) if lies else DeclaredTraining(recipe, data)
    return ProofParty(ParquetProof(open_location(folder / "proofs" / _name(lies))), training)


def _party(folder: Path, lies: tuple[int, ...]) -> None:
    _read_party(folder, lies)


def _serve(folder: Path, exchange: Path, side: Side, lies: tuple[int, ...], odd: str) -> None:
    party, place = _read_party(folder, lies), open_location(exchange)
    if not odd:
        serve_party(party, place, side, patience_s=_PATIENCE_S)
        return
    what: Any = _Odd(party, odd, exchange, side)  # answers whatever is asked
    with suppress(_EndedError):
        serve_party(what, place, side, patience_s=_PATIENCE_S)


class _EndedError(Exception):
    """The party says no more."""


class _Odd:
    """A party that at its third question does something else than answer."""

    def __init__(self, party: ProofParty, odd: str, exchange: Path, side: Side) -> None:
        self._party, self._act, self._exchange, self._side = party, _ODD[odd], exchange, side
        self._asked = 0

    def __getattr__(self, move: str) -> Callable[..., Answer[Checkpoint]]:
        def answer(*index: int) -> Answer[Checkpoint]:
            self._asked += 1
            usual: Answer[Checkpoint] = getattr(self._party, move)(*index)
            return self._act(self._exchange, self._side, self._asked, usual) if self._asked == _ODD_AT else usual

        return answer


_ODD_AT: Final = 3


def _silent(*_: object) -> Answer[Checkpoint]:
    raise _EndedError


def _put(content: bytes, exchange: Path, side: Side, number: int, _: object) -> Answer[Checkpoint]:
    (exchange / answer_name(side, number)).write_bytes(content)
    raise _EndedError


def _terabyte(exchange: Path, side: Side, number: int, _: object) -> Answer[Checkpoint]:
    path = exchange / f"{side}.sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    path.rename(exchange / answer_name(side, number))
    raise _EndedError


def _twice(exchange: Path, side: Side, _: int, usual: Answer[Checkpoint]) -> Answer[Checkpoint]:
    first = exchange / answer_name(side, 1)
    first.write_bytes(first.read_bytes().replace(b" ", b""))
    return usual


def _leaf(_: Path, __: Side, ___: int, usual: Answer[Checkpoint]) -> Answer[Checkpoint]:
    assert isinstance(usual, Opening)
    return replace(usual, digest=bytes(32))


_ODD: Final[Mapping[str, Callable[[Path, Side, int, Answer[Checkpoint]], Answer[Checkpoint]]]] = {
    "silent": _silent,
    "twice": _twice,
    "garbage": partial(_put, b"\xff\x00 no message"),
    "deep": partial(_put, b"[" * 400_000),
    "terabyte": _terabyte,
    "leaf": _leaf,
}


if __name__ == "__main__":
    main()
