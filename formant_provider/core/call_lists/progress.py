"""How far a list has come, for its log: what is known, and what an estimate does not know."""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime, timedelta

from formant_provider.core.call_lists.tally import Tally

# The rate of the last minutes: a list that was slow in the morning need not be slow at noon.
_LOOKS_BACK = timedelta(minutes=10)
_SHORTEST = timedelta(seconds=30)
_MINUTE = 60
_HOUR = 60
_TWO_DAYS = 48


class Progress:
    """The progress of one list, from look to look; it begins anew with each process."""

    def __init__(self) -> None:
        self._seen: deque[tuple[datetime, int]] = deque()

    def line(self, tally: Tally, now: datetime) -> str:
        """Take in how the list stands, and say it in one line.

        :param now: the current time, aware.
        """
        self._see(_over(tally), now)
        text = (
            f"{_over(tally):,} of {tally.rows:,} rows are over ({percent(tally)} %): {tally.calls:,} calls"
            f" placed, {tally.reached:,} people reached, {tally.waiting:,} waiting,"
            f" {tally.in_progress:,} in progress, {tally.closed:,} closed without being reached,"
            f" {tally.rejected:,} left out"
        )
        left = self.left(tally)
        return f"{text}; {left}" if left else text

    def left(self, tally: Tally) -> str | None:
        """Estimate what is left, in words; ``None`` when nothing is."""
        left = tally.waiting + tally.in_progress
        if not left:
            return None
        took, over = self._rate()
        if not over or took < _SHORTEST:
            return "how long it takes cannot be told yet"
        minutes = took.total_seconds() / _MINUTE
        return (
            f"about {_in_words(minutes / over * left)} left at the rate of the last {_in_words(minutes)}, not"
            " counting closed hours and further attempts"
        )

    def _see(self, over: int, now: datetime) -> None:
        self._seen.append((now, over))
        while now - self._seen[0][0] > _LOOKS_BACK:
            self._seen.popleft()

    def _rate(self) -> tuple[timedelta, int]:
        if not self._seen:
            return timedelta(), 0
        (began, before), (now, over) = self._seen[0], self._seen[-1]
        return now - began, max(0, over - before)


def percent(tally: Tally) -> int:
    """Return how many percent of the rows are over: 100 only when all are."""
    return 100 * _over(tally) // tally.rows if tally.rows else 100


def _over(tally: Tally) -> int:
    return tally.rejected + tally.reached + tally.closed


def _in_words(minutes: float) -> str:
    whole = max(1, math.ceil(minutes))
    if whole < 2 * _HOUR:
        return f"{whole} minute" if whole == 1 else f"{whole} minutes"
    hours = round(minutes / _HOUR)
    return f"{hours} hours" if hours < _TWO_DAYS else f"{round(hours / 24)} days"
