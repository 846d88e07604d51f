"""Faults on demand: what can go wrong, at which endpoint, how often, and what the client then gets."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from formant_provider.sandbox.limits import (
    rate_headers,
    rate_limited,
    reset_header,
    retry_after,
    too_many_calls,
)
from formant_provider.sandbox.responses import ApiResponse, internal_error, not_found, unavailable

CALL = "POST /v1/call"
LIST = "GET /v1/conversations"
DETAIL = "GET /v1/conversations/{conversation_id}"
RECORDING = "GET /v1/conversations/{conversation_id}/recording"
BATCH = "POST /v1/batch-call"
BATCHES = "GET /v1/batch-calls"
BATCH_DETAIL = "GET /v1/batch-calls/{batch_id}"
METRICS = "GET /v1/batch-calls/{batch_id}/metrics"
TRANSCRIBE = "POST /v1/transcription/jobs"
TRANSCRIPTION = "GET /v1/transcription/jobs/{job_id}"
ENDPOINTS = (
    *(CALL, LIST, DETAIL, RECORDING, BATCH, BATCHES, BATCH_DETAIL, METRICS),
    *(TRANSCRIBE, TRANSCRIPTION),
)
_THINGS = {
    DETAIL: "conversation",
    RECORDING: "recording",
    BATCH_DETAIL: "batch call",
    METRICS: "batch call",
    TRANSCRIPTION: "transcription job",
}
"""What the message of a 404 names, by endpoint."""

DEFAULT_HANG_SECONDS = 30.0
DEFAULT_RETRY_AFTER_SECONDS = 1


class Fault(StrEnum):
    """Everything that can go wrong, by the name used in tests, over HTTP and in the docs.

    *Before* means before the request is accepted: the fault applies on arrival, ahead of every check, and
    nothing rings. *After* means that the request is accepted and takes its full effect (a phone rings), but
    its response is replaced or lost. A request that is not accepted gets its ordinary error, and the fault
    applies to the next one.
    """

    ERROR_500_BEFORE = "error_500_before"
    ERROR_500_AFTER = "error_500_after"
    ERROR_503_BEFORE = "error_503_before"
    ERROR_503_AFTER = "error_503_after"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    HANG_BEFORE = "hang_before"
    HANG_AFTER = "hang_after"
    GARBAGE = "garbage"
    RATE_LIMIT = "rate_limit"
    RATE_LIMIT_RESET_ONLY = "rate_limit_reset_only"
    RATE_LIMIT_NO_HEADERS = "rate_limit_no_headers"
    CONCURRENCY_LIMIT = "concurrency_limit"
    NOT_FOUND = "not_found"
    TRUNCATED = "truncated"

    @property
    def after(self) -> bool:
        """Whether the request is accepted before the fault applies."""
        return self.endswith("_after") or self in (Fault.GARBAGE, Fault.TRUNCATED)

    @property
    def endpoints(self) -> Collection[str]:
        """The endpoints it can be injected at."""
        return _ONLY_AT.get(self, ENDPOINTS)


_DROPS = (Fault.DROP_BEFORE, Fault.DROP_AFTER)
_HANGS = (Fault.HANG_AFTER, Fault.HANG_BEFORE)
_TIMED_LIMITS = (Fault.RATE_LIMIT, Fault.RATE_LIMIT_RESET_ONLY)
_ONLY_AT = {
    Fault.CONCURRENCY_LIMIT: (CALL, BATCH),
    Fault.NOT_FOUND: tuple(_THINGS),
    Fault.TRUNCATED: (RECORDING,),
}

DESCRIPTIONS: dict[Fault, str] = {
    Fault.ERROR_500_BEFORE: "500 internal_error, nothing accepted",
    Fault.ERROR_500_AFTER: "accepted, then 500 internal_error",
    Fault.ERROR_503_BEFORE: "503 from a gateway (HTML), nothing accepted",
    Fault.ERROR_503_AFTER: "accepted, then 503 from a gateway (HTML)",
    Fault.DROP_BEFORE: "connection closed without a byte, nothing accepted",
    Fault.DROP_AFTER: "accepted, then connection closed without a byte",
    Fault.HANG_BEFORE: "no answer for `seconds` real seconds, then 503; nothing accepted",
    Fault.HANG_AFTER: "accepted, then no answer for `seconds` real seconds, then the true answer",
    Fault.GARBAGE: "accepted, then 200 with a body that is no JSON",
    Fault.RATE_LIMIT: "429 with Retry-After (`retry_after` real seconds) and all X-RateLimit headers",
    Fault.RATE_LIMIT_RESET_ONLY: "429 with X-RateLimit-Reset alone, `retry_after` real seconds ahead",
    Fault.RATE_LIMIT_NO_HEADERS: "429 rate_limit_exceeded without any header to go by",
    Fault.CONCURRENCY_LIMIT: "429 concurrent_call_limit_exceeded, no headers (calls and batch calls only)",
    Fault.NOT_FOUND: "404 for what may well exist (neither a POST nor a list)",
    Fault.TRUNCATED: "200 and half of the promised bytes, then connection closed (recording only)",
}
"""One line per fault, for tables."""


@dataclass
class QueuedFault:
    """A fault that waits for its requests.

    :param times: how many more requests it applies to.
    :param seconds: how long a hang holds the response, real seconds; None is 30.
    :param retry_after: how long a 429 tells the client to wait, real seconds; None is 1.
    :raises ValueError: the endpoint or the fault is unknown, or a value does not apply to the fault.
    """

    endpoint: str
    fault: str
    times: int = 1
    seconds: float | None = None
    retry_after: int | None = None

    def __post_init__(self) -> None:
        self.kind = _known(self.endpoint, self.fault)
        if self.times < 1:
            raise ValueError("times must be 1 or more")
        _check_seconds("seconds", self.seconds, self.kind, _HANGS)
        _check_seconds("retry_after", self.retry_after, self.kind, _TIMED_LIMITS)


@dataclass(frozen=True)
class Plan:
    """How a request is answered.

    :param response: what is sent; None closes the connection without a byte.
    :param hold_seconds: real seconds to wait before that.
    :param fault: the fault that applied, if any.
    :param truncated: only half of the response is sent.
    """

    response: ApiResponse | None
    hold_seconds: float = 0.0
    fault: Fault | None = None
    truncated: bool = False


class FaultQueues:
    """One first-in first-out queue per endpoint. A fault that cannot apply yet blocks those behind it."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[QueuedFault]] = {endpoint: deque() for endpoint in ENDPOINTS}

    def add(self, fault: QueuedFault) -> None:
        """Queue a fault behind the others of its endpoint."""
        self._queues[fault.endpoint].append(fault)

    def take(self, endpoint: str, *, after: bool) -> QueuedFault | None:
        """Return the next fault, if it applies now, and count it down.

        :param after: whether the request has been accepted.
        """
        queue = self._queues.get(endpoint)
        if not queue or queue[0].kind.after is not after:
            return None
        queue[0].times -= 1
        return queue[0] if queue[0].times else queue.popleft()

    def queued(self) -> list[dict[str, Any]]:
        """Return the queued faults as plain rows, in the order in which they apply."""
        return [
            {"endpoint": endpoint, "fault": str(fault.kind), "times": fault.times}
            for endpoint, queue in self._queues.items()
            for fault in queue
        ]


def plan_fault(
    queued: QueuedFault, true_response: ApiResponse | None, limit: int, max_calls: int, now: datetime
) -> Plan:
    """Return how a request is answered that meets this fault.

    :param true_response: the response of the accepted request; None before it is accepted.
    :param limit: request limit to quote in a 429.
    :param max_calls: cap to quote in a concurrency error.
    :param now: virtual time of the request.
    """
    fault = queued.kind
    if fault in _DROPS:
        return Plan(None, fault=fault)
    if fault is Fault.TRUNCATED:
        return Plan(true_response, fault=fault, truncated=True)
    if fault in _HANGS:
        hold_seconds = DEFAULT_HANG_SECONDS if queued.seconds is None else queued.seconds
        return Plan(true_response or unavailable(), hold_seconds, fault)
    responses = {
        Fault.ERROR_500_BEFORE: internal_error().response,
        Fault.ERROR_500_AFTER: internal_error().response,
        Fault.ERROR_503_BEFORE: unavailable(),
        Fault.ERROR_503_AFTER: unavailable(),
        # Cut off in the middle, as by a proxy that gave up: it claims to be JSON and begins like it.
        Fault.GARBAGE: ApiResponse(200, b'{"data": {"agent_id": 4'),
        Fault.CONCURRENCY_LIMIT: too_many_calls(max_calls, max_calls).response,
        Fault.NOT_FOUND: not_found(_THINGS.get(queued.endpoint, "endpoint")).response,
    }
    return Plan(responses.get(fault) or _rate_limit_response(queued, limit, now), fault=fault)


def _rate_limit_response(queued: QueuedFault, limit: int, now: datetime) -> ApiResponse:
    seconds = DEFAULT_RETRY_AFTER_SECONDS if queued.retry_after is None else queued.retry_after
    headers: dict[str, str] = {}
    if queued.kind is Fault.RATE_LIMIT_RESET_ONLY:
        headers = reset_header(seconds, now)
    if queued.kind is Fault.RATE_LIMIT:
        headers = rate_headers(limit, 0, seconds, now) | retry_after(seconds)
    return replace(rate_limited().response, headers=headers)


def _known(endpoint: str, fault: str) -> Fault:
    if endpoint not in ENDPOINTS:
        raise ValueError(f"unknown endpoint {endpoint!r}; one of {', '.join(ENDPOINTS)}")
    if fault not in list(Fault):
        raise ValueError(f"unknown fault {fault!r}; one of {', '.join(Fault)}")
    kind = Fault(fault)
    if endpoint not in kind.endpoints:
        raise ValueError(f"fault {fault!s} exists at {', '.join(kind.endpoints)} only")
    return kind


def _check_seconds(name: str, value: float | None, fault: Fault, takes_it: Collection[Fault]) -> None:
    if value is None:
        return
    if fault not in takes_it:
        raise ValueError(f"{name} does not apply to {fault}; it belongs to {', '.join(takes_it)}")
    if not 0 <= value < 10**9:
        raise ValueError(f"{name} must be 0 or more, in seconds")
