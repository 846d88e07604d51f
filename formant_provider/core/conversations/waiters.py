"""Who waits for which call, until when, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from formant_provider.api.models import Conversation
from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.paging import CLOCK_SKEW_MS
from formant_provider.core.polling.waits import (
    DEFAULT_POLL_INTERVAL_S,
    DEFAULT_SAFETY_INTERVAL_S,
    BaseWaiter,
)

CLOCK_SKEW = timedelta(milliseconds=CLOCK_SKEW_MS)
# A call that began so long before somebody waits for it may be over already.
FRESH_FOR = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Watch:
    """Which call is waited for. Nothing private.

    :param since: when its conversation can have begun at the earliest, aware, by our own clock.
    :param trace_id: of the call; ``None`` when its receipt was lost.
    :param conversation_id: of its record, when that was seen.
    :param recipient: the mark of its recipient; ``None`` when nobody said.
    :param endings: what ends the wait.
    :param poll_interval_s: seconds between two looks, if the API's limits allow it.
    :param until: when its conversation can have begun at the latest, aware, by our own clock; ``None``: not
        known.
    :param has_begun: whether the call was due when this was written, so that it is looked for at once, even
        where the clock is behind that of the machine that wrote it.
    :param safety_interval_s: seconds between two looks while webhooks tell of this agent's calls.
    """

    since: datetime
    trace_id: str | None = None
    conversation_id: str | None = None
    recipient: str | None = None
    endings: Endings = field(default_factory=Endings)
    poll_interval_s: float = DEFAULT_POLL_INTERVAL_S
    until: datetime | None = None
    has_begun: bool = False
    safety_interval_s: float = DEFAULT_SAFETY_INTERVAL_S

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
            "until": self.until.isoformat() if self.until else None,
            "has_begun": self.has_begun,
            "safety_interval_s": self.safety_interval_s,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Watch:
        """Read what :meth:`to_json` wrote."""
        until = fields["until"]
        return cls(
            since=datetime.fromisoformat(fields["since"]),
            trace_id=fields["trace_id"],
            conversation_id=fields["conversation_id"],
            recipient=fields["recipient"],
            poll_interval_s=fields["poll_interval_s"],
            endings=_endings(tuple(fields["successful"]), tuple(fields["further"]), fields["settle_for_s"]),
            until=datetime.fromisoformat(until) if until else None,
            has_begun=fields["has_begun"],
            # A trigger of a version before webhooks does not have it.
            safety_interval_s=fields.get("safety_interval_s", DEFAULT_SAFETY_INTERVAL_S),
        )

    @property
    def due_at(self) -> datetime:
        """The moment from which it is worth to look: two clocks may differ."""
        return self.since - CLOCK_SKEW


@lru_cache(maxsize=64)
def _endings(successful: tuple[str, ...], further: tuple[str, ...], settle_for_s: float) -> Endings:
    """Return the same object for all who wait for the same endings: in a triggerer they are many."""
    return Endings(frozenset(successful), frozenset(further), timedelta(seconds=settle_for_s))


@dataclass(eq=False, slots=True)
class Waiter(BaseWaiter):
    """Somebody who waits for a call; the conversation that counts is the outcome.

    :ivar record: the conversation that is this call's, once it is over; it may not count yet.
    :ivar seen_at: when it was first seen to be over.
    :ivar others: conversations with the recipient that ended since then and belong to other calls.
    :ivar candidates: how many calls to the recipient may be this one, where no trace id tells; see
        ``formant_provider.core.conversations.matching``.
    :ivar likely: the only candidate as yet, while others may still appear.
    :ivar keeps_trace: whether a redial of this call by the platform bore its trace id.
    :ivar is_hinted: whether an event may be of its call, which only the list can tell.
    :ivar was_heard: whether an event has ended the wait, and not a poll.
    """

    watch: Watch
    outcome: Conversation | None = None
    record: Conversation | None = None
    seen_at: datetime | None = None
    others: frozenset[str] = frozenset()
    candidates: int = 0
    likely: Conversation | None = None
    keeps_trace: bool = False
    is_hinted: bool = False
    was_heard: bool = False

    @property
    def is_fresh(self) -> bool:
        """Whether the wait began with the call, so that it was not over before."""
        return self.joined_at is not None and self.joined_at - self.watch.since < FRESH_FOR

    @property
    def call(self) -> object:
        """What tells its call from others: the same for all who name it, and for one that may wait again."""
        return self.watch.trace_id or self.watch.conversation_id or (self.watch if self.has_left else self)

    def is_own(self, record: Conversation) -> bool:
        """Whether the conversation bears the trace id of this call."""
        own = {self.watch.trace_id, self.record.trace_id if self.record else None}
        return record.trace_id is not None and record.trace_id in own

    def take(self, record: Conversation, now: datetime) -> None:
        """Take a conversation as this call's; a further attempt replaces the one before."""
        self.keeps_trace |= self.record is not None and self.is_own(record)
        self.record, self.seen_at = record, now


def own_traces(waiters: Collection[Waiter]) -> set[str | None]:
    """Return the trace ids of all conversations that were taken for somebody's, and may not count yet."""
    return {waiter.record.trace_id for waiter in waiters if waiter.record} - {None}
