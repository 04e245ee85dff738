"""Rows as a demo writes them, of trials that nobody ran; and what a terminal shows of a table."""

from io import StringIO
from typing import Any

from rich.console import Console

from raypol.core.distances import METRICS
from raypol.report.tables import Table, to_terminal
from raypol.store.results.rows import TrialRow


def printed(table: Table, width: int) -> str:
    """The table on a terminal of this width."""
    console = Console(file=StringIO(), width=width)
    console.print(to_terminal(table, width=width))
    out = console.file
    assert isinstance(out, StringIO)
    return out.getvalue()


def row(arm: str = "II", **changes: Any) -> TrialRow:  # noqa: ANN401 - any field of TrialRow
    known: dict[str, Any] = {
        "sweep_id": "s",
        "trial_id": "t",
        "proof_id": "p",
        "arm": arm,
        "attack": arm if arm in ("null", "infinitesimal") else "none" if arm == "honest" else "ii",
        "dataset": "digits",
        "model": "resnet8",
        "steps": 50,
        "interval": 10,
        "batch_size": 64,
        "seed": 0,
        "device": "cpu",
        "device_name": "A Processor",
        "status": "ok",
    }
    return TrialRow(**{**known, **changes})


REJECTED = "initial_state,replay,optimizer_state"


def measured(arm: str = "II", **changes: Any) -> TrialRow:  # noqa: ANN401 - any field of TrialRow
    errors = {f"error_{m}": 0.125 for m in METRICS} | {f"jump_{m}": 0.375 for m in METRICS}
    return row(
        arm,
        **{
            **errors,
            "num_intervals": 5,
            "intervals_verified": 5,
            "removed_share_l2": 0.25,
            "accepted_published": True,
            "accepted_strict": False,
            "rejected_by": REJECTED,
            "rejected_by_published": "",
            "device_s": 12.5,
            "ratio_time": 1.75,
            "step_equivalents": 9.5,
            "size_bytes": 7_250_000,
            "ratio_size": 0.5,
            "success": False,
            "success_strict": False,
            "bound_by": "time",
            **changes,
        },
    )
