"""When can a conversation have begun that one of our sends led to? The only place that says so.

The vendor lists conversations by agent alone and without keys, so a call whose ids were lost is known by its
recipient and its time. Neither is proof by itself: other tasks, the platform and the recipient call as well.
A conversation is taken for the call's only if it began when a send of ours can have led to it, and if it is
the only one that did. Times of ours are turned into the vendor's by what its ``Date`` header says.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# How long after the API has taken a call its conversation begins at the latest. The vendor does not say;
# where it takes longer, a call whose answer was lost stays unconfirmed.
STARTS_WITHIN = timedelta(seconds=15)
# The same for a scheduled call: who starts them may look once a minute.
STARTS_LATE_BY = timedelta(minutes=2)
# How long a send may have been under way whose process died before its end.
LONGEST_SEND = timedelta(seconds=60)
# How far two clocks may still be apart when the one was read from a header, and when it was not.
DATE_IS_EXACT_TO = timedelta(seconds=3)
CLOCKS_DIFFER_BY = timedelta(seconds=60)
MOST_SENDS = 20


@dataclass(frozen=True)
class Span:
    """A time in which a conversation can have begun, both ends included, aware.

    :param is_exact: whether it is that of a send that was written down. Otherwise it is unknown by which
        clock it was, and when that was last set.
    :param ahead: how far the vendor's clock was ahead of ours then, if that is known.
    """

    begin: datetime
    end: datetime
    is_exact: bool = True
    ahead: timedelta | None = None

    def moved(self, skew: timedelta | None) -> Span:
        """Return the same by the vendor's clock.

        :param skew: how far that is ahead of ours now; ``None`` when it never said.
        """
        known = skew if self.ahead is None else self.ahead
        ahead = known or timedelta()
        if self.is_exact:
            error = CLOCKS_DIFFER_BY if known is None else DATE_IS_EXACT_TO
            return replace(self, begin=self.begin + ahead - error, end=self.end + ahead + error)
        begin, end = self.begin + min(ahead, timedelta()), self.end + max(ahead, timedelta())
        return replace(self, begin=begin - CLOCKS_DIFFER_BY, end=end + CLOCKS_DIFFER_BY)

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        return self.begin <= moment <= self.end


@dataclass(frozen=True)
class SendRecord:
    """One request of ours that the API may have taken.

    :param at: when it was about to leave, aware.
    :param ended_at: when its answer, or the lack of one, was known; ``None`` when the process died before.
    :param scheduled_for: the moment it asked for; ``None`` means at once.
    :param ahead_s: seconds by which the vendor's clock was ahead of ours; ``None`` when it did not say.
    """

    at: datetime
    ended_at: datetime | None = None
    scheduled_for: datetime | None = None
    ahead_s: float | None = None

    @property
    def span(self) -> Span:
        """When a conversation can have begun that it led to."""
        if self.scheduled_for:  # which the vendor takes by its own clock
            return Span(self.scheduled_for, self.scheduled_for + STARTS_LATE_BY, ahead=timedelta())
        end = (self.ended_at or self.at + LONGEST_SEND) + STARTS_WITHIN
        return Span(self.at, end, ahead=None if self.ahead_s is None else timedelta(seconds=self.ahead_s))


def latest(sends: Iterable[SendRecord]) -> tuple[SendRecord, ...]:
    """Return the sends in order; of very many the latest ones, and one that stands for all before."""
    kept = sorted(sends, key=lambda send: send.at)
    while len(kept) > MOST_SENDS:
        first, second, *rest = kept
        kept = [replace(second, at=first.at), *rest]
    return tuple(kept)


def first_of(spans: Sequence[Span]) -> datetime:
    """Return when the earliest of them begins."""
    return min(span.begin for span in spans)
