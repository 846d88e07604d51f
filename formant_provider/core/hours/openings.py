"""Decides which numbers of a list may be called now and when the others may, and counts them by zone.

Almost all numbers of a list share a few zones, so the hours of each set of zones are computed once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import utc_text
from formant_provider.core.hours.opening_hours import MARGIN, Hours
from formant_provider.core.hours.zones import zones_of
from formant_provider.core.validation import MAX_SCHEDULE_AHEAD

# So many entries a result has at most; a list of all the world's numbers could have thousands.
MAX_ENTRIES = 50
# So many zones are named; a number that tells nothing of its place may be in forty.
_NAMED = 3
# A number for fiction whose zone every source knows: what is wrong with its hours is wrong with the window.
_KNOWN_NUMBER = "+442079460000"


class Opening(NamedTuple):
    """When numbers of certain zones may be called.

    :param opens_at: when they may be called next, if not then; ``None`` if that is not known, or not soon.
    """

    zones: str
    is_open: bool
    opens_at: datetime | None = None
    fault: str | None = None

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        if self.opens_at is None:
            return f"it does not open within {MAX_SCHEDULE_AHEAD.days} days ({self.zones})"
        return f"the next opening is {utc_text(self.opens_at)} ({self.zones})"


class Openings:
    """The calling hours of a list of numbers at one moment.

    :param hours_of: returns the hours for a number; ``None`` means that all may be called at any time.
    :param now: the current time, aware. Openings are looked for until 30 days from it.
    :param refuse_later: whether numbers are refused that may be called later, and not at that moment.
    """

    def __init__(
        self,
        hours_of: Callable[[str], Hours] | None,
        now: datetime,
        *,
        at: datetime | None = None,
        refuse_later: bool = True,
    ) -> None:
        self._hours_of, self._at, self._until = hours_of, at or now, now + MAX_SCHEDULE_AHEAD - MARGIN
        self._refuse_later = refuse_later
        self._known: dict[Any, Opening] = {}
        self.closed: Counter[Opening] = Counter()
        if hours_of is not None:
            hours_of(_KNOWN_NUMBER)

    def of(self, number: str) -> Opening:
        """Return when a number may be called."""
        if self._hours_of is None:
            return _anytime(number)
        try:
            hours = self._hours_of(number)
        except InvalidInput as error:  # in doubt no call is placed
            return Opening("", is_open=False, fault=error.reason)
        try:
            known = self._known.get(hours)
        except TypeError:  # something in it cannot be remembered
            return self._opening(hours)
        if known is None:
            known = self._known[hours] = self._opening(hours)
        return known

    def refuse_closed(self, numbers: Iterable[str]) -> Mapping[int, Opening]:
        """Return the openings of those numbers that may not be called, by their position.

        Those whose hours are known are counted as closed.
        """
        found = {
            position: opening
            for position, opening in enumerate(map(self.of, numbers))
            if not opening.is_open and (self._refuse_later or opening.opens_at is None)
        }
        self.closed.update(opening for opening in found.values() if opening.fault is None)
        return found

    def _opening(self, hours: Hours) -> Opening:
        first = hours.opening(self._at, self._until)
        is_open = first is not None and first <= self._at
        return Opening(_names(zone.key for zone in hours.zones), is_open, None if is_open else first)


def by_opening(counts: Mapping[Opening, int]) -> list[dict[str, Any]]:
    """Return counts as plain data, those that can be called first and the rest by time: at most 50 entries.

    Each entry has ``zones`` (names, or ``None`` when unknown), ``opens_at`` (ISO 8601, UTC; ``None`` for now,
    or when it is not known), ``is_open`` and ``count``. What does not fit is together in the last.
    """
    ordered = sorted(counts.items(), key=lambda pair: (_order(pair[0]), -pair[1], pair[0].zones))
    entries = [
        {
            "zones": opening.zones or None,
            "is_open": opening.is_open,
            "opens_at": opening.opens_at and utc_text(opening.opens_at),
            "count": count,
        }
        for opening, count in ordered
    ]
    if len(entries) <= MAX_ENTRIES:
        return entries
    rest = sum(count for _, count in ordered[MAX_ENTRIES - 1 :])
    return [
        *entries[: MAX_ENTRIES - 1],
        {"zones": "others", "is_open": None, "opens_at": None, "count": rest},
    ]


def in_words(counts: Mapping[Opening, int]) -> str:
    """Return how many are closed until when, for a log or an error."""
    until: Counter[datetime | None] = Counter()
    for opening, count in counts.items():
        until[opening.opens_at] += count
    moments = sorted(moment for moment in until if moment is not None)
    texts = [f"{until[moment]} until {utc_text(moment)}" for moment in moments[:_NAMED]]
    if moments[_NAMED:]:
        later = sum(until[moment] for moment in moments[_NAMED:])
        texts.append(f"{later} longer, the last until {utc_text(moments[-1])}")
    if until[None]:
        texts.append(f"{until[None]} for more than {MAX_SCHEDULE_AHEAD.days} days")
    return ", ".join(texts)


def _order(opening: Opening) -> tuple[int, float]:
    if opening.is_open:
        return 0, 0
    return (1, opening.opens_at.timestamp()) if opening.opens_at else (2, 0)


def _anytime(number: str) -> Opening:
    return Opening(_names(zone.key for zone in zones_of(number)), is_open=True)


def _names(keys: Iterable[str]) -> str:
    names = list(keys)
    more = f" and {len(names) - _NAMED} more" if names[_NAMED:] else ""
    return ", ".join(names[:_NAMED]) + more
