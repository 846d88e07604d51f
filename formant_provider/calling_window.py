"""The hours in which a phone may ring, as a user writes them in a DAG."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

from formant_provider.api.calling_window import (
    DAYS,
    Hours,
    to_days,
    to_holidays,
    to_span,
    to_time,
    to_zone,
    zones_of,
)

RECIPIENT = "recipient"


@dataclass(repr=False)
class CallingWindow:
    """The hours in which a phone may ring. Every field is a template field of the operator it is given to.

    :param start: the time of day at which they begin, ``"HH:MM"``, by the clock on the wall.
    :param end: the time of day at which they end, up to ``"24:00"``; one before ``start`` is on the next day.
        A call is asked for until a minute before, lest the phone ring after it.
    :param days: days of the week on which they begin: ``mon``, ``tue``, ``wed``, ``thu``, ``fri``, ``sat``,
        ``sun``, as a list or as text.
    :param timezone: name of the time zone, such as ``Asia/Kolkata``. ``"recipient"`` means that of the
        number; if it may be in several, only the hours count that all of them have in common.
    :param holidays: dates on which no hours begin, as ``date`` or ISO 8601 text, as a list or as text.
    :raises ValueError: at parse time, for what is no template and cannot be meant.
    """

    start: str = "09:00"
    end: str = "20:00"
    days: Collection[str] | str = DAYS
    timezone: str = RECIPIENT
    holidays: Collection[date | str] | str = ()

    template_fields: ClassVar[tuple[str, ...]] = ("start", "end", "days", "timezone", "holidays")

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if not _is_template(getattr(self, name)):
                to_time(name, getattr(self, name))
        if not _is_template([self.start, self.end]):
            to_span(self.start, self.end)
        if not _is_template(self.days):
            to_days(self.days)
        if not _is_template(self.timezone) and self.timezone != RECIPIENT:
            to_zone(self.timezone)
        if not _is_template(self.holidays):
            to_holidays(self.holidays)

    def hours(self, recipient: str) -> Hours:
        """Return the hours for one recipient.

        :param recipient: the number, E.164.
        :raises InvalidInput: with the name of the field at fault.
        """
        start, end = to_span(self.start, self.end)
        is_known = self.timezone != RECIPIENT
        zones = (to_zone(self.timezone),) if is_known else zones_of(recipient)
        return Hours(start, end, to_days(self.days), to_holidays(self.holidays), zones)

    def serialize(self) -> dict[str, Any]:
        """Return what Airflow shows of it: the same in every process."""
        return {name: _plain(getattr(self, name)) for name in self.template_fields}

    def __repr__(self) -> str:
        # Airflow writes it into the DAG of a mapped task, and what differs from parse to parse is a new DAG.
        return f"CallingWindow({', '.join(f'{name}={value!r}' for name, value in self.serialize().items())})"


def _is_template(value: Any) -> bool:
    """Whether Airflow makes another value of it before a task runs."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if hasattr(value, "resolve"):  # what another task returns
        return True
    return isinstance(value, Iterable) and any(map(_is_template, value))


def _plain(value: Any) -> str | list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    texts = [str(item) for item in value]
    return sorted(texts) if isinstance(value, set | frozenset) else texts
