"""Remembers what events have told of conversations: of each the newest attempt, in whatever order they came.

An event that comes again, late, or after that of a later attempt changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta

from formant_provider.api.models import Conversation
from formant_provider.api.webhook_models import Attempt
from formant_provider.core.conversations.statuses import Endings, moment
from formant_provider.core.conversations.waiter_index import WaiterIndex
from formant_provider.core.polling.news import Told

# An event and the list may take another moment for the start, that of the dialling or of the answer. Two
# attempts are farther apart: one has to ring and to be given up before the platform waits for the next.
_SAME_WITHIN_MS = 30_000
_USUAL = (Endings(),)
# Targets are set up by hand, and may be gone: who was not heard from for so long is asked as before.
HEARD_WITHIN = timedelta(days=1)


class Heard:
    """What was told, as long as somebody may need it."""

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}
        self._first: dict[str, str] = {}  # trace ids of which the first attempt was told

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self._told)

    def add(self, told: Told, endings: Collection[Endings] = _USUAL) -> bool:
        """Take in what an event tells; return whether it is news.

        :param endings: of those who wait.
        """
        name = told.record.conversation_id
        if told.record.trace_id is not None and told.attempt.number == 1:
            self._first[told.record.trace_id] = name
        before = self._told.get(name)
        if before is not None and not is_newer(told, before, endings):
            return False
        self._told[name] = told
        return True

    def records(self) -> Iterator[Conversation]:
        """Return the records of all conversations."""
        return (told.record for told in self._told.values())

    def drop(self, told: Told) -> None:
        """Forget what was told of a conversation."""
        self._told.pop(told.record.conversation_id, None)

    def of(self, listed: Conversation, endings: Collection[Endings] = _USUAL) -> Conversation:
        """Return a record of the list as an event has told it, unless the list knows of a later attempt.

        An event of what still goes on only adds what the list lacks: the end may be in the list alone.
        """
        told = self._told.get(listed.conversation_id)
        if told is None or _is_later(listed, told.record):
            return listed
        if not _is_over(told.record, endings):
            return listed.filled_from(told.record)
        return told.record.filled_from(listed)

    def attempt(self, record: Conversation) -> Attempt:
        """Return what was told of redials after this attempt."""
        told = self._told.get(record.conversation_id)
        if told is None or _is_later(record, told.record):
            return Attempt()
        if _is_later(told.record, record):  # under the same id
            return Attempt(is_final=False, next_at=moment(told.record.start_timestamp or 0))
        return told.attempt

    def is_call_of_its_own(self, record: Conversation) -> bool:
        """Whether the first attempt was told of the call that this record names."""
        return record.trace_id in self._first

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
        self._first = {trace: name for trace, name in self._first.items() if name in self._told}


def came_in(told: Told, index: WaiterIndex) -> bool:
    """Whether an event is of a call that came in: its recipient is us, and who called is waited for."""
    return index.awaits(told.from_phone) and not index.awaits(told.record.contact_number)


def is_newer(one: Told, other: Told, endings: Collection[Endings] = _USUAL) -> bool:
    """Whether an event tells of a later attempt than another, or of its end, or later of the same."""
    numbers = one.attempt.number, other.attempt.number
    if numbers[0] is not None and numbers[1] is not None:
        if numbers[0] != numbers[1]:
            return numbers[0] > numbers[1]
    elif not is_same_attempt(one.record, other.record):
        return _is_later(one.record, other.record)
    mine, its = _is_over(one.record, endings), _is_over(other.record, endings)
    return mine if mine != its else one.sent_at > other.sent_at


def is_same_attempt(one: Conversation, other: Conversation) -> bool:
    """Whether two records of one conversation are of one attempt, as far as they tell."""
    return not _is_later(one, other) and not _is_later(other, one)


def _is_over(record: Conversation, endings: Collection[Endings]) -> bool:
    return any(each.is_over(record.status) for each in endings)


def _is_later(one: Conversation, other: Conversation) -> bool:
    """Whether it began, or ended, later; who does not say is not."""
    pairs = (one.start_timestamp, other.start_timestamp), (one.end_timestamp, other.end_timestamp)
    return any(mine is not None and its is not None and mine > its + _SAME_WITHIN_MS for mine, its in pairs)
