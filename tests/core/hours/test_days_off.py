"""Days off that are given, that are asked for, and that are those of the number's country."""

from __future__ import annotations

import copy
import pickle
import sys
from collections import UserDict
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.calling_window import CallingWindow
from formant_provider.core.hours.days_off import AskedDays, days_off_in, is_asked, to_days_off

INDIA = "+919876543210"
LONDON = "+442079460123"
US_TOLL_FREE = "+18005551212"
NOWHERE = "+883510001234567"
REPUBLIC_DAY = date(2027, 1, 26)
CHRISTMAS = date(2026, 12, 25)


def opening(window: CallingWindow, number: str, day: date) -> date | None:
    """The day, in UTC, on which the hours begin that one finds from a midnight in UTC on."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    found = window.hours(number).opening(moment, moment + timedelta(days=5))
    return found and found.date()


def through_bytes(it: Any) -> Any:
    return pickle.loads(pickle.dumps(it))  # noqa: S301 - our own


class Weekends:
    """Days off that cannot be listed, since there is no end to them."""

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and day.weekday() > 4


class SecondsOfMonths(UserDict[Any, Any]):
    """Days off that come to be known when they are asked for, as those of the library do."""

    def __contains__(self, day: object) -> bool:
        if isinstance(day, date) and day.day == 2:
            self.data[day] = "second"
        return day in self.data


@pytest.mark.parametrize("days", [Weekends(), SecondsOfMonths()], ids=lambda days: type(days).__name__)
def test_what_knows_days_when_it_is_asked_is_asked(days: Any) -> None:
    """2 January 2027 is a Saturday; nothing of it was there to be listed before."""
    window = CallingWindow(timezone="UTC", holidays=days)
    assert opening(window, INDIA, date(2027, 1, 2)) != date(2027, 1, 2)
    assert opening(window, INDIA, date(2027, 1, 4)) == date(2027, 1, 4)


GIVEN: list[Any] = [
    [CHRISTMAS],
    {CHRISTMAS},
    (day for day in [CHRISTMAS]),
    "2026-12-25",
    {CHRISTMAS: "Christmas"},
    {"2026-12-25": "Christmas"},
    MappingProxyType({"2026-12-25": "Christmas"}),
    UserDict({CHRISTMAS: "Christmas"}),
    {CHRISTMAS: "Christmas"}.keys(),
]


@pytest.mark.parametrize("days", GIVEN, ids=lambda days: type(days).__name__)
def test_days_that_are_listed_are_those(days: Any) -> None:
    """As a list, as text, or as the keys of a mapping, as dates or as text."""
    found = to_days_off(days)
    assert CHRISTMAS in found
    assert date(2026, 12, 24) not in found


@pytest.mark.parametrize(
    "days",
    [None, 5, b"2026-12-25", UserDict({"Christmas": 25}), {"Christmas": 25}],
    ids=lambda days: type(days).__name__,
)
def test_what_are_no_days_is_refused(days: Any) -> None:
    """By the name of the field."""
    with pytest.raises(InvalidInput, match=r"calling_window\.holidays"):
        to_days_off(days)


def test_holidays_of_the_library_are_asked_for_the_days_in_question() -> None:
    """An object of country_holidays has no day in it until it is asked, in any year."""
    holidays = pytest.importorskip("holidays")
    given = holidays.country_holidays("IN")
    window = CallingWindow(holidays=given)
    assert len(given) == 0
    assert opening(window, INDIA, REPUBLIC_DAY) == REPUBLIC_DAY + timedelta(days=1)
    assert opening(window, INDIA, date(2029, 1, 26)) == date(2029, 1, 27)


def test_holidays_of_the_library_are_shown_by_their_settings() -> None:
    """What a process has asked before does not show: otherwise each parse would make a new DAG."""
    holidays = pytest.importorskip("holidays")
    fresh = CallingWindow(holidays=holidays.country_holidays("US", subdiv="CA"))
    asked = CallingWindow(holidays=holidays.country_holidays("US", subdiv="CA"))
    assert CHRISTMAS in asked.hours(INDIA).holidays
    assert repr(fresh) == repr(asked)
    shown = fresh.serialize()["holidays"]
    assert shown == "holidays.US(country='US', subdiv='CA', categories=['public'])"
    assert repr(CallingWindow(holidays=holidays.financial_holidays("NYSE"))).count("market='XNYS'") == 1


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, through_bytes])
def test_a_window_with_holidays_can_be_copied(copied: Any) -> None:
    """Airflow copies tasks, and may send them to another process."""
    holidays = pytest.importorskip("holidays")
    window = CallingWindow(holidays=holidays.country_holidays("IN"))
    again = copied(window)
    assert repr(again) == repr(window)
    assert REPUBLIC_DAY in again.hours(INDIA).holidays


def test_the_recipient_s_holidays_are_those_of_the_number_s_country() -> None:
    """Boxing Day is one in England, and Republic Day one in India."""
    pytest.importorskip("holidays")
    window = CallingWindow(holidays="recipient")
    assert CHRISTMAS in window.hours(LONDON).holidays
    assert date(2028, 12, 26) in window.hours(LONDON).holidays
    assert date(2028, 12, 26) not in window.hours(INDIA).holidays
    assert opening(window, INDIA, REPUBLIC_DAY) == REPUBLIC_DAY + timedelta(days=1)
    assert window.serialize()["holidays"] == "recipient"


def test_a_number_of_several_countries_has_the_holidays_of_all() -> None:
    """A toll-free number of North America rests on Canada Day and on Independence Day."""
    pytest.importorskip("holidays")
    found = days_off_in(["US", "CA"])
    assert [date(2026, 7, day) in found for day in (1, 2, 4)] == [True, False, True]


REFUSED = [
    (NOWHERE, "the country of this number is not known"),
    ("+38328012345", "the public holidays of XK are not known to the library holidays"),
]


@pytest.mark.parametrize(("number", "text"), REFUSED)
def test_nobody_is_called_on_holidays_that_nobody_knows(number: str, text: str) -> None:
    """It is refused, with the way out, and without the number."""
    pytest.importorskip("holidays")
    with pytest.raises(InvalidInput, match=text) as caught:
        CallingWindow(timezone="UTC", holidays="recipient").hours(number)
    assert "give dates" in str(caught.value)
    assert number.strip("+") not in str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency; a DAG that needs it is parsed all the same."""
    monkeypatch.setitem(sys.modules, "holidays", None)  # as if it were not installed
    window = CallingWindow(holidays="recipient")
    with pytest.raises(InvalidInput, match=r"pip install 'airflow-provider-formant\[holidays\]'"):
        window.hours("+33123456789")


def test_asked_days_are_told_from_listed_ones() -> None:
    """A string is text, a list is a list, whatever ``in`` would make of it."""
    assert [is_asked(it) for it in ("text", [CHRISTMAS], {CHRISTMAS}, {}, None)] == [False] * 5
    assert is_asked(Weekends())
    assert is_asked(SecondsOfMonths())
    assert str(AskedDays(Weekends())).endswith(".Weekends()")


@pytest.mark.parametrize("days", [[CHRISTMAS], Weekends(), "recipient"], ids=lambda days: type(days).__name__)
def test_hours_of_two_numbers_with_the_same_clock_and_holidays_are_equal(days: Any) -> None:
    """So whoever judges a million rows need not judge each."""
    if days == "recipient":
        pytest.importorskip("holidays")
    window = CallingWindow(holidays=days)
    one, other = window.hours("+919876543210"), window.hours("+919876543211")
    assert len({one, other}) == 1
    assert len({one, window.hours(LONDON)}) == 2


def test_days_that_can_be_read_once_are_kept() -> None:
    """A generator would be empty by the time a task runs."""
    window = CallingWindow(days=iter(["fri"]), holidays=(day for day in [CHRISTMAS]))  # type: ignore[arg-type]
    for _ in range(2):
        hours = window.hours(INDIA)
        assert (hours.days, CHRISTMAS in hours.holidays) == ({"fri"}, True)
