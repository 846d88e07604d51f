"""In which order events are told that were found together: those of one conversation as they happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from formant_provider.store.webhook_events import StoredEvent


def in_order(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Return events with those of each conversation in order: by attempt, then by the vendor's time.

    Each conversation keeps the places that it had among the others.
    """
    ordered: dict[object, deque[StoredEvent]] = {}
    for each in sorted(events, key=_order):
        ordered.setdefault(_conversation(each), deque()).append(each)
    return [ordered[_conversation(each)].popleft() for each in events]


def told_through(events: Sequence[StoredEvent], count: int, end: int) -> int:
    """Return up to which number all is told, when so many of these are, which may be out of their numbers.

    :param end: up to which number there are no others.
    """
    return min((each.seq for each in events[count:]), default=end + 1) - 1


def _conversation(stored: StoredEvent) -> object:
    """Return what events of one conversation share. All its attempts may, or may not, share the second."""
    record = stored.event.conversation
    return (record.trace_id or record.conversation_id) if record else stored.seq


def _order(stored: StoredEvent) -> tuple[int, float, int]:
    return stored.event.attempt.number or 0, stored.event.sent_at.timestamp(), stored.seq
