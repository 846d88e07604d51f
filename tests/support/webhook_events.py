"""Webhooks for tests: bodies as the vendor writes them, and events of them in a store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from formant_provider.api.webhook_models import WebhookEvent
from formant_provider.sandbox.calls import Attempt
from formant_provider.sandbox.response_bodies import RESULTS, iso_z
from formant_provider.store.store import Store
from formant_provider.store.webhook_events import Delivery, record

AT = datetime(2026, 3, 18, 10, 0, tzinfo=UTC)
NUMBER = "+14155550101"
OWN_NUMBER = "+14155550199"


def webhook(event_id: str = "evt_1", event_type: str = "call.completed", **changed: Any) -> dict[str, Any]:
    """Return an event as the vendor's sample has it.

    :param changed: fields of its call, and ``timestamp``, ``retry``, ``results`` or ``transcript``.
    """
    outer = {name: changed.pop(name) for name in ("results", "transcript", "retry") if name in changed}
    timestamp = changed.pop("timestamp", AT.isoformat())
    call = {
        "agent_id": 456,
        "status": event_type.removeprefix("call."),
        "call_parameters": {"customer_name": "Asha"},
        "conversation_id": "conv_1",
        "trace_id": "trace_1",
        "duration_seconds": 42,
        "started_at": "2026-03-18T09:58:00Z",
        "ended_at": "2026-03-18T09:59:00Z",
        "failure_reason": None,
        "from_phone": OWN_NUMBER,
        "to_phone": NUMBER,
        "recording_url": None,
        **changed,
    }
    retry = {"attempt_number": 1, "is_final_attempt": True, "max_attempts": 3, "next_retry_at": None}
    data = {"call": call, "results": {"intent": "pay"}, "retry": retry, "retry_context": None, **outer}
    return {"event_id": event_id, "event_type": event_type, "timestamp": timestamp, "data": data}


def delivery(
    event: dict[str, Any], *, conn_id: str = "formant_default", received_at: datetime = AT
) -> Delivery:
    """Return what the receiver makes of an event."""
    body = json.dumps(event).encode()
    return Delivery(WebhookEvent.from_body(body), conn_id, body, received_at)


def store_events(store: Store, *events: dict[str, Any], received_at: datetime = AT) -> list[bool]:
    """Store events as the receiver does; return of each whether it was new."""
    return record(store, [delivery(event, received_at=received_at) for event in events])


def webhook_of(attempt: Attempt, *, event_id: str | None = None, **changed: Any) -> dict[str, Any]:
    """Return the event that tells how an attempt of the sandbox ended.

    :param changed: as for :func:`webhook`.
    """
    ending = attempt.ending
    told = {
        "agent_id": attempt.agent_id,
        "conversation_id": attempt.conversation_id,
        "trace_id": attempt.trace_id,
        "duration_seconds": ending.duration_seconds,
        "started_at": iso_z(attempt.starts_at),
        "ended_at": iso_z(attempt.ends_at),
        "failure_reason": ending.failure_reason,
        "to_phone": attempt.customer_phone,
        "results": RESULTS if ending.talked else {},
        "retry": {"attempt_number": attempt.redial + 1, "is_final_attempt": True},
        "timestamp": iso_z(attempt.ends_at),
    }
    name = event_id or f"evt-{attempt.conversation_id}-{attempt.redial}"
    return webhook(name, f"call.{ending.status}", **{**told, **changed})
