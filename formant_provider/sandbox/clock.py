"""The sandbox's own time: it can run faster than real time, stand still, or jump ahead."""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, datetime, timedelta

END_OF_TIME = datetime(9000, 1, 1, tzinfo=UTC)
"""The clock stops short of the last date Python knows, so that adding days to it never overflows."""


class Clock:
    """A virtual clock, safe to read and move from any thread.

    :param start_at: the virtual time it begins with, aware. None is the real time of construction.
    :param speed: virtual seconds per real second. 0 freezes the clock: only :meth:`advance` moves it.
    :raises ValueError: naive ``start_at``; negative or non-finite ``speed``.
    """

    def __init__(self, start_at: datetime | None = None, speed: float = 1.0) -> None:
        if start_at is not None and start_at.utcoffset() is None:
            raise ValueError("start_at must be an aware datetime")
        if not 0 <= speed < math.inf:
            raise ValueError("speed must be a finite number, 0 or more")
        self.speed = speed
        self._lock = threading.Lock()
        # Through the timestamp: a pendulum datetime loses another library's zone when something is added.
        self._base = datetime.fromtimestamp(start_at.timestamp(), UTC) if start_at else datetime.now(UTC)
        self._running_since = time.monotonic()

    def now(self) -> datetime:
        """Return the virtual time, in UTC."""
        with self._lock:
            return self._now()

    def advance(self, seconds: float) -> datetime:
        """Jump ahead and return the new virtual time.

        :param seconds: virtual seconds, 0 or more.
        :raises ValueError: the jump goes back, is not a number, or leaves the calendar.
        """
        with self._lock:
            room = (END_OF_TIME - self._now()).total_seconds()
            if not 0 <= seconds <= room:
                raise ValueError("seconds must be 0 or more and keep the clock before the year 9000")
            self._base += timedelta(seconds=seconds)
            return self._now()

    def real_seconds(self, virtual_seconds: float) -> float:
        """Return how long a real client has to wait for so many virtual seconds.

        For a frozen clock, which somebody has to advance, the number is returned unchanged.
        """
        return virtual_seconds / self.speed if self.speed else virtual_seconds

    def _now(self) -> datetime:
        return self._base + timedelta(seconds=(time.monotonic() - self._running_since) * self.speed)
