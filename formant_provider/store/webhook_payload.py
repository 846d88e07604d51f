"""What of a webhook event leaves the call store for everybody to see: ids, states, and chosen results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from formant_provider.core.numbers.in_text import without_international
from formant_provider.store.intents import fitting
from formant_provider.store.schema import intents

if TYPE_CHECKING:
    from formant_provider.store.store import Store
    from formant_provider.store.webhook_events import StoredEvent

LONGEST_TEXT = 500
MOST_ITEMS = 50
_AT_ONCE = 500
_LARGEST = 2**63 - 1  # Airflow's triggerer ends with an integer that is larger, for all its triggers


def public_payloads(
    store: Store, events: Sequence[StoredEvent], results: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return what may be told of events, in their order; one query finds the references of all.

    :param results: as for :func:`public_payload`.
    :raises SendAborted: the store does not answer.
    """
    known = references(store, events)
    return [public_payload(event, reference_of(event, known), results) for event in events]


def public_payload(
    stored: StoredEvent, reference: str | None = None, results: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what may be told of an event: plain values, and no number, parameter or transcript.

    :param reference: of the call, as :func:`references` finds it.
    :param results: names of the conversation's results to tell; a dot leads into one of them. A value is
        ``None`` when there is none, or when it is no short JSON value. What is written as an international
        phone number is left out of texts, keys as well; a number in another form is not recognised.
    """
    event, told = stored.event, stored.event.conversation
    return {
        "event_id": fitting(event.event_id),
        "event_type": fitting(event.event_type),
        "agent_id": told.agent_id if told else None,
        "trace_id": fitting(told.trace_id) if told and told.trace_id else None,
        "conversation_id": fitting(told.conversation_id) if told else None,
        "status": fitting(told.status) if told and told.status else None,
        "attempt": _scalar(event.attempt.number),
        "is_final_attempt": event.attempt.is_final,
        "next_retry_at": _text(event.attempt.next_at),
        "occurred_at": _text(event.sent_at),
        "reference": reference,
        "results": {name: _found(told.results if told else None, name) for name in results},
    }


def references(store: Store, events: Iterable[StoredEvent]) -> dict[str, str]:
    """Return the references that the store's calls were given, by trace id.

    :raises SendAborted: the store does not answer.
    """
    named = sorted({trace_id for event in events if (trace_id := _trace_id(event))})
    columns = select(intents.c.trace_id, intents.c.reference).where(intents.c.reference.is_not(None))
    found: dict[str, str] = {}
    for start in range(0, len(named), _AT_ONCE):
        wanted = columns.where(intents.c.trace_id.in_(named[start : start + _AT_ONCE]))
        with store.reading() as conn:
            found |= {row.trace_id: row.reference for row in conn.execute(wanted)}
    return found


def reference_of(stored: StoredEvent, known: Mapping[str, str]) -> str | None:
    """Return the reference of an event's call, of those that :func:`references` has found."""
    return known.get(_trace_id(stored))


def _trace_id(stored: StoredEvent) -> str:
    """Return the trace id of an event as calls are kept under it."""
    told = stored.event.conversation
    return fitting(told.trace_id) if told and told.trace_id else ""


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _found(results: object, name: str) -> Any:
    """Return the value of a name. A key that holds dots itself comes before a way through several."""
    if not isinstance(results, Mapping):
        return None
    if name in results:
        return _short(results[name])
    first, dot, rest = name.partition(".")
    return _found(results.get(first), rest) if dot else None


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        plain = {name: _scalar(each) for key, each in value.items() if (name := _scalar(key)) is not None}
        return plain if len(value) <= MOST_ITEMS else None
    if isinstance(value, list):
        return [_scalar(each) for each in value] if len(value) <= MOST_ITEMS else None
    return _scalar(value)


def _scalar(value: Any) -> Any:
    """Return a value, or ``None`` for one that a queue or Airflow's own lines cannot carry."""
    if isinstance(value, str):
        return without_international(_sendable(value)) if len(value) <= LONGEST_TEXT else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and abs(value) <= _LARGEST else None


def _sendable(text: str) -> str:
    """Return a text without half of a surrogate pair, and NUL, which PostgreSQL does not take."""
    return text.encode(errors="replace").decode().replace("\x00", "?")
