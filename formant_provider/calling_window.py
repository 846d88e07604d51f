"""The hours in which calls may be placed, as a user writes them in a DAG."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

from formant_provider.api.errors import InvalidInput
from formant_provider.core.hours.days_off import AskedDays, days_off_in, is_asked, to_days_off
from formant_provider.core.hours.opening_hours import (
    DAYS,
    Hours,
    recipient_zones,
    to_days,
    to_span,
    to_time,
    to_zone,
)
from formant_provider.core.hours.zone_database import note_version
from formant_provider.core.hours.zones import is_country
from formant_provider.core.numbers.recipient import Recipient
from formant_provider.core.plain_values import made_of, refuse_empty
from formant_provider.core.templates import is_template

RECIPIENT = "recipient"
COUNTRY = "country"


@dataclass(repr=False)
class CallingWindow:
    """The hours in which calls may be placed. Every field is a template field of the operator it is given to.

    :param start: the time of day at which they begin, ``"HH:MM"``, by the clock on the wall.
    :param end: the time of day at which they end, up to ``"24:00"``; one before ``start`` is on the next day.
        The last call is placed more than a minute before, so that no phone rings after it.
    :param days: days of the week on which they begin: ``mon``, ``tue``, ``wed``, ``thu``, ``fri``, ``sat``,
        ``sun``, as a list or as text.
    :param timezone: name of the time zone, such as ``Asia/Kolkata``. ``"recipient"`` means that of the
        number; if it may be in several, only the hours count that all of them have in common. A mapping gives
        a zone for each country of the number, by ISO 3166 code, such as ``{"US": "America/New_York"}``, or
        for each value of ``timezone_by``; whatever it does not name is ``"recipient"``.
    :param holidays: dates on which no hours begin, as ``date`` or ISO 8601 text, as a list or as text; or an
        object that knows them, such as ``holidays.country_holidays("IN")``. ``"recipient"`` means the public
        holidays of the number's country, and needs the extra ``holidays``.
    :param timezone_by: what the keys of a mapping given as ``timezone`` are: ``"country"``, or a template
        whose value is looked up, such as ``"{{ params.branch }}"``.
    :raises ValueError: at parse time, for a value that is invalid and no template.
    """

    start: str = "09:00"
    end: str = "20:00"
    days: Collection[str] | str = DAYS
    timezone: str | Mapping[str, str] = RECIPIENT
    holidays: Container[date] | Collection[date | str] | str = ()
    timezone_by: str = COUNTRY

    template_fields: ClassVar[tuple[str, ...]] = (
        "start",
        "end",
        "days",
        "timezone",
        "holidays",
        "timezone_by",
    )

    def __post_init__(self) -> None:
        self._keep_what_can_be_read_once()
        for name in ("start", "end"):
            if not is_template(getattr(self, name)):
                to_time(name, getattr(self, name))
        if not is_template([self.start, self.end]):
            to_span(self.start, self.end)
        if not is_template(self.days):
            to_days(self.days)
        self._refuse_zones()
        if not is_template(self.holidays) and self.holidays != RECIPIENT:
            to_days_off(self.holidays)

    @classmethod
    def of(cls, value: Self | Mapping[str, Any] | None) -> Self | None:
        """Return the same, or what a mapping of the fields names, as in a YAML file; ``None`` is any time.

        :raises ValueError: it is neither, names a field that is none, or a value is invalid.
        """
        refuse_empty("calling_window", value)
        return None if value is None else made_of(cls, "calling_window", value)

    def hours(self, recipient: str) -> Hours:
        """Return the hours for one recipient.

        :param recipient: the number, E.164; one that is a ``Recipient`` is not parsed again.
        :raises InvalidInput: with the name of the field at fault.
        """
        note_version()
        known, (start, end) = Recipient.of(recipient), to_span(self.start, self.end)
        return Hours(start, end, to_days(self.days), self._days_off(known), self._zones(known))

    def _keep_what_can_be_read_once(self) -> None:
        """Keep what would be empty when it is read again, or when Airflow renders it."""
        if isinstance(self.days, Iterator):
            self.days = tuple(self.days)
        if isinstance(self.holidays, Iterator):
            self.holidays = tuple(self.holidays)
        elif is_asked(self.holidays) and not is_template(self.holidays):
            self.holidays = AskedDays(self.holidays)
        if isinstance(self.timezone, Mapping):
            self.timezone = dict(self.timezone)

    def _days_off(self, recipient: Recipient) -> Container[date]:
        if self.holidays == RECIPIENT:
            return days_off_in(recipient.countries)
        return to_days_off(self.holidays)

    def _zones(self, recipient: Recipient) -> tuple[ZoneInfo, ...]:
        if not isinstance(self.timezone, Mapping):
            return _zones_called(self.timezone, recipient)
        by_country = self.timezone_by == COUNTRY
        _refuse_mapping(self.timezone, by_country=by_country)  # also what this number has no need of
        keys = recipient.countries if by_country else (str(self.timezone_by),)
        zones = {str(key): value for key, value in self.timezone.items()}
        # A number that may be of several countries keeps the hours of all of them.
        names = {zones.get(key, RECIPIENT): None for key in keys} or {RECIPIENT: None}
        return tuple(dict.fromkeys(zone for name in names for zone in _zones_called(name, recipient)))

    def _refuse_zones(self) -> None:
        """Refuse an invalid time zone, also in a mapping of them."""
        by_country = self.timezone_by == COUNTRY
        if not by_country and not is_template(self.timezone_by):
            raise InvalidInput("calling_window.timezone_by", f"must be '{COUNTRY}', or a template")
        if not isinstance(self.timezone, Mapping):
            if not is_template(self.timezone):
                if not by_country:
                    raise InvalidInput("calling_window.timezone_by", "needs a mapping as timezone")
                _refuse_zone(self.timezone)
            return
        _refuse_mapping(self.timezone, by_country=by_country)

    def serialize(self) -> dict[str, Any]:
        """Return what Airflow shows of it: the same in every process."""
        shown = {name: _plain(getattr(self, name)) for name in self.template_fields}
        if self.timezone_by == COUNTRY:
            del shown["timezone_by"]  # it has no meaning but with a mapping
        return shown

    def __repr__(self) -> str:
        # Airflow writes it into the DAG of a mapped task, and what differs from parse to parse is a new DAG.
        return f"CallingWindow({', '.join(f'{name}={value!r}' for name, value in self.serialize().items())})"


def _zones_called(name: str, recipient: Recipient) -> tuple[ZoneInfo, ...]:
    return recipient_zones(recipient) if name == RECIPIENT else (to_zone(name),)


def _refuse_mapping(zones: Mapping[str, str], *, by_country: bool) -> None:
    """Refuse a mapping of zones of which any part is invalid; a template in it is read later."""
    if not zones or (by_country and not all(map(is_country, zones))):
        raise InvalidInput(
            "calling_window.timezone", "must have country codes of ISO 3166 as keys: US, IN, GB (not UK)"
        )
    for name in zones.values():
        if not is_template(name):
            _refuse_zone(name)


def _refuse_zone(name: object) -> None:
    if name != RECIPIENT:
        to_zone(name)


def _plain(value: Any) -> str | list[str] | dict[str, str]:
    if isinstance(value, Mapping):
        return {str(key): str(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    texts = [str(item) for item in value]
    return sorted(texts) if isinstance(value, set | frozenset) else texts
