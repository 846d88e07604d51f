"""The pace of a call list: the limit is used up and no more, and nothing that goes wrong costs everybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from formant_provider.api.errors import RateLimited, ServerError
from formant_provider.api.retry import Quota
from formant_provider.core.call_lists.pace import LONGEST_BACKOFF_S, MOST_AT_ONCE, Pace


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 18, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def lapse(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time() -> Time:
    return Time()


def pace_of(time: Time, **options: float) -> Pace:
    """Return a pace whose jitter is always the middle."""
    return Pace(time, jitter=lambda: 0.5, **options)  # type: ignore[arg-type] # of numbers alone


def answer(pace: Pace, quota: Quota | None = None) -> None:
    """Send one request that is answered."""
    pace.begin()
    pace.end()
    pace.on_success(quota)


def burst(pace: Pace, most: int = 1000) -> int:
    """Let as many requests leave as there is room for; return how many."""
    sent = 0
    while sent < most and pace.has_room():
        pace.begin()
        sent += 1
    return sent


def test_the_first_request_goes_ahead_alone(time: Time) -> None:
    """Whether the API is there, and what it allows, one request finds out."""
    pace = pace_of(time)
    assert burst(pace) == 1
    pace.end()
    pace.on_success(None)
    assert burst(pace) == 8


@pytest.mark.parametrize(("limit", "at_once"), [(5, 1), (50, 5), (100, 10), (6000, MOST_AT_ONCE)])
def test_the_limit_says_how_many_are_under_way(time: Time, limit: int, at_once: int) -> None:
    """A tenth of what the API allows in a window, and never more than there are threads."""
    pace = pace_of(time)
    answer(pace, Quota(limit, 60.0, limit))
    assert burst(pace) == at_once


def test_a_window_ends_when_the_earliest_estimate_says(time: Time) -> None:
    """Whole seconds in headers make an estimate late by up to two, and never early: the least is nearest."""
    pace = pace_of(time)
    for reset_s in (61.2, 60.1, 61.9):
        answer(pace, Quota(0, reset_s, 50))
    assert pace.wait_s() == pytest.approx(60.15)


def test_a_chosen_concurrency_is_kept(time: Time) -> None:
    """Whatever the API would allow; the first request goes ahead alone all the same."""
    pace = pace_of(time, at_once=3)
    assert burst(pace) == 1
    pace.end()
    pace.on_success(Quota(6000, 60.0, 6000))
    assert burst(pace) == 3


def test_what_is_left_of_a_window_is_used_up_and_no_more(time: Time) -> None:
    """The next request waits until the window is over; then there is a whole one again."""
    pace = pace_of(time, at_once=16)
    answer(pace, Quota(3, 10.0, 40))
    assert burst(pace) == 3
    assert 10.0 < pace.wait_s() < 10.1
    for _ in range(3):
        pace.end()
    time.lapse(9.9)
    assert not pace.has_room()
    time.lapse(0.2)
    sent = 0
    while sent < 100 and pace.has_room():
        pace.begin()
        pace.end()
        sent += 1
    assert sent == 40, "also as long as no answer tells of the new window"


def test_requests_that_are_under_way_are_counted(time: Time) -> None:
    """An answer that was written before they arrived does not know of them."""
    pace = pace_of(time, at_once=16)
    answer(pace, None)
    for _ in range(4):
        pace.begin()
    pace.end()
    pace.on_success(Quota(5, 10.0, 50))
    assert burst(pace) == 2


def test_answers_that_come_in_another_order_give_nothing_back(time: Time) -> None:
    """Within one window there is only ever less left."""
    pace = pace_of(time, at_once=16)
    answer(pace, Quota(2, 10.0, 50))
    answer(pace, Quota(9, 10.0, 50))
    assert burst(pace) <= 1


@pytest.mark.parametrize(("limit", "window_s"), [(50, 60.0), (20, 10.0), (300, 60.0)])
def test_a_list_alone_takes_nearly_all_of_the_limit_and_is_never_refused(
    time: Time, limit: int, window_s: float
) -> None:
    """In windows that begin with their first request, each answer takes a fifth of a second."""
    pace, server = pace_of(time), Window(time, limit, window_s)
    on_their_way: list[tuple[datetime, Quota]] = []
    began = time.now
    while server.windows < 6:
        while pace.has_room():
            pace.begin()
            on_their_way.append((time.now + timedelta(seconds=0.2), server.ask()))
        time.lapse(0.01)
        while on_their_way and on_their_way[0][0] <= time.now:
            pace.end()
            pace.on_success(on_their_way.pop(0)[1])
    assert server.refused == 0
    assert server.answered >= 0.95 * limit * (time.now - began).total_seconds() / (window_s + 0.45)


class Window:
    """An API that answers so many requests in a window, and says what is left of it."""

    def __init__(self, time: Time, limit: int, window_s: float) -> None:
        self.time, self.limit, self.window_s = time, limit, window_s
        self.left, self.resets_at = 0, time.now
        self.windows = self.answered = self.refused = 0

    def ask(self) -> Quota:
        if self.time.now >= self.resets_at:
            self.left, self.resets_at = self.limit, self.time.now + timedelta(seconds=self.window_s)
            self.windows += 1
        self.refused += self.left <= 0
        self.answered += self.left > 0
        self.left = max(self.left - 1, 0)
        return Quota(self.left, (self.resets_at - self.time.now).total_seconds(), self.limit)


def test_a_429_lets_all_wait_as_the_api_asks_and_one_goes_ahead(time: Time) -> None:
    """Nothing leaves before; then one request alone sees whether the API answers again."""
    pace = pace_of(time, at_once=16)
    answer(pace)
    pace.on_error(RateLimited("429", retry_after_s=30))
    time.lapse(30)
    assert not pace.has_room(), "a part of a second more, at random, so that not all come back at once"
    time.lapse(0.6)
    assert burst(pace) == 1
    pace.end()
    pace.on_success(None)
    assert burst(pace) == 16


def test_errors_of_requests_that_were_under_way_together_are_one(time: Time) -> None:
    """Sixteen answers of one outage do not let the list wait for hours."""
    pace = pace_of(time)
    answer(pace)
    for _ in range(16):
        pace.on_error(ServerError("503"))
    assert pace.wait_s() <= 1.0


def test_an_api_that_stays_away_is_asked_ever_more_seldom_up_to_a_bound(time: Time) -> None:
    """Each error that follows a pause doubles the next one, and two minutes are the longest."""
    pace, waits = pace_of(time), []
    for _ in range(12):
        pace.on_error(ServerError("503"))
        waits.append(pace.wait_s())
        time.lapse(waits[-1])
    assert waits[:4] == pytest.approx([0.75, 1.5, 3.0, 6.0])
    assert waits[-1] == pytest.approx(0.75 * LONGEST_BACKOFF_S)
    answer(pace)
    pace.on_error(ServerError("503"))
    assert pace.wait_s() == pytest.approx(0.75), "an answer begins anew"


def test_a_pause_is_never_made_shorter(time: Time) -> None:
    """Neither by a shorter one, nor by a window that ends before."""
    pace = pace_of(time)
    pace.pause(60)
    pace.pause(5)
    assert pace.wait_s() == pytest.approx(60)
    answer(pace, Quota(0, 1.0, 10))
    assert pace.wait_s() == pytest.approx(60)
    time.lapse(30)
    assert pace.wait_s() == pytest.approx(30)


def test_busy_lines_are_not_asked_for_more_but_one_a_minute(time: Time) -> None:
    """A call more is tried a minute later, since others may have ended theirs."""
    pace = pace_of(time)
    answer(pace)
    pace.lines_are_busy(5, None)
    time.lapse(2)
    assert pace.has_room(4)
    assert not pace.has_room(5)
    time.lapse(60)
    assert pace.has_room(5)
    assert not pace.has_room(6)


def test_busy_lines_leave_room_for_polls(time: Time) -> None:
    """They are what tells that a line is free again."""
    pace = pace_of(time)
    answer(pace)
    pace.lines_are_busy(1, 3.0)
    assert not pace.has_room(), "for as long as the API asked, nothing leaves"
    time.lapse(3)
    assert pace.has_room()


def test_somebody_else_s_calls_do_not_stop_a_list_for_good(time: Time) -> None:
    """Where none of the list is in progress, one call is tried."""
    pace = pace_of(time)
    answer(pace)
    pace.lines_are_busy(0, 1.0)
    time.lapse(1)
    assert pace.has_room(0)
    assert not pace.has_room(1)


def test_polls_take_a_small_part_of_the_limit_while_there_are_calls(time: Time) -> None:
    """Three percent: with 50 a minute, a poll of three requests leaves every two minutes."""
    pace = pace_of(time)
    answer(pace, Quota(50, 60.0, 50))
    pace.is_busy = True
    assert pace.interval_s(10.0, 3) == pytest.approx(3 * 60 / 50 / 0.03)
    assert pace.interval_s(10.0, 0) == 10.0
    pace.is_busy = False
    assert pace.interval_s(10.0, 3) == 10.0


def test_polls_take_more_where_a_list_may_be_stopped_by_what_they_tell(time: Time) -> None:
    """A limit of calls that are over is kept only as far as their ends are known."""
    pace = pace_of(time, share_of_polls=0.25)
    answer(pace, Quota(50, 60.0, 50))
    pace.is_busy = True
    assert pace.interval_s(1.0, 3) == pytest.approx(3 * 60 / 50 / 0.25)


def test_polls_come_often_where_lines_are_short(time: Time) -> None:
    """Whoever's call is over makes room for the next."""
    pace = pace_of(time)
    answer(pace)
    pace.lines_are_busy(3, None)
    pace.is_busy = True
    assert pace.interval_s(60.0, 1) == 15.0
    assert pace.interval_s(5.0, 1) == 5.0


def test_polls_of_a_window_are_counted_while_there_are_calls(time: Time) -> None:
    """However many an agent's list takes: the rest of a window is for calls; a new one begins anew."""
    pace = pace_of(time, at_once=16)
    answer(pace, Quota(100, 60.0, 100))
    pace.is_busy, sent = True, 0
    while sent < 50 and pace.has_room_for_poll():
        pace.begin(is_poll=True)
        pace.end()
        sent += 1
    assert sent == 3
    assert pace.has_room()
    pace.is_busy = False
    assert pace.has_room_for_poll(), "when nothing else is to be sent, all of it is theirs"
    pace.is_busy = True
    time.lapse(61)
    answer(pace, Quota(99, 60.0, 100))
    assert pace.has_room_for_poll()


def test_without_a_limit_polls_keep_their_own_time(time: Time) -> None:
    """Where the API tells none, there is nothing to share out."""
    pace = pace_of(time)
    answer(pace)
    pace.is_busy = True
    assert pace.interval_s(10.0, 30) == 10.0


def test_answers_are_counted(time: Time) -> None:
    """Whether a call alone fails shows in the answers of others."""
    pace = pace_of(time)
    answer(pace)
    answer(pace)
    pace.on_error(ServerError("503"))
    assert pace.answers == 2


def test_a_limit_that_is_used_up_is_told_once_a_window(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    """The log says why a list stands still for a while, and does not say so every other second."""
    caplog.set_level("INFO")
    pace = pace_of(time)
    for window in (1, 2):
        answer(pace, Quota(limit=12, remaining=0, reset_s=60))
        for _ in range(5):
            pace.tell_if_used_up()
            time.lapse(2)
        assert len(caplog.messages) == window
        assert caplog.messages[-1].startswith("All 12 requests that the API allows for now are used.")
        time.lapse(60)
    pace.tell_if_used_up()
    assert len(caplog.messages) == 2


def test_a_limit_that_the_api_does_not_name_is_not_named_in_the_log(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer may say what is left without saying of how many."""
    caplog.set_level("INFO")
    pace = pace_of(time)
    answer(pace, Quota(limit=None, remaining=0, reset_s=60))
    pace.tell_if_used_up()
    assert caplog.messages[0].startswith("All requests that the API allows for now are used.")
