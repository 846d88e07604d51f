"""The cap of calls to one person: borders, a brute-force second reading, and what people write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.errors import InvalidInput
from formant_provider.api.store_config import parse_call_cap
from formant_provider.core.caps import (
    CapRule,
    is_free,
    next_free,
    parse_calls,
    parse_span,
    span_text,
)

START = datetime(2026, 11, 25, 6, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def rule(calls: int, hours: float) -> CapRule:
    return CapRule(calls, timedelta(hours=hours))


def is_free_by_trial(times: list[int], wanted: int, calls: int, per: int) -> bool:
    """Slide a window of whole units over the new call, as the promise is worded."""
    rung = [*times, wanted]
    starts = range(wanted - per + 1, wanted + 1)  # all windows that hold the new call
    return all(sum(start <= each < start + per for each in rung) <= calls for start in starts)


UNITS = st.integers(-12, 12)
CASES = given(times=st.lists(UNITS, max_size=9), wanted=UNITS, calls=st.integers(1, 4), per=st.integers(1, 8))


@CASES
def test_no_sliding_window_with_the_new_call_holds_more_than_the_cap(
    times: list[int], wanted: int, calls: int, per: int
) -> None:
    """Whether a call is free is what trying every window says, also beside calls that break the cap."""
    expected = is_free_by_trial(times, wanted, calls, per)
    assert is_free([at(each) for each in times], at(wanted), rule(calls, per)) is expected


@given(
    spans=st.lists(st.tuples(UNITS, st.integers(0, 9)), max_size=6),
    wanted=UNITS,
    calls=st.integers(1, 3),
    per=st.integers(1, 8),
)
def test_a_call_whose_moment_is_not_known_counts_at_each_that_it_may_have(
    spans: list[tuple[int, int]], wanted: int, calls: int, per: int
) -> None:
    """No window holds more than the cap, wherever in its span each call rings; and it is one call in each."""
    windows = [(start, start + per - 1) for start in range(wanted - per + 1, wanted + 1)]
    most = max(sum(one <= last and first <= one + long for one, long in spans) for first, last in windows)
    known = [(at(begin), at(begin + long)) for begin, long in spans]
    assert is_free(known, at(wanted), rule(calls, per)) is (most < calls)


@CASES
def test_the_next_free_moment_is_the_earliest_of_all(
    times: list[int], wanted: int, calls: int, per: int
) -> None:
    """It is the first moment, not before the wanted one, at which trying every window finds room."""
    expected = next(unit for unit in range(wanted, 99) if is_free_by_trial(times, unit, calls, per))
    assert next_free([at(each) for each in times], at(wanted), rule(calls, per)) == at(expected)


@given(wanted=st.lists(UNITS, max_size=12), calls=st.integers(1, 3), per=st.integers(1, 8))
def test_calls_at_their_next_free_moments_never_break_the_cap(
    wanted: list[int], calls: int, per: int
) -> None:
    """Whoever takes one free moment after the other has at most so many calls in every window."""
    times: list[datetime] = []
    for unit in wanted:
        times.append(next_free(times, at(unit), rule(calls, per)))
    for first, last in zip(sorted(times), sorted(times)[calls:], strict=False):
        assert last - first >= timedelta(hours=per)


BORDERS = {
    "nobody was called": ([], 0, (1, 24), 0),
    "a moment before the window is over": ([0], 23.999, (1, 24), 24),
    "exactly as far apart as the window is long": ([0], 24, (1, 24), 24),
    "at the same moment": ([5], 5, (1, 24), 29),
    "at the same moment, two allowed": ([5], 5, (2, 24), 5),
    "the first of two is long enough ago": ([0, 23], 24, (2, 24), 24),
    "two within the window": ([0, 23], 23.5, (2, 24), 24),
    "a scheduled call ahead": ([30], 10, (1, 24), 54),
    "exactly before a scheduled call": ([34], 10, (1, 24), 10),
    "a gap between two is too small": ([0, 47], 12, (1, 24), 71),
    "a gap between two is just enough": ([0, 48], 12, (1, 24), 24),
    "two far from each other share no window with a third": ([0, 30], 15, (2, 24), 15),
    "more than the cap, elsewhere": ([0, 0, 0], 24, (2, 24), 24),
    "more than the cap, here": ([0, 1, 2], 3, (2, 24), 25),
    "the list is in no order": ([23, 0], 23.5, (2, 24), 24),
}


@pytest.mark.parametrize(("times", "wanted", "cap", "expected"), BORDERS.values(), ids=BORDERS)
def test_borders(times: list[float], wanted: float, cap: tuple[int, float], expected: float) -> None:
    """A window is half open, and calls ahead count as those that were."""
    assert next_free([at(each) for each in times], at(wanted), rule(*cap)) == at(expected)
    assert is_free([at(each) for each in times], at(wanted), rule(*cap)) is (wanted == expected)


def test_a_window_is_as_long_on_the_day_that_a_clock_is_changed() -> None:
    """A day means 24 hours, whatever a wall clock shows in between."""
    before = datetime(2026, 10, 24, 12, tzinfo=BERLIN)  # the clock goes back in the night
    next_noon = datetime(2026, 10, 25, 12, tzinfo=BERLIN)
    free = next_free([before], next_noon - timedelta(hours=2), rule(1, 24))
    assert free == datetime(2026, 10, 25, 11, tzinfo=BERLIN)
    assert free.utcoffset() == timedelta()
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    assert is_free([], twice, rule(1, 24))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(days=1), timedelta(days=1)),
        (90, timedelta(seconds=90)),
        (3600.0, timedelta(hours=1)),
        ("1d", timedelta(days=1)),
        (" 12h ", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("366d", timedelta(days=366)),
    ],
)
def test_a_length_may_be_written_in_several_ways(value: object, expected: timedelta) -> None:
    """A timedelta, seconds, or text with its unit; what is written of it reads as the same."""
    assert parse_span(value) == expected
    assert parse_span(span_text(expected)) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("7", "1.5d", "1 day", "1D", "1w", "d", "", "367d", "999999999d", "1\u0663d"),
        *(0, -1, 0.5, 1.5, float("inf"), float("nan"), None, True, [1]),
        *(timedelta(), timedelta(milliseconds=1500), timedelta.max),
    ],
    ids=repr,
)
def test_a_length_that_is_none_is_refused(value: object) -> None:
    """Text without a unit is refused too: seven of what? The error names the field."""
    with pytest.raises(InvalidInput, match=r"^call_cap\.per: must be a timedelta"):
        parse_span(value)


@pytest.mark.parametrize("span", ["1d", "12h", "90m", "45s", "7d", "36h"])
def test_a_length_is_written_in_its_longest_unit(span: str) -> None:
    """So one length has one text, however it was given."""
    assert span_text(parse_span(span)) == span


@pytest.mark.parametrize("text", ["2/1d", "1/90m", "10/7d"])
def test_a_rule_is_shown_as_a_connection_names_it(text: str) -> None:
    """In an error, what was reached reads as what was written."""
    parsed = parse_call_cap(text)
    assert parsed is not None
    assert str(CapRule(*parsed)) == text


@pytest.mark.parametrize("value", [2, "2", " 2 "])
def test_calls_are_an_integer_or_digits(value: object) -> None:
    """A template renders to text."""
    assert parse_calls(value) == 2


NO_CALLS = [0, -1, 1.5, 2.0, True, None, "two", "\u0662", "", "9" * 5000, [2]]


@pytest.mark.parametrize("value", NO_CALLS, ids=range(len(NO_CALLS)))
def test_calls_that_are_no_number_are_refused(value: object) -> None:
    """None at all would be a do-not-call list, which is something else."""
    with pytest.raises(InvalidInput, match=r"^call_cap\.calls: must be an integer, 1 or more"):
        parse_calls(value)
