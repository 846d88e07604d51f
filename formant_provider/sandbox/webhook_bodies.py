"""What a webhook says, in the vendor's field names, and its signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from formant_provider.sandbox.call_ends import CallEnd
from formant_provider.sandbox.calls import Attempt, Call
from formant_provider.sandbox.numbers import agent_phone
from formant_provider.sandbox.redials import next_redial_at
from formant_provider.sandbox.response_bodies import RESULTS, TRANSCRIPT
from formant_provider.sandbox.settings import Settings

_SPEAKERS = {"agent": "BOT", "human": "HUMAN"}


def event_type(attempt: Attempt) -> str:
    """Return the type of the event, such as ``call.completed``."""
    return f"call.{attempt.ending.status}"


def body(
    end: CallEnd, event_id: str, timestamp: datetime, settings: Settings, *, include_transcript: bool
) -> bytes:
    """Return the bytes that are signed and sent.

    :param include_transcript: whether the target is set up to get what was said.
    """
    attempt = end.attempt
    available = attempt.talked_before(attempt.ends_at, settings.results_delay_seconds)
    data: dict[str, Any] = {
        "call": _call(end, settings),
        "results": RESULTS if available else None,
        "retry": _retry(attempt, settings),
        "retry_context": _retry_context(attempt),
    }
    if include_transcript and available:
        data["transcript"] = "\n".join(f"{_SPEAKERS[said['role']]}: {said['message']}" for said in TRANSCRIPT)
    event = {
        "event_id": event_id,
        "event_type": event_type(attempt),
        "timestamp": iso_ms(timestamp),
        "data": data,
    }
    return json.dumps(event, ensure_ascii=False).encode()


def sign(content: bytes, secret: str) -> str:
    """Return the signature of raw bytes: HMAC-SHA256, in hexadecimal."""
    return f"sha256={hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()}"


def iso_ms(moment: datetime) -> str:
    """Write a time in UTC as ``2026-03-18T20:55:41.766Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _call(end: CallEnd, settings: Settings) -> dict[str, Any]:
    attempt = end.attempt
    own, other = agent_phone(attempt.agent_id), attempt.customer_phone
    recording = f"http://{settings.host}:{settings.port}/v1/conversations/{attempt.conversation_id}/recording"
    return {
        "agent_id": attempt.agent_id,
        "status": attempt.ending.status,
        "call_parameters": end.parameters,
        "conversation_id": attempt.conversation_id,
        "trace_id": attempt.trace_id,
        "duration_seconds": attempt.ending.duration_seconds,
        "started_at": iso_ms(attempt.starts_at),
        "ended_at": iso_ms(attempt.ends_at),
        "failure_reason": attempt.ending.failure_reason,
        "from_phone": other if attempt.inbound else own,
        "to_phone": own if attempt.inbound else other,
        "recording_url": recording if attempt.ending.talked else None,
    }


def _retry(attempt: Attempt, settings: Settings) -> dict[str, Any]:
    next_at = next_redial_at(attempt, settings)
    return {
        "attempt_number": attempt.redial + 1,
        "is_final_attempt": next_at is None,
        "max_attempts": settings.platform_redials + 1,
        "next_retry_at": iso_ms(next_at) if next_at else None,
    }


def _retry_context(attempt: Attempt) -> dict[str, Any] | None:
    """Return what the request of the call had, if it had one."""
    if not isinstance(attempt, Call):
        return None
    given = attempt.request.model_dump(include={"retry_context"}, exclude_unset=True)
    context: dict[str, Any] | None = given.get("retry_context")
    return context
