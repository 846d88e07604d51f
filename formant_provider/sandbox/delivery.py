"""The last step of a request: its answer sent now, later, or never."""

from __future__ import annotations

import asyncio
import json

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from formant_provider.sandbox.answers import Answer


def as_response(answer: Answer) -> Response:
    """Return the HTTP response of an answer. JSON goes out as raw UTF-8."""
    content = answer.content
    body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode("utf-8")
    return Response(body, answer.status, dict(answer.headers), answer.media_type)


class Silence(Response):
    """No answer: the connection is closed without a byte, for a client that is still there."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Close the connection and wait until uvicorn has noticed: it would answer 500 otherwise."""
        scope["state"]["transport"].abort()
        await _disconnection(receive)


async def connection_closed(receive: Receive, within_seconds: float) -> bool:
    """Wait until either side closes the connection (True) or the time is over (False)."""
    try:
        await asyncio.wait_for(_disconnection(receive), within_seconds)
    except TimeoutError:
        return False
    return True


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
