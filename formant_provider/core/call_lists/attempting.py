"""When a person who was not reached is called again. The only place that decides it.

Who was reached is not asked about here, nor who must not be called, nor the hours: others decide these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo

from formant_provider.core.call_lists.calls import Attempt

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class AttemptRule:
    """How often and when a list tries to reach one person.

    :param most: at most so many attempts.
    :param after: how long after an attempt the next one is due, by the status of the one that was.
    :param per_day: at most so many attempts in one calendar day of the person; ``None``: as many as are due.
    """

    most: int = 1
    after: Mapping[str, timedelta] = field(default_factory=dict)
    per_day: int | None = None

    def next_at(self, attempts: Sequence[Attempt], zones: Sequence[tzinfo], now: datetime) -> datetime | None:
        """Return when the next attempt is due, not before now, in UTC; ``None`` when there is none.

        :param attempts: all that are over, the first one first.
        :param zones: all time zones in which the person may be; a day counts in each. None means UTC.
        :param now: the current time, aware. It stands for the end of an attempt of which no time is known, so
            an answer about that one is to be kept, and not asked for again.
        """
        due = now = now.astimezone(UTC)
        if attempts:
            last = attempts[-1]
            if last.number >= self.most or last.status not in self.after:
                return None
            # A record of a clock that is ahead of ours puts nobody off.
            due = max(now, min(now, _end(last) or now) + self.after[last.status])
        return due if self.per_day is None else self._with_room(due, attempts, zones or (UTC,), now)

    def _with_room(
        self, due: datetime, attempts: Sequence[Attempt], zones: Sequence[tzinfo], now: datetime
    ) -> datetime:
        """Return the first moment, not before it is due, on whose day there is room in every zone."""
        begun = [_begin(attempt) or now for attempt in attempts]
        while True:
            full = [zone for zone in zones if self._is_full(due.astimezone(zone), begun)]
            if not full:
                return due
            due = max(_next_day(due, zone) for zone in full)

    def _is_full(self, local: datetime, begun: Sequence[datetime]) -> bool:
        days = (moment.astimezone(local.tzinfo).date() for moment in begun)
        return self.per_day is not None and sum(day == local.date() for day in days) >= self.per_day


def _end(attempt: Attempt) -> datetime | None:
    return _moment(attempt.start_ms if attempt.end_ms is None else attempt.end_ms)


def _begin(attempt: Attempt) -> datetime | None:
    return _moment(attempt.end_ms if attempt.start_ms is None else attempt.start_ms)


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def _next_day(moment: datetime, zone: tzinfo) -> datetime:
    """Return the first moment of the next day, which is not always 0:00: clocks may skip that."""
    day = moment.astimezone(zone).date() + _DAY
    # Of a time that is skipped, this is the moment at which it is; of one that comes twice, the first.
    return datetime.combine(day, time(), zone).astimezone(UTC)
