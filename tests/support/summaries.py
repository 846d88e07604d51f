"""Rows of a list of calls as a page about them counts them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from formant_provider.core.call_lists.calls import Attempt, RowResult

NUMBER, REFERENCE, DETAIL = "+14155550100", "loan-2900071", "in the words of an error"
MADE_AT = datetime(2026, 11, 29, 9, tzinfo=UTC)
_ZONES = {"America/New_York": 5, "America/Chicago": 3, "America/Los_Angeles": 3, "Europe/London": 1}
_REASONS = {"suppressed": 5, "not_e164": 2, "duplicate": 2, "capped": 1, "blank_variable": 1, "closed": 1}
_MISSED = {"no_answer": 8, "busy": 3, "failed": 1, "no_record": 0.3}
# How busy each hour from 9 on is.
_HOURS = dict(zip(range(9, 20), (3, 6, 8, 7, 4, 4, 6, 7, 8, 6, 2), strict=True))


def a_row(status: str, *attempts: Attempt, **known: Any) -> RowResult:
    """A row with a number, a reference and a detail, none of which anybody may see."""
    carried = {"customer_name": "Asha-the-private"}
    row = RowResult(2, None, NUMBER, REFERENCE, None, status, None, DETAIL, None, attempts, carried)
    return row._replace(**known)


def a_call(number: int = 1, status: str = "completed", at: datetime = MADE_AT, **known: Any) -> Attempt:
    """An attempt that is over."""
    start_ms = round(at.timestamp() * 1000)
    return Attempt(number, status, "trace-1", "conversation-1", start_ms, start_ms + 60_000, **known)


def plausible_rows(count: int = 10_000, seed: int = 7) -> Iterator[RowResult]:
    """Rows of a list as they may come to be: two agents, three attempts, people in four time zones."""
    chance = random.Random(seed)  # noqa: S311 - it is a picture
    for _ in range(count):
        if chance.random() < 0.09:
            yield a_row("rejected", reason=_one_of(chance, _REASONS))
            continue
        agent = chance.choice([456, 457])
        zone = _one_of(chance, _ZONES) if chance.random() < 0.97 else None
        attempts = tuple(_attempts(chance, 0.34 if agent == 456 else 0.37, zone))
        status = attempts[-1].status
        reason = None if status == "completed" else "attempts_used"
        yield a_row(status, *attempts, agent_id=agent, reason=reason, zone=zone)


def _attempts(chance: random.Random, share: float, zone: str | None) -> Iterator[Attempt]:
    for number in (1, 2, 3):
        hour = _one_of(chance, _HOURS)
        day = datetime(2026, 11, 22, hour, tzinfo=ZoneInfo(zone or "UTC")) + timedelta(days=number)
        at = day + timedelta(minutes=60 * chance.random())
        if chance.random() < share * (1.25 if hour > 15 else 1) * (0.8 if number > 1 else 1):
            yield a_call(number, at=at, duration_s=round(chance.lognormvariate(4.5, 0.8)))
            return
        yield a_call(number, _one_of(chance, _MISSED), at)


def _one_of(chance: random.Random, weights: dict[Any, float]) -> Any:
    return chance.choices(list(weights), list(weights.values()))[0]
