"""The steps of a request: log, fault before acceptance, key, limit, endpoint, fault after it, response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from email.utils import format_datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from formant_provider.sandbox import endpoints
from formant_provider.sandbox.batch_form import receive_upload
from formant_provider.sandbox.control import ANY_METHOD, control_routes
from formant_provider.sandbox.endpoints import ApiRequest, Endpoint
from formant_provider.sandbox.faults import BATCH, CALL, TRANSCRIBE, Plan, QueuedFault, plan_fault
from formant_provider.sandbox.forms import Upload
from formant_provider.sandbox.idempotency import FAILING_FAULTS
from formant_provider.sandbox.limits import rate_limited
from formant_provider.sandbox.request_log import SeenRequest
from formant_provider.sandbox.request_schemas import read_json
from formant_provider.sandbox.responses import ApiError, ApiResponse, not_found, unauthenticated
from formant_provider.sandbox.sending import ClosedConnection, as_http_response, connection_closed
from formant_provider.sandbox.state import State
from formant_provider.sandbox.transcription_form import receive_audio

SAMPLE_LIMIT = 50
"""Limits that faults quote in a sandbox that has none of its own: the vendor's sample values."""
SAMPLE_MAX_CALLS = 10
FORMS: dict[str, Callable[[Request], Awaitable[Upload[Any]]]] = {
    BATCH: receive_upload,
    TRANSCRIBE: receive_audio,
}
"""What receives the forms of the endpoints that take one."""


def build_app(state: State) -> Starlette:
    """Return all that a sandbox serves: vendor endpoints, control endpoints, and 404 for the rest."""
    vendor = []
    for name, endpoint in endpoints.BY_NAME.items():
        method, _, path = name.partition(" ")
        vendor.append(Route(path, _handler(state, name, endpoint), methods=[method]))
    unknown = Route("/{path:path}", _handler(state, None, None), methods=ANY_METHOD)
    return Starlette(
        routes=[*vendor, *control_routes(state), unknown], exception_handlers={ClientDisconnect: _left_early}
    )


def _handler(
    state: State, name: str | None, endpoint: Endpoint | None
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(http: Request) -> Response:
        receive = FORMS.get(name) if name else None
        upload = await receive(http) if receive else None
        body = upload.head if upload else await http.body()
        # Nothing in here waits, so requests take effect one after the other and never half.
        with state.lock:
            request = ApiRequest(
                endpoint=name or f"{http.method} {http.url.path}",
                http=http,
                body=body,
                tenant=_tenant(state, http),
                now=state.clock.now(),
                upload=upload,
            )
            seen = _log(state, request)
            plan = _plan(state, request, endpoint)
            seen.fault = plan.fault
            state.advance(state.settings.seconds_per_request)
        return await _respond(state, plan, http, seen)

    return handle


async def _left_early(_: Request, __: Exception) -> Response:
    """Close the connection of a client that left while it was sending: that request was never received."""
    return ClosedConnection()


def _tenant(state: State, http: Request) -> str | None:
    scheme, _, key = http.headers.get("Authorization", "").partition(" ")
    return key if scheme == "Bearer" and key in state.settings.tenants else None


def _log(state: State, request: ApiRequest) -> SeenRequest:
    http = request.http
    seen = SeenRequest(
        method=http.method,
        path=http.url.path,
        endpoint=request.endpoint,
        headers=http.headers,
        query=dict(http.query_params),
        body=request.upload.seen if request.upload else _readable(request.body),
        at=request.now,
    )
    state.requests.add(seen)
    return seen


def _plan(state: State, request: ApiRequest, endpoint: Endpoint | None) -> Plan:
    """Decide how a request is answered, and let it take its effect."""
    fault = state.faults.take(request.endpoint, after=False)
    if fault:
        if fault.kind in FAILING_FAULTS:
            _use_key_after_failure(state, request)
        return _apply(state, fault, None)
    response = _true_response(state, request, endpoint)
    fault = state.faults.take(request.endpoint, after=True) if response.status == 200 else None
    return _apply(state, fault, response) if fault else Plan(response)


def _apply(state: State, fault: QueuedFault, response: ApiResponse | None) -> Plan:
    limit = state.settings.rate_limit or SAMPLE_LIMIT
    max_calls = state.settings.max_concurrent_calls or SAMPLE_MAX_CALLS
    return plan_fault(fault, response, limit, max_calls, state.clock.now())


def _true_response(state: State, request: ApiRequest, endpoint: Endpoint | None) -> ApiResponse:
    """Return the response to a request that meets no fault before it is accepted."""
    if endpoint is None:
        return not_found("endpoint").response
    if request.tenant is None:
        return unauthenticated().response
    quota = state.rate_limits.spend(request.tenant, request.now) if state.rate_limits else None
    try:
        if quota and quota.exceeded:
            raise rate_limited()
        response = endpoint(state, request, request.tenant)
    except ApiError as error:
        response = error.response
    if response.status == 429:
        _use_key_after_failure(state, request)
    if response.status == 400 and state.settings.echo_values_in_errors:
        response = _with_echo(response, request.body)
    return replace(response, headers=quota.headers()) if quota and response.rate_headers else response


def _use_key_after_failure(state: State, request: ApiRequest) -> None:
    if request.endpoint == CALL and request.tenant is not None:
        state.keys.use_after_failure(request.tenant, request.content_type, request.body, request.now)


def _with_echo(response: ApiResponse, body: bytes) -> ApiResponse:
    if not isinstance(response.content, Mapping):
        return response
    error = response.content["error"]
    message = f"{error['message']}; got: {body.decode('utf-8', 'replace')}"
    return replace(response, content={"error": {**error, "message": message}})


def _readable(body: bytes) -> Any:
    try:
        return read_json(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")


async def _respond(state: State, plan: Plan, http: Request, seen: SeenRequest) -> Response:
    left = plan.hold_seconds > 0 and await connection_closed(http.receive, plan.hold_seconds)
    if left or plan.response is None:
        return ClosedConnection()
    with state.lock:
        # Before the first byte leaves, so that a client that has the response finds it counted.
        seen.status = plan.response.status
        date = {"Date": format_datetime(state.clock.now(), usegmt=True)}
    response = replace(plan.response, headers={**plan.response.headers, **date})
    return as_http_response(response, truncated=plan.truncated)
