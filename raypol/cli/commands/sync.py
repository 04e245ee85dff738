"""`raypol sync`: bring to MLflow what it lacks of a results folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Final

import tyro

from raypol.cli.console import ERR, OUT
from raypol.cli.exit_codes import fail
from raypol.cli.options import Debug
from raypol.cli.progress import progress
from raypol.core.errors import InputError
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.tracking.store import tracking_uri, ui_command
from raypol.runs.tracking.sync import one_line, sync_sweep
from raypol.store.location import Location, open_location
from raypol.store.results.files import read_trials
from raypol.store.results.rows import TrialRow

_SHOWN: Final = 6
_FAILED: Final = 3


@dataclass(frozen=True, kw_only=True)
class SyncCommand:
    """Bring to MLflow what it lacks of a results folder: rows finished while it was away. A second time adds nothing.
    Exit code 0 everything is there, 2 bad input, 3 MLflow is away or another process is writing the same runs.
    """

    results: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RESULTS")]
    """Results folder: a local path, s3://... or gs://..."""
    sweep: str = ""
    """Name of one sweep in it; empty = all."""
    tracking_uri: str = ""
    """MLflow's store; empty = $MLFLOW_TRACKING_URI, else SQLite next to the results."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        results = open_location(self.results)
        sweeps = _sweeps(results, self.sweep)
        uri = self.tracking_uri or tracking_uri(results)
        tables: dict[str, str] = {}
        for sweep_id, rows in sweeps.items():
            experiment = experiment_of(results, sweep_id)
            try:
                with progress(ERR) as update:
                    done = sync_sweep(results, experiment, sweep_id, rows, uri=uri, on_progress=update)
            except Exception as err:
                if self.debug:
                    raise
                fail(f"{sweep_id} did not get to MLflow at {uri} ({one_line(err)})")
                return _FAILED
            said = f"{experiment}, sweep {sweep_id}: {done.logged} logged, {done.present} were there already"
            OUT.print(said, soft_wrap=True)
            tables[experiment] = done.table
        OUT.print(f"MLflow: {ui_command(uri)}", soft_wrap=True)
        for experiment, table in tables.items():
            OUT.print(f"        {experiment}: {table}", soft_wrap=True)
        return 0


def experiment_of(results: Location, sweep_id: str) -> str:
    """The MLflow experiment of a sweep: sweeps and demos name theirs, rows of other origin share one."""
    asked = SweepRecord(results, sweep_id).read_asked() or {}
    if "sweep" in asked:
        return f"raypol-{asked['sweep']}"
    return "raypol-demo" if sweep_id.startswith("demo-") else "raypol"


def _sweeps(results: Location, wanted: str) -> Mapping[str, list[TrialRow]]:
    """Rows by sweep.

    Raises:
        InputError: there are none.
    """
    if not results.exists():
        raise InputError(f"no such results folder: {results}")
    rows = sorted(read_trials(results), key=lambda row: (row.sweep_id, row.started_at, row.trial_id))
    sweeps = {sweep_id: list(own) for sweep_id, own in groupby(rows, key=lambda row: row.sweep_id)}
    if not sweeps:
        raise InputError(
            f"{results} holds no rows: expected RESULTS/trials/*.parquet, as a demo or a sweep writes them"
        )
    if not wanted:
        return sweeps
    if wanted not in sweeps:
        more = f" and {len(sweeps) - _SHOWN} more" if len(sweeps) > _SHOWN else ""
        raise InputError(
            f"{results} holds no rows of sweep {wanted!r}; there are {', '.join([*sweeps][:_SHOWN])}{more}"
        )
    return {wanted: sweeps[wanted]}
