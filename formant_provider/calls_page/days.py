"""From when to when a day lasts, in Airflow's own time zone."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

import pendulum
from airflow.providers.common.compat.sdk import conf

EARLIEST, LATEST = date(2000, 1, 1), date(2199, 12, 31)


class Day(NamedTuple):
    """A day of the calendar.

    :param began: its first moment, in its time zone.
    :param ended: the first moment of the next one.
    :param now: the current time, in the same zone.
    """

    began: pendulum.DateTime
    ended: pendulum.DateTime
    now: pendulum.DateTime

    @property
    def zone(self) -> str:
        """The name of its time zone."""
        return str(self.now.timezone_name)

    @property
    def is_today(self) -> bool:
        """Whether it is the day of the current time."""
        return self.began <= self.now < self.ended

    @property
    def before(self) -> date:
        """The day before."""
        return self.began.subtract(days=1).date()

    @property
    def after(self) -> date:
        """The day after."""
        return self.ended.date()

    def local(self, ms: int) -> datetime:
        """Return a moment of the call store in the zone of the day."""
        return datetime.fromtimestamp(ms / 1000, self.now.tzinfo)


def day_of(wanted: date | None) -> Day:
    """Return a day in the time zone ``[core] default_timezone``, in which Airflow reads its schedules.

    :param wanted: ``None`` means today.
    """
    now = pendulum.now(_zone())
    if wanted is not None:
        began = now.set(year=wanted.year, month=wanted.month, day=wanted.day).start_of("day")
    else:
        began = now.start_of("day")
    return Day(began, began.add(days=1), now)


def _zone() -> str:
    name = str(conf.get("core", "default_timezone", fallback="utc"))
    if name == "system":
        return "local"
    return "UTC" if name.lower() == "utc" else name
