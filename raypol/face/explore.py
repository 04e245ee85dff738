"""`raypol explore`: the analysis app over a results folder, in the browser."""

import importlib
import importlib.metadata
import os
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NoReturn

import tyro
from rich.console import Console

import raypol
from raypol.core.errors import InputError
from raypol.face.explorer_data import DATA_VARIABLE, RESULTS_VARIABLE, Opened, open_results
from raypol.face.progress import progress
from raypol.face.tables import plain

_out = Console(highlight=False, markup=False)
_err = Console(stderr=True, highlight=False, markup=False)
_APP: Final = "dashboards/explorer.py"
_MAX_PORT: Final = 65535


@dataclass(frozen=True, kw_only=True)
class Explore:
    """Explore the trials of a results folder in the browser: filters, figures, each trial's intervals and images, SQL, downloads.
    Needs the extra `explore`. Prints the address; ends with Ctrl-C. It reads the folder and writes nothing into it.
    """

    results: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RESULTS")]
    """Results folder: a local path, s3://... or gs://..."""
    port: int = 0
    """Port; 0 = a free one."""
    host: str = "127.0.0.1"
    """Address to listen on; the page asks for the token in the printed address, whoever calls."""
    browser: bool = True
    """Open the browser."""
    data_dir: str | None = None
    """Folder of the dataset's files, for before/after images; None = its usual place. Nothing is downloaded."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> NoReturn:
        """Serve until interrupted."""
        _check_extra()
        with _listen(self.host, self.port) as listening:  # first: a first read of many trials takes minutes
            with progress(_err) as update:
                opened = open_results(self.results, on_progress=update)
            _describe(opened)
            serve = _server(opened)
            os.environ[RESULTS_VARIABLE] = self.results
            os.environ[DATA_VARIABLE] = self.data_dir or ""
            token = secrets.token_urlsafe(16)
            host, port = listening.getsockname()[:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}/?access_token={token}"
            _out.print(address, soft_wrap=True)
            if self.browser:
                webbrowser.open(address)
            serve(listening, token)
        # The app's kernels are threads that wait for their pages for ever; nothing here is left to be finished.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def app_file() -> Path:
    """The marimo notebook: of the checkout that raypol runs from, else as it was installed.

    Raises:
        InputError: neither is there.
    """
    checkout = Path(raypol.__file__).resolve().parents[1] / _APP
    if checkout.is_file():
        return checkout
    try:
        installed = [file for file in importlib.metadata.files("raypol") or [] if file.as_posix().endswith(_APP)]
    except importlib.metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        path = Path(str(file.locate())).resolve()
        if path.is_file():
            return path
    raise InputError(
        f"expected {_APP} in the checkout or beside the installed package, found neither; install raypol again"
    )


def _check_extra() -> None:
    """Raises InputError if marimo is not installed."""
    for name in ("marimo", "uvicorn"):
        try:
            importlib.import_module(name)
        except ImportError as err:
            raise InputError(
                f"raypol explore needs {name}, which is not installed: pip install -e '.[explore]' in the checkout"
            ) from err


def _server(opened: Opened) -> Callable[[socket.socket, str], None]:
    """What serves the app on a socket, with a token, until Ctrl-C."""
    import marimo
    import uvicorn

    from raypol.face.explorer_filters import offers
    from raypol.face.explorer_views import overview

    path = app_file()
    # Both are remembered: the first page waits neither for them nor for the imports.
    offers(opened.database)
    overview(opened, ())

    def serve(listening: socket.socket, token: str) -> None:
        app = marimo.create_asgi_app(quiet=True, token=token).with_app(path="", root=str(path)).build()
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has closed
            uvicorn.Server(config).run(sockets=[listening])

    return serve


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        InputError: the address cannot be had.
    """
    if not 0 <= port <= _MAX_PORT:
        raise InputError(f"expected a port in 0..{_MAX_PORT}, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()  # the address is printed before the server takes over: who comes early waits
    except OSError as err:
        raise InputError(f"cannot listen on {host}, port {port}: {err}") from err
    return listening


def _describe(opened: Opened) -> None:
    """What was found."""
    _out.print(f"{len(opened.trials.table):,} trials: {opened.origin}", soft_wrap=True)
    for note in opened.trials.notes:
        _err.print(plain(note), style="yellow", soft_wrap=True)
