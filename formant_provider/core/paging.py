"""Reads the list of conversations, or of batch calls, in whatever order, and only as far back as needed.

The lists have no filter but the agent and their order is not documented, so the order is found out while
reading. Records that come in meanwhile move the others along; none that was there is missed.

What to read is a flow (see :mod:`formant_provider.core.flows`).

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.models import Conversation
from formant_provider.api.pages import Page
from formant_provider.core.flows import Flow, Query

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

PAGE_SIZE = 100
# A bound against lists without an end: 100,000 records.
MAX_PAGES = 1000
# The vendor's clock is not ours: a record may seem to begin a little before we asked for it.
CLOCK_SKEW_MS = 60_000


def recent(
    agent_id: int | None,
    since_ms: int,
    take: Callable[[Conversation], None],
    *,
    max_pages: int = MAX_PAGES,
    whole_pages: bool = False,
    on_answer: Callable[[FormantClient], None] = lambda _: None,
    is_enough: Callable[[Page[Conversation]], bool] = lambda _: False,
) -> Flow[bool]:
    """Read an agent's records from a moment on. The same record may be taken more than once.

    :param agent_id: ``None`` means every agent's.
    :param since_ms: epoch milliseconds; a record that does not say when it began is taken as well.
    :param take: called with every record.
    :param max_pages: a bound against lists without an end.
    :param whole_pages: take the older records as well that come along with those from then on.
    :param on_answer: called with the client that has just received a page, in the thread that sent for it.
    :param is_enough: asked after the records of a page were taken, whether the others are known already.
    :return: whether all were read: ``False`` when there were more than that bound.
    """

    def page_at(offset: int) -> Query:
        def send(client: FormantClient) -> Page[Conversation]:
            page = client.list_conversations(agent_id, limit=PAGE_SIZE, offset=offset)
            on_answer(client)
            return page

        return send

    def began_ms(record: Conversation) -> int | None:
        return record.start_timestamp

    reading = _Reading(page_at, began_ms, since_ms, take, max_pages, whole_pages, is_enough)
    yield from _read(reading)
    return reading.is_whole


def recent_batches(agent_id: int, since_ms: int, take: Callable[[BatchCall], None]) -> Flow[bool]:
    """Read an agent's batch calls that were created from a moment on, as :func:`recent` reads conversations.

    :param since_ms: epoch milliseconds; one that does not say when it was created is taken as well.
    """

    def page_at(offset: int) -> Query:
        return lambda client: client.list_batch_calls(agent_id, limit=PAGE_SIZE, offset=offset)

    def created_ms(batch: BatchCall) -> int | None:
        return int(batch.created.timestamp() * 1000) if batch.created else None

    reading = _Reading(page_at, created_ms, since_ms, take)
    yield from _read(reading)
    return reading.is_whole


def _read(reading: _Reading) -> Flow[None]:
    first = yield reading.page_at(0)
    reading.take_page(first)
    if reading.is_enough(first):
        return
    starts = reading.starts(first)
    total = first.total or 0
    if starts and starts[0] < starts[-1] and first.has_more and total > PAGE_SIZE:
        is_read = yield from _backwards(reading, total, max(starts))
        if is_read:
            return
    yield from _onwards(reading, first)


def _onwards(reading: _Reading, page: Page[Any]) -> Flow[None]:
    """Read from the front. What comes in at the front moves the rest towards us, so nothing is passed by."""
    way = _WayBack()
    for number in range(1, reading.max_pages):
        way.go(reading.starts(page))
        if not page.has_more or not page.items or way.is_past(reading.since_ms):
            return
        page = yield reading.page_at(number * PAGE_SIZE)
        reading.take_page(page)
        if reading.is_enough(page):
            return
    reading.stop_at_the_bound()


def _backwards(reading: _Reading, total: int, newest_at_front: int) -> Flow[bool]:
    """Read from the end. What comes in below moves the rest away from us, so pages overlap by as much.

    :return: ``False`` when the end is older than the front: then the list only looked as if its oldest came
        first, as a list by the end of the calls may.
    """
    way = _WayBack()
    unread, overlap = total, 0
    for number in range(1, reading.max_pages):
        start = max(unread + overlap - PAGE_SIZE, 0)
        page = yield reading.page_at(start)
        reading.take_page(page)
        if number == 1 and max(reading.starts(page), default=newest_at_front) < newest_at_front:
            return False
        grown = max((page.total or total) - total, 0)
        total += grown
        if grown > overlap:  # some may have moved to behind this page
            unread, overlap = unread + grown, min(2 * grown, PAGE_SIZE // 2)
            continue
        way.go(reading.starts(page)[: unread - start][::-1])
        unread = start
        if unread == 0 or way.is_past(reading.since_ms) or reading.is_enough(page):
            return True
    reading.stop_at_the_bound()
    return True


@dataclass
class _Reading:
    """What is read of which list, and who takes it.

    :param page_at: asks for the page that passes over so many records.
    :param began_ms: tells when a record began, ``None`` when it does not say.
    :ivar is_whole: whether all of it was read that is wanted.
    """

    page_at: Callable[[int], Query]
    began_ms: Callable[[Any], int | None]
    since_ms: int
    take: Callable[[Any], None]
    max_pages: int = MAX_PAGES
    whole_pages: bool = False
    is_enough: Callable[[Page[Any]], bool] = lambda _: False
    is_whole: bool = field(default=True, init=False)

    def stop_at_the_bound(self) -> None:
        """Note that a list goes on farther than it is read."""
        self.is_whole = False
        log.warning("The list goes on beyond %s pages; the rest is not read.", self.max_pages)

    def starts(self, page: Page[Any]) -> list[int]:
        return [began for began in map(self.began_ms, page.items) if began is not None]

    def take_page(self, page: Page[Any]) -> None:
        for record in page.items:
            began = self.began_ms(record)
            if self.whole_pages or began is None or began >= self.since_ms:
                self.take(record)


class _WayBack:
    """How far back in time the reading of a list has come, and how far out of order the list was so far."""

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
