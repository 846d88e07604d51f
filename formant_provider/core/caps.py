"""How often one person may be called: the rule, and the next moment that it leaves free.

A cap holds in every window of its length, whichever way it slides: two calls in a day means two in any 24
hours, not two before midnight and two after. A window is half open, so calls that are exactly as far apart as
it is long lie in two of them.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from formant_provider.api.errors import InvalidInput
from formant_provider.api.store_config import LONGEST_CAP, UNITS

Ringing: TypeAlias = datetime | tuple[datetime, datetime]
"""When a call rings, or between which moments it may."""

_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,9})([dhms])", re.ASCII)


@dataclass(frozen=True)
class CapRule:
    """At most ``calls``, 1 or more, to one person in every window of length ``per``."""

    calls: int
    per: timedelta

    def __str__(self) -> str:
        return f"{self.calls}/{span_text(self.per)}"


def is_free(times: Iterable[Ringing], wanted: datetime, rule: CapRule) -> bool:
    """Return whether one more call may ring at ``wanted``: see :func:`next_free`."""
    wanted = wanted.astimezone(UTC)  # a reading that a clock shows twice equals none of another zone
    return next_free(times, wanted, rule) == wanted


def next_free(times: Iterable[Ringing], wanted: datetime, rule: CapRule) -> datetime:
    """Return the first moment, not before ``wanted``, at which one more call may ring, in UTC.

    :param times: when the person's other calls ring, in any order: in the past, and those scheduled. Of a
        call that may ring at any moment between two, both.
    :param wanted: when the call is to ring. All moments are aware.
    """
    free = wanted.astimezone(UTC)
    for begin, end in _full(times, rule):
        if begin < free < end:
            free = end
    return free


def _full(times: Iterable[Ringing], rule: CapRule) -> Iterator[tuple[datetime, datetime]]:
    """Yield, in order, between which moments no further call may ring; the moments themselves are free.

    It is as many calls as are allowed, in one window, that keep another one out: it would have to be too far
    from the last of them, or from the first, to share a window with all. The last is the one that rings last
    at the earliest; the first, the one that rings first at the latest.
    """
    latest: list[datetime] = []
    for earliest, end in sorted(_span(each) for each in times):
        insort(latest, end)
        if len(latest) >= rule.calls and earliest - latest[-rule.calls] < rule.per:
            yield earliest - rule.per, latest[-rule.calls] + rule.per


def _span(ringing: Ringing) -> tuple[datetime, datetime]:
    begin, end = (ringing, ringing) if isinstance(ringing, datetime) else ringing
    return begin.astimezone(UTC), end.astimezone(UTC)


def parse_calls(value: object) -> int:
    """Return a number of calls, given as an integer or as digits, which is what a template renders to."""
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput("call_cap.calls", "must be an integer, 1 or more")
    return value


def parse_span(value: object, field: str = "call_cap.per") -> timedelta:
    """Return a length of time, given as a timedelta, as seconds, or as text such as ``12h``.

    Text has its unit: in ``2/7``, or in what a template renders to, seven might be meant as days.
    """
    found = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        value = int(found[1]) * UNITS[found[2]].total_seconds()
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        not isinstance(seconds, int | float)
        or isinstance(seconds, bool)
        or not 1 <= seconds <= LONGEST_CAP.total_seconds()
        or seconds % 1
    ):
        raise InvalidInput(
            field,
            "must be a timedelta, a number of seconds, or text such as 1d, 12h, 90m or 45s: whole"
            f" seconds, and from 1 second to {LONGEST_CAP.days} days",
        )
    return timedelta(seconds=seconds)


def span_text(span: timedelta) -> str:
    """Return the text that :func:`parse_span` reads as this length, in the longest unit, such as ``1d``."""
    unit = max((unit for unit in UNITS if not span % UNITS[unit]), key=UNITS.__getitem__)
    return f"{span // UNITS[unit]}{unit}"
