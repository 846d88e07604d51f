"""Finds the waiters whom a conversation may concern, and says which records are worth reading for them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from formant_provider.api.fingerprints import Fingerprints
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.conversations.waiters import Waiter
from formant_provider.core.paging import CLOCK_SKEW_MS
from formant_provider.core.vendor_clock import VendorClock

# Who has looked so often in vain for a trace id is shown older records as well: `since` may come from a clock
# that is ahead.
LOOKS_BY_TIME = 10


class WaiterIndex:
    """The waiters of one poll, by all that a conversation can be recognised by; made anew for each poll.

    :param waiters: whose calls can have begun.
    :param recipients: makes the marks by which recipients are recognised.
    :param clock: corrects our times.
    :ivar endings: what ends the waits of any of them.
    """

    def __init__(self, waiters: Iterable[Waiter], recipients: Fingerprints, clock: VendorClock) -> None:
        self.endings: set[Endings] = set()
        self._recipients = recipients
        self._clock = clock
        self._by_id: dict[str | None, list[Waiter]] = defaultdict(list)
        self._by_trace: dict[str | None, list[Waiter]] = defaultdict(list)
        self._by_recipient: dict[str | None, list[Waiter]] = defaultdict(list)
        self._lost: list[Waiter] = []
        self._reach_ms: dict[Waiter, float] = {}
        # From when on records are read that do not tell whom they are with, or for whom nobody is recognised.
        self._numberless_ms = self._unrecognised_ms = math.inf
        for waiter in waiters:
            self._add(waiter)

    def _add(self, waiter: Waiter) -> None:
        watch = waiter.watch
        self.endings.add(watch.endings)
        if watch.conversation_id:
            self._by_id[watch.conversation_id].append(waiter)
            return
        if watch.trace_id:
            self._by_trace[watch.trace_id].append(waiter)
        reach_ms = self._reach_ms[waiter] = _reach_ms(waiter, self._clock)
        self._numberless_ms = min(self._numberless_ms, reach_ms)
        if self._recipients.made(watch.recipient):
            self._by_recipient[watch.recipient].append(waiter)
            if not watch.trace_id:
                self._lost.append(waiter)
        elif watch.trace_id:
            self._unrecognised_ms = min(self._unrecognised_ms, reach_ms)

    def named_by(self, record: Conversation) -> list[Waiter]:
        """Return those who wait for just this conversation: it bears an id that they name."""
        return self._by_id.get(record.conversation_id, []) + self._by_trace.get(record.trace_id, [])

    def with_recipient_of(self, record: Conversation) -> list[Waiter]:
        """Return those whose calls may be with the same recipient."""
        mark = self._recipients.mark(record.contact_number)
        return self._lost if mark is None else self._by_recipient.get(mark, [])

    def awaits(self, number: str | None) -> bool:
        """Whether somebody waits for a call with this number."""
        mark = self._recipients.mark(number)
        return mark is not None and bool(self._by_recipient.get(mark))

    def tells_recipient(self, record: Conversation) -> bool:
        """Whether the record says whom it is with."""
        return self._recipients.mark(record.contact_number) is not None

    def is_relevant(self, record: Conversation) -> bool:
        """Whether the conversation may be somebody's, as far as the list tells."""
        if self.named_by(record):
            return True
        mark = self._recipients.mark(record.contact_number)
        if mark is None:
            has_use = record.trace_id is None or bool(self._lost)
            return has_use and _reaches(self._numberless_ms, record)
        if record.trace_id is None and _reaches(self._unrecognised_ms, record):
            return True
        return any(
            _reaches(self._reach_ms[waiter], record)
            for waiter in self._by_recipient.get(mark, [])
            if record.trace_id is None or waiter.watch.trace_id is None
        )

    def needs_detail(self, record: Conversation) -> bool:
        """Whether the list does not tell whose the conversation is."""
        is_told = record.trace_id is not None and self.tells_recipient(record)
        return not is_told and not self.named_by(record)


def _reach_ms(waiter: Waiter, clock: VendorClock) -> float:
    """Return from when on records may be the waiter's; generous, since no proof depends on it."""
    is_lost = waiter.watch.trace_id and waiter.record is None and waiter.looks >= LOOKS_BY_TIME
    return -math.inf if is_lost else reads_since_ms(waiter, clock)


def _reaches(since_ms: float, record: Conversation) -> bool:
    """Whether a record is to be read by those who reach as far. One that does not say when it began is."""
    began_ms = record.start_timestamp
    return since_ms < math.inf and (began_ms is None or began_ms >= since_ms)


def reads_since_ms(waiter: Waiter, clock: VendorClock) -> float:
    """Return from when on records are read for a waiter, in epoch milliseconds by the vendor's clock."""
    since = waiter.watch.since + min(clock.ahead, timedelta(0))
    return since.timestamp() * 1000 - CLOCK_SKEW_MS
