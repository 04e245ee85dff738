"""Build every bad proof of the zoo and judge each by every policy.

    python -m benchmarks.zoo [--groups tensors folders] [--out zoo.parquet]

One line per bad proof: what each policy says, which checks said no and in which words, seconds, and peak memory as a multiple of
what the honest proof takes. Exit code 0 if no policy from `strict` on accepts one without an excuse, all end in a verdict or an
InputError, and none takes more than 10 s or twice the honest memory; else 1.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import tyro
from rich.console import Console
from rich.text import Text

from benchmarks.zoo import constructed, declared, folders, manifests, records, tensors
from benchmarks.zoo.judging import Finding, in_child, judge, policies_of
from benchmarks.zoo.specimens import BAR, SHARE, Bad, Base, honest_base, with_own_points
from raypol.core.allocator import keep_freed_memory
from raypol.core.datasets.load import load_dataset
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.policies import Policy
from tests.constructions import stolen_mlp

MAX_SECONDS: Final = 10.0
MAX_MEMORY: Final = 2.0
"""Times what the honest proof takes."""
_MAKE_S: Final = 120.0
_GROUP_S: Final = 3600.0
_SAMPLE: Final = 8
"""Of the larger model, every so many-th is judged."""
_SHORT: Final = {"accepted": "yes", "rejected": "no", "not calibrated": "n/c", "bad input": "bad", "unhandled": "ERR"}

_out = Console(highlight=False, width=200)


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """Build and judge all bad proofs."""

    groups: tuple[str, ...] = ()
    """Which of them; () = all."""
    flips: int = 24
    """Bits flipped in each file."""
    out: Path | None = None
    """Write a row per bad proof there, *.parquet or *.json."""
    every: int = 1
    """Judge every n-th alone."""
    jobs: int = 2
    """Processes that judge at once."""
    quiet: bool = False
    """Show only what the totals count."""


@dataclass(frozen=True, slots=True)
class Row:
    """A bad proof and what became of it."""

    group: str
    bad: Bad
    finding: Finding
    memory: float
    """Times the honest proof's."""
    same: bool
    """What was read is the honest proof, as its root says."""

    @property
    def accepted(self) -> list[str]:
        """Policies that accept it and may not."""
        if self.same and not self.bad.knows_root:
            return []
        allowed = self.bad.excused if self.bad.excuse else ()
        return [n for n in BAR if self.finding.judged[n].outcome == "accepted" and n not in allowed]

    @property
    def problems(self) -> list[str]:
        """What the totals count."""
        found = [f"accepted by {', '.join(self.accepted)}"] if self.accepted else []
        found += [f"unhandled: {self.finding.unhandled}"] if self.finding.unhandled else []
        found += [f"{self.finding.seconds:.0f} s"] if self.finding.seconds > MAX_SECONDS else []
        return found + ([f"{self.memory:.1f} times the memory"] if self.memory > MAX_MEMORY else [])


def main() -> None:
    """Entry point."""
    asked = tyro.cli(Zoo, description=__doc__)
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        rows = list(judged_groups(asked, Path(place)))
    if asked.out:
        _write(asked.out, rows)
    sys.exit(_totals(rows))


def judged_groups(asked: Zoo, place: Path) -> Iterator[Row]:
    """Make the bases, then every bad proof, and judge each."""
    dataset = load_dataset("digits")
    config = TrainConfig(steps=40, interval=5, batch_size=32, share=SHARE)
    resnet = honest_base("resnet8", place / "resnet8", dataset, config)
    quick = replace(config, model="tests.constructions:normed", crop_padding=0, lr_drops=(0.75,), lr=0.1)
    toy = honest_base("the MLP toy", place / "toy", dataset, quick)
    pointed = with_own_points(toy, place / "pointed")
    every: list[tuple[str, Base, Callable[[], Iterable[Bad]]]] = [
        ("constructed", toy, lambda: constructed.constructed(stolen_mlp(dataset), dataset)),
        ("tensors", toy, lambda: tensors.tensors(toy)),
        ("tensors of resnet8", resnet, lambda: list(tensors.tensors(resnet))[::_SAMPLE]),
        ("declared", toy, lambda: declared.declared(toy)),
        ("declared of resnet8", resnet, lambda: list(declared.declared(resnet))[::_SAMPLE]),
        ("json", toy, lambda: manifests.json_texts(toy)),
        ("records", toy, lambda: records.records(toy)),
        ("records of resnet8", resnet, lambda: list(records.records(resnet))[::_SAMPLE]),
        ("points", pointed, lambda: records.own_points(pointed)),
        ("folders", toy, lambda: folders.folders(toy, place)),
        ("bombs", pointed, lambda: folders.bombs(pointed)),
        ("flips", pointed, lambda: folders.flips(pointed, asked.flips)),
        ("flips of resnet8", resnet, lambda: folders.flips(resnet, asked.flips // 2)),
    ]
    policies = {base.name: policies_of(base) for base in (resnet, toy)}
    for group, base, make_all in every:
        if asked.groups and group.split()[0] not in asked.groups:
            continue
        own = policies["resnet8" if base is resnet else toy.name]
        honest = judge(base.folder, own, root=None)
        _out.print(
            Text(
                f"{group}: the honest proof of {base.name}: {_outcomes(honest)}, {honest.peak_mb:.0f} MB", style="bold"
            )
        )
        if base is not pointed and any(one.outcome != "accepted" for one in honest.judged.values()):
            raise SystemExit(f"the honest proof of {base.name} is not accepted: {honest}")
        started = time.monotonic()
        all_bad = list(make_all())[:: asked.every]
        for bad, finding in zip(all_bad, _findings(all_bad, base, own, place, asked.jobs), strict=True):
            row = Row(group, bad, finding, finding.peak_mb / honest.peak_mb, finding.root == base.proof.root)
            if row.problems or not asked.quiet:
                _show(row)
            yield row
        _out.print(f"{group}: {len(all_bad)} in {time.monotonic() - started:.0f} s", style="dim")


def _findings(
    all_bad: Sequence[Bad], base: Base, policies: Mapping[str, Policy], place: Path, jobs: int
) -> Iterator[Finding]:
    """What becomes of each, in order; worker j of n takes every n-th."""
    if jobs == 1:
        yield from (_made_and_judged(bad, base, policies, place) for bad in all_bad)
        return

    def work(first: int) -> list[Finding]:
        return [_made_and_judged(bad, base, policies, place) for bad in all_bad[first::jobs]]

    with ThreadPoolExecutor(jobs) as pool:
        parts = list(pool.map(lambda first: in_child(lambda: work(first), _GROUP_S)[0], range(jobs)))
    if any(part is None for part in parts):
        raise SystemExit("a worker did not finish")
    yield from ((parts[i % jobs] or [])[i // jobs] for i in range(len(all_bad)))


def _made_and_judged(bad: Bad, base: Base, policies: Mapping[str, Policy], place: Path) -> Finding:
    with tempfile.TemporaryDirectory(dir=place) as one:
        folder = Path(shutil.copytree(base.folder, Path(one) / "p"))
        made, status, _ = in_child(lambda: (bad.make(folder), True)[1], _MAKE_S)
        if not made:
            raise SystemExit(f"{bad.name}: could not be made (status {status})")
        return judge(folder, policies, root=base.proof.root if bad.knows_root else None)


# --- output ----------------------------------------------------------------------------------------------------------


def _outcomes(finding: Finding) -> str:
    return " ".join(f"{name} {_SHORT[one.outcome]}" for name, one in finding.judged.items())


def _show(row: Row) -> None:
    finding, counted = row.finding, row.problems
    told = finding.judged["strict"]
    why = f"{told.by}: {told.detail}" if told.by else told.detail
    notes = ["the same proof"] if row.same else []
    if row.bad.excuse and any(finding.judged[n].outcome == "accepted" for n in BAR) and not row.same:
        notes.append(row.bad.excuse)
    if finding.judged["published"].outcome == "accepted" and told.outcome != "accepted":
        notes.append("published accepts, as the published verifier does")
    line = f"{row.bad.name[:90]} | {_outcomes(finding)} | {' '.join(why.split())[:200]}"
    line += f" | {finding.seconds:.2f} s, {row.memory:.2f}x"
    line += f" | {'; '.join(notes)}" if notes else ""
    text = Text(f"{'; '.join(counted)}: {line}" if counted else line, style="red" if counted else "")
    _out.print(text, soft_wrap=True)


def _totals(rows: Sequence[Row]) -> int:
    """Print the totals; 1 if any is not 0."""
    totals = {
        "accepted by strict or stricter": sum(bool(row.accepted) for row in rows),
        "unhandled": sum(bool(row.finding.unhandled) for row in rows),
        f"over {MAX_SECONDS:g} s": sum(row.finding.seconds > MAX_SECONDS for row in rows),
        f"over {MAX_MEMORY:g}x the memory of the honest proof": sum(row.memory > MAX_MEMORY for row in rows),
    }
    for row in rows:
        if row.problems:
            _out.print(
                Text(f"{row.group}: {row.bad.name[:90]}: {'; '.join(row.problems)}", style="red"), soft_wrap=True
            )
    same = sum(row.same for row in rows)
    outcomes = [row.finding.judged["strict"].outcome for row in rows]
    _out.print(
        f"{len(rows)} bad proofs; by strict {outcomes.count('rejected')} rejected, {outcomes.count('bad input')} bad input, "
        f"{outcomes.count('not calibrated')} not calibrated, {outcomes.count('accepted')} accepted for a reason that is said; "
        f"{same} still say what the honest proof says; slowest {max(row.finding.seconds for row in rows):.1f} s, "
        f"most memory {max(row.memory for row in rows):.2f}x"
    )
    _out.print("; ".join(f"{what}: {count}" for what, count in totals.items()), style="bold")
    return int(any(totals.values()))


def _write(file: Path, rows: Sequence[Row]) -> None:
    content: list[dict[str, Any]] = [
        {
            "group": row.group,
            "name": row.bad.name[:1000],
            "excuse": row.bad.excuse,
            "same": row.same,
            "counted": "; ".join(row.problems),
            "seconds": row.finding.seconds,
            "peak_mb": row.finding.peak_mb,
            "memory": row.memory,
        }
        | {
            f"{policy}_{key}": value[:1000]
            for policy, one in row.finding.judged.items()
            for key, value in asdict(one).items()
        }
        for row in rows
    ]
    if file.suffix == ".json":
        file.write_text(json.dumps(content, indent=1) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist(content), file)


if __name__ == "__main__":
    main()
