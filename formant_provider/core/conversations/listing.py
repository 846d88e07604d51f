"""Tells which conversations with a person are in the list, to whoever looks for a call.

A look reads the whole list back to when the call can have begun, for the sake of one person. Where many look,
:mod:`formant_provider.core.conversations.shared_listing` reads it once for all of them.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from formant_provider.api.errors import CallOutcomeUnknown
from formant_provider.api.models import Conversation
from formant_provider.core.flows import run
from formant_provider.core.paging import recent
from formant_provider.core.vendor_clock import skew_of

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

_PLAIN_NUMBER = re.compile(r"\+?[0-9 ().-]+")


class Listing:
    """Reads the list anew each time.

    :param client: sends what is read; whose retry policy says how often.
    :param agent_id: whose conversations are listed.
    :param now: tells the current time, aware.
    """

    def __init__(self, client: FormantClient, agent_id: int, now: Callable[[], datetime]) -> None:
        self.client = client
        self.agent_id = agent_id
        self.now = now
        self._listed: dict[str, Conversation] = {}

    @property
    def skew(self) -> timedelta | None:
        """How far the vendor's clock is ahead of ours, as its last answer told; ask right after one."""
        return skew_of(self.client.server_date, self.now())

    def refresh(self, begin: datetime) -> None:
        """Learn what is in the list now.

        :param begin: how far back, aware, by the vendor's clock.
        :raises CallOutcomeUnknown: there are too many conversations to read them all.
        """
        self._listed = listed = {}

        def take(record: Conversation) -> None:
            listed[record.conversation_id] = record

        if not run(recent(self.agent_id, to_ms(begin), take), self.client):
            raise too_many()

    def with_recipient(
        self, recipient: str, begin: datetime, in_detail: Callable[[Conversation], Conversation]
    ) -> list[Conversation]:
        """Return those with a person that began since a moment, or do not say when, as the list has them.

        :param begin: not before that of the last :meth:`refresh`.
        :param in_detail: reads a record in detail, since the list may leave the number out, or mask it.
        """

        def is_theirs(record: Conversation) -> bool:
            told = record if tells_number(record) else in_detail(record)
            return digits_of(told.contact_number) == digits_of(recipient)

        return [each for each in self._listed.values() if began_since(each, begin) and is_theirs(each)]


def too_many() -> CallOutcomeUnknown:
    """Return the error that the list goes on beyond what is read of it."""
    text = "There are too many conversations of this agent to find that of one call among them"
    return CallOutcomeUnknown(text, maybe_placed=True)


def tells_number(record: Conversation) -> bool:
    """Whether a record has a number, and not a part of one."""
    return record.contact_number is not None and bool(_PLAIN_NUMBER.fullmatch(record.contact_number))


def digits_of(number: str | None) -> str:
    """Return what two writings of one number have in common."""
    return re.sub(r"\D", "", number or "")


def to_ms(moment: datetime) -> int:
    """Return a moment as the list has it: milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def began_since(record: Conversation, begin: datetime) -> bool:
    """Whether a record began since a moment, or does not say when."""
    began_ms = record.start_timestamp
    return began_ms is None or datetime.fromtimestamp(began_ms / 1000, UTC) >= begin
