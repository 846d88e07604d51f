"""What the vendor's endpoints do with an authenticated request that is within its limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request

from formant_provider.sandbox import views
from formant_provider.sandbox.answers import Answer, Refusal, invalid, not_found
from formant_provider.sandbox.batches import Batch
from formant_provider.sandbox.form import Upload
from formant_provider.sandbox.metrics import metrics
from formant_provider.sandbox.recording import Recording
from formant_provider.sandbox.schema import CreateCall, read_body, read_list_query
from formant_provider.sandbox.world import World


@dataclass(frozen=True)
class Visit:
    """One request as the endpoints see it.

    :param raw: the body; of an upload, how its file begins.
    :param tenant: whose key came with it; None when the key opens nothing.
    :param now: the virtual time, the same for everything this request looks at.
    :param upload: the form that came in, at the endpoint that takes one.
    """

    endpoint: str
    request: Request
    raw: bytes
    tenant: str | None
    now: datetime
    upload: Upload | None = None


Action = Callable[[World, Visit, str], Answer]
"""An endpoint: the world, the request, and the tenant it comes from. Raises ``Refusal``."""


def create_call(world: World, visit: Visit, tenant: str) -> Answer:
    """POST /v1/call."""
    call = world.place(tenant, read_call(visit), visit.now)
    return Answer(200, {"data": views.receipt(call, world.settings)})


def list_conversations(world: World, visit: Visit, tenant: str) -> Answer:
    """GET /v1/conversations."""
    query = read_list_query(visit.request.query_params.multi_items())
    page, total = world.records.page(
        tenant, query.agent_id, visit.now, offset=query.offset, limit=query.limit
    )
    items = [views.list_item(call, visit.now, world.settings) for call in page]
    return Answer(200, {"data": items, "has_more": query.offset + len(page) < total, "total": total})


def get_conversation(world: World, visit: Visit, tenant: str) -> Answer:
    """GET /v1/conversations/{conversation_id}."""
    call = world.records.find(tenant, visit.request.path_params["conversation_id"], visit.now)
    if call is None:
        raise not_found("conversation")
    return Answer(200, {"data": views.detail(call, visit.now, world.settings)})


def get_recording(world: World, visit: Visit, tenant: str) -> Answer:
    """GET /v1/conversations/{conversation_id}/recording. Not yet, never and unknown look the same."""
    settings = world.settings
    call = world.records.find(tenant, visit.request.path_params["conversation_id"], visit.now)
    if call is None or not call.talked_before(visit.now, settings.recording_delay_seconds):
        raise not_found("recording")
    return Answer(200, Recording(call.conversation_id, settings.recording_bytes), "audio/wav")


def create_batch(world: World, visit: Visit, tenant: str) -> Answer:
    """POST /v1/batch-call."""
    asked = visit.upload.request if visit.upload else invalid("body is required")
    if isinstance(asked, Refusal):
        raise asked
    batch = world.place_batch(tenant, asked, visit.now)
    return Answer(200, {"data": views.batch(batch, visit.now, world.settings)})


def list_batches(world: World, visit: Visit, tenant: str) -> Answer:
    """GET /v1/batch-calls."""
    query = read_list_query(visit.request.query_params.multi_items())
    page, total = world.batches.page(tenant, query.agent_id, offset=query.offset, limit=query.limit)
    items = [views.batch(batch, visit.now, world.settings) for batch in page]
    return Answer(200, {"data": items, "has_more": query.offset + len(page) < total, "total": total})


def get_batch(world: World, visit: Visit, tenant: str) -> Answer:
    """GET /v1/batch-calls/{batch_id}."""
    return Answer(200, {"data": views.batch(_batch(world, visit, tenant), visit.now, world.settings)})


def get_metrics(world: World, visit: Visit, tenant: str) -> Answer:
    """GET /v1/batch-calls/{batch_id}/metrics."""
    return Answer(200, {"data": metrics(_batch(world, visit, tenant), visit.now, world.settings)})


def _batch(world: World, visit: Visit, tenant: str) -> Batch:
    batch = world.batches.find(tenant, visit.request.path_params["batch_id"])
    if batch is None:
        raise not_found("batch call")
    return batch


def read_call(visit: Visit) -> CreateCall:
    """Return the body of POST /v1/call.

    :raises Refusal: 400.
    """
    content_type = visit.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise invalid("Content-Type must be application/json")
    return read_body(CreateCall, visit.raw, {"now": visit.now})
