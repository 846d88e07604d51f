"""The hours in which a call may be placed, by the clocks of one or several time zones.

A clock that is put forward skips some readings, and one that is put back shows some twice. A limit that falls
on such a reading is taken so that the hours are shorter: in doubt no call is placed.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from zoneinfo import ZoneInfo

from formant_provider.api.errors import CallNotAllowed, InvalidInput
from formant_provider.api.models import utc_text
from formant_provider.core.hours.zone_database import zone
from formant_provider.core.hours.zones import zones_of
from formant_provider.core.validation import MAX_SCHEDULE_AHEAD, to_items

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# A phone may ring so much later than was asked for, and the vendor's clock may differ from ours by as much.
MARGIN = timedelta(minutes=1)

_DAY = timedelta(days=1)
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_Interval = tuple[datetime, datetime]


@dataclass(frozen=True)
class Hours:
    """The hours of some days; in several time zones, those that all of them have in common.

    :param end: after the same midnight, and itself outside; more than a day when they last over midnight.
    :param holidays: dates on which no hours begin; each is asked for with ``in``, and none is listed.
    """

    start: timedelta
    end: timedelta
    days: frozenset[str]
    holidays: Container[date]
    zones: tuple[ZoneInfo, ...]

    def opening(self, moment: datetime, until: datetime) -> datetime | None:
        """Return the first moment, from ``moment`` to ``until``, for which a call may be asked.

        Within the last ``MARGIN`` of the hours it no longer may: the call could be placed after them.
        """
        days = list(_days(moment, until))
        in_each_zone = [list(_joined(self._by(zone, days))) for zone in self.zones]
        for opens, closes in reduce(_common, in_each_zone):
            first = max(opens, moment)
            if first < closes - MARGIN:
                return first if first <= until else None
        return None

    def _by(self, zone: ZoneInfo, days: Iterable[date]) -> Iterator[_Interval]:
        """Yield the hours of these days by the clocks of one zone."""
        for day in days:
            if self._begins_on(day):
                midnight = datetime.combine(day, time())
                opens = max(_readings(midnight + self.start, zone))
                closes = self._closing(day, _readings(midnight + self.end, zone))
                if opens < closes:
                    yield opens, closes

    def _closing(self, day: date, ends: tuple[datetime, datetime]) -> datetime:
        """Return which of the two moments that the reading of the end may mean ends the hours of a day."""
        # Whole days that follow each other have no seam, even if the clock is changed at midnight.
        if self.end - self.start == _DAY and self._begins_on(day + _DAY):
            return max(ends)
        # A midnight that is skipped is still the end of the day before: the clock jumps at that moment, and
        # only the first of the two is it. The other one is as long before as the clock jumps.
        return ends[0] if self.end % _DAY == timedelta() else min(ends)

    def _begins_on(self, day: date) -> bool:
        return DAYS[day.weekday()] in self.days and day not in self.holidays


def _days(moment: datetime, until: datetime) -> Iterator[date]:
    """Yield every date whose hours, anywhere on earth, may touch the time between the two."""
    first, last = (datetime.fromtimestamp(at.timestamp(), UTC).date() for at in (moment, until))
    day = first - 3 * _DAY
    while day <= last + _DAY:
        yield day
        day += _DAY


def _readings(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the two moments a reading of a clock may mean; they differ where the clock is changed."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second


def _joined(intervals: Iterable[_Interval]) -> Iterator[_Interval]:
    """Make one of those that touch, such as the whole of one day and the whole of the next."""
    before: _Interval | None = None
    for opens, closes in intervals:
        if before and opens <= before[1]:
            opens = before[0]  # noqa: PLW2901 - the same interval continues
        elif before:
            yield before
        before = opens, closes
    if before:
        yield before


def _common(ours: list[_Interval], theirs: list[_Interval]) -> list[_Interval]:
    """Return what lies in both; each is in order, and so is the outcome."""
    both = ((max(a, c), min(b, d)) for a, b in ours for c, d in theirs)
    return [(opens, closes) for opens, closes in both if opens < closes]


def allowed_at(hours: Hours, asked: datetime | None, *, now: datetime, on_closed: str) -> datetime | None:
    """Return for when a call that is sent now may be scheduled; ``None`` means at once.

    :param on_closed: what to do outside of the hours: ``"schedule"`` for their next opening, ``"skip"`` or
        ``"fail"``.
    :raises CallNotAllowed: the hours are closed then, and the call is not to be scheduled.
    """
    wanted, latest = asked or now, now + MAX_SCHEDULE_AHEAD - MARGIN
    if hours.opening(wanted, wanted):
        return asked
    opening = hours.opening(wanted, latest)
    if on_closed != "schedule":
        next_one = f"it opens next at {utc_text(opening)}" if opening else "it does not open again soon"
        when = "at the moment of scheduled_for" if asked else "now"
        text = f"calling_window is closed {when}; {next_one}"
        raise CallNotAllowed(text, skips=on_closed == "skip", reason="closed")
    if opening and now <= opening < now + MARGIN:  # it would be past by the time it is asked for
        opening = hours.opening(now + MARGIN, latest)
    if opening is None:
        raise InvalidInput(
            "calling_window",
            f"is closed until {MAX_SCHEDULE_AHEAD.days} days from now, and no call can be scheduled for"
            " later. The many time zones of some numbers have no such hours in common; then give timezone",
        )
    return opening


def to_span(start: object, end: object) -> tuple[timedelta, timedelta]:
    """Return start and end after the midnight before the start.

    :param end: the same, up to ``"24:00"``; one before the start is on the next day.
    """
    opens, closes = to_time("start", start), to_time("end", end)
    if closes < opens:
        closes += _DAY
    if closes - opens <= MARGIN:
        raise InvalidInput("calling_window.end", "must be more than a minute after start, or before it")
    return opens, closes


def to_time(field: str, value: object) -> timedelta:
    """Return a time of day as the time since midnight."""
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    span = timedelta(hours=int(found[1]), minutes=int(found[2])) if found else None
    if span is None or span > _DAY:
        hint = "; YAML takes a time for a number unless it is in quotes" if isinstance(value, int) else ""
        raise InvalidInput(
            f"calling_window.{field}", f"must be text such as 09:00, from 00:00 to 24:00{hint}"
        )
    return span


def to_days(value: object) -> frozenset[str]:
    """Return days of the week, given as words or as text with several."""
    days = [str(day).lower() for day in to_items("calling_window.days", value)]
    if not days or not set(days) <= set(DAYS):
        raise InvalidInput("calling_window.days", f"must be one or more of {', '.join(DAYS)}")
    return frozenset(days)


def to_zone(value: object) -> ZoneInfo:
    """Return the time zone of an IANA name, from the newest database that is available."""
    found = zone(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise InvalidInput("calling_window.timezone", "must be 'recipient', or a name such as Asia/Kolkata")
    return found


def recipient_zones(number: str) -> tuple[ZoneInfo, ...]:
    """Return every time zone in which a number may be; of several with the same clock, one."""
    found = zones_of(number)
    if not found:
        raise InvalidInput(
            "calling_window.timezone",
            "the time zone of this number is not known; give one by name, such as timezone='Asia/Kolkata'",
        )
    return found
