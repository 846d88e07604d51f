"""When the next attempt is due: waits by status, and days of the person across changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.core.call_lists.attempting import AttemptRule
from formant_provider.core.call_lists.calls import Attempt

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AFTER = {"no_answer": 2 * HOUR, "busy": HOUR / 4}
RULE = AttemptRule(3, AFTER)
BERLIN, LOS_ANGELES = ZoneInfo("Europe/Berlin"), ZoneInfo("America/Los_Angeles")
SANTIAGO, HAVANA = ZoneInfo("America/Santiago"), ZoneInfo("America/Havana")


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def attempt(number: int = 1, status: str = "no_answer", end: datetime | None = NOW, **more: Any) -> Attempt:
    return Attempt(number, status, end_ms=end and ms(end), **more)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("status", "wait"), AFTER.items())
def test_the_wait_is_that_of_the_last_status_from_the_end_of_the_attempt(
    status: str, wait: timedelta
) -> None:
    """A busy line is tried sooner than one that nobody answers."""
    earlier = attempt(1, "busy", NOW - 9 * HOUR)
    assert RULE.next_at([earlier, attempt(2, status, NOW - HOUR / 6)], [], NOW) == NOW - HOUR / 6 + wait


def test_a_status_that_is_not_named_is_the_last() -> None:
    """Neither success nor what nobody can tell leads to another call."""
    for status in ("completed", "failed", "no_record", "unknown", "a_new_word"):
        assert RULE.next_at([attempt(1, status)], [], NOW) is None


def test_there_are_never_more_attempts_than_that() -> None:
    """The number of the attempt counts, also where earlier ones are not known any more."""
    assert RULE.next_at([attempt(2)], [], NOW) is not None
    assert RULE.next_at([attempt(3)], [], NOW) is None
    assert AttemptRule().next_at([attempt(1)], [], NOW) is None


def test_who_was_not_called_is_due_now() -> None:
    """There is nothing to wait for."""
    assert AttemptRule(2, AFTER, per_day=1).next_at([], [BERLIN], NOW) == NOW


def test_what_is_overdue_is_due_now_and_never_in_the_past() -> None:
    """A list that stood still for a day does not call yesterday."""
    assert RULE.next_at([attempt(end=NOW - 30 * HOUR)], [], NOW) == NOW


def test_without_an_end_its_beginning_counts_and_without_either_it_is_now() -> None:
    """In doubt the wait is the longer one."""
    started = attempt(end=None, start_ms=ms(NOW - HOUR))
    assert RULE.next_at([started], [], NOW) == NOW + HOUR
    assert RULE.next_at([attempt(end=None)], [], NOW) == NOW + 2 * HOUR


def test_a_record_from_the_future_puts_nobody_off_for_longer_than_the_wait() -> None:
    """The vendor's clock may be ahead of ours."""
    assert RULE.next_at([attempt(end=NOW + 24 * HOUR)], [], NOW) == NOW + 2 * HOUR


# Of each: the zones, when the attempts began and ended, and when the next is due with one a day.
DAYS: dict[str, tuple[list[tzinfo], list[str], str, str]] = {
    "a day of no zone is one of UTC": ([], ["2026-11-25T10:00"], "2026-11-25T12:00", "2026-11-26T00:00"),
    "the day of the person": ([BERLIN], ["2026-11-25T10:00"], "2026-11-25T12:00", "2026-11-25T23:00"),
    "their day is over already": ([BERLIN], ["2026-11-25T22:30"], "2026-11-25T23:30", "2026-11-25T23:30"),
    "of two zones the later day": (
        [BERLIN, LOS_ANGELES],
        ["2026-11-25T10:00"],
        "2026-11-25T12:00",
        "2026-11-26T08:00",
    ),
    "a day of 25 hours": ([BERLIN], ["2026-10-24T22:30"], "2026-10-25T22:45", "2026-10-25T23:00"),
    "a day of 23 hours": ([BERLIN], ["2026-03-28T23:30"], "2026-03-29T21:30", "2026-03-29T22:00"),
    "a day whose first hour is skipped": (
        [SANTIAGO],
        ["2026-09-05T20:00"],
        "2026-09-05T22:00",
        "2026-09-06T04:00",  # 0:00 does not exist, and it is 1:00 at once
    ),
    "a day whose first hour comes twice": (
        [HAVANA],
        ["2026-10-31T20:00"],
        "2026-10-31T22:00",
        "2026-11-01T04:00",  # the first 0:00 of two
    ),
    "the second 0:30 is on the same day": (
        [HAVANA],
        ["2026-11-01T04:10"],
        "2026-11-01T05:10",
        "2026-11-02T05:00",
    ),
}


@pytest.mark.parametrize(("zones", "begun", "now", "due"), DAYS.values(), ids=DAYS)
def test_a_day_of_the_person_has_no_more_attempts_than_allowed(
    zones: list[tzinfo], begun: list[str], now: str, due: str
) -> None:
    """It is the calendar of where the person may be, also where a clock is changed."""
    attempts = [
        Attempt(number, "busy", start_ms=ms(utc(text)), end_ms=ms(utc(text)))
        for number, text in enumerate(begun, 1)
    ]
    rule = AttemptRule(9, {"busy": HOUR}, per_day=1)
    assert rule.next_at(attempts, zones, utc(now)) == utc(due)


@given(
    hours=st.lists(st.integers(0, 96), min_size=1, max_size=6).map(sorted),
    zones=st.lists(st.sampled_from([BERLIN, LOS_ANGELES, SANTIAGO, HAVANA]), min_size=1, unique=True),
    per_day=st.integers(1, 3),
)
def test_it_is_the_first_hour_of_which_no_day_is_full(
    hours: list[int], zones: list[ZoneInfo], per_day: int
) -> None:
    """Trying hour after hour finds the same; the days are those around two changes of clocks."""
    start = utc("2026-10-30T00:00")
    begun = [start + hour * HOUR for hour in hours]
    attempts = [Attempt(n, "busy", start_ms=ms(each), end_ms=ms(each)) for n, each in enumerate(begun, 1)]

    def has_room(moment: datetime) -> bool:
        days = ([each.astimezone(zone).date() for each in (*begun, moment)] for zone in zones)
        return all(dates.count(dates[-1]) <= per_day for dates in days)

    expected = next(hour for hour in range(1, 300) if has_room(begun[-1] + hour * HOUR))
    rule = AttemptRule(20, {"busy": HOUR}, per_day)
    assert rule.next_at(attempts, zones, begun[-1]) == begun[-1] + expected * HOUR
