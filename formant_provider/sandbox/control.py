"""The endpoints under ``/sandbox/``: time, faults, counts. No key; the server is on loopback only."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from formant_provider.sandbox import faults
from formant_provider.sandbox.answers import Refusal, invalid, not_found
from formant_provider.sandbox.numbers import table_rows
from formant_provider.sandbox.schema import Advance, Inject, read_body
from formant_provider.sandbox.world import World

Command = Callable[[World, bytes], dict[str, Any]]


def describe(world: World, _: bytes) -> dict[str, Any]:
    """GET /sandbox/: what there is to use."""
    return {
        "now": world.clock.now().isoformat(),
        "agents": sorted(world.settings.agents),
        "endpoints": list(faults.ENDPOINTS),
        "control": [f"{method} {path}" for (method, path) in COMMANDS],
        "faults": {str(fault): meaning for fault, meaning in faults.DESCRIPTIONS.items()},
        "numbers": table_rows(),
    }


def stats(world: World, _: bytes) -> dict[str, Any]:
    """GET /sandbox/stats: requests seen, phones rung, faults still waiting."""
    return {
        "now": world.clock.now().isoformat(),
        "requests": world.traffic.counts(),
        "rings": dict(world.count_rings()),
        "faults": world.faults.waiting(),
    }


def advance(world: World, raw: bytes) -> dict[str, Any]:
    """POST /sandbox/advance: move the clock."""
    return {"now": world.clock.advance(read_body(Advance, raw).seconds).isoformat()}


def inject(world: World, raw: bytes) -> dict[str, Any]:
    """POST /sandbox/faults: queue a fault."""
    wanted = read_body(Inject, raw)
    world.faults.add(**wanted.model_dump())
    return {"faults": world.faults.waiting()}


def reset(world: World, _: bytes) -> dict[str, Any]:
    """POST /sandbox/reset: forget calls, keys, counts and faults; the clock goes on."""
    world.reset()
    return stats(world, b"")


def no_command(_: World, __: bytes) -> dict[str, Any]:
    """Refuse what is no command, so that a typo is not counted as vendor traffic.

    :raises Refusal: 404, always.
    """
    raise not_found("control endpoint")


COMMANDS: dict[tuple[str, str], Command] = {
    ("GET", "/sandbox/"): describe,
    ("GET", "/sandbox/stats"): stats,
    ("POST", "/sandbox/advance"): advance,
    ("POST", "/sandbox/faults"): inject,
    ("POST", "/sandbox/reset"): reset,
}


def control_routes(world: World) -> list[Route]:
    """Return the routes of all commands, and of everything else under ``/sandbox``."""
    commands = [
        Route(path, _endpoint(world, run), methods=[method]) for (method, path), run in COMMANDS.items()
    ]
    others = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [
        *commands,
        Route("/sandbox", _endpoint(world, describe)),
        Route("/sandbox/{path:path}", _endpoint(world, no_command), methods=others),
    ]


def _endpoint(world: World, run: Command) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        with world.lock:
            status, content = _outcome(world, run, raw)
        return Response(json.dumps(content, indent=2) + "\n", status, media_type="application/json")

    return endpoint


def _outcome(world: World, run: Command, raw: bytes) -> tuple[int, Any]:
    try:
        return 200, run(world, raw)
    except ValueError as exc:
        refusal = invalid(str(exc))
    except Refusal as exc:
        refusal = exc
    return refusal.answer.status, refusal.answer.content
