"""The last step of a request: its answer sent now, later, or never."""

from __future__ import annotations

import asyncio
import json

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from formant_provider.sandbox.answers import Answer
from formant_provider.sandbox.recording import Recording


def as_response(answer: Answer, *, truncated: bool = False) -> Response:
    """Return the HTTP response of an answer. JSON goes out as raw UTF-8.

    :param truncated: break off in the middle; recordings only.
    """
    content = answer.content
    if isinstance(content, Recording):
        return Audio(answer, content, truncated=truncated)
    body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode("utf-8")
    return Response(body, answer.status, dict(answer.headers), answer.media_type)


class Silence(Response):
    """No answer: the connection is closed without a byte, for a client that is still there."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Close the connection and wait until uvicorn has noticed: it would answer 500 otherwise."""
        scope["state"]["transport"].abort()
        await _disconnection(receive)


class Audio(Response):
    """A recording, sent piece by piece.

    :param truncated: announce all of it, send half, and close the connection.
    """

    def __init__(self, answer: Answer, recording: Recording, *, truncated: bool) -> None:
        headers = {**answer.headers, "Content-Length": str(recording.size)}
        super().__init__(None, answer.status, headers, answer.media_type)
        self._recording = recording
        self._truncated = truncated

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it as fast as the client takes it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        transport = scope["state"]["transport"]
        for chunk in self._recording.chunks(self._recording.size // 2 if self._truncated else None):
            # A client that left is not written to; asyncio would complain of each piece.
            if not transport.is_closing():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._truncated or transport.is_closing():
            # Not abort, as in silence: what was written is to arrive.
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
