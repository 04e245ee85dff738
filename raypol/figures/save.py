"""Where to find the figures, each in a module of its own, and how one is saved.

No pyplot: a figure needs no display, and is gone when nobody holds it.
"""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from raypol.core.errors import InputError
from raypol.figures.before_after import before_after
from raypol.figures.cost_against_error import cost_against_error
from raypol.figures.frontier import frontier
from raypol.figures.over_training.accuracy import accuracy_over_progress
from raypol.figures.over_training.error import error_over_training
from raypol.figures.six_panels.figure import six_panels
from raypol.figures.time_per_device import time_per_device
from raypol.figures.verdict_matrix import verdict_matrix
from raypol.store.location import atomic_output, open_location

__all__ = [
    "accuracy_over_progress",
    "before_after",
    "cost_against_error",
    "error_over_training",
    "figure_bytes",
    "frontier",
    "save_figure",
    "six_panels",
    "time_per_device",
    "verdict_matrix",
]

DPI: Final = 160


def figure_bytes(figure: Figure, kind: str = "png", *, dpi: int = DPI) -> bytes:
    """The content of a PNG or PDF file; the same rows give the same bytes."""
    content = io.BytesIO()
    # Type 42: text in the PDF stays text, and publishers take it. No date: the same figure, the same file.
    with mpl.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        # A name in a script that the font does not have is drawn as boxes; nobody could do anything about it here.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
            figure.set_layout_engine(None)  # one layout for every kind of file, and no drawing only to lay out
        figure.savefig(content, format=kind, dpi=dpi, metadata={"CreationDate": None} if kind == "pdf" else {})
    return content.getvalue()


def save_figure(figure: Figure, stem: Path, kinds: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write STEM.png and STEM.pdf, or one of them, each as a whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    written = []
    for kind in kinds:
        content = figure_bytes(figure, kind)
        path = stem.with_name(f"{stem.name}.{kind}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_output(open_location(path)) as stream:
                stream.write(content)
        except OSError as err:
            raise InputError(f"cannot write the figure {path}: {err.strerror or err}") from err
        written.append(path)
    return written
