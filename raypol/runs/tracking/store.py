"""MLflow's store and a client for it: one process makes a SQLite file, and no call waits long for a server."""

import logging
import os
import re
import sqlite3
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from raypol.core.locks import hold_lock
from raypol.store.location import Location
from raypol.store.quoting import command_line

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
_ARTIFACTS: Final = "mlartifacts"
_CREATION_S: Final = 120.0
"""Longest wait for another process that makes the schema (2 s of work on a free core)."""


def tracking_uri(results: Location) -> str:
    """MLFLOW_TRACKING_URI if set, else SQLite next to the results (in the current folder if those are remote)."""
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return configured
    folder = Path(results.path) if results.is_local else Path.cwd()
    return sqlite_uri(folder.absolute() / "mlflow.db")


def sqlite_uri(database: Path) -> str:
    """SQLAlchemy's address of a SQLite file.

    Where % and ? must be encoded, so is every slash behind the last folder before them: MLflow makes the parent of what stands
    between slashes, without decoding it.
    """
    path = str(database)
    special = re.search("[%?]", path)
    if special is None or _file_in("sqlite:///%25") != "%":  # SQLAlchemy decodes since 2.1
        return f"sqlite:///{path}"
    clean = path.rfind("/", 0, special.start()) + 1
    return f"sqlite:///{path[:clean]}{urllib.parse.quote(path[clean:], safe='')}"


def ui_command(uri: str, mlflow: str = "mlflow") -> str:
    """Command that shows a store."""
    return (
        command_line("open", uri) if uri.startswith("http") else command_line(mlflow, "ui", "--backend-store-uri", uri)
    )


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
        _follow_the_folder(uri)
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
    return (_database(uri).parent / _ARTIFACTS / experiment).as_uri() if uri.startswith("sqlite:///") else None


def _follow_the_folder(uri: str) -> None:
    """Let the artifacts of a SQLite store be where they are now, if its folder was moved, copied or mounted elsewhere.

    MLflow keeps absolute addresses, of each experiment, run and model. Those of an experiment whose artifacts raypol put into
    mlartifacts/NAME beside the file are written again; others are the user's.
    """
    if not uri.startswith("sqlite:///"):
        return
    with closing(sqlite3.connect(_database(uri))) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchall():
            return
        found = connection.execute("SELECT experiment_id, name, artifact_location FROM experiments").fetchall()
        for number, name, before in found:
            now = _artifacts(uri, name)
            is_own = re.fullmatch(rf"file:.*/{_ARTIFACTS}/{re.escape(urllib.parse.quote(name))}", before or "")
            if not is_own or before == now:
                continue
            connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (now, number))
            for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - our own names
                    f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                    (now, len(before) + 1, number, len(before) + 1, f"{before}/"),
                )


def _database(uri: str) -> Path:
    return Path(_file_in(uri)).absolute()


def _file_in(uri: str) -> str:
    """The path in SQLAlchemy's address of a SQLite file, as it reads it."""
    from sqlalchemy import make_url  # 0.3 s

    return make_url(uri).database or ""


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
