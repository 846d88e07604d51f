"""Keeps where a feed is in the order of events, and says how seldom it may poll while they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta

from formant_provider.api.models import Conversation
from formant_provider.core.conversations.heard import HEARD_WITHIN
from formant_provider.core.conversations.waiters import CLOCK_SKEW, Waiter
from formant_provider.core.polling.news import Answer, Question, Told

log = logging.getLogger(__name__)

_A_SECOND = timedelta(seconds=1)
SettlesAt = Callable[[Waiter, Conversation], datetime]


class Listening:
    """What a feed has heard as yet of an agent; begins anew when nobody waits.

    :param agent_id: ``None`` means that whose events they are is not known.
    """

    def __init__(self, agent_id: int | None) -> None:
        self._agent_id = agent_id
        self._seq: int | None = None
        self._since: datetime | None = None
        self._asked_since: datetime | None = None
        self._heard_at: datetime | None = None
        self._is_answered = self._is_warned = False

    def join(self, waiter: Waiter) -> None:
        """Go back to when the call of a newcomer can have begun."""
        self._go_back(waiter.watch.since - CLOCK_SKEW)

    def rest(self) -> None:
        """Forget where we are: nobody listens."""
        self._seq = self._since = self._asked_since = self._heard_at = None
        self._is_answered = False

    def question(self, waiters: Collection[Waiter]) -> Question:
        """Return what to ask, one thing for all who wait."""
        if self._agent_id is None:
            ids = frozenset(str(waiter.watch.conversation_id) for waiter in waiters)
            return Question(None, ids)
        self._asked_since, self._since = self._since, None
        return Question(
            self._agent_id,
            after=self._seq,
            since=self._asked_since,
            asks_heard=not self._is_answered,
        )

    def take(self, answer: Answer | str) -> Sequence[Told]:
        """Take in an answer, or what kept it from coming; return what it tells."""
        if isinstance(answer, str):
            self._is_answered = False
            if self._asked_since is not None:
                self._go_back(self._asked_since)
            if not self._is_warned:
                self._is_warned = True
                log.warning("%s. Until it answers, the ends of calls are polled for.", answer)
            return ()
        if self._is_warned:
            log.info("The call store answers again: the ends of calls are read from its webhook events.")
        self._is_answered, self._is_warned = True, False
        self._seq, self._asked_since = answer.seq, None
        if answer.heard_at is not None:
            self._heard_at = max(answer.heard_at, self._heard_at or answer.heard_at)
        return answer.told

    def is_reliable(self, now: datetime) -> bool:
        """Whether this agent's events come: the store answers, and one has come within a day."""
        is_heard = self._heard_at is not None and now - self._heard_at < HEARD_WITHIN
        return self._agent_id is not None and self._is_answered and is_heard

    def pause_s(
        self,
        waiters: Collection[Waiter],
        interval_s: float,
        between: tuple[datetime, datetime],
        settles_at: SettlesAt,
    ) -> float:
        """Return the seconds between two polls: few, where only the list can tell somebody more.

        :param interval_s: the seconds without events, and the fewest.
        :param between: when the last poll was, and now.
        :param settles_at: from when on a record counts if it is the newest.
        """
        polled_at, now = between
        if not waiters or not self.is_reliable(now):
            return interval_s
        wanted = (at for each in waiters for at in _list_wanted_at(each, polled_at, interval_s, settles_at))
        safety_s = min(waiter.watch.safety_interval_s for waiter in waiters)
        soonest_s = min(((moment - polled_at).total_seconds() for moment in wanted), default=safety_s)
        return max(interval_s, min(safety_s, soonest_s))

    def _go_back(self, moment: datetime) -> None:
        self._since = min(moment, self._since or moment)


def hear_all(
    told: Sequence[Told], hear: Callable[[Sequence[Told]], None], forget: Callable[[Told], None]
) -> None:
    """Let all be heard at once or, if that fails, one by one, without those that cannot be.

    One event that is unlike all others must not end everybody's wait.
    """
    try:
        hear(told)
    except Exception:  # whatever it is, it will come again for the one event that it is of
        for each in told:
            forget(each)
        for each in told:
            try:
                hear([each])
            except Exception as error:  # its text may hold anything
                forget(each)
                log.warning("Webhook event %s is skipped: %s.", each.seq, type(error).__name__)


def _list_wanted_at(
    waiter: Waiter, polled_at: datetime, interval_s: float, settles_at: SettlesAt
) -> Iterator[datetime]:
    """Yield when a poll is of use to a waiter before the safety interval is over."""
    if waiter.is_hinted:
        yield polled_at
    if not waiter.looks and not waiter.is_fresh and waiter.joined_at:
        yield waiter.joined_at + 2 * _A_SECOND  # when events have been asked for
    if waiter.record is not None:  # the vendor's clock is known to a second
        yield settles_at(waiter, waiter.record) + _A_SECOND
    if waiter.deadline is not None:
        last_look = waiter.deadline - timedelta(seconds=interval_s)
        if polled_at < last_look or not waiter.looks:
            yield last_look
