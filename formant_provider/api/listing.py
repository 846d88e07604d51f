"""Reads the list of conversations, in whatever order it comes, and only as far back as needed.

The list has no filter but the agent and its order is not documented, so the order is found out while
reading. Records that come in meanwhile move the others along; none that was there is missed.

What to read is a *flow*: a generator that yields one request after the other and never sends. :func:`run`
carries it out while the caller waits; who waits for many calls at once carries it out otherwise.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from formant_provider.api.errors import FormantError
from formant_provider.api.models import Conversation, ConversationPage

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

PAGE_SIZE = 100
# A bound against lists without an end: 100,000 records.
MAX_PAGES = 1000
# What pages may have in common at the most, so that we still get ahead.
MAX_OVERLAP = 90
# The vendor's clock is not ours: a record may seem to begin a little before we asked for it.
CLOCK_SKEW_MS = 60_000

T = TypeVar("T")
Ask: TypeAlias = "Callable[[FormantClient], Any]"
Flow: TypeAlias = Generator[Ask, Any, T]


def run(flow: Flow[T], client: FormantClient) -> T:
    """Carry out a flow, one request after the other; an error is raised inside of the flow, at its request.

    :return: what the flow returns.
    """
    try:
        ask = next(flow)
        while True:
            try:
                answer = ask(client)
            except FormantError as error:
                ask = flow.throw(error)
            else:
                ask = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


def recent(agent_id: int | None, since_ms: int, take: Callable[[Conversation], None]) -> Flow[None]:
    """Read an agent's records from a moment on. The same record may be taken more than once.

    :param agent_id: ``None`` means every agent's.
    :param since_ms: epoch milliseconds; a record that does not say when it began is taken as well.
    :param take: is handed every record.
    """
    reading = _Reading(agent_id, since_ms, take)
    first = yield reading.page_at(0)
    reading.take_page(first)
    starts = _starts(first)
    total = first.total or 0
    if starts and starts[0] < starts[-1] and first.has_more and total > PAGE_SIZE:
        is_read = yield from _backwards(reading, total, max(starts))
        if is_read:
            return
    yield from _onwards(reading, first)


def _onwards(reading: _Reading, page: ConversationPage) -> Flow[None]:
    """Read from the front. What comes in at the front moves the rest towards us, so nothing is passed by."""
    way = _WayBack()
    for number in range(1, MAX_PAGES):
        way.go(_starts(page))
        if not page.has_more or not page.items or way.is_past(reading.since_ms):
            return
        page = yield reading.page_at(number * PAGE_SIZE)
        reading.take_page(page)
    log.warning("The list of conversations goes on beyond %s pages; the rest is not read.", MAX_PAGES)


def _backwards(reading: _Reading, total: int, newest_at_front: int) -> Flow[bool]:
    """Read from the end. What comes in below moves the rest away from us, so pages overlap by as much.

    :return: ``False`` when the end is older than the front: then the list only looked as if its oldest came
        first, as a list by the end of the calls may.
    """
    way = _WayBack()
    unread, overlap = total, 0
    for number in range(1, MAX_PAGES):
        start = max(unread + overlap - PAGE_SIZE, 0)
        page = yield reading.page_at(start)
        reading.take_page(page)
        if number == 1 and max(_starts(page), default=newest_at_front) < newest_at_front:
            return False
        grown = max((page.total or total) - total, 0)
        total += grown
        if grown > overlap:  # some may have moved to behind this page
            unread, overlap = unread + grown, min(2 * grown, PAGE_SIZE // 2)
            continue
        way.go(_starts(page)[: unread - start][::-1])
        unread = start
        if unread == 0 or way.is_past(reading.since_ms):
            return True
    log.warning("The list of conversations goes on beyond %s pages; the rest is not read.", MAX_PAGES)
    return True


class _Reading:
    """What is read of the list, and who takes it."""

    def __init__(self, agent_id: int | None, since_ms: int, take: Callable[[Conversation], None]) -> None:
        self._agent_id = agent_id
        self.since_ms = since_ms
        self._take = take

    def page_at(self, offset: int) -> Ask:
        return lambda client: client.list_conversations(self._agent_id, limit=PAGE_SIZE, offset=offset)

    def take_page(self, page: ConversationPage) -> None:
        for record in page.items:
            if record.start_timestamp is None or record.start_timestamp >= self.since_ms:
                self._take(record)


class _WayBack:
    """How far back in time a way through the list has come, and how straight it was."""

    def __init__(self) -> None:
        self._newest: float = -math.inf
        self._oldest: float = math.inf
        self._disorder_ms: float = 0

    def go(self, starts: Sequence[int]) -> None:
        for start in starts:
            self._newest, self._oldest = max(self._newest, start), min(self._oldest, start)
            self._disorder_ms = max(self._disorder_ms, start - self._oldest)

    def is_past(self, since_ms: int) -> bool:
        """Whether all that follows is older than what is wanted.

        A list that is sorted by something near to the start, such as the end, is a little out of order. As
        far as it has been seen to be, so much farther is read; a list in no order at all is read to its end.
        """
        is_ordered = 2 * self._disorder_ms <= self._newest - self._oldest
        return is_ordered and self._oldest + self._disorder_ms < since_ms


def _starts(page: ConversationPage) -> list[int]:
    return [record.start_timestamp for record in page.items if record.start_timestamp is not None]
