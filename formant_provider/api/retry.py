"""May a request be sent again, and when? The only place that decides; it neither sleeps nor sends.

==========================  ======  ===============================  ============================
What happened               GET     POST /v1/call, same key          POST /v1/batch-call
==========================  ======  ===============================  ============================
no connection was made      repeat  repeat                           repeat
429                         repeat  repeat, when the server says so  repeat, when the server says so
5xx                         repeat  repeat; it may have been placed  stop; it may have been placed
answer lost or unreadable   repeat  repeat; it may have been placed  stop; it may have been placed
any other refusal           stop    stop                             stop
==========================  ======  ===============================  ============================

A call is only ever repeated with the idempotency key of its first send, so the vendor refuses the second
of two that were accepted. A batch call has no such key: it is not idempotent, and would call everybody twice.
A transcription job has none either, and is treated like a batch call.
Vendor page: https://docs.formantai.com/api-reference/errors-rate-limits
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from formant_provider.api.errors import (
    BadResponse,
    DuplicateRequest,
    FormantError,
    ResponseLost,
    RetryableError,
    ServerError,
    Unreachable,
)
from formant_provider.api.models import iso_moment

# Longest wait we let the server ask for: beyond it, its word is taken as a fault and cut to this.
SERVER_WAIT_CAP_S = 3600.0


@dataclass(frozen=True)
class Wait:
    """Send again after ``seconds``."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Stop:
    """Do not send again."""

    reason: str


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long one request is repeated while its worker waits.

    :param max_attempts: sends in all, the first included.
    :param max_inline_wait_s: seconds the worker may wait between two sends; a server that asks for more ends
        the attempt, and the task's own retry comes later.
    :param max_total_wait_s: seconds of waiting in all; a first wait may take ``max_inline_wait_s`` if that is
        more.
    :param backoff_base_s: seconds before the second send when the server names no time; doubles each time.
    """

    max_attempts: int = 4
    max_inline_wait_s: float = 30.0
    max_total_wait_s: float = 60.0
    backoff_base_s: float = 1.0

    def decide(
        self, *, attempt: int, waited_s: float, error: FormantError, jitter: float, idempotent: bool = True
    ) -> Wait | Stop:
        """Decide after a failed send.

        :param attempt: which send failed, counted from 1.
        :param jitter: a random number in [0, 1), so that tasks that failed together do not return together.
        """
        if not may_repeat(error, idempotent=idempotent):
            return Stop("the answer is final" if idempotent else "a repeat could do it twice, or is useless")
        if attempt >= self.max_attempts:
            return Stop(f"sent {attempt} times")
        seconds = self._wait_s(attempt, error, jitter)
        if (error.retry_after_s or 0) > self.max_inline_wait_s:
            return Stop(f"the server asks to wait {error.retry_after_s:.0f} s, longer than a worker is held")
        if waited_s and waited_s + seconds > self.max_total_wait_s:
            return Stop(f"waited {waited_s:.0f} s in all")
        return Wait(seconds, "the server named the time" if error.retry_after_s is not None else "backoff")

    def _wait_s(self, attempt: int, error: FormantError, jitter: float) -> float:
        if error.retry_after_s is not None:
            return error.retry_after_s + jitter * self.backoff_base_s
        return math.ldexp(self.backoff_base_s, attempt - 1) * (0.5 + jitter / 2)


# A read can be repeated at any time, and places no call. So a nightly job waits for the rate limit rather
# than fails: an hour for one request, if the API names times.
PATIENT = RetryPolicy(max_attempts=8, max_inline_wait_s=3600.0, max_total_wait_s=3600.0)
# What a wait has ended with is read once more. Many tasks may continue at once, and the rate limit let them
# through one by one; but a task that can do without waits for some minutes alone.
LAST_READ = RetryPolicy(max_attempts=8, max_inline_wait_s=300.0, max_total_wait_s=300.0)


def may_repeat(error: FormantError, *, idempotent: bool = True) -> bool:
    """Whether a repeat of the same request, with the same key, can help and cannot place a second call.

    :param idempotent: whether the server refuses the second of two requests that it could accept, or neither
        does anything; otherwise nothing is repeated that may have been accepted.
    """
    if not idempotent and is_unclear(error):
        return False
    return isinstance(error, RetryableError | Unreachable | ResponseLost | BadResponse)


def is_unclear(error: FormantError) -> bool:
    """Whether the server may have done what was asked, now or in an earlier try, without saying so."""
    return isinstance(error, ServerError | ResponseLost | BadResponse | DuplicateRequest)


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Read how many seconds the server asks us to wait; ``None`` when it does not say.

    :param headers: of the answer. ``Retry-After`` (seconds or HTTP date) comes first, then
        ``X-RateLimit-Reset``, which is ISO 8601 with an offset and not epoch seconds.
    :param now: our clock, aware. The server's own ``Date`` is preferred, so that a wrong clock here
        does not change the wait.
    """
    now = http_date(headers.get("Date", "")) or now
    retry_after = headers.get("Retry-After", "").strip()
    seconds = _seconds(retry_after)
    if seconds is None:
        moment = http_date(retry_after) or iso_moment(headers.get("X-RateLimit-Reset"))
        seconds = (moment - now).total_seconds() if moment else None
    return None if seconds is None else min(max(seconds, 0.0), SERVER_WAIT_CAP_S)


@dataclass(frozen=True)
class Quota:
    """What is left of the rate limit.

    :param remaining: requests that will still be answered.
    :param reset_s: seconds until there are more; ``None`` when the server did not say.
    :param limit: requests that are answered between two such moments; ``None`` when the server did not say.
    """

    remaining: int
    reset_s: float | None
    limit: int | None = None


def read_quota(headers: Mapping[str, str], *, now: datetime) -> Quota | None:
    """Read the ``X-RateLimit-*`` headers, which any answer may carry."""
    remaining = _seconds(headers.get("X-RateLimit-Remaining", ""))
    if remaining is None or not 0 <= remaining < math.inf:
        return None
    now = http_date(headers.get("Date", "")) or now
    reset = iso_moment(headers.get("X-RateLimit-Reset"))
    reset_s = min(max((reset - now).total_seconds(), 0.0), SERVER_WAIT_CAP_S) if reset else None
    limit = _seconds(headers.get("X-RateLimit-Limit", ""))
    return Quota(int(remaining), reset_s, int(limit) if limit and 1 <= limit < math.inf else None)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return None if math.isnan(seconds) else seconds


def http_date(text: str) -> datetime | None:
    """Read the moment in a header such as ``Date``, aware; ``None`` when there is none."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
