"""`raypol sync`: bring rows of a results folder to MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from raypol.cli.console import ERR, say
from raypol.cli.exit_codes import fail
from raypol.cli.options import Debug, ReadResults, open_results_folder
from raypol.cli.progress import progress
from raypol.core.errors import InputError, first_names
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.tracking.store import tracking_uri, ui_command
from raypol.runs.tracking.sync import one_line, sync_sweep
from raypol.store.escaping import without_secrets
from raypol.store.location import Location
from raypol.store.results.files import read_trials
from raypol.store.results.rows import TrialRow

_FAILED: Final = 3


@dataclass(frozen=True, kw_only=True)
class SyncCommand:
    """Write the rows of a results folder that MLflow lacks: trials that ended while it was away. A second time adds nothing.
    Exit code 0 everything is there, 2 bad input, 3 MLflow is away or another process is writing the same runs.
    """

    results: ReadResults
    sweep: str = ""
    """Name of one sweep in it; empty = all."""
    tracking_uri: str = ""
    """MLflow's store; empty = $MLFLOW_TRACKING_URI, else SQLite next to the results."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        results = open_results_folder(self.results)
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
                fail(f"{sweep_id} did not get to MLflow at {without_secrets(uri)} ({one_line(err)})")
                return _FAILED
            counts = f"{done.logged} logged, {done.present} were there already"
            say(f"{experiment}, sweep {sweep_id}: {counts}")
            tables[experiment] = done.table
        say(f"MLflow: {ui_command(uri)}", *(f"        {experiment}: {table}" for experiment, table in tables.items()))
        return 0


def experiment_of(results: Location, sweep_id: str) -> str:
    """Name of a sweep's MLflow experiment; rows that neither a sweep nor a demo wrote share one."""
    asked = SweepRecord(results, sweep_id).read_asked() or {}
    if "sweep" in asked:
        return f"raypol-{asked['sweep']}"
    return "raypol-demo" if sweep_id.startswith("demo-") else "raypol"


def _sweeps(results: Location, wanted: str) -> Mapping[str, list[TrialRow]]:
    """Rows by sweep: of the wanted one, or of all.

    Raises:
        InputError: there are no rows.
    """
    rows = sorted(read_trials(results), key=lambda row: (row.sweep_id, row.started_at, row.trial_id))
    sweeps = {sweep_id: list(own) for sweep_id, own in groupby(rows, key=lambda row: row.sweep_id)}
    if not sweeps:
        raise InputError(
            f"{results} holds no rows: expected RESULTS/trials/*.parquet, as a demo or a sweep writes them"
        )
    if wanted and wanted not in sweeps:
        raise InputError(f"{results} holds no rows of sweep {wanted!r}; there are {first_names(sweeps)}")
    return {wanted: sweeps[wanted]} if wanted else sweeps
