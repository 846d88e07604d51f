"""The hours, 1,500 times at random, against a second implementation that only looks at clocks on walls."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import accumulate
from random import Random

from formant_provider.core.hours.opening_hours import DAYS, Hours, to_days, to_span, to_zone

WINDOWS = 1500
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ZONES = [
    "UTC",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Casablanca",
    "America/New_York",
    "America/Los_Angeles",
    "America/Vancouver",
    "America/Edmonton",
    "America/Winnipeg",
    "America/Havana",
    "America/St_Johns",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Chatham",
]
# Around these days clocks are changed in one or another of them; and a winter's and a summer's day.
WEEKS = [
    date(2026, month, day)
    for month, days in {1: [20], 2: [15], 3: [8, 22, 29], 4: [5], 7: [14], 9: [6, 20, 27]}.items()
    for day in days
]
WEEKS += [date(2026, 10, 4), date(2026, 10, 25), date(2026, 11, 1)]
BEFORE, AFTER = 4, 4  # days around each, of which every minute is looked at


class Wall:
    """What the clock of a zone shows in every minute of some days, and the extremes before and after it."""

    def __init__(self, name: str, day: date) -> None:
        zone = to_zone(name)
        self.begin = datetime.combine(day - BEFORE * DAY, time(), UTC)
        minutes = range((BEFORE + AFTER) * 24 * 60)
        shown = [(self.begin + n * MINUTE).astimezone(zone).replace(tzinfo=None) for n in minutes]
        self.shown, self.all_shown = shown, set(shown)
        self.jumps: dict[datetime, timedelta] = {}
        self.latest_before = list(accumulate(shown, max))
        self.earliest_after = list(accumulate(reversed(shown), min))[::-1]

    def skipped(self, reading: datetime) -> timedelta:
        """By how much the clock was put forward over a reading; nothing if it was shown."""
        if reading in self.all_shown or not self.shown[0] <= reading <= self.shown[-1]:
            return timedelta()
        if reading not in self.jumps:
            before = max(it for it in self.shown if it < reading)
            after = min(it for it in self.shown if it > reading)
            self.jumps[reading] = after - before - MINUTE
        return self.jumps[reading]

    def spans(self, hours: Hours) -> list[tuple[datetime, datetime]]:
        """When the hours of each day begin and end, by this clock."""
        first, found = self.begin.date() - 2 * DAY, []
        for day in (first + n * DAY for n in range(BEFORE + AFTER + 4)):
            if DAYS[day.weekday()] in hours.days and day not in hours.holidays:
                begin, end = (datetime.combine(day, time()) + it for it in (hours.start, hours.end))
                begin += self.skipped(begin)
                if end.time() != time():  # a midnight that is skipped ends the day before all the same
                    end -= self.skipped(end)
                found.append((begin, end))
        return found

    def is_open(self, spans: list[tuple[datetime, datetime]], minute: int) -> bool:
        """Whether the hours of one day or another have begun for good, and have not ended yet."""
        earliest_after, latest_before = self.earliest_after[minute], self.latest_before[minute]
        return any(begin <= earliest_after and latest_before < end for begin, end in spans)


@cache
def wall(name: str, week: date) -> Wall:
    return Wall(name, week)


def plainly(hours: Hours, week: date, moment: datetime, until: datetime) -> datetime | None:
    """The first minute within the hours on every clock, the minute after it as well."""
    walls = [wall(zone.key, week) for zone in hours.zones]
    clocks = [(it, it.spans(hours)) for it in walls]
    first, last = (int((at - walls[0].begin) / MINUTE) for at in (moment, until))
    was_open = False
    for minute in range(first, last + 2):
        is_open = all(it.is_open(spans, minute) for it, spans in clocks)
        if is_open and was_open:
            return walls[0].begin + (minute - 1) * MINUTE
        was_open = is_open
    return None


def a_reading(random: Random) -> str:
    """Any time of day, but often one at which clocks are changed."""
    minutes = random.choice([random.randrange(24 * 60), random.choice([0, 60, 90, 120, 150, 179, 180, 1439])])
    return f"{minutes // 60:02}:{minutes % 60:02}"


def a_window(random: Random, week: date) -> Hours:
    while True:
        start, end = a_reading(random), a_reading(random)
        begin, stop = (int(it[:2]) * 60 + int(it[3:]) for it in (start, end))
        if (stop - begin) % (24 * 60) > 1:
            break
    days = random.sample(DAYS, random.choice([2, 5, 7]))
    off = frozenset(week + random.randrange(-2, 3) * DAY for _ in range(random.choice([0, 0, 1, 2])))
    zones = tuple(map(to_zone, random.sample(ZONES, random.choice([1, 1, 2, 3]))))
    return Hours(*to_span(start, end), to_days(days), off, zones)


def test_the_hours_are_what_a_plain_reading_of_the_clocks_makes_of_them() -> None:
    """In 1,500 windows, of one to three zones, on the days on which clocks are changed."""
    random = Random(20261128)  # noqa: S311 - it protects nothing
    found = 0
    for _ in range(WINDOWS):
        week = random.choice(WEEKS)
        hours = a_window(random, week)
        moment = datetime.combine(week, time(), UTC) + random.randrange(-24 * 60, 24 * 60) * MINUTE
        until = moment + random.randrange(36 * 60) * MINUTE
        expected = plainly(hours, week, moment, until)
        assert hours.opening(moment, until) == expected, (hours, moment, until)
        found += expected is not None
    assert WINDOWS / 4 < found < WINDOWS  # and of both there are enough
