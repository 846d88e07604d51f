"""Decides whose a conversation is. It takes proof, and there are two kinds.

- :func:`by_id`: it bears the id or the trace id that a waiter names. Its times do not matter then, whatever
  a clock says.
- :func:`by_recipient`: it is with the waiter's recipient, began within the time in which the call can have
  led to it, and is the only one of its kind. Another one, of another trace id, may be a call that somebody
  else placed or that came in, and nothing tells which is which: two candidates are none. This way is for
  waiters without a trace id, and for records of a vendor that writes none at all. Records with one trace id
  are one call.

What was assigned to one waiter is not assigned to another. Nothing is changed here: the feed applies what is
returned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from formant_provider.api.models import Conversation
from formant_provider.core.conversations.statuses import ended, moment
from formant_provider.core.conversations.waiter_index import WaiterIndex
from formant_provider.core.conversations.waiters import Waiter
from formant_provider.core.vendor_clock import VendorClock

# How exactly the vendor's clock is known: its dates have no fractions, and an answer takes its time.
CLOCK_MARGIN = timedelta(seconds=5)
# For so long after the last moment at which a call can have begun a rival of its record may still appear.
RIVALS_APPEAR_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True)
class Reading:
    """A conversation as a poll has read it; settled once it is over for somebody and was read in detail."""

    record: Conversation
    is_settled: bool


@dataclass(frozen=True)
class Match:
    """What the records with its recipient tell a waiter.

    :param candidates: how many calls may be this one.
    :param likely: the only candidate, as far as is on record.
    :param is_proven: whether it is the waiter's, since no rival is to be expected any more.
    """

    waiter: Waiter
    candidates: int
    likely: Conversation | None
    is_proven: bool


class Ownership:
    """Remembers for which call a conversation was taken, for as long as it is listed.

    A call is its name, or who waits for it, or the watch of somebody who left and may wait again.
    """

    def __init__(self) -> None:
        self._calls: dict[str, object] = {}
        self._traces: set[str] = set()
        self._starts: dict[str, set[int]] = {}

    def note_start(self, record: Conversation) -> None:
        """Remember when an attempt began: of those that share an id only the newest is on record."""
        if record.start_timestamp is not None:
            self._starts.setdefault(record.conversation_id, set()).add(record.start_timestamp)

    def attempts(self, record: Conversation) -> Iterator[Conversation]:
        """Return the record as of each attempt under its id that is known to have begun."""
        starts = {*self._starts.get(record.conversation_id, ()), record.start_timestamp}
        return (replace(record, start_timestamp=start) for start in starts)

    def note(self, record: Conversation, waiter: Waiter) -> None:
        """Remember whose the conversation is."""
        self._calls.setdefault(record.conversation_id, waiter.call)

    def keep(self, conversation_ids: Container[str]) -> None:
        """Forget all conversations but these."""
        self._calls = {name: call for name, call in self._calls.items() if name in conversation_ids}
        self._starts = {name: starts for name, starts in self._starts.items() if name in conversation_ids}
        # A call that was assigned some record keeps its trace id, whatever else bears it.
        self._traces = {call for call in self._calls.values() if isinstance(call, str)}

    def waiter_left(self, waiter: Waiter) -> None:
        """Know the call of somebody who left by its watch, by which the same one may come back."""
        if waiter.call is waiter.watch:
            calls = self._calls.items()
            self._calls = {name: waiter.watch if call is waiter else call for name, call in calls}

    def is_free(self, record: Conversation, waiter: Waiter) -> bool:
        """Whether the conversation is no other call's, as far as is known."""
        if record.trace_id in self._traces and record.trace_id != waiter.call:
            return False
        return self._calls.get(record.conversation_id, waiter.call) in {waiter.call, waiter.watch}


def by_id(record: Conversation, index: WaiterIndex) -> list[Waiter]:
    """Return the waiters whose conversation it is: they name it, it is over for them, and is their first."""
    return [
        waiter
        for waiter in index.named_by(record)
        if waiter.record is None and waiter.watch.endings.is_over(record.status)
    ]


def by_recipient(
    readings: Iterable[Reading],
    index: WaiterIndex,
    ownership: Ownership,
    clock: VendorClock,
    *,
    has_traces: bool,
) -> list[Match]:
    """Return what is proven, or likely, by being the only one.

    :param readings: of records that nobody names.
    :param has_traces: whether this vendor writes trace ids. Then a record without one came of no call that
        was placed, and is nobody's who knows his trace id.
    """
    offers: dict[Waiter, list[Reading]] = defaultdict(list)
    for reading in readings:
        for waiter in index.with_recipient_of(reading.record):
            is_told_by_trace = has_traces and waiter.watch.trace_id is not None
            attempts = ownership.attempts(reading.record)
            if not is_told_by_trace and any(_may_be(waiter, each, clock) for each in attempts):
                offers[waiter].append(reading)
    matches: list[Match] = []
    taken: dict[str, object] = {}
    for waiter in sorted(offers, key=lambda each: each.watch.since):
        free = [
            each
            for each in offers[waiter]
            if ownership.is_free(each.record, waiter)
            and taken.get(each.record.conversation_id, waiter.call) == waiter.call
        ]
        # A trace id tells a call from others; without one each record is a call of its own.
        calls = {each.record.trace_id or (each.record.conversation_id,) for each in free}
        is_lone = len(calls) == 1 and all(_is_settled(each, waiter, index) for each in free)
        likely = free[0].record if is_lone else None
        is_proven = likely is not None and _no_rival_can_appear(waiter, likely, clock)
        if likely and is_proven:
            taken[likely.conversation_id] = waiter.call
        matches.append(Match(waiter, len(calls), likely, is_proven))
    return matches


def calls_of_others(
    readings: Iterable[Reading], index: WaiterIndex, clock: VendorClock
) -> Iterator[tuple[Waiter, str]]:
    """Yield who waits in vain, and the ids of conversations with the recipient that bear other trace ids."""
    for reading in readings:
        record = reading.record
        for waiter in index.with_recipient_of(record) if reading.is_settled else ():
            is_over = waiter.watch.endings.is_over(record.status)
            if is_over and _bear_other_traces(waiter, record) and _is_in_time(waiter, record, clock):
                yield waiter, record.conversation_id


def belongs_to_other(record: Conversation, waiter: Waiter, index: WaiterIndex, ownership: Ownership) -> bool:
    """Whether the conversation is that of a call somebody else waits for, or waited for."""
    if waiter.is_own(record):
        return False
    return any(other is not waiter for other in index.named_by(record)) or not ownership.is_free(
        record, waiter
    )


def _may_be(waiter: Waiter, record: Conversation, clock: VendorClock) -> bool:
    """Whether the call that is waited for can have led to a record that does not say so."""
    watch = waiter.watch
    if not _is_in_time(waiter, record, clock) or _bear_other_traces(waiter, record):
        return False
    began = _began(record, clock)
    return watch.until is None or began is None or began <= watch.until + CLOCK_MARGIN


def _bear_other_traces(waiter: Waiter, record: Conversation) -> bool:
    """Whether both tell a trace id; those who tell the same were found by it."""
    return waiter.watch.trace_id is not None and record.trace_id is not None


def _is_in_time(waiter: Waiter, record: Conversation, clock: VendorClock) -> bool:
    began = _began(record, clock)
    return waiter.record is None and (began is None or began >= waiter.watch.since - CLOCK_MARGIN)


def _began(record: Conversation, clock: VendorClock) -> datetime | None:
    """Return when the conversation began, by our clock."""
    return None if record.start_timestamp is None else moment(record.start_timestamp) - clock.ahead


def _is_settled(reading: Reading, waiter: Waiter, index: WaiterIndex) -> bool:
    """Whether it is over, and it is known as well as it ever will be whose it is."""
    record = reading.record
    # Whether one without a start, or without a number, is this call's can never be told.
    is_complete = record.start_timestamp is not None and index.tells_recipient(record)
    return reading.is_settled and waiter.watch.endings.is_over(record.status) and is_complete


def _no_rival_can_appear(waiter: Waiter, record: Conversation, clock: VendorClock) -> bool:
    watch, over = waiter.watch, ended(record)
    if watch.until is None and watch.trace_id is not None:
        return True
    # Where nobody knows until when, its end must do: what rivals it began before.
    latest = watch.until or (over - clock.ahead if over else None)
    return latest is not None and clock.now() - clock.ahead > latest + RIVALS_APPEAR_WITHIN
