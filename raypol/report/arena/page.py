"""The arena as one page for a browser: its data as JSON, a script that shows them, and nothing that is loaded.

Texts of rows reach the page only through JSON, which cannot end its element, and the script sets them as text. The page's own
script and style are named by their digests, and nothing else may run.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from raypol.core.spoofing.grants import GRANTS, MEANINGS
from raypol.report.arena.board import LINE_GROUPS, STATUSES, Board, Square, TaskBoard, status_of
from raypol.report.arena.rankings import ATTACKS_RULE, VERIFIERS_RULE
from raypol.report.arena.uncarried import with_uncarried
from raypol.report.arena.wording import (
    GROUP_TITLES,
    LEGEND,
    LEGEND_DECLARED,
    NO_DECLARED,
    NOT_RUN,
    SIGNS,
    policy_words,
    verdict_words,
)
from raypol.store.escaping import visible_lines, without_secrets
from raypol.store.results.cell_rows import CLAIMS, CellRow
from raypol.store.results.columns import columns_of

_LONGEST: Final = 4_000
"""Characters of a text that are shown."""
_DIGITS: Final = 6


def arena_html(board: Board) -> str:
    """The page of a board."""
    folder = files("raypol.report") / "templates"
    style, script = ((folder / f"arena.{kind}").read_text() for kind in ("css", "js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((folder / "arena.html.j2").read_text()).render(
        style=Markup(style),  # noqa: S704 - the package's own
        script=Markup(script),  # noqa: S704
        style_digest=_digest(style),
        script_digest=_digest(script),
        data=embedded_json(page_data(board)),
    )


def page_data(board: Board) -> dict[str, Any]:
    """What the script of the page is given."""
    board = with_uncarried(board)
    cells = board.cells
    numbers = {id(cell): number for number, cell in enumerate(cells)}
    return {
        "columns": [
            {name: getattr(one, name) for name in ("name", "label", "title", "meaning", "group")}
            for one in columns_of(CellRow)
        ],
        "cells": {
            **{one.name: _packed([getattr(cell, one.name) for cell in cells]) for one in columns_of(CellRow)},
            "_status": _packed([status_of(cell) for cell in cells]),
            "_says": _packed([verdict_words(cell) for cell in cells]),
        },
        "count": len(cells),
        "tasks": [_task_data(task, board.lacking(task), numbers) for task in board.tasks],
        "statuses": [
            {"name": one, "sign": SIGNS[one], "meaning": LEGEND[one], "declared": LEGEND_DECLARED.get(one, "")}
            for one in STATUSES
        ],
        "groups": [{"name": one, "title": GROUP_TITLES[one]} for one in LINE_GROUPS],
        "grants": [{"name": one, "meaning": MEANINGS[one]} for one in GRANTS],
        "claims": list(CLAIMS),
        "absent": {"declared": NO_DECLARED, "adaptive": NOT_RUN},
        "rules": {"verifiers": VERIFIERS_RULE, "attacks": ATTACKS_RULE},
    }  # fmt: skip


def embedded_json(data: Any) -> Markup:  # noqa: ANN401 - any JSON
    """JSON that no text in it can break out of: not from the element, not from the line."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for mark in "<>&'":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)  # noqa: S704 - without a mark that HTML knows


def _task_data(task: TaskBoard, lacking: Sequence[str], numbers: Mapping[int, int]) -> dict[str, Any]:
    def pair(place: Square) -> list[int]:
        return [-1 if cell is None else numbers[id(cell)] for cell in (place.declared, place.adaptive)]

    return {
        "slug": _text(task.slug),
        "title": _text(task.title),
        "name": _text(f"{task.dataset} / {task.model}"),
        "size": f"T = {task.train_steps:,}, k = {task.interval:,}, B = {task.batch_size:,}",
        "lacking": [_text(one) for one in lacking],
        "leftOut": task.left_out,
        "policies": [
            {
                "label": _text(one.label),
                "sha256": _text(one.sha256),
                "about": policy_words(one),
                "uncarried": _text(one.uncarried),
            }
            for one in task.policies
        ],
        "lines": [
            {
                "arm": _text(line.arm),
                "attack": _text(line.attack),
                "source": _text(line.source),
                "group": line.group,
                "searched": line.is_searched,
                "places": [pair(place) for place in line.places],
            }
            for line in task.lines
        ],
    }


def _packed(values: Sequence[Any]) -> dict[str, list[Any]]:
    """A column: its distinct values, and the number of each cell's value unless every cell has the same."""
    known: dict[Any, int] = {}
    places = [known.setdefault((type(one), one), len(known)) for one in map(_value, values)]
    return {"of": [one for _, one in known], **({"at": places} if len(known) > 1 else {})}


def _value(value: Any) -> Any:  # noqa: ANN401 - a cell
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else "∞" if value > 0 else "-∞"
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    """A text of a row as it may be shown."""
    shown = visible_lines(without_secrets(text))
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def _digest(text: str) -> str:
    """The source expression by which a policy of content allows this text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
