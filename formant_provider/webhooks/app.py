"""The web application: two addresses, and 404 for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from formant_provider.webhooks.health import Health
    from formant_provider.webhooks.receiving import Receiver

SIGNATURE = "x-formantai-signature"


def create_app(receiver: Receiver, health: Health) -> Starlette:
    """Return the ASGI application, ``POST /webhooks/{conn_id}`` and ``GET /healthz``."""
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse
    from starlette.responses import Response as PlainResponse
    from starlette.routing import Route

    async def receive(request: Request) -> Response:
        headers = request.headers
        try:
            answer = await receiver.receive(
                request.path_params["conn_id"],
                # White space around a value is none of it (RFC 9110, 5.5), and not each server takes it off.
                [value.strip(" \t") for value in headers.getlist(SIGNATURE)],
                headers.get("content-length"),
                request.stream(),
            )
        except ClientDisconnect:
            return PlainResponse(status_code=400)  # nobody is there to read it
        return JSONResponse(answer.body, answer.status)

    async def healthz(_request: Request) -> Response:
        return PlainResponse(status_code=200 if await health.is_well() else 503)

    async def not_found(_request: Request, _error: Exception) -> Response:
        return JSONResponse({"error": "not found"}, 404)

    app = Starlette(
        routes=[
            Route("/webhooks/{conn_id:path}", receive, methods=["POST"]),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={404: not_found, 405: not_found},
    )
    app.router.redirect_slashes = False
    return app
