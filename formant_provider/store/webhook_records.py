"""Finds conversations of which the API need not be asked, since a webhook has told all that it would tell.

A record that is not over, or lacks what its detail has, is read there. So is a transcript that came as text:
the API gives it as a list of turns, and whoever reads a file or a result must find it in one form, whether a
webhook came or not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.core.conversations.heard import is_same_attempt
from formant_provider.core.conversations.statuses import COMPLETED, Endings, nobody_connected
from formant_provider.store.webhook_events import events_after, events_of_conversations, seq_before

if TYPE_CHECKING:
    from formant_provider.api.models import Conversation
    from formant_provider.api.webhook_models import WebhookEvent
    from formant_provider.store.store import Store


@dataclass(frozen=True)
class ToldAttempt:
    """An attempt to reach somebody, as an event tells of it.

    :param record: with the number that was called.
    :param is_whole: whether the API would tell no more of it, but for a transcript.
    :param is_final: whether the platform makes no further attempt.
    :param from_phone: who has called; private.
    """

    record: Conversation
    sent_at: datetime
    is_whole: bool
    is_final: bool
    from_phone: str | None = field(default=None, repr=False)


def attempts_since(store: Store, agent_id: int, since: datetime) -> Iterator[ToldAttempt]:
    """Yield what events tell of an agent's attempts that began since, page by page, in no order of theirs.

    :param since: no event that came before is read.
    :raises SendAborted: the store does not answer.
    """
    seq, is_last = seq_before(store, since), False
    while not is_last:
        events, seq, is_last = events_after(store, seq, agent_id=agent_id)
        for stored in events:
            told = _attempt(stored.event)
            if told is not None and (told.record.start_timestamp or 0) >= since.timestamp() * 1000:
                yield told


def records_from_events(
    store: Store, conversation_ids: Collection[str], *, needs_transcript: bool
) -> dict[str, Conversation]:
    """Return, by id, the conversations of which the API need not be asked.

    Attempts of a call may share an id: the newest counts.

    :param needs_transcript: whether what was said is needed, in the form in which the API gives it.
    :raises SendAborted: the store does not answer.
    """
    events: dict[str, list[WebhookEvent]] = defaultdict(list)
    for stored in events_of_conversations(store, conversation_ids):
        if stored.event.conversation is not None:
            events[stored.event.conversation.conversation_id].append(stored.event)
    found = {name: _whole(told, needs_transcript=needs_transcript) for name, told in events.items()}
    return {name: record for name, record in found.items() if record is not None}


def record_of_attempt(store: Store, known: Conversation, *, needs_transcript: bool) -> Conversation | None:
    """Return the record of one attempt if the API need not be asked of it.

    :param known: what is known of the attempt: all attempts of a call may share one conversation id.
    :param needs_transcript: as for :func:`records_from_events`.
    :raises SendAborted: the store does not answer.
    """
    told = [stored.event for stored in events_of_conversations(store, [known.conversation_id])]
    of_attempt = [event for event in told if event.conversation and _is_of(event.conversation, known)]
    return _whole(of_attempt, needs_transcript=needs_transcript)


def _is_of(record: Conversation, attempt: Conversation) -> bool:
    return record.status == attempt.status and is_same_attempt(record, attempt)


def _whole(events: Collection[WebhookEvent], *, needs_transcript: bool) -> Conversation | None:
    """Return what the newest of some events tells, if it is all that the API would tell."""
    newest = max(events, key=_place, default=None)
    told = _attempt(newest) if newest is not None else None
    if told is None or not told.is_whole or (needs_transcript and not _has_transcript(told.record)):
        return None
    return told.record


def _place(event: WebhookEvent) -> tuple[int, datetime]:
    return event.attempt.number or 0, event.sent_at


def _attempt(event: WebhookEvent) -> ToldAttempt | None:
    record = event.conversation
    if record is None:
        return None
    is_final = event.attempt.is_final
    if nobody_connected(record.status, record.duration_seconds) and not record.results:
        record = replace(record, results=None)  # as the API has it where nobody talked
    return ToldAttempt(
        record,
        event.sent_at,
        is_whole=_is_whole(record),
        # After an unsuccessful one of which that is not told, there may be one whose event was lost.
        is_final=record.status == COMPLETED if is_final is None else is_final,
        from_phone=event.from_phone,
    )


def _is_whole(record: Conversation) -> bool:
    if None in {record.start_timestamp, record.end_timestamp} or not Endings().is_over(record.status):
        return False
    return nobody_connected(record.status, record.duration_seconds) or None not in (
        record.duration_seconds,
        record.results,
    )


def _has_transcript(record: Conversation) -> bool:
    return isinstance(record.transcript, list)
