"""The two limits of an API key and their 429: requests in a window of time, and calls that run at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from formant_provider.sandbox.clock import Clock
from formant_provider.sandbox.responses import ApiError


def rate_limited() -> ApiError:
    """429: too many requests. Whoever raises it adds the headers."""
    return ApiError(429, "rate_limit_exceeded", "rate limit exceeded")


def too_many_calls(current_calls: int, max_calls: int) -> ApiError:
    """429: too many calls run. The vendor's sample shows no rate-limit headers with this one."""
    message = f"concurrent call limit reached. {max_calls} simultaneous calls allowed."
    extras = {"current_calls": current_calls, "max_calls": max_calls}
    return ApiError(429, "concurrent_call_limit_exceeded", message, rate_headers=False, **extras)


@dataclass(frozen=True)
class Quota:
    """What is left of a window after one more request.

    :param exceeded: whether this request is over the limit.
    :param reset_in_seconds: *real* seconds until the window ends.
    :param now: virtual time of the request.
    """

    limit: int
    remaining: int
    exceeded: bool
    reset_in_seconds: float
    now: datetime

    def headers(self) -> dict[str, str]:
        """Return the rate-limit headers, with ``Retry-After`` only when the limit was hit."""
        headers = rate_headers(self.limit, self.remaining, self.reset_in_seconds, self.now)
        return headers | retry_after(self.reset_in_seconds) if self.exceeded else headers


class RateLimits:
    """Counts requests per tenant, in a fixed window that opens with the first request.

    :param limit: requests per window.
    :param window_seconds: virtual seconds.
    """

    def __init__(self, limit: int, window_seconds: float, clock: Clock) -> None:
        self._limit = limit
        self._window = timedelta(seconds=window_seconds)
        self._clock = clock
        self._windows: dict[str, tuple[datetime, int]] = {}

    def spend(self, tenant: str, now: datetime) -> Quota:
        """Count one request of ``tenant`` and return what is left. A refused request does not count."""
        ends, used = self._windows.get(tenant, (now, 0))
        if now >= ends:
            ends, used = now + self._window, 0
        exceeded = used >= self._limit
        used += not exceeded
        self._windows[tenant] = ends, used
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

    It is a time on the clock of the ``Date`` header, this many *real* seconds ahead: a client that waits
    for the difference of the two waits for as long as ``Retry-After`` says.

    :param now: what the ``Date`` header says.
    """
    moment = datetime.fromtimestamp(math.ceil(now.timestamp() + reset_in_seconds), now.tzinfo)
    return {"X-RateLimit-Reset": moment.isoformat()}


def retry_after(seconds: float) -> dict[str, str]:
    """Return ``Retry-After`` in whole real seconds, rounded up so that the wait is never too short."""
    return {"Retry-After": str(math.ceil(seconds))}
