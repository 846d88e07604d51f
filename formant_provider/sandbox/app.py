"""The way of a vendor request: noted, perhaps struck by a fault, checked, acted upon, answered or not."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from email.utils import format_datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from formant_provider.sandbox import actions
from formant_provider.sandbox.actions import Action, Visit
from formant_provider.sandbox.answers import Answer, Refusal, not_found, rate_limited, unauthenticated
from formant_provider.sandbox.control import control_routes
from formant_provider.sandbox.delivery import Silence, as_response, connection_closed
from formant_provider.sandbox.faults import (
    BATCH,
    BATCH_DETAIL,
    BATCHES,
    CALL,
    DETAIL,
    LIST,
    METRICS,
    RECORDING,
    Fault,
    Plan,
    QueuedFault,
    carry_out,
)
from formant_provider.sandbox.form import receive_upload
from formant_provider.sandbox.schema import read_json
from formant_provider.sandbox.traffic import SeenRequest
from formant_provider.sandbox.world import World

ACTIONS: dict[str, Action] = {
    CALL: actions.create_call,
    LIST: actions.list_conversations,
    DETAIL: actions.get_conversation,
    RECORDING: actions.get_recording,
    BATCH: actions.create_batch,
    BATCHES: actions.list_batches,
    BATCH_DETAIL: actions.get_batch,
    METRICS: actions.get_metrics,
}

SAMPLE_LIMIT = 50
"""Limits quoted by faults in a sandbox that has none of its own: the vendor's sample values."""
SAMPLE_MAX_CALLS = 10

KEY_USING_FAULTS = {
    Fault.ERROR_500_BEFORE,
    Fault.ERROR_503_BEFORE,
    Fault.RATE_LIMIT,
    Fault.RATE_LIMIT_RESET_ONLY,
    Fault.RATE_LIMIT_NO_HEADERS,
    Fault.CONCURRENCY_LIMIT,
}
"""Faults that answer 429 or 5xx before accepting: what ``failed_request_uses_key`` is about."""


def build_app(world: World) -> Starlette:
    """Return all a sandbox serves: vendor endpoints, control endpoints, and 404 for the rest."""
    vendor = []
    for name, action in ACTIONS.items():
        method, _, path = name.partition(" ")
        vendor.append(Route(path, _endpoint(world, name, action), methods=[method]))
    nowhere = Route(
        "/{path:path}", _endpoint(world, None, None), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]
    )
    return Starlette(
        routes=[*vendor, *control_routes(world), nowhere], exception_handlers={ClientDisconnect: _left_early}
    )


def _endpoint(
    world: World, name: str | None, action: Action | None
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        upload = await receive_upload(request) if name == BATCH else None
        raw = upload.head if upload else await request.body()
        with world.lock:
            visit = _visit(world, name or f"{request.method} {request.url.path}", request, raw)
            visit = replace(visit, upload=upload)
            seen = _note(world, visit)
            plan = _decide(world, visit, action)
            seen.fault = plan.fault
            world.clock.advance(world.settings.seconds_per_request)
        return await _deliver(world, plan, request, seen)

    return endpoint


async def _left_early(_: Request, __: Exception) -> Response:
    """Let go of a request whose client went away in the middle of sending it; it was never received."""
    return Silence()


def _visit(world: World, endpoint: str, request: Request, raw: bytes) -> Visit:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    tenant = key if scheme == "Bearer" and key in world.settings.tenants else None
    return Visit(endpoint, request, raw, tenant, world.clock.now())


def _note(world: World, visit: Visit) -> SeenRequest:
    request = visit.request
    seen = SeenRequest(
        method=request.method,
        path=request.url.path,
        endpoint=visit.endpoint,
        headers=request.headers,
        query=dict(request.query_params),
        body=visit.upload.seen if visit.upload else _body_for_people(visit.raw),
        at=visit.now,
    )
    world.traffic.add(seen)
    return seen


def _decide(world: World, visit: Visit, action: Action | None) -> Plan:
    """Settle what happens to a request. Nothing here waits, so a decision is never half made."""
    fault = world.faults.take(visit.endpoint, after=False)
    if fault:
        if fault.fault in KEY_USING_FAULTS:
            _use_key_of_failure(world, visit)
        return _spoil(world, fault, None)
    answer = _true_answer(world, visit, action)
    fault = world.faults.take(visit.endpoint, after=True) if answer.status == 200 else None
    return _spoil(world, fault, answer) if fault else Plan(answer)


def _spoil(world: World, fault: QueuedFault, answer: Answer | None) -> Plan:
    limit = world.settings.rate_limit or SAMPLE_LIMIT
    max_calls = world.settings.max_concurrent_calls or SAMPLE_MAX_CALLS
    return carry_out(fault, answer, limit, max_calls, world.clock.now())


def _true_answer(world: World, visit: Visit, action: Action | None) -> Answer:
    if action is None:
        return not_found("endpoint").answer
    if visit.tenant is None:
        return unauthenticated().answer
    return _within_limit(world, visit, action, visit.tenant)


def _within_limit(world: World, visit: Visit, action: Action, tenant: str) -> Answer:
    quota = world.limits.spend(tenant, visit.now) if world.limits else None
    try:
        answer = rate_limited() if quota and quota.exceeded else action(world, visit, tenant)
    except Refusal as refusal:
        answer = refusal.answer
    if answer.status == 429:
        _use_key_of_failure(world, visit)
    if answer.status == 400 and world.settings.echo_values_in_errors:
        answer = _echoing(answer, visit.raw)
    return replace(answer, headers=quota.headers()) if quota and answer.rate_headers else answer


def _use_key_of_failure(world: World, visit: Visit) -> None:
    """Use up the key of a call that failed, if this sandbox does so and the request was valid."""
    if not world.settings.failed_request_uses_key or visit.endpoint != CALL or visit.tenant is None:
        return
    with contextlib.suppress(Refusal):
        world.use_key(visit.tenant, actions.read_call(visit), visit.now)


def _echoing(answer: Answer, raw: bytes) -> Answer:
    if not isinstance(answer.content, Mapping):
        return answer
    error = answer.content["error"]
    message = f"{error['message']}; got: {raw.decode('utf-8', 'replace')}"
    return replace(answer, content={"error": {**error, "message": message}})


def _body_for_people(raw: bytes) -> Any:
    try:
        return read_json(raw) if raw else None
    except ValueError:
        return raw.decode("utf-8", "replace")


async def _deliver(world: World, plan: Plan, request: Request, seen: SeenRequest) -> Response:
    left = plan.hold_seconds > 0 and await connection_closed(request.receive, plan.hold_seconds)
    if left or plan.answer is None:
        return Silence()
    with world.lock:
        # Before the first byte leaves, so that a client holding the answer finds it counted.
        seen.status = plan.answer.status
        date = {"Date": format_datetime(world.clock.now(), usegmt=True)}
    answer = replace(plan.answer, headers={**plan.answer.headers, **date})
    return as_response(answer, truncated=plan.truncated)
