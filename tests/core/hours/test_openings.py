"""When each number of a list may be called, and how many may be when."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.calling_window import CallingWindow
from formant_provider.core.hours.opening_hours import DAYS, Hours
from formant_provider.core.hours.openings import MAX_ENTRIES, Opening, Openings, by_opening, in_words

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
LONDON, PARIS, SATELLITE = "+442079460018", "+33199005123", "+883510001234567"
# A toll-free number of North America may be anywhere in it.
ANYWHERE = "+18005550123"
EVERY_DAY = [date(2026, 11, 20) + timedelta(days=days) for days in range(60)]


def test_a_number_is_open_or_says_when_it_will_be() -> None:
    """By its own clock: at eight in London it is nine in Paris."""
    openings = Openings(CallingWindow().hours, NOW)
    assert openings.of(PARIS) == Opening("Europe/Paris", is_open=True)
    later = datetime(2026, 11, 25, 9, tzinfo=UTC)
    assert openings.of(LONDON) == Opening("Europe/London", is_open=False, opens_at=later)
    assert str(openings.of(LONDON)) == "the next opening is 2026-11-25T09:00:00Z (Europe/London)"


def test_without_hours_all_are_open_and_their_zones_are_told() -> None:
    """Also those of unknown zone."""
    openings = Openings(None, NOW)
    assert openings.of(LONDON) == Opening("Europe/London", is_open=True)
    assert openings.of(SATELLITE) == Opening("", is_open=True)


def test_in_doubt_a_number_is_closed() -> None:
    """Without a known zone there are no hours; the reason is told, and others go on."""
    opening = Openings(CallingWindow().hours, NOW).of(SATELLITE)
    assert (opening.is_open, opening.opens_at) == (False, None)
    assert "time zone" in str(opening)


def test_many_zones_are_counted_and_not_listed() -> None:
    """Three are named, which is enough for a person."""
    zones = Openings(None, NOW).of(ANYWHERE).zones
    assert zones.count(",") == 2
    assert " more" in zones


def test_hours_that_do_not_come_are_said() -> None:
    """A holiday each day is a list of holidays that went wrong, and no error of each row."""
    opening = Openings(CallingWindow(holidays=EVERY_DAY).hours, NOW).of(LONDON)
    assert str(opening) == "it does not open within 30 days (Europe/London)"


@pytest.mark.parametrize(
    ("field", "rendered", "told"),
    [
        ("start", "{{ start }}", r"calling_window\.start"),
        *(
            ("timezone", {"IN": "Asia/Kolkata", country: "Mars/X"}, r"calling_window\.timezone")
            for country in ("US", "GB", "XK")
        ),
        # With it, British numbers would keep a clock of their own unnoticed.
        ("timezone", {"UK": "Europe/London"}, "ISO 3166"),
    ],
)
def test_an_invalid_window_is_no_fault_of_a_number(field: str, rendered: Any, told: str) -> None:
    """It is refused at once, before any row is read, whatever country it is wrong for; nobody is left out."""
    window = CallingWindow(**{field: "{{ something }}"})
    setattr(window, field, rendered)  # as Airflow renders it
    with pytest.raises(InvalidInput, match=told):
        Openings(window.hours, NOW)


def test_closed_numbers_are_found_by_position_and_counted() -> None:
    """For the rows to be left out, and for the sentence at the end."""
    openings = Openings(CallingWindow().hours, NOW)
    assert list(openings.refuse_closed([PARIS, LONDON, PARIS, SATELLITE])) == [1, 3]
    assert list(openings.refuse_closed([LONDON])) == [0]
    assert in_words(openings.closed) == "2 until 2026-11-25T09:00:00Z"


def test_hours_that_do_not_come_are_counted_in_words() -> None:
    """They are known, and further than is looked."""
    openings = Openings(CallingWindow(holidays=EVERY_DAY).hours, NOW)
    openings.refuse_closed([PARIS, LONDON])
    assert in_words(openings.closed) == "2 for more than 30 days"


def test_another_moment_than_now_may_be_asked_for() -> None:
    """Such as that for which a call is scheduled; openings are looked for until 30 days from now."""
    openings = Openings(CallingWindow().hours, NOW, at=NOW + timedelta(days=3, hours=2))
    assert openings.of(LONDON).is_open
    late = Openings(CallingWindow().hours, NOW, at=NOW + timedelta(days=31))
    assert str(late.of(LONDON)) == "it does not open within 30 days (Europe/London)"


def test_who_may_be_called_later_need_not_be_refused() -> None:
    """A list may be checked at night; who has no hours in 30 days, or none that are known, is refused."""
    window = CallingWindow(timezone={"GB": "Europe/London"})
    openings = Openings(window.hours, NOW, refuse_later=False)
    assert list(openings.refuse_closed([PARIS, LONDON, SATELLITE])) == [2]
    never = Openings(CallingWindow(holidays=EVERY_DAY).hours, NOW, refuse_later=False)
    assert list(never.refuse_closed([PARIS, LONDON])) == [0, 1]


def test_the_hours_of_a_zone_are_reckoned_with_once() -> None:
    """A list of a million numbers has few zones."""
    asked: list[datetime] = []

    class Counted(Hours):
        def opening(self, moment: datetime, until: datetime) -> datetime | None:
            asked.append(until)
            return super().opening(moment, until)

    def hours_of(_: str) -> Hours:
        span = timedelta(hours=9), timedelta(hours=20)
        return Counted(*span, frozenset(DAYS), frozenset(), (ZoneInfo("Europe/London"),))

    openings = Openings(hours_of, NOW)
    assert len({openings.of(f"+4420794600{last}") for last in range(10, 30)}) == 1
    assert len(asked) == 1


def an_opening(hours: int, zone: str = "Europe/London") -> Opening:
    return Opening(zone, is_open=False, opens_at=NOW + timedelta(hours=hours))


def test_counts_are_in_order_of_time() -> None:
    """Open ones first, then by opening, and last those that nobody knows of."""
    counts = Counter(
        {an_opening(5): 1, Opening("", is_open=False, fault="x"): 2, an_opening(2): 3}
        | {Opening("Asia/Tokyo", is_open=True): 4}
    )
    entries = [(entry["is_open"], entry["opens_at"], entry["count"]) for entry in by_opening(counts)]
    assert entries == [
        (True, None, 4),
        (False, "2026-11-25T10:00:00Z", 3),
        (False, "2026-11-25T13:00:00Z", 1),
        (False, None, 2),
    ]


def test_a_list_of_the_whole_world_stays_small() -> None:
    """What does not fit is counted together, and nobody is lost."""
    counts = Counter({an_opening(hours, f"Zone/{hours}"): 2 for hours in range(300)})
    entries = by_opening(counts)
    assert len(entries) == MAX_ENTRIES
    assert entries[-1]["zones"] == "others"
    assert sum(entry["count"] for entry in entries) == 600
    words = in_words(counts)
    assert len(words) < 200
    assert "594 longer, the last until 2026-12-07T19:00:00Z" in words
