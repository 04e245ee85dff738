"""What the app's server adds to marimo's."""

import asyncio
from typing import Any

from raypol.cli.commands.explore import loading_nothing


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
