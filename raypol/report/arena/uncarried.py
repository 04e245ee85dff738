"""Policies that can judge no proof of a training, and why: pages have their columns, so that nobody looks for them in vain."""

from dataclasses import replace
from typing import Final

from raypol.core.datasets.shapes import SHAPES
from raypol.core.models import MODELS
from raypol.core.verifiable.circuit import memory_bytes
from raypol.core.verifiable.judging import VC_POLICY
from raypol.core.verifiable.networks import network_constraints
from raypol.report.arena.board import Board, PolicyColumn, Square, TaskBoard

_LARGEST_BATCH: Final = 1 << 20


def with_uncarried(board: Board) -> Board:
    """The board with a column `vc`, empty, at the end of every training that the policy has no cells of."""
    return replace(board, tasks=[_with_vc(task) for task in board.tasks])


def _with_vc(task: TaskBoard) -> TaskBoard:
    if any(policy.name == VC_POLICY for policy in task.policies):
        return task
    why = f"its circuit carries a linear model alone{_size(task)}"
    column = PolicyColumn(name=VC_POLICY, sha256="", label=VC_POLICY, uncarried=why)
    lines = [replace(line, places=[*line.places, Square()]) for line in task.lines]
    return replace(task, policies=[*task.policies, column], lines=lines)


def _size(task: TaskBoard) -> str:
    """What a step would take; nothing of a model or a dataset that is not built in: no code is run for a page."""
    if task.model not in MODELS or task.dataset not in SHAPES or not 1 <= task.batch_size <= _LARGEST_BATCH:
        return ""
    n = network_constraints(task.model, SHAPES[task.dataset].image_shape, task.batch_size)
    return (
        f"; one step of {task.model} at B = {task.batch_size} would have at least {n:.1e} constraints, and its set-up take "
        f"{memory_bytes(round(n)) / 1e9:,.0f} GB of memory (estimate)"
    )
