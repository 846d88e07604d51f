"""Who waits for which call, and whose a conversation is.

A conversation belongs to the waiter that names its id or its trace id. Where neither is to be had, recipient
and time decide, and no conversation is given to two.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from formant_provider.api.listing import CLOCK_SKEW_MS
from formant_provider.api.models import Conversation
from formant_provider.api.progress import Endings
from formant_provider.api.recipients import Recipients

CLOCK_SKEW = timedelta(milliseconds=CLOCK_SKEW_MS)
DEFAULT_POLL_INTERVAL_S = 30.0
FIRST_LOOK = timedelta(seconds=10)


@dataclass(frozen=True)
class Watch:
    """Which call is waited for. Nothing private.

    :param since: when its conversation can begin at the earliest, aware.
    :param trace_id: of the call; ``None`` when its receipt was lost.
    :param conversation_id: of its record, when that was seen.
    :param recipient: the mark of its recipient; ``None`` when nobody said.
    :param endings: what ends the wait.
    :param poll_interval_s: seconds between two looks, if the API's limits allow it.
    """

    since: datetime
    trace_id: str | None = None
    conversation_id: str | None = None
    recipient: str | None = None
    endings: Endings = field(default_factory=Endings)
    poll_interval_s: float = DEFAULT_POLL_INTERVAL_S

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same watch of: plain values."""
        endings = self.endings
        return {
            "since": self.since.isoformat(),
            "trace_id": self.trace_id,
            "conversation_id": self.conversation_id,
            "recipient": self.recipient,
            "poll_interval_s": self.poll_interval_s,
            "successful": sorted(endings.successful),
            "further": sorted(endings.further),
            "settle_for_s": endings.settle_for.total_seconds(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Watch:
        """Read what :meth:`to_json` wrote."""
        return cls(
            since=datetime.fromisoformat(fields["since"]),
            trace_id=fields["trace_id"],
            conversation_id=fields["conversation_id"],
            recipient=fields["recipient"],
            poll_interval_s=fields["poll_interval_s"],
            endings=Endings(
                successful=frozenset(fields["successful"]),
                further=frozenset(fields["further"]),
                settle_for=timedelta(seconds=fields["settle_for_s"]),
            ),
        )

    @property
    def due_at(self) -> datetime:
        """The moment from which it is worth to look: two clocks may differ."""
        return self.since - CLOCK_SKEW

    def age(self, record: Conversation) -> tuple[bool, float]:
        """Order records by how likely they are this call's: the first one that began since then."""
        if record.start_timestamp is None:
            return True, math.inf
        age_ms = record.start_timestamp - self.since.timestamp() * 1000
        return age_ms < 0, age_ms


class Waits:
    """Somebody who waits, for whatever it is.

    :ivar outcome: what ended the wait.
    :ivar looks: polls that looked for it.
    """

    outcome: object | None = None
    looks: int = 0

    def gives_up_at(self, deadline: datetime, begun: datetime) -> datetime:
        """Return when to wait no more. A deadline that passed while nobody looked is put off for one look.

        :param begun: when the wait began, in this process.
        """
        return deadline if self.looks else max(deadline, begun + FIRST_LOOK)


@dataclass(eq=False)
class Waiter(Waits):
    """Somebody who waits for a call.

    :param tell: called once, when the wait has ended.
    :ivar record: the conversation that is this call's, once it is over; it may not count yet.
    :ivar seen_at: when it was first seen to be over.
    :ivar outcome: the same conversation, once it counts.
    :ivar looks: polls that looked for it.
    :ivar others: conversations with the recipient that ended since then and belong to other calls.
    """

    watch: Watch
    tell: Callable[[], None] | None = None
    record: Conversation | None = None
    seen_at: datetime | None = None
    outcome: Conversation | None = None
    looks: int = 0
    others: set[str] = field(default_factory=set)

    @property
    def call(self) -> object:
        """What tells its call from others: the same for all who name it."""
        return self.watch.trace_id or self.watch.conversation_id or self

    def take(self, record: Conversation, now: datetime) -> None:
        """Take a conversation as this call's; a further attempt replaces the one before."""
        self.record, self.seen_at = record, now

    def end(self) -> None:
        """Let the conversation that was taken be the outcome."""
        self.outcome = self.record
        if self.tell:
            self.tell()


class Hopes:
    """Who of all that wait may be served by a conversation; made anew for each poll.

    :param waiters: whose calls can have begun.
    :param recipients: makes the marks by which recipients are recognised.
    :param given: ids of conversations that were given before, and for which call: its name, who waits for
        it, or the watch of somebody who left and may wait again. Grows.
    """

    def __init__(
        self, waiters: Iterable[Waiter], recipients: Recipients, given: MutableMapping[str, object]
    ) -> None:
        self.endings: set[Endings] = set()
        self._recipients = recipients
        self._given = given
        self._by_id: dict[str | None, list[Waiter]] = defaultdict(list)
        self._by_trace: dict[str | None, list[Waiter]] = defaultdict(list)
        self._by_recipient: dict[str | None, list[Waiter]] = defaultdict(list)
        self._offers: list[tuple[Waiter, Conversation]] = []
        self._anybody = False
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
        if self._recipients.made(watch.recipient):
            self._by_recipient[watch.recipient].append(waiter)
        else:
            self._anybody = True

    def are_for(self, record: Conversation) -> bool:
        """Whether the conversation, as far as it is known, may be somebody's."""
        if self.are_named_by(record):
            return True
        if record.trace_id is None and self._anybody:
            return True
        waiting = self._by_recipient.get(self._recipients.mark(record.contact_number), [])
        return any(record.trace_id is None or waiter.watch.trace_id is None for waiter in waiting)

    def are_named_by(self, record: Conversation) -> bool:
        """Whether somebody waits for just this conversation."""
        return record.conversation_id in self._by_id or record.trace_id in self._by_trace

    def hand_out(self, record: Conversation, now: datetime) -> None:
        """Give a conversation that is over to those who named it; offer it to others when nobody did."""
        named = self._by_id.get(record.conversation_id, []) + self._by_trace.get(record.trace_id, [])
        for waiter in named:
            if waiter.record is None and waiter.watch.endings.is_over(record.status):
                self.give(record, waiter, now)
        if not named:
            self._offer(record)

    def _offer(self, record: Conversation) -> None:
        for waiter in self._by_recipient.get(self._recipients.mark(record.contact_number), []):
            watch = waiter.watch
            too_old = record.start_timestamp is not None and (
                record.start_timestamp < watch.due_at.timestamp() * 1000
            )
            if too_old or waiter.record is not None or not watch.endings.is_over(record.status):
                continue
            if record.trace_id is not None and watch.trace_id is not None:
                waiter.others.add(record.conversation_id)
            else:
                self._offers.append((waiter, record))

    def settle_offers(self, now: datetime) -> None:
        """Let everybody take the likeliest of what was offered; the likeliest pair comes first."""
        for waiter, record in sorted(self._offers, key=lambda offer: offer[0].watch.age(offer[1])):
            if waiter.record is None and self._is_free(record, waiter):
                self.give(record, waiter, now)

    def give(self, record: Conversation, waiter: Waiter, now: datetime) -> None:
        """Let a waiter take a conversation, and remember whose it is for as long as it is listed."""
        self._given.setdefault(record.conversation_id, waiter.call)
        waiter.take(record, now)

    def _is_free(self, record: Conversation, waiter: Waiter) -> bool:
        return self._given.get(record.conversation_id, waiter.call) in {waiter.call, waiter.watch}

    def is_another_s(self, record: Conversation, waiter: Waiter) -> bool:
        """Whether the conversation is that of a call somebody else waits for, or waited for."""
        own = {waiter.watch.trace_id, waiter.record.trace_id if waiter.record else None}
        if record.trace_id is not None and record.trace_id in own:
            return False
        named = self._by_id.get(record.conversation_id, []) + self._by_trace.get(record.trace_id, [])
        return any(other is not waiter for other in named) or not self._is_free(record, waiter)
