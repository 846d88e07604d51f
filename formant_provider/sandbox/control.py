"""The control endpoints under ``/sandbox/``: time, faults, counts. No key: the server is on loopback only."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from formant_provider.sandbox import faults, webhook_faults
from formant_provider.sandbox.numbers import table_rows
from formant_provider.sandbox.request_schemas import AddWebhook, Advance, Inject, InjectWebhook, read_body
from formant_provider.sandbox.responses import ApiError, invalid, not_found
from formant_provider.sandbox.state import State
from formant_provider.sandbox.webhook_targets import Target

ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE"]

Command = Callable[[State, bytes], dict[str, Any]]


def describe(state: State, _: bytes) -> dict[str, Any]:
    """GET /sandbox/: what there is."""
    return {
        "now": state.clock.now().isoformat(),
        "agents": sorted(state.settings.agents),
        "endpoints": list(faults.ENDPOINTS),
        "control": [f"{method} {path}" for (method, path) in COMMANDS],
        "faults": {str(fault): meaning for fault, meaning in faults.DESCRIPTIONS.items()},
        "webhook_faults": {str(fault): meaning for fault, meaning in webhook_faults.DESCRIPTIONS.items()},
        "numbers": table_rows(),
    }


def stats(state: State, _: bytes) -> dict[str, Any]:
    """GET /sandbox/stats: requests, rings, and faults still queued."""
    return {
        "now": state.clock.now().isoformat(),
        "requests": state.requests.counts(),
        "rings": dict(state.count_rings()),
        "faults": state.faults.queued(),
    }


def advance(state: State, body: bytes) -> dict[str, Any]:
    """POST /sandbox/advance: move the clock."""
    return {"now": state.advance(read_body(Advance, body).seconds).isoformat()}


def inject(state: State, body: bytes) -> dict[str, Any]:
    """POST /sandbox/faults: queue a fault."""
    state.faults.add(faults.QueuedFault(**read_body(Inject, body).model_dump()))
    return {"faults": state.faults.queued()}


def show_webhooks(state: State, _: bytes) -> dict[str, Any]:
    """GET /sandbox/webhooks: targets, what was sent to them, and how many attempts are due or being made."""
    return {
        "targets": [outbox.target.row() for outbox in state.webhooks.outboxes],
        "deliveries": [{**vars(sent), "at": sent.at.isoformat()} for sent in state.webhooks.sent],
        "due": state.webhooks.count_due(state.clock.now()),
        "faults": state.webhooks.faults.queued(),
    }


def add_webhook(state: State, body: bytes) -> dict[str, Any]:
    """POST /sandbox/webhooks: add a target."""
    state.add_target(Target(**read_body(AddWebhook, body).model_dump()))
    return show_webhooks(state, b"")


def clear_webhooks(state: State, _: bytes) -> dict[str, Any]:
    """DELETE /sandbox/webhooks: remove all targets."""
    state.clear_targets()
    return show_webhooks(state, b"")


def inject_webhook(state: State, body: bytes) -> dict[str, Any]:
    """POST /sandbox/webhook-faults: queue a fault of webhooks."""
    fault = webhook_faults.QueuedWebhookFault(**read_body(InjectWebhook, body).model_dump())
    state.webhooks.faults.add(fault)
    return {"faults": state.webhooks.faults.queued()}


def reset(state: State, _: bytes) -> dict[str, Any]:
    """POST /sandbox/reset: forget everything but the targets of webhooks, and the time."""
    state.reset()
    return stats(state, b"")


def unknown_command(_: State, __: bytes) -> dict[str, Any]:
    """Refuse any other path, so that a typo is not counted as a request to the vendor.

    :raises ApiError: 404, always.
    """
    raise not_found("control endpoint")


COMMANDS: dict[tuple[str, str], Command] = {
    ("GET", "/sandbox/"): describe,
    ("GET", "/sandbox/stats"): stats,
    ("POST", "/sandbox/advance"): advance,
    ("POST", "/sandbox/faults"): inject,
    ("GET", "/sandbox/webhooks"): show_webhooks,
    ("POST", "/sandbox/webhooks"): add_webhook,
    ("DELETE", "/sandbox/webhooks"): clear_webhooks,
    ("POST", "/sandbox/webhook-faults"): inject_webhook,
    ("POST", "/sandbox/reset"): reset,
}


def control_routes(state: State) -> list[Route]:
    """Return the routes of all commands, and of everything else under ``/sandbox``."""
    commands = [
        Route(path, _endpoint(state, run), methods=[method]) for (method, path), run in COMMANDS.items()
    ]
    return [
        *commands,
        Route("/sandbox", _endpoint(state, describe)),
        Route("/sandbox/{path:path}", _endpoint(state, unknown_command), methods=ANY_METHOD),
    ]


def _endpoint(state: State, run: Command) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        with state.lock:
            status, content = _outcome(state, run, body)
        return Response(json.dumps(content, indent=2) + "\n", status, media_type="application/json")

    return endpoint


def _outcome(state: State, run: Command, body: bytes) -> tuple[int, Any]:
    try:
        return 200, run(state, body)
    except ValueError as exc:
        error = invalid(str(exc))
    except ApiError as exc:
        error = exc
    return error.response.status, error.response.content
