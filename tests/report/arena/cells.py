"""Cells of arenas that nobody fought."""

import json
from typing import Any

from raypol.store.results.cell_rows import CellRow

POLICIES = ("published", "strict", "exact")
USUAL = "weights,data,policy"


def cell(arm: str = "selected", policy: str = "strict", **changes: Any) -> CellRow:  # noqa: ANN401 - any field of CellRow
    """A cell; `cost` says what an accepted forgery costs, None that none was accepted."""
    cost = changes.pop("cost", None)
    is_honest, is_control = arm == "honest", arm in ("honest", "null", "untrained")
    mode = changes.pop("mode", "declared" if is_honest else "adaptive")
    tried = changes.pop("tried", 20 if is_honest else 9 if mode == "adaptive" else 4)
    accepted = changes.pop("accepted", tried if is_honest else 0 if cost is None else 1)
    known: dict[str, Any] = {
        "version": 1,
        "sweep_id": "arena",
        "arm": arm,
        "attack": "none" if is_honest else arm,
        "claims": "nothing" if arm == "untrained" else "W_T",
        "is_control": is_control,
        "policy": policy,
        "policy_sha256": f"{sum(policy.encode()):x}" * 16,
        "mode": mode,
        "dataset": "digits",
        "model": "resnet8",
        "train_steps": 200,
        "interval": 10,
        "batch_size": 64,
        "grants": "" if is_honest else USUAL,
        "uses": "" if is_honest else "weights,data",
        "trial_id": f"trial-{arm}-{policy}-{mode}",
        "setting": json.dumps({"steps": 100}) if mode == "adaptive" else "{}",
        "steps": 100,
        "tried": tried,
        "failed": 0,
        "accepted": accepted,
        "rate": accepted / tried if is_honest else float(bool(accepted)),
        "rate_of": 1,
        "seeds": 2 if accepted else 1,
        "seeds_accepted": 2 if accepted else 0,
        "cost": 1.0 if is_honest else 0.5 if cost is None else cost,
        "error": 0.8,
        "budget": 8 if mode == "adaptive" else 0,
        "searched": json.dumps({"steps": "50..100 by 10, log"}) if mode == "adaptive" else "{}",
        "ends": "steps high" if mode == "adaptive" else "",
        "rejected_by": "" if accepted else "replay",
        "replayed": 1.0,
        "command": "raypol arena --task digits",
        "versions": json.dumps({"python": "3.11", "raypol": "0.1"}),
        "commit": "0123456789abcdef",
        "device_name": "A Processor",
    }
    return CellRow(**{**known, **changes})


def small_arena() -> list[CellRow]:
    """Three policies; `null` passes one, `selected` two, `steered` one dearly; `retrain` claims another model."""
    costs: dict[str, tuple[float | None, float | None, float | None]] = {
        "null": (0.02, None, None),
        "untrained": (None, None, None),
        "selected": (0.05, 0.07, None),
        "steered": (1.2, None, None),
    }
    cells = [cell("honest", policy) for policy in POLICIES]
    for arm, of in costs.items():
        for policy, cost in zip(POLICIES, of, strict=True):
            cells.append(cell(arm, policy, cost=cost))
            cells.append(cell(arm, policy, cost=None if cost is None else 2 * cost, mode="declared"))
    other = {"claims": "another model", "mode": "declared", "grants": f"{USUAL},trace", "uses": "data,trace"}
    cells += [cell("retrain", policy, cost=1.3, **other) for policy in POLICIES]
    return cells


def large_arena() -> list[CellRow]:
    """Three trainings, 30 arms, 16 policies, both modes: of many distinct values."""
    return [
        cell(
            f"arm {arm}",
            f"policy_{policy}",
            mode=mode,
            model=f"model {task}",
            cost=None if (arm + policy) % 3 else 0.001 * (1 + arm) * (1 + policy),
            error=1.0 / (1 + arm + 31 * policy),
            trial_id=f"trial-{task:02d}{arm:04d}{policy:04d}{mode[0]}",
            setting=json.dumps({"steps": 10 * arm + policy, "spoof.declares": "no_momentum"}),
        )
        for task in range(3)
        for arm in range(30)
        for policy in range(16)
        for mode in ("declared", "adaptive")
    ]
