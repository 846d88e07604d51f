"""When may the next request of a poll leave? The only place that decides; it neither sleeps nor sends.

All polls with one API key share one limiter, since they share one rate limit. Nothing is asked before
the time the server named. Vendor page: https://docs.formantai.com/api-reference/errors-rate-limits
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from formant_provider.api.errors import FormantError
from formant_provider.api.retry import Quota
from formant_provider.core.polling.waits import Now

# Requests of the rate limit that polls leave to those who place calls.
RESERVE = 5
LONGEST_BACKOFF_S = 300.0


class Limiter(Protocol):
    """What a poll asks before its requests, and tells of them."""

    def wait_s(self) -> float:
        """Return how many seconds the next request has to wait; 0 when it may leave."""

    def on_success(self, quota: Quota | None) -> None:
        """Note what an answer said of the limit."""

    def on_error(self, error: FormantError, poll_interval_s: float) -> None:
        """Slow down after an error."""

    def interval_s(self, poll_interval_s: float, requests: int) -> float:
        """Return the seconds from the end of one poll to the next."""


class RateLimiter:
    """What the server has said of its limits, and what follows from it.

    :param jitter: gives a number in [0, 1), so that processes that were refused together do not return
        together.
    """

    def __init__(self, now: Now, jitter: Callable[[], float] = random.random) -> None:
        self._now = now
        self._jitter = jitter
        self._not_before: datetime | None = None
        self._errors = 0
        self._quota: Quota | None = None
        self._quota_at = now()

    def wait_s(self) -> float:
        """Return how many seconds the next request has to wait; 0 when it may leave."""
        if self._not_before is None:
            return 0.0
        return max((self._not_before - self._now()).total_seconds(), 0.0)

    def on_success(self, quota: Quota | None) -> None:
        """Note what an answer said of the limit."""
        self._errors = 0
        self._quota, self._quota_at = quota, self._now()
        if quota and quota.remaining <= RESERVE and quota.reset_s is not None:
            self._wait(quota.reset_s)

    def on_error(self, error: FormantError, poll_interval_s: float) -> None:
        """Slow down after an error: as the server asks, or ever more when it does not say."""
        self._errors += 1
        if error.retry_after_s is not None:
            self._wait(error.retry_after_s + self._jitter() * min(1.0, poll_interval_s))
            return
        cap_s = max(LONGEST_BACKOFF_S, poll_interval_s)
        backoff_s = min(math.ldexp(poll_interval_s, min(self._errors, 20) - 1), cap_s)
        self._wait(backoff_s * (0.5 + self._jitter() / 2))

    def interval_s(self, poll_interval_s: float, requests: int) -> float:
        """Return the seconds from the end of one poll to the next.

        :param poll_interval_s: what the most impatient waiter asked for.
        :param requests: what the last poll took. What is left of the limit is spread over the polls to come.
        """
        quota = self._quota
        if quota is None or quota.reset_s is None:
            return poll_interval_s
        left_s = quota.reset_s - (self._now() - self._quota_at).total_seconds()
        spread_s = left_s * requests / max(quota.remaining - RESERVE, 1)
        return max(poll_interval_s, min(spread_s, left_s))

    def _wait(self, seconds: float) -> None:
        moment = self._now() + timedelta(seconds=seconds)
        self._not_before = max(self._not_before or moment, moment)
