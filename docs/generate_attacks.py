"""Write docs/attacks/ from the attacks' docstrings and from measured rows: `python docs/generate_attacks.py [RESULTS SWEEP]`.

With a results folder and a sweep in it, the table of measurements, docs/attacks/measured.csv, is made anew from its rows first.
"""

import csv
import importlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from docstring_parser import parse_from_object

from raypol.core.attacks import PRESETS, method_of
from raypol.core.spoofing.grants import MEANINGS, USUAL
from raypol.core.spoofing.method import AttackMethod
from raypol.runs.trials.relative_costs import costs_of
from raypol.store.location import open_location
from raypol.store.results.files import read_trials, read_verdicts
from raypol.store.results.rows import TrialRow

FOLDER = Path(__file__).with_name("attacks")
MEASURED = FOLDER / "measured.csv"
_COLUMNS = (
    "attack", "arm", "steps", "declares", "start", "data_order", "time", "error", "gradients", "forward", "hashes", "accepted",
    "rejected_by", "claimed_l2",
)  # fmt: skip
_HEAD = """# Attacks

Every forgery that raypol has, published or its own, each on a page: the equation, what it is granted, what it costs, what stops
it, what was measured. The pages are written from the code by `make generate`; [Protocol](../protocol.md#attacks) has what all
share, and [The demo](../demo.md) shows some of them at work.

Measured: digits, resnet8, T = 200, k = 10, B = 64, one seed, two shared cores. Time: device seconds without waiting for writes
over the honest proof's. Error: the largest of the four errors over the honest proof's under fresh augmentation. `directed` is
`strict` with `declared_rate`, `direction` and `initial_independence`; `calibrated` was measured on five honest runs. The numbers
are made anew by

```sh
raypol calibrate --steps 200 --seeds 5 --out calibrated.json --results results
python sweeps/frontier.py --size smoke --policies calibrated.json --results results
python docs/generate_attacks.py results frontier-smoke
```
"""


def attack_pages() -> dict[str, str]:
    """The text of every page by file name."""
    modules = list(dict.fromkeys(type(config).__module__ for config in PRESETS.values()))
    rows = _measured()
    pages = {}
    lines = []
    for name in modules:
        module = importlib.import_module(name)
        presets = {preset: config for preset, config in PRESETS.items() if type(config).__module__ == name}
        methods = list({id(method): method for method in map(method_of, presets.values())}.values())
        short = name.rpartition(".")[2]
        own = [row for row in rows if row["attack"] == short]
        pages[f"{short}.md"] = "\n".join(_page(module, presets, methods, own))
        source = methods[0].source or "raypol"
        title = _title(module)
        lines.append(
            f"| [{', '.join(f'`{preset}`' for preset in presets)}]({short}.md) | {title} | {source} | {_best(own)} |"
        )
    head = ["| presets | | published by | measured: least time, least error among the accepted |", "|---|---|---|---|"]
    return pages | {"index.md": "\n".join([_HEAD, *head, *lines, ""])}


def _page(
    module: ModuleType, presets: dict[str, Any], methods: Sequence[AttackMethod[Any]], rows: Sequence[dict[str, str]]
) -> Iterator[str]:
    about = inspect.getdoc(module) or ""
    yield f"# {', '.join(f'`{preset}`' for preset in presets)}\n"
    yield _title(module) + "\n"
    yield _markdown(about.partition("\n")[2].strip("\n")) + "\n"
    yield "## What it is granted\n"
    for method in methods:
        name = f"`{method.config.__name__}`: " if len(methods) > 1 else ""
        used = "; ".join(f"`{grant}`: {MEANINGS[grant]}" for grant in method.uses) or "nothing of its own"
        beyond = [grant for grant in method.uses if grant not in USUAL]
        more = f" Not among the usual grants: {', '.join(f'`{grant}`' for grant in beyond)}." if beyond else ""
        yield f"{name}{used}. The choices of `SpoofConfig` use further grants.{more}\n"
    yield "## Hyperparameters\n"
    for kind in dict.fromkeys(map(type, presets.values())):
        yield from _hyperparameters(kind, {n: c for n, c in presets.items() if type(c) is kind})
    if rows:
        yield "## Measured\n"
        yield "| arm | T' | declares | W_0 | time / proof's | error / proof's | gradients | accepted by | rejected by (strict) |"
        yield "|---|---|---|---|---|---|---|---|---|"
        yield from (_line(row) for row in rows)
        yield ""


def _hyperparameters(kind: type, presets: dict[str, Any]) -> Iterator[str]:
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        texts |= {one.arg_name: one.description for one in parse_from_object(base).params if one.description}
    named = [field.name for field in fields(kind)]
    if not named:
        yield "None.\n"
        return
    yield f"| field | {' | '.join(f'`{preset}`' for preset in presets)} | |"
    yield "|" + "---|" * (len(presets) + 2)
    for name in named:
        values = " | ".join(f"{getattr(config, name)}" for config in presets.values())
        yield f"| `{name}` | {values} | {_cell(texts.get(name, ''))} |"
    yield ""


def _line(row: dict[str, str]) -> str:
    start = row["start"] + (", order declared" if row["data_order"] == "declared" else "")
    accepted = row["accepted"].replace(" ", ", ") or "none"
    other = f" (claims a model {float(row['claimed_l2']):.2g} d_ref from W_T)" if float(row["claimed_l2"] or 0) else ""
    cells = [row["arm"] + other, row["steps"], row["declares"], start, row["time"], row["error"], row["gradients"]]
    return f"| {' | '.join(map(_cell, [*cells, accepted, row['rejected_by'] or '-']))} |"


def _best(rows: Sequence[dict[str, str]]) -> str:
    accepted = [row for row in rows if "strict" in row["accepted"].split()]
    if not rows:
        return "-"
    if not accepted:
        return "never accepted by strict"
    return f"{min(float(row['time']) for row in accepted):.2g}, {min(float(row['error']) for row in accepted):.2g} (strict)"


def _title(module: ModuleType) -> str:
    first = (inspect.getdoc(module) or "").partition("\n")[0]
    words = first.partition(": ")[2] or first
    return _cell(words[:1].upper() + words[1:])


def _markdown(text: str) -> str:
    """Indented equations as blocks of their own."""
    lines: list[str] = []
    for line in text.splitlines():
        indented, before = line.startswith("    "), lines[-1] if lines else ""
        if before and indented != before.startswith("    ") and line:
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _measured() -> list[dict[str, str]]:
    if not MEASURED.exists():
        return []
    with MEASURED.open(newline="") as file:
        return list(csv.DictReader(file))


def measure(results: str, sweep_id: str) -> None:
    """Write the table of measurements from the rows of a sweep."""
    folder = open_location(results)
    rows = read_trials(folder, sweep_id=sweep_id)
    costs = costs_of(rows)
    accepted: dict[str, list[str]] = {}
    for verdict in read_verdicts(folder, sweep_id=sweep_id):
        if verdict.accepted:
            accepted.setdefault(verdict.trial_id, []).append(verdict.policy)
    with MEASURED.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in sorted((row for row in rows if row.trial_id in costs), key=_order):
            cost, error = costs[row.trial_id]
            writer.writerow(
                {
                    name: getattr(row, name, None)
                    for name in ("arm", "steps", "declares", "start", "data_order", "hashes")
                }
                | {
                    "attack": row.attack,
                    "time": f"{cost:.3g}",
                    "error": f"{error:.3g}",
                    "gradients": row.gradient_evals,
                    "forward": row.forward_passes,
                    "accepted": " ".join(accepted.get(row.trial_id, ())),
                    "rejected_by": row.rejected_by,
                    "claimed_l2": f"{row.claimed_l2 or 0.0:.3g}",
                }
            )


def _order(row: TrialRow) -> tuple[object, ...]:
    return (row.attack, row.arm, row.steps, row.declares or "", row.seed)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
    for name, text in attack_pages().items():
        (FOLDER / name).write_text(text)
        sys.stdout.write(f"{FOLDER / name}\n")
