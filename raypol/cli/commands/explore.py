"""`raypol explore`: the analysis app over a results folder, in the browser."""

import importlib
import os
import re
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from raypol.cli.console import ERR, say, say_address, warn
from raypol.cli.options import Debug, ReadResults
from raypol.cli.progress import progress
from raypol.core.errors import InputError, local_path
from raypol.explorer.session import DATA_VARIABLE, RESULTS_VARIABLE, Opened, open_results

_MAX_PORT: Final = 65535
_POLICY: Final = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob: {sockets}; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
"""Of the app's pages: marimo needs its own scripts, and nothing from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class ExploreCommand:
    """Explore the trials of a results folder in the browser: filters, figures, each trial's intervals and images, SQL, downloads.
    Needs the extra `explore`. Prints the address; ends with Ctrl-C. It reads the folder and writes nothing into it.
    """

    results: ReadResults
    port: int = 0
    """Port; 0 = a free one."""
    host: str = "127.0.0.1"
    """Address to listen on; every page needs the token in the printed address."""
    browser: bool = True
    """Open the browser."""
    data_dir: str | None = None
    """Folder of the dataset's files, for before/after images; None = its usual place. Nothing is downloaded."""
    debug: Debug = False

    def run(self) -> NoReturn:
        """Serve until interrupted."""
        _check_extra()
        data_dir = str(local_path(self.data_dir)) if self.data_dir else ""
        with _listen(self.host, self.port) as listening:  # before a first read of many trials, which takes minutes
            with progress(ERR) as update:
                opened = open_results(self.results, on_progress=update)
            say(f"{len(opened.trials.table):,} trials: {opened.origin}")
            for note in opened.trials.notes:
                warn(note)
            serve = _server(opened)
            os.environ[RESULTS_VARIABLE] = self.results
            os.environ[DATA_VARIABLE] = data_dir
            token = secrets.token_urlsafe(16)
            host, port = listening.getsockname()[:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}/?access_token={token}"
            say_address(address)
            if self.browser:
                webbrowser.open(address)
            serve(listening, token)
        # The app's kernels are threads that wait for their pages for ever; no work is left unfinished.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


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
    """A function that serves the app on a socket, with a token, until Ctrl-C."""
    import marimo
    import uvicorn

    from raypol.explorer import app
    from raypol.explorer.filters import offers
    from raypol.explorer.views import overview

    path = Path(app.__file__)
    # Both are cached: the first page waits neither for them nor for the imports.
    offers(opened.database)
    overview(opened, ())

    def serve(listening: socket.socket, token: str) -> None:
        served = marimo.create_asgi_app(quiet=True, token=token).with_app(path="", root=str(path)).build()
        config = uvicorn.Config(loading_nothing(served), log_level="warning", timeout_graceful_shutdown=1)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has closed
            uvicorn.Server(config).run(sockets=[listening])

    return serve


def loading_nothing(app: Any) -> Any:  # noqa: ANN401 - an ASGI application
    """The application with a content security policy: marimo's tables show the images at addresses that cells hold."""

    async def guarded(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401
        host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
        sockets = f"ws://{host} wss://{host}" if re.fullmatch(r"[\w.:\[\]-]+", host) else ""

        async def send_with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY.format(sockets=sockets).encode())
                message = {**message, "headers": [*message.get("headers", ()), policy]}
            await send(message)

        await app(scope, receive, send_with_policy if scope["type"] == "http" else send)

    return guarded


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        InputError: the address is taken or not this machine's.
    """
    if not 0 <= port <= _MAX_PORT:
        raise InputError(f"expected a port in 0..{_MAX_PORT}, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # It listens from now on, before the server takes over: an early browser waits.
        return socket.create_server((host, port), family=family)
    except OSError as err:
        raise InputError(f"cannot listen on {host}, port {port}: {err}") from err
