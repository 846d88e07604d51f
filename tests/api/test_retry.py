from __future__ import annotations

from datetime import UTC, datetime

import pytest

from formant_provider.api.errors import (
    AuthenticationFailed,
    BadResponse,
    CallOutcomeUnknown,
    ConcurrencyLimited,
    DuplicateRequest,
    FormantError,
    InvalidInput,
    InvalidRequest,
    NotFound,
    RateLimited,
    ResponseLost,
    ServerError,
    Unreachable,
)
from formant_provider.api.retry import SERVER_WAIT_CAP_S, RetryPolicy, Stop, Wait, is_unclear, retry_after_s

NOW = datetime(2026, 3, 18, 20, 53, 0, tzinfo=UTC)
POLICY = RetryPolicy()


def decide(error: FormantError, attempt: int = 1, waited_s: float = 0.0, jitter: float = 0.0) -> Wait | Stop:
    return POLICY.decide(attempt=attempt, waited_s=waited_s, error=error, jitter=jitter)


@pytest.mark.parametrize(
    ("error", "repeated", "unclear"),
    [
        (Unreachable("x"), True, False),
        (RateLimited("x"), True, False),
        (ConcurrencyLimited("x"), True, False),
        (ServerError("x"), True, True),
        (ResponseLost("x"), True, True),
        (BadResponse("x"), True, True),
        (InvalidRequest("x"), False, False),
        (AuthenticationFailed("x"), False, False),
        (NotFound("x"), False, False),
        (DuplicateRequest("x"), False, True),
        (CallOutcomeUnknown("x"), False, False),
        (InvalidInput("agent_id", "x"), False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, FormantError) else "",
)
def test_what_may_be_repeated_and_what_may_have_rung(
    error: FormantError, repeated: bool, unclear: bool
) -> None:
    """The table of what may be sent again, and of what may have placed a call, row by row."""
    assert isinstance(decide(error), Wait) is repeated
    assert is_unclear(error) is unclear


def test_repeats_are_bounded_in_count_and_in_time() -> None:
    """A server that is down for good is asked four times and waited for at most a minute."""
    assert isinstance(decide(ServerError("x"), attempt=3), Wait)
    assert isinstance(decide(ServerError("x"), attempt=4), Stop)
    assert isinstance(decide(RateLimited("x", retry_after_s=20), waited_s=41), Stop)


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"), [(1, 0, 0.5), (1, 0.99, 0.995), (2, 0, 1.0), (3, 0, 2.0)]
)
def test_backoff_doubles_and_spreads(attempt: int, jitter: float, seconds: float) -> None:
    """Tasks that failed together do not return together."""
    decision = decide(ServerError("x"), attempt=attempt, jitter=jitter)
    assert isinstance(decision, Wait)
    assert decision.seconds == pytest.approx(seconds)


def test_the_server_s_own_time_comes_first_and_is_never_undercut() -> None:
    """A Retry-After is waited for in full, with a little spread on top."""
    decision = decide(RateLimited("x", retry_after_s=2.0), jitter=0.5)
    assert isinstance(decision, Wait)
    assert 2.0 <= decision.seconds < 3.0


def test_a_wait_too_long_for_a_worker_stops_the_attempt() -> None:
    """The worker's slot is given back rather than slept in."""
    decision = decide(RateLimited("x", retry_after_s=31.0))
    assert isinstance(decision, Stop)
    assert "31 s" in decision.reason


@pytest.mark.parametrize(("inline_s", "asked_s"), [(30, 30.0), (120, 100.0), (120, 120.0)])
def test_a_wait_within_the_bound_is_waited_whatever_the_spread(inline_s: float, asked_s: float) -> None:
    """What the user allows a worker to wait is waited, also when it is more than the waits in all."""
    policy = RetryPolicy(max_inline_wait_s=inline_s)
    error = RateLimited("x", retry_after_s=asked_s)
    assert isinstance(policy.decide(attempt=1, waited_s=0, error=error, jitter=0.99), Wait)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "60"}, 60.0),
        ({"Retry-After": " 0.5 "}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "inf"}, SERVER_WAIT_CAP_S),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "999999"}, SERVER_WAIT_CAP_S),
        ({"Retry-After": "Wed, 18 Mar 2026 20:53:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 18 Mar 2026 20:00:00 GMT"}, 0.0),
        ({"X-RateLimit-Reset": "2026-03-18T20:54:00+00:00"}, 60.0),
        ({"X-RateLimit-Reset": "2026-03-19T02:24:00+05:30"}, 60.0),
        ({"X-RateLimit-Reset": "2026-03-18T20:54:00Z"}, 60.0),
        ({"X-RateLimit-Reset": "1773867240"}, None),
        ({"X-RateLimit-Reset": "later"}, None),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "2026-03-18T20:54:00+00:00"}, 60.0),
        ({"Retry-After": "5", "X-RateLimit-Reset": "2026-03-18T20:54:00+00:00"}, 5.0),
        # Our clock says 20:53:00, the server's 20:53:50: only its own clock fits its own reset.
        ({"Date": "Wed, 18 Mar 2026 20:53:50 GMT", "X-RateLimit-Reset": "2026-03-18T20:54:00+00:00"}, 10.0),
    ],
)
def test_rate_limit_headers_are_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After in seconds or as a date, reset in ISO 8601; nonsense is no answer, no wait is endless."""
    assert retry_after_s(headers, now=NOW) == seconds
