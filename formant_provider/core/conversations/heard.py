"""Remembers what events have told of conversations: of each the newest attempt, in whatever order they came.

An event that comes again, late, or after that of a later attempt changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta

from formant_provider.api.models import Conversation
from formant_provider.api.webhook_models import Attempt
from formant_provider.core.conversations.statuses import moment
from formant_provider.core.conversations.waiter_index import WaiterIndex
from formant_provider.core.polling.news import Told

# An event has its times as text, a record in milliseconds; of two attempts they are much farther apart.
_SAME_WITHIN_MS = 2000
# Targets are set up by hand, and may be gone: who was not heard from for so long is asked as before.
HEARD_WITHIN = timedelta(days=1)


class Heard:
    """What was told, as long as somebody may need it."""

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self._told)

    def add(self, told: Told) -> bool:
        """Take in what an event tells; return whether it is news."""
        name = told.record.conversation_id
        before = self._told.get(name)
        if before is not None and not is_newer(told, before):
            return False
        self._told[name] = told
        return True

    def records(self) -> Iterator[Conversation]:
        """Return the records of all conversations."""
        return (told.record for told in self._told.values())

    def of(self, listed: Conversation) -> Conversation:
        """Return a record of the list as an event has told it, unless the list knows of a later attempt."""
        told = self._told.get(listed.conversation_id)
        return told.record.filled_from(listed) if told and not _is_later(listed, told.record) else listed

    def attempt(self, record: Conversation) -> Attempt:
        """Return what was told of redials after this attempt."""
        told = self._told.get(record.conversation_id)
        if told is None or _is_later(record, told.record):
            return Attempt()
        if _is_later(told.record, record):  # under the same id
            return Attempt(is_final=False, next_at=moment(told.record.start_timestamp or 0))
        return told.attempt

    def came_in(self, record: Conversation, index: WaiterIndex) -> bool:
        """Whether somebody who is waited for has called, and was not called."""
        told = self._told.get(record.conversation_id)
        return told is not None and came_in(told, index)

    def keep(self, names: Collection[str], index: WaiterIndex) -> None:
        """Forget all but these conversations, and those with people who are waited for."""
        self._told = {
            name: told
            for name, told in self._told.items()
            if name in names or index.awaits(told.record.contact_number) or index.awaits(told.from_phone)
        }


def came_in(told: Told, index: WaiterIndex) -> bool:
    """Whether an event is of a call that came in: its recipient is us, and who called is waited for."""
    return index.awaits(told.from_phone) and not index.awaits(told.record.contact_number)


def is_newer(one: Told, other: Told) -> bool:
    """Whether an event tells of a later attempt than another, or later of the same."""
    return _order(one, other) > _order(other, one)


def is_same_attempt(one: Conversation, other: Conversation) -> bool:
    """Whether two records of one conversation are of one attempt, as far as they tell."""
    return not _is_later(one, other) and not _is_later(other, one)


def _order(told: Told, other: Told) -> tuple[float, float]:
    has_numbers = told.attempt.number is not None and other.attempt.number is not None
    place = told.attempt.number if has_numbers else told.record.start_timestamp
    return place or 0, told.sent_at.timestamp()


def _is_later(one: Conversation, other: Conversation) -> bool:
    """Whether it began, or ended, later; who does not say is not."""
    pairs = (one.start_timestamp, other.start_timestamp), (one.end_timestamp, other.end_timestamp)
    return any(mine is not None and its is not None and mine > its + _SAME_WITHIN_MS for mine, its in pairs)
