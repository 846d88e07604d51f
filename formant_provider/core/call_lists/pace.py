"""When the next request of a list may leave, and how many may be on their way at once.

What the API says of its limit is used up and no more, by all that the list sends: a request that would be
refused counts against nobody, and costs everybody time. After a 429, or an error that is not one call's own,
all of the list waits, and then one request alone goes ahead to see.

Vendor page: https://docs.formantai.com/api-reference/errors-rate-limits
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from formant_provider.api.errors import ConcurrencyLimited, FormantError, RequestRefused
from formant_provider.api.retry import Quota
from formant_provider.core.pace import PaceExceeded
from formant_provider.core.polling.waits import Now

log = logging.getLogger(__name__)

MOST_AT_ONCE = 16
# Where the API tells no limit.
_USUAL_AT_ONCE = 8
# Of what it allows in a window, so much may be on its way at once.
_SHARE_AT_ONCE = 10
_FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 120.0
# Whether a refusal stays is found out by one worker, which is not given back for such a pause.
_LONGEST_REFUSED_S = 30.0
# Such a part of the limit may be taken by reading which calls are over, while there are calls to be placed;
# and the second one where a list may be stopped by what is read.
SHARE_OF_POLLS, SHARE_WHERE_ENDS_COUNT = 0.03, 0.25
# One poll may take so much of it, in several windows if need be: each has to read its page of the list again.
_SHARE_OF_ONE_POLL = 0.1
_ONE_MORE_EVERY = timedelta(minutes=1)
# Where lines are what is short, it matters when a call is over.
_POLL_FOR_LINES_S = 15.0
_SAME_WINDOW = timedelta(seconds=2)
# Such a pause would make somebody who reads the log wonder.
_WORTH_A_LINE_S = 10.0
# The API's moments have no fractions.
_AFTER_RESET = timedelta(milliseconds=50)


class Pace:
    """The pace of one list. It takes the place of a ``RateLimiter`` for its polls.

    :param at_once: requests that may be on their way at once; ``None`` goes by the API's limit.
    :param share_of_polls: of the limit, while there are calls to be placed.
    :param jitter: gives a number in [0, 1).
    :ivar is_busy: whether there are calls to be placed, beside which polls are to be few.
    """

    def __init__(
        self,
        now: Now,
        at_once: int | None = None,
        share_of_polls: float = SHARE_OF_POLLS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._now, self._chosen, self._share, self._jitter = now, at_once, share_of_polls, jitter
        self._limit: int | None = None
        self._left: int | None = None
        self._resets_at: datetime | None = None
        self._told_of: datetime | None = None
        self._not_before: datetime | None = None
        self._window_s = 0.0
        self._errors = self._answers = 0
        self._polled = 0  # requests of polls in this window
        self._most_in_progress: int | None = None
        self._raised_at = now()
        self.under_way = 0
        self.is_busy = False

    @property
    def at_once(self) -> int:
        """How many requests may be on their way at once."""
        if self._errors or not self._answers:
            return 1  # whether the API is there again, or what it allows, one request finds out
        if self._chosen is not None:
            return self._chosen
        if self._limit is None:
            return _USUAL_AT_ONCE
        return min(MOST_AT_ONCE, max(1, self._limit // _SHARE_AT_ONCE))

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return self._answers

    def requests_of_poll(self) -> float:
        """Return how many requests one poll should take at most, so that it ends within a window or a few."""
        if self._limit is None:
            return math.inf
        return self._limit * (max(self._share, _SHARE_OF_ONE_POLL) if self.is_busy else 0.5)

    def wait_s(self) -> float:
        """Return how many seconds the next request has to wait; 0 when it may leave."""
        now = self._now()
        if self._left is not None and self._left <= 0 and self._resets_at is not None:
            if now < self._resets_at:
                return max((self._resets_at - now).total_seconds(), self._pause_s(now))
            # A new window has begun; its end is told by its first answer, and until then it is used once.
            self._left, self._polled = self._limit, 0
            self._resets_at = now + timedelta(seconds=self._window_s)
        return self._pause_s(now)

    def has_room(self, in_progress: int = 0) -> bool:
        """Whether one more request may leave now.

        :param in_progress: of a call: how many of the list are in progress.
        """
        return self.under_way < self.at_once and self.wait_s() <= 0 and self.has_line(in_progress)

    def has_room_for_poll(self) -> bool:
        """Whether a request of a poll may leave now: beside calls, no more than the polls' share."""
        if self._resets_at is not None and self._now() >= self._resets_at:
            self._polled = 0
        if self.is_busy and self._limit is not None and self._polled >= max(1, self._limit * self._share):
            return False
        return self.has_room()

    def lines_are_busy(self, in_progress: int, retry_after_s: float | None) -> None:
        """Note that the API takes no further call at the moment, whoever else's calls there may be.

        :param in_progress: how many of the list are. There may be no more of them, but one more a minute.
        """
        self._most_in_progress, self._raised_at = max(in_progress, 1), self._now()
        self.pause(_FIRST_BACKOFF_S if retry_after_s is None else retry_after_s)

    def has_line(self, in_progress: int) -> bool:
        """Whether the API may take one more call, by what it has said of those in progress."""
        most = self._most_in_progress
        if most is None or in_progress < most:
            return True
        if self._now() - self._raised_at < _ONE_MORE_EVERY:
            return False
        self._most_in_progress, self._raised_at = most + 1, self._now()
        return True

    def tell_if_used_up(self) -> None:
        """Log that the API's limit is used up, once for each of its windows, if that is a pause of note."""
        wait_s, resets_at = self.wait_s(), self._resets_at
        if self._left is None or self._left > 0 or resets_at is None or wait_s < _WORTH_A_LINE_S:
            return
        if self._told_of is None or resets_at - self._told_of >= _SAME_WINDOW:
            self._told_of = resets_at
            count = f"{self._limit} " if self._limit else ""
            text = "All %srequests that the API allows for now are used. The list goes on in %.0f s."
            log.info(text, count, wait_s)

    def begin(self, *, is_poll: bool = False) -> None:
        """Note that a request leaves."""
        self.under_way += 1
        self._polled += is_poll
        if self._left is not None:
            self._left -= 1

    def end(self) -> None:
        """Note that a request has ended, whatever came of it."""
        self.under_way -= 1

    def on_success(self, quota: Quota | None) -> None:
        """Note what an answer said of the limit."""
        self._errors = 0
        self._answers += 1
        if quota is None or quota.reset_s is None:
            return
        resets_at = self._now() + timedelta(seconds=quota.reset_s) + _AFTER_RESET
        # Requests that are under way are not counted in it, or are.
        left = quota.remaining - self.under_way
        is_same = self._resets_at is not None and abs(resets_at - self._resets_at) < _SAME_WINDOW
        self._polled = self._polled if is_same else 0
        self._left = min(left, self._left) if is_same and self._left is not None else left
        # In whole seconds, of a moment and of now, it may come out late by up to two, and never early.
        self._resets_at = min(resets_at, self._resets_at) if is_same and self._resets_at else resets_at
        self._limit = quota.limit or self._limit
        self._window_s = max(self._window_s, quota.reset_s)

    def on_error(
        self,
        error: FormantError,
        poll_interval_s: float = _FIRST_BACKOFF_S,  # noqa: ARG002 - as a RateLimiter's
        longest_s: float = LONGEST_BACKOFF_S,
    ) -> None:
        """Slow down after an error: as the server asks, or ever more when it does not say."""
        if error.retry_after_s is not None:
            self._errors = max(self._errors, 1)
            self.pause(error.retry_after_s + self._jitter())
        elif self.wait_s() <= 0 or not self._errors:  # those that were under way together are one error
            self._errors += 1
            backoff_s = min(math.ldexp(_FIRST_BACKOFF_S, min(self._errors, 20) - 1), longest_s)
            self.pause(backoff_s * (0.5 + self._jitter() / 2))

    def pause(self, seconds: float) -> None:
        """Let nothing leave for so long."""
        moment = self._now() + timedelta(seconds=seconds)
        self._not_before = max(self._not_before or moment, moment)

    def interval_s(self, poll_interval_s: float, requests: int) -> float:
        """Return the seconds from the end of one poll to the next.

        :param requests: what the last poll took.
        """
        if self._most_in_progress is not None:
            poll_interval_s = min(poll_interval_s, _POLL_FOR_LINES_S)
        if not self.is_busy or not self._limit or self._resets_at is None:
            return poll_interval_s
        return max(poll_interval_s, requests * self._window_s / self._limit / self._share)

    def _pause_s(self, now: datetime) -> float:
        return max((self._not_before - now).total_seconds(), 0.0) if self._not_before else 0.0


def slow_down(pace: Pace, error: FormantError, in_progress: int) -> None:
    """Let all of a list wait after an error, as long as that one calls for, and say so.

    :param in_progress: how many calls of the list are.
    """
    if isinstance(error, ConcurrencyLimited):
        pace.lines_are_busy(in_progress, error.retry_after_s)
        log.info("%s. The list goes on as its calls end.", error)
    elif isinstance(error, PaceExceeded):
        pace.pause(error.retry_after_s or 0)
        log.info("%s. The list goes on in %.0f s.", error, pace.wait_s())
    else:
        is_refusal = isinstance(error, RequestRefused)
        pace.on_error(error, longest_s=_LONGEST_REFUSED_S if is_refusal else LONGEST_BACKOFF_S)
        log.warning("%s. The list goes on in %.0f s.", error, pace.wait_s())
