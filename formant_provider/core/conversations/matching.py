"""Whose is a conversation? It takes proof, and there are two kinds.

- It bears the id or the trace id that a waiter names. Its times do not matter then, whatever a clock says.
- It is with the waiter's recipient, began within the time in which the call can have led to it, and is the
  only one of its kind. Another one, of another trace id, may be a call that somebody else placed or that came
  in, and nothing tells which is which: two candidates are none. This way is for who knows no trace id, and
  for records of a vendor that writes none at all. Records with one trace id are one call.

What was given to one waiter is not given to another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from formant_provider.api.fingerprints import Fingerprints
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.statuses import Endings, ended, moment
from formant_provider.core.conversations.waiters import Waiter
from formant_provider.core.paging import CLOCK_SKEW_MS
from formant_provider.core.vendor_clock import VendorClock

# How exactly the vendor's clock is known: its dates have no fractions, and an answer takes its time.
CLOCK_MARGIN = timedelta(seconds=5)
# For so long after the last moment at which a call can have begun a rival of its record may still appear.
RIVALS_APPEAR_WITHIN = timedelta(minutes=1)
# Who has looked so often in vain for a trace id is shown older records as well: `since` may come from a clock
# that is ahead.
LOOKS_BY_TIME = 10


@dataclass(frozen=True)
class _Offer:
    """A conversation that may be a waiter's.

    :param is_settled: whether it is over, and it is known as well as it ever will be whose it is.
    """

    record: Conversation
    is_settled: bool

    @property
    def call(self) -> object:
        """What tells its call from others, as far as anything does."""
        return self.record.trace_id or (self.record.conversation_id,)


class Claims:
    """Who of all that wait may be served by a conversation; made anew for each poll.

    :param waiters: whose calls can have begun.
    :param recipients: makes the marks by which recipients are recognised.
    :param given: ids of conversations that were given before, and for which call: its name, who waits for
        it, or the watch of somebody who left and may wait again. Grows.
    :param clock: corrects our times.
    """

    def __init__(
        self,
        waiters: Iterable[Waiter],
        recipients: Fingerprints,
        given: MutableMapping[str, object],
        clock: VendorClock,
    ) -> None:
        self.endings: set[Endings] = set()
        self._recipients = recipients
        self._given = given
        self._clock = clock
        self._by_id: dict[str | None, list[Waiter]] = defaultdict(list)
        self._by_trace: dict[str | None, list[Waiter]] = defaultdict(list)
        self._by_recipient: dict[str | None, list[Waiter]] = defaultdict(list)
        self._lost: list[Waiter] = []
        self._offers: dict[Waiter, list[_Offer]] = defaultdict(list)
        self._reaches: dict[Waiter, _Reach] = {}
        # From when on records are read that do not tell whom they are with, or for whom nobody is recognised.
        self._numberless = _Reach()
        self._unrecognised = _Reach()
        for waiter in waiters:
            self._add(waiter)
        # A call that was given some record keeps its trace id, whatever else bears it.
        self._owned = {call for call in given.values() if isinstance(call, str)}

    def _add(self, waiter: Waiter) -> None:
        watch = waiter.watch
        self.endings.add(watch.endings)
        if watch.conversation_id:
            self._by_id[watch.conversation_id].append(waiter)
            return
        if watch.trace_id:
            self._by_trace[watch.trace_id].append(waiter)
        self._reaches[waiter] = _Reach()
        reaches = [self._reaches[waiter], self._numberless]
        if self._recipients.made(watch.recipient):
            self._by_recipient[watch.recipient].append(waiter)
            if not watch.trace_id:
                self._lost.append(waiter)
        elif watch.trace_id:
            reaches.append(self._unrecognised)
        for reach in reaches:
            reach.extend(waiter, self._clock)

    def may_be_anybody_s(self, record: Conversation) -> bool:
        """Whether the conversation, as far as the list tells, is worth to be looked at."""
        if self.are_named_by(record):
            return True
        mark = self._recipients.mark(record.contact_number)
        if mark is None:
            has_use = record.trace_id is None or bool(self._lost)
            return has_use and self._numberless.includes(record)
        if record.trace_id is None and self._unrecognised.includes(record):
            return True
        return any(
            self._reaches[waiter].includes(record)
            for waiter in self._by_recipient.get(mark, [])
            if record.trace_id is None or waiter.watch.trace_id is None
        )

    def needs_detail(self, record: Conversation) -> bool:
        """Whether the list does not tell whose the conversation is."""
        is_told = record.trace_id is not None and self._recipients.mark(record.contact_number) is not None
        return not is_told and not self.are_named_by(record)

    def are_named_by(self, record: Conversation) -> bool:
        """Whether somebody waits for just this conversation."""
        return bool(self._named(record))

    def _named(self, record: Conversation) -> list[Waiter]:
        return self._by_id.get(record.conversation_id, []) + self._by_trace.get(record.trace_id, [])

    def hand_out(self, record: Conversation, now: datetime, *, is_settled: bool) -> None:
        """Give a conversation to those who named it; offer it to others when nobody did.

        :param is_settled: whether it is over for somebody, and whose it is was looked up.
        """
        named = self._named(record)
        for waiter in named:
            if is_settled and waiter.record is None and waiter.watch.endings.is_over(record.status):
                self.give(record, waiter, now)
        if not named:
            self._offer(record, is_settled)

    def _offer(self, record: Conversation, is_settled: bool) -> None:
        mark = self._recipients.mark(record.contact_number)
        for waiter in self._lost if mark is None else self._by_recipient.get(mark, []):
            watch = waiter.watch
            is_over = is_settled and watch.endings.is_over(record.status)
            if waiter.record is not None or self._began_before(record, watch.since - CLOCK_MARGIN):
                continue
            if watch.trace_id is not None and record.trace_id is not None:
                if is_over:
                    waiter.others.add(record.conversation_id)
            elif watch.until is None or not self._began_after(record, watch.until + CLOCK_MARGIN):
                # Whether one without a start, or without a number, is this call's can never be told.
                is_complete = record.start_timestamp is not None and mark is not None
                self._offers[waiter].append(_Offer(record, is_over and is_complete))

    def _began_before(self, record: Conversation, ours: datetime) -> bool:
        began = record.start_timestamp
        return began is not None and moment(began) - self._clock.ahead < ours

    def _began_after(self, record: Conversation, ours: datetime) -> bool:
        began = record.start_timestamp
        return began is not None and moment(began) - self._clock.ahead > ours

    def settle_offers(self, now: datetime, *, has_traces: bool) -> None:
        """Give to everybody what is proven to be theirs by being the only one.

        :param has_traces: whether this vendor writes trace ids. Then a record without one came of no call
            that was placed, and is nobody's who knows his trace id.
        """
        for waiter, offers in sorted(self._offers.items(), key=lambda each: each[0].watch.since):
            if has_traces and waiter.watch.trace_id is not None:
                continue
            free = [offer for offer in offers if self._is_free(offer.record, waiter)]
            waiter.candidates = len({offer.call for offer in free})
            is_lone = waiter.candidates == 1 and all(offer.is_settled for offer in free)
            waiter.likely = free[0].record if is_lone else None
            if waiter.likely and self._is_closed(waiter, waiter.likely, now):
                self.give(waiter.likely, waiter, now)

    def _is_closed(self, waiter: Waiter, record: Conversation, now: datetime) -> bool:
        """Whether no rival of a candidate is to be expected any more."""
        watch, over = waiter.watch, ended(record)
        if watch.until is None and watch.trace_id is not None:
            return True
        # Where nobody knows until when, its end must do: what rivals it began before.
        latest = watch.until or (over - self._clock.ahead if over else None)
        return latest is not None and now > latest + RIVALS_APPEAR_WITHIN

    def give(self, record: Conversation, waiter: Waiter, now: datetime) -> None:
        """Let a waiter take a conversation, and remember whose it is for as long as it is listed."""
        self._given.setdefault(record.conversation_id, waiter.call)
        waiter.take(record, now)

    def _is_free(self, record: Conversation, waiter: Waiter) -> bool:
        if record.trace_id in self._owned and record.trace_id != waiter.call:
            return False
        return self._given.get(record.conversation_id, waiter.call) in {waiter.call, waiter.watch}

    def is_another_s(self, record: Conversation, waiter: Waiter) -> bool:
        """Whether the conversation is that of a call somebody else waits for, or waited for."""
        own = {waiter.watch.trace_id, waiter.record.trace_id if waiter.record else None}
        if record.trace_id is not None and record.trace_id in own:
            return False
        return any(other is not waiter for other in self._named(record)) or not self._is_free(record, waiter)


class _Reach:
    """From when on the records are to be read, for some waiters; generous, since no proof hangs on it."""

    def __init__(self) -> None:
        self.since_ms: float | None = None
        self._is_endless = False

    def extend(self, waiter: Waiter, clock: VendorClock) -> None:
        """Reach as far back as this waiter needs."""
        since_ms = reads_since_ms(waiter, clock)
        self.since_ms = since_ms if self.since_ms is None else min(self.since_ms, since_ms)
        if waiter.watch.trace_id and waiter.record is None and waiter.looks >= LOOKS_BY_TIME:
            self._is_endless = True

    def includes(self, record: Conversation) -> bool:
        """Whether the record is to be read. One that does not say when it began is."""
        if self.since_ms is None:
            return False
        began_ms = record.start_timestamp
        return self._is_endless or began_ms is None or began_ms >= self.since_ms


def reads_since_ms(waiter: Waiter, clock: VendorClock) -> float:
    """Return from when on records are read for a waiter, in epoch milliseconds by the vendor's clock."""
    since = waiter.watch.since + min(clock.ahead, timedelta(0))
    return since.timestamp() * 1000 - CLOCK_SKEW_MS
