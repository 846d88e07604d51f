"""From when to when a day lasts, in Airflow's own time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

import pendulum
from airflow.providers.common.compat.sdk import conf

EARLIEST, LATEST = date(2000, 1, 1), date(2199, 12, 31)
_A_DAY = timedelta(days=1)


class Day(NamedTuple):
    """A day of the calendar.

    :param of: which day it is.
    :param began: its first moment, in its time zone.
    :param ended: the first moment of the next one.
    :param now: the current time, in the same zone.
    """

    of: date
    began: datetime
    ended: datetime
    now: pendulum.DateTime

    @property
    def zone(self) -> str:
        """The name of its time zone."""
        return str(self.now.timezone_name)

    @property
    def is_today(self) -> bool:
        """Whether it is the day of the current time."""
        return self.of == self.now.date()

    @property
    def before(self) -> date:
        """The day before."""
        return self.of - _A_DAY

    @property
    def after(self) -> date:
        """The day after."""
        return self.of + _A_DAY

    def local(self, ms: int) -> datetime:
        """Return a moment of the call store in the zone of the day."""
        return datetime.fromtimestamp(ms / 1000, self.now.tzinfo)


def day_of(wanted: date | None) -> Day:
    """Return a day in the time zone ``[core] default_timezone``, in which Airflow reads its schedules.

    :param wanted: ``None`` means today.
    """
    now = pendulum.now(_zone())
    day, zone = wanted or now.date(), now.tzinfo
    return Day(day, _first_moment(day, zone), _first_moment(day + _A_DAY, zone), now)


def _first_moment(day: date, zone: tzinfo | None) -> datetime:
    """Return when a day begins, which is later than midnight where the clock is put forward at midnight."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return midnight.astimezone(UTC).astimezone(zone)


def _zone() -> str:
    name = str(conf.get("core", "default_timezone", fallback="utc"))
    if name == "system":
        return "local"
    return "UTC" if name.lower() == "utc" else name
