"""Has the platform rung again by itself, and which record is that? Decides when an attempt counts.

A record does not say that it is a redial's, and whether a redial keeps the trace id the vendor does not say.

- A later record with the call's own trace id is its redial. It takes the place of the attempt before.
- Where no redial has kept the trace id, a record with another one is taken when the time to settle is over,
  if it is the only one that began with this recipient within it, and nobody else names it. Of two, neither
  is: one may be another task's call, or one that came in, and nothing tells which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from formant_provider.api.models import Conversation
from formant_provider.core.conversations.matching import Claims
from formant_provider.core.conversations.statuses import Endings, ended, moment
from formant_provider.core.conversations.waiters import Waiter
from formant_provider.core.paging import Flow
from formant_provider.core.vendor_clock import VendorClock

Read = Callable[[Conversation, Sequence[Endings]], "Flow[Conversation | None]"]


class Settling:
    """Lets attempts that were made settle, for all who wait; made anew for each poll.

    :param related: returns the records that may be of the same call or with the same recipient as a record,
        in the order in which they began.
    :param read: reads a record in detail; ``None`` when it is not to be had yet.
    :param has_traces: whether this vendor writes trace ids.
    """

    def __init__(
        self,
        claims: Claims,
        clock: VendorClock,
        related: Callable[[Waiter], Sequence[Conversation]],
        read: Read,
        *,
        has_traces: bool,
    ) -> None:
        self._claims = claims
        self._clock = clock
        self._related = related
        self._read = read
        self._has_traces = has_traces

    def settle(self, waiter: Waiter) -> Flow[None]:
        """End a wait whose conversation is known, unless the platform has rung again or may still do so."""
        endings = waiter.watch.endings
        while waiter.record and endings.settle_for and not endings.is_success(waiter.record.status):
            later = yield from self._later(waiter)
            if later is None:
                return  # it may be anybody's: rather a late end than a wrong one
            attempt = next(_own(waiter, later), None) or self._lone_other(waiter, later)
            if attempt is None:
                break
            if not endings.is_over(attempt.status):
                return
            waiter.keeps_trace |= _is_own(waiter, attempt)
            self._claims.give(attempt, waiter, self._clock.now() - self._clock.ahead)
        if self._counts(waiter):
            waiter.end()

    def _counts(self, waiter: Waiter) -> bool:
        now, seen_at = self._clock.now(), (waiter.seen_at or self._clock.now()) + self._clock.ahead
        return waiter.record is not None and waiter.watch.endings.counts(
            waiter.record, now=now, seen_at=min(seen_at, now)
        )

    def _later(self, waiter: Waiter) -> Flow[list[Conversation] | None]:
        """Return what began after the attempt that is known, as well as it is known; ``None``: not yet."""
        began, endings = (waiter.record and waiter.record.start_timestamp) or 0, waiter.watch.endings
        later = []
        for listed in self._related(waiter):
            if (listed.start_timestamp or 0) <= began:
                continue
            record: Conversation | None = listed
            if listed.trace_id is None and endings.is_over(listed.status):
                record = yield from self._read(listed, [endings])
            if record is None:
                return None
            if not self._claims.is_another_s(record, waiter):
                later.append(record)
        return later

    def _lone_other(self, waiter: Waiter, later: Sequence[Conversation]) -> Conversation | None:
        """Return the only record of another trace id, once none can come that began within the time."""
        running = [record for record in later if record.trace_id is None and not _is_over(waiter, record)]
        if running:
            return running[0]  # whose it is will be known when it is over
        if waiter.keeps_trace or not self._counts(waiter):
            return None
        others = [record for record in later if self._may_be_redial(waiter, record)]
        calls = {record.trace_id or (record.conversation_id,) for record in others}
        return others[0] if len(calls) == 1 else None

    def _may_be_redial(self, waiter: Waiter, record: Conversation) -> bool:
        """Whether it began while the attempt settled, and was placed at all."""
        if record.trace_id is None and self._has_traces:
            return False  # it came in, or is of a kind of its own
        attempt = waiter.record
        if attempt is None or record.start_timestamp is None or attempt.start_timestamp is None:
            return False
        end = ended(attempt) or moment(attempt.start_timestamp)
        waited = moment(record.start_timestamp) - end
        return timedelta(0) <= waited <= waiter.watch.endings.settle_for


def _own(waiter: Waiter, later: Sequence[Conversation]) -> Iterator[Conversation]:
    return (record for record in later if _is_own(waiter, record))


def _is_own(waiter: Waiter, record: Conversation) -> bool:
    own = {waiter.watch.trace_id, waiter.record.trace_id if waiter.record else None}
    return record.trace_id is not None and record.trace_id in own


def _is_over(waiter: Waiter, record: Conversation) -> bool:
    return waiter.watch.endings.is_over(record.status)
