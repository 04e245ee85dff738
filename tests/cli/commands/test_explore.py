"""What the app's server adds to marimo's."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from raypol.cli.commands.explore import loading_nothing
from raypol.store.location import open_location
from raypol.store.results.files import write_trial
from tests.many_rows import varied_row


def answered(host: bytes) -> str:
    """The policy that a page of this host is sent with."""
    sent: list[dict[str, Any]] = []

    async def app(_scope: dict[str, Any], _receive: object, send: Any) -> None:  # noqa: ANN401 - ASGI's
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"x"})

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(loading_nothing(app)({"type": "http", "headers": [(b"host", host)]}, None, keep))
    headers = dict(sent[0]["headers"])
    assert headers.pop(b"a") == b"b"
    assert sent[1]["body"] == b"x"
    return str(headers[b"content-security-policy"].decode())


def test_a_page_of_the_app_loads_nothing_from_elsewhere() -> None:
    policy = dict(part.strip().split(" ", 1) for part in answered(b"127.0.0.1:8080").split(";"))
    assert "http" not in policy["default-src"], "images at addresses that cells hold"
    assert policy["connect-src"].split() == ["'self'", "data:", "blob:", "ws://127.0.0.1:8080", "wss://127.0.0.1:8080"]
    assert "evil" not in answered(b"x; img-src evil")


def page_at(address: str) -> str:
    """What a browser is shown there, cookies and redirects included."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with opener.open(address, timeout=60) as answer:
        found: bytes = answer.read()
    return found.decode()


def test_the_printed_address_opens_the_app_and_another_does_not(tmp_path: Path) -> None:
    for number in range(3):
        write_trial(open_location(tmp_path / "results"), varied_row(number), ())
    program = "from raypol.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "explore", "results", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "RAYPOL_CACHE": str(tmp_path / "cache")},
    )
    try:
        assert process.stdout is not None
        address = next(line.strip() for line in process.stdout if line.startswith("http://127.0.0.1:"))
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?access_token=[\w-]{22}", address), "nothing of it is hidden"
        login = page_at(address.partition("?")[0])
        assert "Access Token" in login
        app = page_at(address)
        assert "Access Token / Password" not in app
        assert "marimo" in app
        assert page_at(f"{address[:-4]}aaaa") == login
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
