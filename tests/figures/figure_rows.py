"""Rows to draw figures from, and how what is drawn is read back."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from raypol.core.distances import METRICS
from raypol.core.scoring import CONTROLS
from raypol.figures.image_pairs import ImagePairs
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow

ATTACKS = ("null", "infinitesimal", "forged_momentum", "I-tail", "II", "III-gradient", "III-loss", "III-invisible")
POINTS = ((20, 10), (60, 10), (120, 20))


def row(arm: str, steps: int = 60, **changes: Any) -> TrialRow:  # noqa: ANN401 - any field of TrialRow
    """A spoof whose errors fall with T', at home below the honest proof's."""
    tiny = 1e-6 if arm == "forged_momentum" else 1.0
    fields: dict[str, Any] = {
        "sweep_id": "s",
        "trial_id": f"{arm}-{steps}",
        "proof_id": "p",
        "arm": arm,
        "attack": arm if arm in CONTROLS else "none" if arm == "honest" else "a",
        "dataset": "digits",
        "model": "resnet8",
        "steps": steps,
        "interval": 10,
        "batch_size": 64,
        "seed": 0,
        "device": "cpu",
        "device_name": "A Processor",
        "status": "ok",
        "replay_augmentation": "fresh",
        "replay_precision": "float32",
        **{f"error_{m}": tiny * 2.0 / steps for m in METRICS},
        **{f"jump_{m}": 1.9 / steps for m in METRICS},
        "device_s": 0.01 * steps,
        "size_bytes": 20_000 * steps,
        "success": True,
        "success_strict": True,
    }
    return TrialRow(**{**fields, **changes})


def honest_row(**changes: Any) -> TrialRow:  # noqa: ANN401
    values: dict[str, Any] = {f"error_{m}": 0.05 for m in METRICS} | {f"jump_{m}": 0.06 for m in METRICS}
    fields = {**values, "device_s": 5.0, "size_bytes": 16_000_000, "success": None, "success_strict": None, **changes}
    return row("honest", 1000, **fields)


def says(policy: str, trial: TrialRow, *, accepted: bool = True) -> VerdictRow:
    """The policy's verdict on a trial."""
    return VerdictRow(
        sweep_id="s", trial_id=trial.trial_id, proof_id="p", arm=trial.arm, policy=policy, policy_sha256="0" * 64, nonce=1,
        selection="all", replayed=6, num_intervals=6, unjudged=0, outcome="accepted" if accepted else "rejected",
        accepted=accepted, rejected_by="" if accepted else "replay", verdict_sha256="0" * 64, verdict="{}",
    )  # fmt: skip


def demo_rows() -> list[TrialRow]:
    spoofs = [row(arm, steps, interval=k, success=steps > 20) for steps, k in POINTS for arm in ATTACKS]
    return [honest_row(), *spoofs]


def lines(ax: Axes, gid: str) -> list[Line2D]:
    return [line for line in ax.get_lines() if line.get_gid() == gid]


def xy(line: Line2D) -> tuple[list[float], list[float]]:
    x, y = (np.asarray(part, dtype=np.float64).tolist() for part in line.get_data())
    return x, y


def fills(ax: Axes, arm: str) -> dict[float, str]:
    """By T': filled, half or hollow, as drawn."""
    return {
        x: fill for fill in ("filled", "half", "hollow") for line in lines(ax, f"{arm}:{fill}") for x in xy(line)[0]
    }


def parts_of(figure: Figure) -> list[Figure | SubFigure]:
    """The figure and the subfigures in it, however deep."""
    found: list[Figure | SubFigure] = [figure]
    for part in found:
        found += part.subfigs
    return found


def words(figure: Figure) -> str:
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    return "\n".join([*titles, *(text.get_text() for part in parts_of(figure) for text in part.texts)])


def legend(figure: Figure) -> list[str]:
    texts = [text.get_text().strip() for part in parts_of(figure) for one in part.legends for text in one.get_texts()]
    return [text for text in texts if text]


def texts(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text().strip() and text.get_visible():
            yield text.get_text(), text.get_window_extent()


def assert_well_laid(figure: Figure) -> None:
    """Nothing is cut off at the edge, and the parts of the page keep clear of each other."""
    figure.draw_without_rendering()
    for text, box in texts(figure):
        # Ticks outside the limits have texts that are never drawn.
        if box.width > 0 and figure.bbox.overlaps(box):
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
            assert inside, f"{text!r} is cut off"
    parts: list[tuple[str, Bbox]] = []
    for one in parts_of(figure):
        parts += [(text.get_text(), text.get_window_extent()) for text in one.texts if text.get_text()]
        parts += [("legend", part.get_window_extent()) for part in one.legends]
    for ax in figure.axes:
        tight = ax.get_tightbbox()
        assert tight is not None
        parts.append((ax.get_title(loc="left") or "axes", tight))
    for (a, box_a), (b, box_b) in itertools.combinations(parts, 2):
        overlap = Bbox.intersection(box_a, box_b)
        assert overlap is None or min(overlap.width, overlap.height) < 1.0, f"{a!r} lies on {b!r}"


def assert_words_apart(ax: Axes) -> None:
    """No two texts of these axes lie on each other."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in ax.texts if text.get_text().strip()]
    for (a, box_a), (b, box_b) in itertools.combinations(boxes, 2):
        overlap = Bbox.intersection(box_a, box_b)
        assert overlap is None or min(overlap.width, overlap.height) < 1.0, f"{a!r} lies on {b!r}"


def said(ax: Axes, gid: str) -> str:
    """The text with this id."""
    (text,) = [text for text in ax.texts if text.get_gid() == gid]
    return text.get_text()


def image_pairs(arm: str = "III-loss", n: int = 3, channels: int = 1, linf: float = 15 / 255) -> ImagePairs:
    rng = torch.Generator().manual_seed(0)
    originals = torch.rand((n, channels, 4, 5), generator=rng) * 0.5 + 0.2
    R = (torch.rand(originals.shape, generator=rng) * 2 - 1) * linf / 2
    if n:
        R[0, 0, 0, 0] = linf
    return ImagePairs(arm=arm, steps=1200, originals=originals, crafted=originals + R, labels=torch.arange(n))


def accuracies(rows: Sequence[TrialRow]) -> list[dict[str, Any]]:
    found = []
    for trial in rows:
        for stop in range(trial.interval, trial.steps + 1, trial.interval):
            accuracy = 0.9 * stop / trial.steps
            found.append({"trial_id": trial.trial_id, "step_to": stop, "metric": "l2", "accuracy": accuracy})
    return found


def interval_rows(rows: Sequence[TrialRow], *, late: float | None = None) -> list[dict[str, Any]]:
    """Intervals of these trials: d_ref 4, errors falling with progress, delta 0.1 * d_ref or falling to `late` of it."""
    found = []
    for trial in rows:
        for stop in range(trial.interval, trial.steps + 1, trial.interval):
            progress = stop / trial.steps
            left = 1.0 if late is None else 1.0 - (1.0 - late) * progress
            for m in METRICS:
                normalised = (getattr(trial, f"error_{m}") or 0.0) * (1.5 - progress)
                cell = {
                    "trial_id": trial.trial_id,
                    "step_from": stop - trial.interval,
                    "step_to": stop,
                    "metric": m,
                    "distance": 4.0 * normalised,
                    "normalised": normalised,
                    "threshold": 0.4 * left,
                    "accuracy": 0.9 * progress,
                }
                found.append(cell)
    return found


def judged(arm: str, steps: int, **changes: Any) -> TrialRow:  # noqa: ANN401
    """A spoof with everything that a verdict gives."""
    values: dict[str, Any] = {
        "accepted_published": True,
        "accepted_strict": True,
        "rejected_by": "",
        "bound_by": "size",
        "ratio_time": 0.01 * steps / 5.0,
        "ratio_size": 20_000 * steps / 16e6,
        **{f"ratio_error_{m}": 2.0 / steps / 0.05 for m in METRICS},
    }
    return row(arm, steps, **{**values, **changes})
