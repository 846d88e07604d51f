"""The hours in which a phone may ring: zones, changed clocks, nights, holidays, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from formant_provider.api.errors import CallNotAllowed, InvalidInput
from formant_provider.calling_window import CallingWindow
from formant_provider.core.hours.opening_hours import MARGIN, allowed_at, to_zone

INDIA = "+919876543210"
LONDON = "+442071838750"
NEW_YORK = "+12015550123"
LOS_ANGELES = "+14155550100"
AUSTRALIAN_MOBILE = "+61412345678"
RUSSIAN_MOBILE = "+79161234567"
US_TOLL_FREE = "+18005551212"
NOWHERE = "+883510001234567"
DAY = timedelta(days=1)
SOON = timedelta(seconds=1)


def at(text: str) -> datetime:
    """A moment of 2026 in UTC, such as ``"11-25 09:00"``."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def ring(window: CallingWindow, number: str, asked: datetime | None, *, now: datetime) -> datetime | None:
    return allowed_at(window.hours(number), asked, now=now, on_closed="schedule")


NINE_TO_EIGHT = [
    (INDIA, "11-25 02:00", "11-25 03:30"),
    (INDIA, "11-25 15:00", "11-26 03:30"),
    (LONDON, "11-25 08:59", "11-25 09:00"),
    (LONDON, "11-25 20:00", "11-26 09:00"),
    (NEW_YORK, "11-25 13:00", "11-25 14:00"),
    (LOS_ANGELES, "11-25 13:00", "11-25 17:00"),
    # From Lord Howe (+11) to the Cocos Islands (+6:30): nine there is 13:30 here.
    (AUSTRALIAN_MOBILE, "11-25 00:00", "11-25 02:30"),
    (AUSTRALIAN_MOBILE, "11-25 09:00", "11-26 02:30"),
    # From Kaliningrad (+2) to Kamchatka (+12): one hour a day is neither night here nor there.
    (RUSSIAN_MOBILE, "11-25 00:00", "11-25 07:00"),
    (RUSSIAN_MOBILE, "11-25 08:00", "11-26 07:00"),
]


@pytest.mark.parametrize(("number", "now", "expected"), NINE_TO_EIGHT)
def test_a_call_waits_for_the_recipient_s_morning(number: str, now: str, expected: str) -> None:
    """From nine to eight by the clocks where the number is: in all of its zones, if it has several."""
    assert ring(CallingWindow(), number, None, now=at(now)) == at(expected)


@pytest.mark.parametrize(
    ("number", "now"), [(INDIA, "11-25 12:00"), (LONDON, "11-25 09:00"), (RUSSIAN_MOBILE, "11-25 07:30")]
)
def test_within_the_hours_a_call_goes_out_at_once(number: str, now: str) -> None:
    """No moment is named where none was asked for."""
    assert ring(CallingWindow(), number, None, now=at(now)) is None


def test_the_named_zone_counts_and_not_the_number_s() -> None:
    """With timezone given, its clock is the one that counts."""
    window = CallingWindow(timezone="Asia/Kolkata")
    assert ring(window, LOS_ANGELES, None, now=at("11-25 12:00")) is None
    assert ring(window, NOWHERE, None, now=at("11-25 20:00")) == at("11-26 03:30")


BERLIN_CLOCKS = [
    # In the night of March 29 the clock jumped from 02:00 to 03:00, and skipped 02:30.
    ("09:00", "20:00", "03-28 05:00", "03-28 08:00"),
    ("09:00", "20:00", "03-29 05:00", "03-29 07:00"),
    ("02:30", "05:00", "03-29 00:00", "03-29 01:30"),
    ("02:00", "05:00", "03-29 00:30", "03-29 01:00"),
    ("22:00", "02:30", "03-29 00:25", "03-29 00:25"),
    ("22:00", "02:30", "03-29 00:30", "03-29 20:00"),
    ("02:10", "02:50", "03-29 00:00", "03-30 00:10"),
    # In the night of October 25 it was put back from 03:00 to 02:00, and showed 02:30 twice.
    ("09:00", "20:00", "10-24 05:00", "10-24 07:00"),
    ("09:00", "20:00", "10-25 05:00", "10-25 08:00"),
    ("02:30", "05:00", "10-25 00:00", "10-25 01:30"),
    ("22:00", "02:30", "10-25 00:25", "10-25 00:25"),
    ("22:00", "02:30", "10-25 00:30", "10-25 21:00"),
    ("02:10", "02:50", "10-25 00:20", "10-26 01:10"),
    ("01:00", "04:00", "10-25 01:30", "10-25 01:30"),
]


@pytest.mark.parametrize(("start", "end", "now", "expected"), BERLIN_CLOCKS)
def test_changed_clocks_make_the_hours_shorter_at_most(start: str, end: str, now: str, expected: str) -> None:
    """A reading that is skipped or shown twice is taken the careful way: later to begin, sooner to end."""
    hours = CallingWindow(start, end, timezone="Europe/Berlin").hours(INDIA)
    assert hours.opening(at(now), at(now) + 3 * DAY) == at(expected)


def test_hours_that_end_at_midnight_last_until_it_also_where_it_is_skipped() -> None:
    """In Santiago the clock jumps from midnight to one: the evening before lacks no hour."""
    hours = CallingWindow("20:00", "24:00", timezone="America/Santiago").hours(INDIA)
    jump = datetime(2026, 9, 6, 4, tzinfo=UTC)
    for asked in (jump - timedelta(minutes=59), jump - timedelta(minutes=2)):
        assert hours.opening(asked, asked) == asked
    assert hours.opening(jump - SOON, jump - SOON) is None


NIGHTS = [
    ({"days": ["fri"]}, "11-28 00:30", "11-28 00:30"),  # the hours that began on Friday
    ({"days": ["sat"]}, "11-28 00:30", "11-28 22:00"),
    ({"days": ["fri"]}, "11-28 01:59", "12-04 22:00"),
    ({"days": ["fri"], "holidays": ["2026-11-27"]}, "11-28 00:30", "12-04 22:00"),
    ({"days": ["fri"], "holidays": ["2026-11-28"]}, "11-28 00:30", "11-28 00:30"),
]


@pytest.mark.parametrize(("fields", "now", "expected"), NIGHTS)
def test_hours_over_midnight_belong_to_the_day_they_begin_on(
    fields: dict[str, Any], now: str, expected: str
) -> None:
    """Days of the week and holidays are those of the evening."""
    hours = CallingWindow("22:00", "02:00", timezone="UTC", **fields).hours(INDIA)
    assert hours.opening(at(now), at(now) + 8 * DAY) == at(expected)


def test_holidays_are_days_where_the_recipient_is() -> None:
    """When a holiday ends in India it still is one in California."""
    window = CallingWindow(holidays=[date(2026, 12, 25)])
    assert ring(window, INDIA, None, now=at("12-25 06:00")) == at("12-26 03:30")
    assert ring(window, LOS_ANGELES, None, now=at("12-26 03:00")) == at("12-26 17:00")
    assert ring(window, LOS_ANGELES, None, now=at("12-25 03:00")) is None


def test_whole_days_have_no_seam() -> None:
    """From midnight to midnight on weekdays is one stretch, and the weekend is closed."""
    window = CallingWindow("00:00", "24:00", days="mon tue wed thu fri", timezone="UTC")
    assert ring(window, INDIA, None, now=at("11-25 23:59:59")) is None
    assert ring(window, INDIA, None, now=at("11-27 23:59:00")) == at("11-30 00:00")


@pytest.mark.parametrize("zone", ["America/Santiago", "Asia/Beirut", "America/Havana", "Africa/Cairo"])
def test_whole_days_have_no_seam_where_clocks_are_changed_at_midnight(zone: str) -> None:
    """Around every change within a year one may call, whether midnight is skipped or shown twice."""
    hours = CallingWindow("00:00", "24:00", timezone=zone).hours(INDIA)
    year = [at("11-25 00:00") + n * timedelta(minutes=30) for n in range(365 * 48)]
    changes = [
        it
        for it in year
        if it.astimezone(to_zone(zone)).utcoffset() != (it - DAY).astimezone(to_zone(zone)).utcoffset()
    ]
    assert changes
    assert [it for it in changes if hours.opening(it - DAY / 8, it - DAY / 8) != it - DAY / 8] == []
    assert [it for it in changes if hours.opening(it, it) != it] == []


def test_a_phone_has_a_minute_to_ring() -> None:
    """A call that leaves at 19:59:59 would ring at 20:00:05: from a minute before the end it waits."""
    window = CallingWindow(timezone="UTC")
    last = at("11-25 20:00") - MARGIN
    assert ring(window, INDIA, None, now=last - SOON) is None
    assert ring(window, INDIA, None, now=last) == at("11-26 09:00")
    assert ring(window, INDIA, last, now=at("11-25 10:00")) == at("11-26 09:00")


def test_nothing_is_asked_for_that_is_past_when_it_arrives() -> None:
    """Just before the hours begin a call is asked for in a minute, since clocks differ."""
    now = at("11-25 08:59:50")
    assert ring(CallingWindow(timezone="UTC"), INDIA, None, now=now) == now + MARGIN


def test_a_moment_that_was_asked_for_is_kept_or_moved_on() -> None:
    """scheduled_for is judged like now: kept within the hours, otherwise moved to their next opening."""
    window, now = CallingWindow(timezone="UTC"), at("11-25 10:00")
    assert ring(window, INDIA, at("11-27 12:34:56"), now=now) == at("11-27 12:34:56")
    assert ring(window, INDIA, at("11-27 20:00"), now=now) == at("11-28 09:00")
    assert ring(window, INDIA, now + 30 * DAY, now=now) == now + 30 * DAY


CLOSED_FOR_LONG = {
    "holidays": (CallingWindow(holidays=[date(2026, 11, 25) + n * DAY for n in range(32)]), INDIA, None),
    "no hours in common": (CallingWindow("10:00", "18:00"), US_TOLL_FREE, None),
    "moved too far": (CallingWindow(days="mon"), INDIA, at("12-24 12:00")),
}


@pytest.mark.parametrize(("window", "number", "asked"), CLOSED_FOR_LONG.values(), ids=CLOSED_FOR_LONG)
def test_hours_that_do_not_come_in_30_days_are_refused(
    window: CallingWindow, number: str, asked: datetime | None
) -> None:
    """The vendor takes no call for later, so the input is what is wrong; and no number is in the error."""
    with pytest.raises(InvalidInput, match=r"calling_window: is closed until 30 days from now") as caught:
        ring(window, number, asked, now=at("11-25 00:00"))
    assert number.strip("+") not in str(caught.value)


@pytest.mark.parametrize(("on_closed", "skips"), [("skip", True), ("fail", False)])
@pytest.mark.parametrize(("asked", "what"), [(None, "now"), ("11-25 22:00", "the moment of scheduled_for")])
def test_a_call_may_be_held_back_instead(on_closed: str, skips: bool, asked: str | None, what: str) -> None:
    """Then the error says how the task ends, and when the hours begin."""
    hours = CallingWindow(timezone="UTC").hours(INDIA)
    with pytest.raises(CallNotAllowed, match=rf"{what}; it opens next at 2026-11-26T09:00:00Z") as caught:
        allowed_at(hours, asked and at(asked), now=at("11-25 21:00"), on_closed=on_closed)
    assert caught.value.skips is skips


def test_held_back_for_ever_is_said_so() -> None:
    """Hours that never come have no next opening to name."""
    with pytest.raises(CallNotAllowed, match="does not open again soon"):
        allowed_at(
            CallingWindow("10:00", "18:00").hours(US_TOLL_FREE), None, now=at("11-25 21:00"), on_closed="skip"
        )


# Everything that can be written, and what is invalid.


def test_fields_may_be_lists_or_text() -> None:
    """What a template renders a list to is read as the list it was."""
    a, b = date(2026, 12, 25), date(2026, 12, 26)
    as_list = CallingWindow(days=["Mon", "TUE"], holidays=[a, "2026-12-26"])
    as_text = CallingWindow(days="mon,tue", holidays="2026-12-25 2026-12-26")
    as_repr = CallingWindow(days=repr(["mon", "tue"]), holidays=repr(["2026-12-25", "2026-12-26"]))
    assert as_list.hours(INDIA) == as_text.hours(INDIA) == as_repr.hours(INDIA)
    assert as_list.hours(INDIA).holidays == {a, b}
    assert CallingWindow(holidays="").hours(INDIA).holidays == frozenset()


BAD: list[tuple[str, Any]] = [
    *(
        ("start", value)
        for value in ("9:00", "09:60", "24:01", "25:00", "nine", "", "None", None, 9, time(9))
    ),
    *(("end", value) for value in ("8pm", "20", "20:00:00", None)),
    *(("end", value) for value in ("09:00", "09:01")),
    *(("days", value) for value in ("", (), "monday", ["mon", 3], None, 5, b"mon")),
    *(("timezone", value) for value in ("Mars/Olympus", "", " ", "Asia", "/etc/passwd", "../UTC", None, 5.5)),
    ("timezone", {"US": "America/Gotham"}),
    ("timezone", {"US": None}),
    *(("timezone", {code: "Europe/London"}) for code in ("USA", "us", "UK")),  # no codes of ISO 3166
    ("timezone", {}),
    ("timezone", ["Asia/Kolkata"]),
    *(
        ("holidays", value)
        for value in ("25.12.2026", [20261225], None, [datetime(2026, 12, 25, tzinfo=UTC)])
    ),
]


@pytest.mark.parametrize(("field", "value"), BAD, ids=repr)
def test_an_invalid_field_breaks_the_dag_file(field: str, value: Any) -> None:
    """It is a ValueError where it is written, and names the field."""
    with pytest.raises(ValueError, match=rf"calling_window\.{field}"):
        CallingWindow(**{field: value})


@pytest.mark.parametrize(
    ("zone", "by"), [({"Pune": "Asia/Kolkata"}, "Pune"), ("Asia/Kolkata", "{{ params.branch }}")]
)
def test_timezone_by_is_a_template_and_needs_a_mapping(zone: Any, by: str) -> None:
    """Otherwise nothing would be looked up."""
    with pytest.raises(ValueError, match=r"calling_window\.timezone"):
        CallingWindow(timezone=zone, timezone_by=by)


@pytest.mark.parametrize(("field", "value"), BAD, ids=repr)
def test_what_a_template_renders_to_is_refused_as_well(field: str, value: Any) -> None:
    """Nothing is checked before it is rendered, everything after."""
    window = CallingWindow(**{field: "{{ what_it_will_be }}"})
    setattr(window, field, value)
    with pytest.raises(InvalidInput, match=rf"calling_window\.{field}"):
        window.hours(INDIA)


@pytest.mark.parametrize("number", [NOWHERE, "+7000"])
def test_a_number_of_which_nobody_knows_where_it_is_needs_a_named_zone(number: str) -> None:
    """It is refused, with the way out, and without the number."""
    with pytest.raises(InvalidInput, match="timezone='Asia/Kolkata'") as caught:
        CallingWindow().hours(number)
    assert number.strip("+") not in str(caught.value)


def test_what_airflow_shows_is_plain_and_always_the_same() -> None:
    """A serialized DAG that differed between two parses would count as changed."""
    window = CallingWindow(days={"tue", "mon", "wed"}, holidays=[date(2026, 12, 25)])
    assert window.serialize() == {
        "start": "09:00",
        "end": "20:00",
        "days": ["mon", "tue", "wed"],
        "timezone": "recipient",
        "holidays": ["2026-12-25"],
    }
    assert repr(window).startswith("CallingWindow(start='09:00', end='20:00', days=['mon', 'tue', 'wed'], ")
