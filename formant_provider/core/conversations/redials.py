"""Decides whether the platform has called again by itself, and which record is that redial.

A record does not say that it is a redial's, and whether a redial keeps the trace id the vendor does not say.

- A later record with the call's own trace id is its redial. It takes the place of the attempt before.
- What an event says of the attempt comes first: after the last one nothing is waited for, and a redial that
  is announced is waited for, whatever the time to settle.
- Where no redial has kept the trace id, a record with another one is taken when the time to settle is over,
  if it is the only one that began with this recipient within it, and nobody else names it. Of two, neither
  is: one may be another task's call, or one that came in, and nothing tells which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from formant_provider.api.fingerprints import Fingerprints
from formant_provider.api.models import Conversation
from formant_provider.api.webhook_models import Attempt
from formant_provider.core.conversations.statuses import NOTHING_TOLD, Endings, ended, moment
from formant_provider.core.conversations.waiters import Waiter
from formant_provider.core.flows import Flow
from formant_provider.core.vendor_clock import VendorClock

Read = Callable[[Conversation, Sequence[Endings]], "Flow[Conversation | None]"]


@dataclass(frozen=True)
class Redials:
    """Looks for redials, for all who wait; made anew for each poll.

    :param related: returns the records that may be of a waiter's call, in the order in which they began.
    :param read: reads a record in detail; ``None`` when it cannot be read yet.
    :param has_traces: whether this vendor writes trace ids.
    :param told: returns what an event has said of redials after an attempt.
    :param is_listed: whether the list was read just now. Without it nothing is known of what goes on, so that
        no time to settle is over.
    """

    belongs_to_other: Callable[[Conversation, Waiter], bool]
    clock: VendorClock
    related: Callable[[Waiter], Sequence[Conversation]]
    read: Read
    has_traces: bool
    told: Callable[[Conversation], Attempt]
    is_listed: bool = True
    is_call_of_its_own: Callable[[Conversation], bool] = lambda _: False

    def judge(self, waiter: Waiter, attempt: Conversation) -> Flow[Conversation | None]:
        """Return the attempt if it ends the wait, or one that has taken its place; ``None``: neither yet."""
        endings = waiter.watch.endings
        at_once = endings.counts_at_once(attempt, self._told(attempt, waiter))
        if at_once and not self._is_outdated(attempt, waiter):
            return attempt
        later = yield from self._later_than(attempt, waiter)
        if later is None:
            return None  # it may be anybody's: rather a late end than a wrong one
        own = next((record for record in later if waiter.is_own(record)), None)
        redial = own or self._lone_other(waiter, attempt, later)
        if redial is None:
            return attempt if self._counts(waiter, attempt) else None
        return redial if endings.is_over(redial.status) else None

    def _is_outdated(self, attempt: Conversation, waiter: Waiter) -> bool:
        """Whether a redial of the call is on record, though its attempt was said to be the last."""
        endings, began = waiter.watch.endings, attempt.start_timestamp or 0
        if endings.is_success(attempt.status) or not endings.settle_for:
            return False
        return any(
            waiter.is_own(each) and (each.start_timestamp or 0) > began for each in self.related(waiter)
        )

    def _counts(self, waiter: Waiter, attempt: Conversation) -> bool:
        counts_at = settles_at(waiter, attempt, self._told(attempt, waiter), self.clock)
        return self.is_listed and self.clock.now() >= counts_at

    def _told(self, attempt: Conversation, waiter: Waiter) -> Attempt:
        """Return what was said of redials; who names one record waits for none."""
        names_one = waiter.watch.conversation_id is not None and not waiter.watch.endings.settle_for
        return NOTHING_TOLD if names_one else self.told(attempt)

    def _later_than(self, attempt: Conversation, waiter: Waiter) -> Flow[list[Conversation] | None]:
        """Return what began after the attempt, as well as it is known; ``None``: not yet."""
        began, endings = attempt.start_timestamp or 0, waiter.watch.endings
        later = []
        for listed in self.related(waiter):
            if (listed.start_timestamp or 0) <= began:
                continue
            record: Conversation | None = listed
            if listed.trace_id is None and endings.is_over(listed.status):
                record = yield from self.read(listed, [endings])
            if record is None:
                return None
            if not self.belongs_to_other(record, waiter):
                later.append(record)
        return later

    def _lone_other(
        self, waiter: Waiter, attempt: Conversation, later: Sequence[Conversation]
    ) -> Conversation | None:
        """Return the only record of another trace id, once none can come that began within the time."""
        for record in later:
            if record.trace_id is None and not waiter.watch.endings.is_over(record.status):
                return record  # whose it is will be known when it is over
        if waiter.keeps_trace or not self._counts(waiter, attempt):
            return None
        others = [record for record in later if self._may_be_redial(record, attempt, waiter)]
        calls = {record.trace_id or (record.conversation_id,) for record in others}
        return others[0] if len(calls) == 1 else None

    def _may_be_redial(self, record: Conversation, attempt: Conversation, waiter: Waiter) -> bool:
        """Whether it began while the attempt settled, and was placed at all."""
        if record.trace_id is None and self.has_traces:
            return False  # it came in, or is of a kind of its own
        if (
            self.told(record).number == 1
            or self.is_call_of_its_own(record)
            or not waiter.watch.endings.settle_for
        ):
            return False  # it is the first attempt of another call, or the first record was to decide
        if record.start_timestamp is None or attempt.start_timestamp is None:
            return False
        end = ended(attempt) or moment(attempt.start_timestamp)
        until = waiter.watch.endings.counts_at(attempt, seen_at=end, attempt=self._told(attempt, waiter))
        return end <= moment(record.start_timestamp) <= until


def settles_at(waiter: Waiter, record: Conversation, told: Attempt, clock: VendorClock) -> datetime:
    """Return from when on, by the vendor's clock, a record ends the wait if it is the newest."""
    now = clock.now()
    seen_at = min((waiter.seen_at or clock.now()) + clock.ahead, now)
    return waiter.watch.endings.counts_at(record, seen_at=seen_at, attempt=told)


def unread(_: Conversation, __: Sequence[Endings]) -> Flow[Conversation | None]:
    """Read nothing: between two polls nobody is asked."""
    return None
    yield


class Related:
    """Finds the records of one call or with one person, in the order in which they are given."""

    def __init__(self, records: Sequence[Conversation], recipients: Fingerprints) -> None:
        self._recipients = recipients
        self._records: dict[str | None, list[Conversation]] = defaultdict(list)
        for record in records:
            for name in {recipients.mark(record.contact_number), record.trace_id}:
                self._records[name].append(record)

    def to(self, waiter: Waiter) -> list[Conversation]:
        """Return those that may be of a waiter's call."""
        watch, record = waiter.watch, waiter.record
        own = self._recipients.mark(record.contact_number) if record else None
        names = {own or watch.recipient, watch.trace_id, record.trace_id if record else None} - {None}
        found = {each.conversation_id: each for name in names for each in self._records.get(name, [])}
        return sorted(found.values(), key=lambda each: each.start_timestamp or 0)
