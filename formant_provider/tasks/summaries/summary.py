"""Counts what the page about a list of calls shows, row by row, and keeps nothing else of a row."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from formant_provider.core.call_lists.calls import Attempt, RowResult
from formant_provider.core.conversations.statuses import COMPLETED, moment
from formant_provider.core.hours.zone_database import zone
from formant_provider.core.numbers.in_text import may_hold_number

REJECTED = "rejected"
# What stands for all words, or agents, beyond those that have a line of their own.
OTHERS = "others"
# From so many seconds on a conversation counts to the next bar.
DURATION_STEPS_S = (10, 30, 60, 120, 180, 300, 600)
# The vendor's words are open, and each row may name an agent of its own.
_MOST_LINES = 30
_LONGEST_WORD = 40
_HOURS = 24


@dataclass
class Share:
    """How many were called, how many of them were reached, and how long was talked.

    :param talks: the calls of which it is known how long they lasted.
    """

    called: int = 0
    reached: int = 0
    talks: int = 0
    seconds: float = 0

    @property
    def percent(self) -> float:
        """How many of those called were reached."""
        return 100 * self.reached / self.called if self.called else 0.0

    @property
    def average_s(self) -> float | None:
        """How long a conversation lasted, on average; ``None`` if there was none."""
        return self.seconds / self.talks if self.talks else None

    def add(self, attempts: Collection[Attempt], *, is_reached: bool) -> None:
        """Count one person, or one call."""
        self.called += 1
        self.reached += is_reached
        for attempt in attempts:
            if attempt.duration_s is not None:
                self.talks += 1
                self.seconds += attempt.duration_s


@dataclass
class Summary:
    """What came of a list of calls. No number and no reference is kept, only counts.

    :param successful: the expected statuses: somebody whose last attempt has one of them was *reached*.
    :ivar rows: all rows, those that were left out among them.
    :ivar people: who was called, by person.
    :ivar calls: the attempts that are over.
    :ivar by_status: rows by their status, as they stand.
    :ivar by_reason: rows that were left out, by the reason.
    :ivar not_again: rows that were called, by the reason why they are not called again.
    :ivar by_attempt: calls by which attempt it was.
    :ivar by_hour: calls by the hour of the recipient's day in which they began.
    :ivar without_hour: calls of which no hour is known.
    :ivar by_agent: people by the agent that called them; the last of many stand together as ``others``.
    :ivar by_duration: conversations by the steps of :data:`DURATION_STEPS_S`.
    """

    successful: Collection[str] = (COMPLETED,)
    rows: int = 0
    people: Share = field(default_factory=Share)
    calls: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    not_again: Counter[str] = field(default_factory=Counter)
    by_attempt: dict[int, Share] = field(default_factory=dict)
    by_hour: list[Share] = field(default_factory=lambda: [Share() for _ in range(_HOURS)])
    without_hour: int = 0
    by_agent: dict[str, Share] = field(default_factory=dict)
    by_duration: list[int] = field(default_factory=lambda: [0] * (len(DURATION_STEPS_S) + 1))
    first_ms: float | None = None
    last_ms: float | None = None

    def add(self, result: RowResult) -> None:
        """Count one row of the list."""
        self.rows += 1
        _count(self.by_status, result.status)
        if result.status == REJECTED:
            _count(self.by_reason, result.reason or "unknown")
        elif result.reason:
            _count(self.not_again, result.reason)
        if result.attempts:
            is_reached = self._is_success(result.attempts[-1])
            self.people.add(result.attempts, is_reached=is_reached)
            self._agent(result.agent_id).add(result.attempts, is_reached=is_reached)
        for attempt in result.attempts:
            self._add_call(attempt, result.zone)

    def _add_call(self, attempt: Attempt, zone_name: str | None) -> None:
        is_reached = self._is_success(attempt)
        self.calls += 1
        self.by_attempt.setdefault(min(attempt.number, _MOST_LINES), Share()).add(
            (attempt,), is_reached=is_reached
        )
        if attempt.duration_s is not None:
            self.by_duration[bisect_right(DURATION_STEPS_S, attempt.duration_s)] += 1
        hour = _local_hour(attempt.start_ms, zone_name)
        if hour is None:
            self.without_hour += 1
        else:
            self.by_hour[hour].add((attempt,), is_reached=is_reached)
        if attempt.start_ms is not None:
            begin, end = attempt.start_ms, attempt.end_ms or attempt.start_ms
            self.first_ms = begin if self.first_ms is None else min(self.first_ms, begin)
            self.last_ms = end if self.last_ms is None else max(self.last_ms, end)

    def _agent(self, agent_id: int | None) -> Share:
        name = "unknown" if agent_id is None else str(agent_id)
        known = self.by_agent
        return known.setdefault(name if name in known or len(known) < _MOST_LINES else OTHERS, Share())

    def _is_success(self, attempt: Attempt) -> bool:
        return attempt.status in self.successful

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """When the first conversation began and the last one ended; ``None`` if there was none."""
        if self.first_ms is None or self.last_ms is None:
            return None
        return moment(self.first_ms), moment(self.last_ms)


def _count(words: Counter[str], word: str) -> None:
    """Count a word; beyond those that have a line, and for what is no word, stands ``others``."""
    if word not in words:
        is_odd = len(word) > _LONGEST_WORD or may_hold_number(word)
        word = OTHERS if is_odd or len(words) >= _MOST_LINES else word
    words[word] += 1


def _local_hour(start_ms: int | None, zone_name: str | None) -> int | None:
    where = zone(zone_name) if zone_name else None
    if start_ms is None or where is None:
        return None
    return datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(where).hour
