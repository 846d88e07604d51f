from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from formant_provider.api.errors import FormantError, RateLimited, ServerError
from formant_provider.api.retry import Quota
from formant_provider.core.polling.pacing import LONGEST_BACKOFF_S, RESERVE, RateLimiter
from support.ledgers import NOON


class Paced:
    """A rate limiter on a clock of its own."""

    def __init__(self, jitter: float = 0.0) -> None:
        self.now = NOON
        self.limiter = RateLimiter(self._now, lambda: jitter)

    def _now(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def error(self, error: FormantError | None = None, poll_interval_s: float = 30.0) -> float:
        self.limiter.on_error(error or ServerError("x"), poll_interval_s)
        return self.limiter.wait_s()


def test_at_first_nothing_waits() -> None:
    """The first request leaves at once."""
    assert Paced().limiter.wait_s() == 0


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("error", [RateLimited, ServerError])
def test_a_named_time_is_never_undercut(error: type[FormantError], jitter: float) -> None:
    """Whatever the jitter, a wait is as long as the server says and at most a second longer."""
    paced = Paced(jitter)
    assert 60 <= paced.error(error("x", retry_after_s=60)) <= 61
    paced.pass_time(59.9)
    assert paced.limiter.wait_s() > 0
    paced.pass_time(1.1)
    assert paced.limiter.wait_s() == 0


def test_those_refused_together_do_not_return_together() -> None:
    """Jitter spreads a named time, by no more than the poll interval."""
    assert Paced(0.5).error(RateLimited("x", retry_after_s=60)) == 60.5
    assert Paced(0.5).error(RateLimited("x", retry_after_s=60), poll_interval_s=0.2) == 60.1


def test_a_named_time_of_nothing_is_no_backoff() -> None:
    """A server that says now is asked now."""
    assert Paced().error(RateLimited("x", retry_after_s=0)) == 0


def test_a_shorter_wait_does_not_replace_a_longer_one() -> None:
    """What the server named stays named, whatever fails meanwhile."""
    paced = Paced()
    paced.error(RateLimited("x", retry_after_s=600))
    assert paced.error(RateLimited("x", retry_after_s=1)) == 600
    assert paced.error(ServerError("x")) == 600
    paced.limiter.on_success(Quota(0, 5))
    assert paced.limiter.wait_s() == 600


def test_without_a_named_time_waits_double_up_to_a_cap() -> None:
    """A server that is down is asked ever less, and at least every five minutes."""
    assert [Paced(0).error(), Paced(0.999).error()] == [15, pytest.approx(30, abs=0.1)]
    paced, waits = Paced(), []
    for _ in range(30):
        waits.append(paced.error())
        paced.pass_time(waits[-1])
    assert waits[:5] == [15, 30, 60, 120, LONGEST_BACKOFF_S / 2]
    assert set(waits[5:]) == {LONGEST_BACKOFF_S / 2}


def test_the_cap_is_not_below_the_poll_interval() -> None:
    """Who polls every hour does not poll more often because the server is down."""
    assert Paced().error(poll_interval_s=3600) == 1800


def test_success_ends_the_doubling() -> None:
    """After a good answer the next error begins anew."""
    paced = Paced()
    for _ in range(4):
        paced.pass_time(paced.error())
    paced.limiter.on_success(None)
    assert paced.limiter.wait_s() == 0
    assert paced.error() == 15


@pytest.mark.parametrize(("remaining", "waits"), [(RESERVE + 1, 0), (RESERVE, 40), (1, 40), (0, 40)])
def test_some_requests_are_left_to_those_who_place_calls(remaining: int, waits: float) -> None:
    """When few are left, polls wait until there are more."""
    paced = Paced()
    paced.limiter.on_success(Quota(remaining, 40))
    assert paced.limiter.wait_s() == waits


def test_a_limit_that_does_not_say_when_it_ends_stops_nobody() -> None:
    """Without a moment to wait for, the poll interval has to do."""
    paced = Paced()
    paced.limiter.on_success(Quota(0, None))
    assert paced.limiter.wait_s() == 0
    assert paced.limiter.interval_s(30, 1) == 30


@pytest.mark.parametrize(
    ("quota", "requests", "interval_s"),
    [
        (None, 10, 30),  # nothing is known
        (Quota(45 + RESERVE, 60), 1, 30),  # plenty: what was asked for
        (Quota(10 + RESERVE, 600), 1, 60),  # ten requests in ten minutes
        (Quota(10 + RESERVE, 600), 2, 120),  # and polls of two requests each
        (Quota(10 + RESERVE, 600), 20, 600),  # never longer than until there are more
        (Quota(RESERVE, 600), 1, 600),
        (Quota(0, 600), 3, 600),
    ],
)
def test_what_is_left_is_spread_over_the_polls_to_come(
    quota: Quota | None, requests: int, interval_s: float
) -> None:
    """The poll interval grows as the limit demands, and never shrinks below what was asked for."""
    paced = Paced()
    paced.limiter.on_success(quota)
    assert paced.limiter.interval_s(30, requests) == interval_s


def test_the_limit_is_reckoned_from_when_it_was_told() -> None:
    """What was left a while ago is spread over the rest of the time, and over no time once that is past."""
    paced = Paced()
    paced.limiter.on_success(Quota(10 + RESERVE, 600))
    paced.pass_time(200)
    assert paced.limiter.interval_s(30, 1) == 40
    paced.pass_time(1000)
    assert paced.limiter.interval_s(30, 1) == 30
