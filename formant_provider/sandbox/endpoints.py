"""What each endpoint of the API does with a request that has a valid key and is within the rate limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request

from formant_provider.sandbox import faults, response_bodies
from formant_provider.sandbox.batches import Batch
from formant_provider.sandbox.forms import Upload
from formant_provider.sandbox.metrics import metrics
from formant_provider.sandbox.recording import Recording
from formant_provider.sandbox.request_schemas import ListQuery, read_call, read_list_query
from formant_provider.sandbox.responses import ApiError, ApiResponse, invalid, not_found
from formant_provider.sandbox.state import State


@dataclass(frozen=True)
class ApiRequest:
    """One request as the endpoints see it.

    :param endpoint: its name, one of ``faults.ENDPOINTS``; method and path where there is no such endpoint.
    :param body: the body; of an upload, the beginning of its file.
    :param tenant: the API key it came with; None when that key is missing or unknown.
    :param now: the virtual time, the same for all that this request does.
    :param upload: the form it came with, at the endpoints that take one.
    """

    endpoint: str
    http: Request
    body: bytes
    tenant: str | None
    now: datetime
    upload: Upload[Any] | None = None

    @property
    def content_type(self) -> str:
        """The header of that name."""
        return self.http.headers.get("Content-Type", "")


Endpoint = Callable[[State, ApiRequest, str], ApiResponse]
"""Takes the state, the request and its tenant. Raises ``ApiError``."""


def create_call(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """POST /v1/call."""
    call = state.place(tenant, read_call(request.content_type, request.body, request.now), request.now)
    return _data(response_bodies.receipt(call, state.settings))


def list_conversations(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """GET /v1/conversations."""
    query = _list_query(request)
    page, total = state.conversations.page(
        tenant, query.agent_id, request.now, offset=query.offset, limit=query.limit
    )
    items = [response_bodies.list_item(call, request.now, state.settings) for call in page]
    return _page(items, query, total)


def get_conversation(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """GET /v1/conversations/{conversation_id}."""
    call = state.conversations.find(tenant, request.http.path_params["conversation_id"], request.now)
    if call is None:
        raise not_found("conversation")
    return _data(response_bodies.detail(call, request.now, state.settings))


def get_recording(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """GET /v1/conversations/{conversation_id}/recording. Not yet, never and unknown are the same 404."""
    settings = state.settings
    call = state.conversations.find(tenant, request.http.path_params["conversation_id"], request.now)
    if call is None or not call.talked_before(request.now, settings.recording_delay_seconds):
        raise not_found("recording")
    return ApiResponse(200, Recording(call.conversation_id, settings.recording_bytes), "audio/wav")


def create_batch(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """POST /v1/batch-call."""
    return _batch(state, request, state.place_batch(tenant, _form(request), request.now))


def list_batches(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """GET /v1/batch-calls."""
    query = _list_query(request)
    page, total = state.batches.page(tenant, query.agent_id, offset=query.offset, limit=query.limit)
    return _page([response_bodies.batch(b, request.now, state.settings) for b in page], query, total)


def get_batch(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """GET /v1/batch-calls/{batch_id}."""
    return _batch(state, request, _find_batch(state, request, tenant))


def get_metrics(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """GET /v1/batch-calls/{batch_id}/metrics."""
    return _data(metrics(_find_batch(state, request, tenant), request.now, state.settings))


def create_transcription(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """POST /v1/transcription/jobs. Its response is bare."""
    job = state.transcriptions.accept(tenant, _form(request), request.now)
    return ApiResponse(200, job.receipt())


def get_transcription(state: State, request: ApiRequest, tenant: str) -> ApiResponse:
    """GET /v1/transcription/jobs/{job_id}, bare as well."""
    job = state.transcriptions.find(tenant, request.http.path_params["job_id"])
    if job is None:
        raise not_found("transcription job")
    return ApiResponse(200, job.record(request.now, state.settings))


BY_NAME: dict[str, Endpoint] = {
    faults.CALL: create_call,
    faults.LIST: list_conversations,
    faults.DETAIL: get_conversation,
    faults.RECORDING: get_recording,
    faults.BATCH: create_batch,
    faults.BATCHES: list_batches,
    faults.BATCH_DETAIL: get_batch,
    faults.METRICS: get_metrics,
    faults.TRANSCRIBE: create_transcription,
    faults.TRANSCRIPTION: get_transcription,
}


def _list_query(request: ApiRequest) -> ListQuery:
    return read_list_query(request.http.query_params.multi_items())


def _form(request: ApiRequest) -> Any:
    """Return the content of the form.

    :raises ApiError: it is invalid.
    """
    content = request.upload.request if request.upload else invalid("body is required")
    if isinstance(content, ApiError):
        raise content
    return content


def _find_batch(state: State, request: ApiRequest, tenant: str) -> Batch:
    batch = state.batches.find(tenant, request.http.path_params["batch_id"])
    if batch is None:
        raise not_found("batch call")
    return batch


def _batch(state: State, request: ApiRequest, batch: Batch) -> ApiResponse:
    return _data(response_bodies.batch(batch, request.now, state.settings))


def _data(data: dict[str, Any]) -> ApiResponse:
    return ApiResponse(200, {"data": data})


def _page(items: Sequence[dict[str, Any]], query: ListQuery, total: int) -> ApiResponse:
    has_more = query.offset + len(items) < total
    return ApiResponse(200, {"data": items, "has_more": has_more, "total": total})
