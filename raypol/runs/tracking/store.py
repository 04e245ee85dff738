"""MLflow's store and a client for it: one process makes a SQLite file, and no call waits long for a server."""

import logging
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from raypol.core.locks import hold_lock
from raypol.store.location import Location

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own patience with a server that is away is 4 minutes a call if it refuses, 16 if it is silent.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Settings that MLflow reads from the environment, unless the user has set them."""
_CREATION_S: Final = 120.0
"""Longest wait for another process that makes the schema (2 s of work on a free core)."""


def tracking_uri(results: Location) -> str:
    """MLFLOW_TRACKING_URI if set, else SQLite next to the results (in the current folder if those are remote)."""
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return configured
    folder = Path(results.path) if results.is_local else Path.cwd()
    path = str(folder.absolute()).replace("%", "%25").replace("?", "%3F")  # they mean something in a URI
    return f"sqlite:///{path}/mlflow.db"


def ui_command(uri: str) -> str:
    """Command that shows a store."""
    return f"open {uri}" if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"


def open_experiment(uri: str, name: str) -> tuple["MlflowClient", str]:
    """Open a client and find the experiment's id; a missing experiment or SQLite file is made.

    Raises:
        ValueError: the experiment was deleted in MLflow.
        Exception: MLflow's own, of many kinds: the store cannot be reached.
    """
    for key, value in _SETTINGS.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient  # 1 to 2 s

    for noisy in ("mlflow", "alembic"):  # after the import, which sets its own levels
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # its tracebacks; the exceptions say the same

    with _one_creator(uri):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(name)
        if found is None:
            return client, client.create_experiment(name, artifact_location=_artifacts(uri, name))
    if found.lifecycle_stage != "active":
        raise ValueError(
            f"experiment {name!r} was deleted there; `mlflow experiments restore -x {found.experiment_id}` undoes it"
        )
    return client, str(found.experiment_id)


def _artifacts(uri: str, experiment: str) -> str | None:
    """Folder of artifacts next to a SQLite file; None = the server's choice."""
    return (_database(uri).parent / "mlartifacts" / experiment).as_uri() if uri.startswith("sqlite") else None


def _database(uri: str) -> Path:
    return Path(urllib.parse.unquote(uri.removeprefix("sqlite:///").partition("?")[0])).absolute()


@contextmanager
def _one_creator(uri: str) -> Iterator[None]:
    """Let one process at a time create a SQLite schema: two at once would break it."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    database = _database(uri)
    with hold_lock(f"{database}.lock", busy=f"another process is creating {database}", patience_s=_CREATION_S):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")  # fails at once where MLflow would try for 100 s
        yield
