"""Calls and batch calls as JSON, in the vendor's field names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from formant_provider.sandbox.batches import Batch
from formant_provider.sandbox.calls import IN_PROGRESS, Attempt, Call
from formant_provider.sandbox.settings import Settings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

RESULTS = {"intent": "payment_confirmed", "sentiment": "positive"}
TRANSCRIPT = [
    {"role": "agent", "message": "Hello, this is the sandbox calling. Is this a good time?"},
    # Not ASCII on purpose, so that a client's decoding is tested.
    {"role": "human", "message": "हाँ, go ahead, I can talk."},
    {"role": "agent", "message": "Thank you, that was all. Goodbye."},
]


def receipt(call: Call, settings: Settings) -> dict[str, Any]:
    """Return the response to POST /v1/call. It has ``retry_context`` only if the request had one."""
    scheduled_for = call.request.scheduled_for
    return {
        "agent_id": call.agent_id,
        "conversation_id": _receipt_conversation_id(call, settings),
        **call.request.model_dump(include={"retry_context"}, exclude_unset=True),
        "scheduled_for": iso_z(scheduled_for) if scheduled_for else None,
        "status": "scheduled" if scheduled_for else "initiated",
        "trace_id": call.trace_id,
    }


def list_item(call: Attempt, now: datetime, settings: Settings) -> dict[str, Any]:
    """Return an item of the conversation list."""
    item = _summary(call, now)
    if settings.list_numbers == "none":
        del item["contact_number"]
    elif settings.list_numbers == "masked":
        item["contact_number"] = masked(call.customer_phone)
    trace = {"trace_id": call.trace_id} if settings.trace_id_in_list else {}
    return item | trace


def masked(phone: str) -> str:
    """Return a number with its middle masked, as in ``+1415*****00``."""
    return f"{phone[:5]}{'*' * (len(phone) - 7)}{phone[-2:]}"


def detail(call: Attempt, now: datetime, settings: Settings) -> dict[str, Any]:
    """Return the whole record. What there is not, or not yet, is null."""
    available = call.talked_before(now, settings.results_delay_seconds)
    trace = {"trace_id": call.trace_id} if settings.trace_id_in_detail else {}
    summary = _summary(call, now)
    if not settings.times_in_detail:
        del summary["start_timestamp"], summary["end_timestamp"]
    return {
        **summary,
        **trace,
        "failure_reason": call.ending.failure_reason if call.over(now) else None,
        "results": RESULTS if available else None,
        "transcript": TRANSCRIPT if available else None,
    }


def batch(batch: Batch, now: datetime, settings: Settings) -> dict[str, Any]:
    """Return a batch call, which looks the same in every response."""
    return {
        "id": batch.batch_id,
        "name": batch.name,
        "agent_id": batch.agent_id,
        "status": _batch_status(batch, now) if settings.batch_status_moves else "pending",
        "total_recipients": batch.total_recipients,
        "created_at": iso_z(batch.created_at),
    }


def _batch_status(batch: Batch, now: datetime) -> str:
    tally = batch.tally(now)
    if tally.ended.total() == batch.total_recipients:
        return "completed"
    return IN_PROGRESS if now > batch.created_at else "pending"


def iso_z(moment: datetime) -> str:
    """Write a time in UTC as ``2026-04-08T14:00:00Z``, with a fraction only if it has one."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def epoch_ms(moment: datetime) -> int:
    """Return whole milliseconds since 1970."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _summary(call: Attempt, now: datetime) -> dict[str, Any]:
    """Return the fields that the list and the detail have in common."""
    return {
        "agent_id": call.agent_id,
        "contact_number": call.customer_phone,
        "conversation_id": call.conversation_id,
        "duration_seconds": call.ending.duration_seconds if call.over(now) else None,
        "start_timestamp": epoch_ms(call.starts_at),
        "end_timestamp": epoch_ms(call.ends_at) if call.over(now) else None,
        "status": call.status(now),
    }


def _receipt_conversation_id(call: Call, settings: Settings) -> str | None:
    """Return the id of the chain, or None. The record, and so its id, does not exist yet."""
    wanted = settings.receipt_conversation_id
    given = wanted == "always" or (wanted == "scheduled" and call.request.scheduled_for is not None)
    return call.chain_id if given else None
