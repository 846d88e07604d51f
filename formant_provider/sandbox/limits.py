"""The request limit of a key: a fixed window of virtual time that opens with its first request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from formant_provider.sandbox.clock import Clock


@dataclass(frozen=True)
class Quota:
    """What is left of a window after one more request.

    :param exceeded: this request is the one too many.
    :param reset_in_seconds: *real* seconds until the window is over.
    :param now: virtual time of the request.
    """

    limit: int
    remaining: int
    exceeded: bool
    reset_in_seconds: float
    now: datetime

    def headers(self) -> dict[str, str]:
        """Return the rate-limit headers; ``Retry-After`` only when the limit was hit."""
        headers = rate_headers(self.limit, self.remaining, self.reset_in_seconds, self.now)
        return headers | retry_after(self.reset_in_seconds) if self.exceeded else headers


class RateLimits:
    """Counts requests per tenant.

    :param limit: requests per window.
    :param window_seconds: virtual seconds.
    """

    def __init__(self, limit: int, window_seconds: float, clock: Clock) -> None:
        self._limit = limit
        self._window = timedelta(seconds=window_seconds)
        self._clock = clock
        self._used: dict[str, tuple[datetime, int]] = {}

    def spend(self, tenant: str, now: datetime) -> Quota:
        """Count one request of ``tenant`` and return what is left. A refused request does not count."""
        ends, used = self._used.get(tenant, (now, 0))
        if now >= ends:
            ends, used = now + self._window, 0
        exceeded = used >= self._limit
        used += not exceeded
        self._used[tenant] = ends, used
        reset_in_seconds = self._clock.real_seconds((ends - now).total_seconds())
        return Quota(self._limit, self._limit - used, exceeded, reset_in_seconds, now)


def rate_headers(limit: int, remaining: int, reset_in_seconds: float, now: datetime) -> dict[str, str]:
    """Return the three ``X-RateLimit-*`` headers."""
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        **reset_header(reset_in_seconds, now),
    }


def reset_header(reset_in_seconds: float, now: datetime) -> dict[str, str]:
    """Return ``X-RateLimit-Reset``, ISO 8601 with offset, whole seconds.

    It is a moment on the clock of the ``Date`` header, so many *real* seconds ahead: a client that waits
    for the difference of the two waits for as long as ``Retry-After`` says.

    :param now: what the ``Date`` header says.
    """
    moment = datetime.fromtimestamp(math.ceil(now.timestamp() + reset_in_seconds), now.tzinfo)
    return {"X-RateLimit-Reset": moment.isoformat()}


def retry_after(seconds: float) -> dict[str, str]:
    """Return ``Retry-After`` in whole real seconds, rounded up so that the wait is never too short."""
    return {"Retry-After": str(math.ceil(seconds))}
