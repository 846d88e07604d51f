"""Days off: those on which no calling hours begin."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Any

from formant_provider.api.errors import InvalidInput
from formant_provider.core.validation import to_items

_FIELD = "calling_window.holidays"
_SETTINGS = ("country", "market", "subdiv", "categories", "language")


@dataclass(frozen=True, eq=False)  # what it holds cannot be compared without being listed
class AskedDays:
    """Days off that know a day when they are asked for it, as those of the library ``holidays`` do.

    Such an object is a mapping that is empty until then. Airflow makes a plain one of any mapping in a
    template field, which stays empty; this it leaves alone.
    """

    days: Any

    def __contains__(self, day: object) -> bool:
        return day in self.days

    def __str__(self) -> str:
        """Name it by its settings, since the days in it are other ones in every process."""
        kind = type(self.days)
        found = {name: getattr(self.days, name, None) for name in _SETTINGS}
        texts = (f"{name}={_settled(value)}" for name, value in found.items() if value)
        return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}({', '.join(texts)})"


@dataclass(frozen=True, eq=False)
class AnyDayOff:
    """Days off in one or another of several places."""

    places: tuple[Container[date], ...]

    def __contains__(self, day: object) -> bool:
        return any(day in place for place in self.places)


def is_asked(value: object) -> bool:
    """Whether a value has to be asked for each day, since it cannot be listed, or not before."""
    if isinstance(value, str | bytes) or not hasattr(value, "__contains__"):
        return False
    is_plain = type(value) is dict or isinstance(value, set | frozenset)
    return not isinstance(value, Iterable) or (isinstance(value, Mapping | Set) and not is_plain)


def to_days_off(value: object) -> Container[date]:
    """Return days off.

    :param value: dates, ISO 8601 text, text with several, or what can be asked for a day with ``in``.
    """
    if isinstance(value, AskedDays):
        return _asked_or_listed(value)
    if is_asked(value):
        return to_days_off(AskedDays(value))
    return frozenset(_date(item) for item in to_items(_FIELD, value))


def days_off_in(countries: Collection[str]) -> Container[date]:
    """Return the public holidays of a country; of several, those of any."""
    if not countries:
        raise InvalidInput(_FIELD, "the country of this number is not known; give dates, not 'recipient'")
    return _any_public_holidays(tuple(countries))


@lru_cache(maxsize=1024)  # one object for all numbers of a country, so that their hours are equal
def _any_public_holidays(countries: tuple[str, ...]) -> Container[date]:
    return AnyDayOff(tuple(map(_public_holidays, countries)))


@cache
def _public_holidays(country: str) -> Container[date]:
    try:
        from holidays import country_holidays
    except ImportError:
        raise InvalidInput(
            _FIELD,
            "'recipient' needs the library holidays: pip install 'airflow-provider-formant[holidays]'",
        ) from None
    try:
        return country_holidays(country)
    except NotImplementedError:  # so the library says that it has no such country
        raise InvalidInput(
            _FIELD,
            f"the public holidays of {country} are not known to the library holidays; give dates instead",
        ) from None


@lru_cache(maxsize=64)
def _asked_or_listed(asked: AskedDays) -> Container[date]:
    """Return days that are asked for, with those that can be listed already, which may be written as text."""
    listed = list(asked.days) if isinstance(asked.days, Iterable) else []
    return AnyDayOff((asked, to_days_off(listed)))


def _date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):  # a datetime has another date elsewhere
        return value
    with suppress(ValueError, TypeError):
        return date.fromisoformat(value)  # type: ignore[arg-type] # what is no text is refused below
    raise InvalidInput(
        _FIELD,
        "must be dates, text such as 2026-12-25, 'recipient', or an object of the library holidays",
    )


def _settled(value: object) -> str:
    return repr(sorted(map(str, value)) if isinstance(value, set | frozenset) else value)
