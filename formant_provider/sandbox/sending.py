"""How a response leaves: as usual, cut off in the middle, or not at all."""

from __future__ import annotations

import asyncio
import json

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from formant_provider.sandbox.recording import Recording
from formant_provider.sandbox.responses import ApiResponse


def as_http_response(response: ApiResponse, *, truncated: bool = False) -> Response:
    """Return what the web server sends. JSON goes out as UTF-8 without escapes.

    :param truncated: stop in the middle; recordings only.
    """
    content = response.content
    if isinstance(content, Recording):
        return RecordingResponse(response, content, truncated=truncated)
    body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode("utf-8")
    return Response(body, response.status, dict(response.headers), response.media_type)


class ClosedConnection(Response):
    """No response: the connection of a waiting client is closed without a byte."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Close the connection and wait until uvicorn has noticed: it would answer 500 otherwise."""
        scope["state"]["transport"].abort()
        await _disconnection(receive)


class RecordingResponse(Response):
    """A recording, sent in chunks.

    :param truncated: announce all of it, send half, and close the connection.
    """

    def __init__(self, response: ApiResponse, recording: Recording, *, truncated: bool) -> None:
        headers = {**response.headers, "Content-Length": str(recording.size)}
        super().__init__(None, response.status, headers, response.media_type)
        self._recording = recording
        self._truncated = truncated

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it as fast as the client reads it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        transport = scope["state"]["transport"]
        for chunk in self._recording.chunks(self._recording.size // 2 if self._truncated else None):
            # asyncio would log a warning for each chunk written to a client that has left.
            if not transport.is_closing():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._truncated or transport.is_closing():
            # Not abort(), as above: what was written must arrive.
            transport.close()
            await _disconnection(receive)
        else:
            await send({"type": "http.response.body"})


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
