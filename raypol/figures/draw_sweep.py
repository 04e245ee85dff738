"""Draws the figures of a finished sweep into its results folder; a failure to draw does not fail the sweep."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raypol.store.location import Location, atomic_output
from raypol.store.results_folder import ResultsFolder

Drawn = tuple[list[Path], str]
"""The files, and one line on what went wrong; empty if nothing did."""


@contextmanager
def drawn_figures(results: Location, sweep_id: str, data_dir: str | None = None) -> Iterator[Drawn]:
    """Draw what applies into RESULTS/figures/<sweep_id>/, replacing those of an earlier run.

    If RESULTS is not a folder of this machine, they are drawn into a temporary one, which is removed, and copied.

    Args:
        results: holds the sweep's rows.
        sweep_id: of the sweep.
        data_dir: where the datasets of the images lie; None = their usual places.

    Yields:
        The files on this machine, and what went wrong.
    """
    with tempfile.TemporaryDirectory(prefix="raypol-figures-") as temporary:
        folder = Path((ResultsFolder(results).figures_of(sweep_id)).path) if results.is_local else Path(temporary)
        yield _draw(results, sweep_id, data_dir, folder)


def _draw(results: Location, sweep_id: str, data_dir: str | None, folder: Path) -> Drawn:
    try:
        # Matplotlib takes a second to import; a sweep that is only planned need not wait for it.
        from raypol.figures.catalogue import draw_all, read_material

        # The sweep itself has just run the code of the datasets that it names.
        drawn = draw_all(read_material(results, sweep_id, data_dir=data_dir, own_code=True), folder)
        if not results.is_local:
            target = ResultsFolder(results).figures_of(sweep_id)
            target.make_folder()
            for path in drawn:
                with atomic_output(target / path.name) as stream:
                    stream.write(path.read_bytes())
    except Exception as err:
        reason = next(iter(str(err).splitlines()), "")
        return [], f"the figures could not be drawn ({type(err).__name__}: {reason}); the rows are complete"
    return drawn, ""
