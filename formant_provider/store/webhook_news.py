"""Tells feeds what webhooks have brought."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.core.polling.news import Answer, Question, Told
from formant_provider.store.webhook_events import (
    StoredEvent,
    events_after,
    events_of_conversations,
    last_heard,
    seq_before,
)

if TYPE_CHECKING:
    from formant_provider.store.store import Store


# What is more is read a second later: a feed takes an answer in at one go.
_MOST_PAGES = 4


class WebhookNews:
    """The events of a call store.

    :param open_store: asks nothing of Airflow, so that it may be called in any thread.
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store

    def read(self, question: Question) -> Answer:
        """Return what has come.

        :raises SendAborted: the store does not answer.
        :raises InvalidInput: it cannot be used.
        """
        store = self._open_store()
        if question.agent_id is None:
            events = events_of_conversations(store, sorted(question.conversation_ids))
            return Answer(_told(events), 0, _came(events))
        seq, agent_id = _begin(store, question), question.agent_id
        found: list[StoredEvent] = []
        for _ in range(_MOST_PAGES):
            page = events_after(store, seq, agent_id=agent_id)
            found += page.events
            seq = page.seq
            if page.is_last:
                break
        heard_at = last_heard(store, agent_id) if question.asks_heard else _came(found)
        return Answer(_told(found), seq, heard_at)


def _begin(store: Store, question: Question) -> int:
    """Return after which number to read; whoever has joined makes it go back."""
    if question.since is None:
        return question.after or 0
    before = seq_before(store, question.since)
    return before if question.after is None else min(before, question.after)


def _told(events: Iterable[StoredEvent]) -> list[Told]:
    found = (told for event in events if (told := _of(event)) is not None)
    return [replace(told, record=replace(told.record, results=None, transcript=None)) for told in found]


def _of(stored: StoredEvent) -> Told | None:
    event = stored.event
    if event.conversation is None:
        return None
    return Told(event.conversation, event.attempt, event.from_phone, event.sent_at, stored.seq)


def _came(events: Iterable[StoredEvent]) -> datetime | None:
    return max((event.received_at for event in events), default=None)
