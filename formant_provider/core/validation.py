"""Turns what people write in a DAG into what the API takes, or refuses it before anything is sent.

Every function returns the value in the API's form or raises :class:`InvalidInput`, which names the field
and never the value, since values are private. Hence the ``suppress`` blocks: an error raised while another
is handled would carry that other one along, and its text quotes the value.

Vendor page: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.values import as_text, is_whole, kind_of, plain

if TYPE_CHECKING:
    from formant_provider.core.numbers.recipient import Recipient

MAX_SCHEDULE_AHEAD = timedelta(days=30)
NOT_E164 = "must be an E.164 number: a plus sign, the country code, digits only"
# Where an error of one call uses other words than the report of a batch call, by the reason as text.
_WHY_NOT = {
    "no_number": NOT_E164,
    "not_e164": NOT_E164,
    "impossible_number": "has an unknown country code or a length no number of that country has",
    "ambiguous_number": "can be read in two ways, as two phones: put a plus sign before the country code",
}
_ROWS = (
    "is a list of rows, and one call has one recipient. For a call of each row map the task:"
    " .partial(...).expand(parameters=rows); for one batch call of all use FormantCreateBatchCallOperator"
)
# What is left of an item when a template has made text of a list.
_WORD = re.compile(r"[^\s,;\[\](){}'\"]+")
RETRY_CONTEXT_TEXTS = ("retry_initial_message", "retry_language", "retry_stage_id")


def to_agent_id(value: object) -> int:
    """Return the agent's number, given as an integer or as digits (which is what a template renders to)."""
    return to_whole_number("agent_id", value)


def to_whole_number(field: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return a number that is not too small, given as an integer or as digits."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        with suppress(ValueError):  # of thousands of digits
            value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(field, f"must be an integer, or text of digits; got {kind_of(value)}")
    if value < least:
        raise InvalidInput(field, f"must be above {least - 1}" if least else "must not be below 0")
    if most is not None and value > most:
        raise InvalidInput(field, f"must be at most {most}")
    return value


def to_parameters(
    value: object, default_country: str | None = None, *, renumber: bool = False
) -> tuple[tuple[str, str], ...]:
    """Return name and text of each call parameter.

    :param value: a mapping of names to values, or the API's list of ``{"name": ..., "value": ...}``.
        Exactly one must be ``customer_phone``, as :func:`to_phone` takes it, and is returned as a
        :class:`~formant_provider.core.numbers.recipient.Recipient`.
    """
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        pairs = list(_named_values(value))
    else:
        raise InvalidInput(
            "parameters", f"must be a mapping or a list of name and value; got {kind_of(value)}"
        )
    names = [_name(name) for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(_field("parameters", name), "is given more than once")
    parameters = tuple(
        (
            name,
            to_phone(item, default_country=default_country, renumber=renumber)
            if name == PHONE_PARAMETER
            else _sendable(_field("parameters", name), item),
        )
        for name, item in pairs
    )
    if PHONE_PARAMETER not in names:
        raise InvalidInput("parameters", f"must hold {PHONE_PARAMETER}, the number to call")
    return parameters


def _sendable(field: str, value: object) -> str:
    return _whole(field, as_text(field, value))


def refuse_rows(entries: Iterable[object]) -> None:
    """Refuse a list of mappings that each hold a number to call: it is more than one call."""
    if any(isinstance(entry, Mapping) and PHONE_PARAMETER in entry for entry in entries):
        raise InvalidInput("parameters", _ROWS)


def _named_values(entries: Iterable[object]) -> Iterator[tuple[object, object]]:
    entries = list(entries)
    refuse_rows(entries)
    for position, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or set(entry) != {"name", "value"}:
            raise InvalidInput(f"parameters[{position}]", "must be a mapping with exactly 'name' and 'value'")
        yield entry["name"], entry["value"]


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput("parameters", f"names must be text and not blank; got {kind_of(value)}")
    return _whole("parameters", value)


def _field(parent: str, name: object) -> str:
    # A name that is not a plain word may be a value in the wrong place, and values are private.
    return f"{parent}.{name}" if isinstance(name, str) and name.isidentifier() else parent


def to_phone(
    number: object,
    field: str = f"parameters.{PHONE_PARAMETER}",
    default_country: str | None = None,
    *,
    renumber: bool = False,
) -> Recipient:
    """Return whom a number calls; refuse one that cannot exist, or can be two phones.

    :param default_country: where a number is from that has no country code, as two letters of ISO 3166; with
        it, any usual writing is taken. ``None`` takes E.164 alone.
    """
    from formant_provider.core.numbers.reading import Readings  # not while a DAG file is parsed
    from formant_provider.core.numbers.recipient import Recipient

    number = plain(number)
    if not isinstance(number, str):
        # Native rendering reads "+14155550100" as an integer, and the plus sign is gone.
        raise InvalidInput(field, f"must be text with a plus sign; got {kind_of(number)}")
    readings = Readings(default_country, renumber=renumber)
    known = readings.read(str(number))
    if isinstance(known, Recipient):
        return known
    note = readings.note(str(number), known)
    told = _WHY_NOT.get(known) or known.sentence.removeprefix("The number ").removesuffix(".")
    raise InvalidInput(field, f"{told}. Here: {note}" if note else told)


def to_scheduled_for(value: object, *, now: datetime) -> datetime | None:
    """Return the moment to call at; ``None`` means now. Whether it has passed is for :func:`refuse_past`."""
    if value is None:
        return None
    moment = to_moment("scheduled_for", value)
    if moment > now + MAX_SCHEDULE_AHEAD:
        raise InvalidInput("scheduled_for", f"lies more than {MAX_SCHEDULE_AHEAD.days} days ahead")
    return moment


def refuse_past(scheduled_for: datetime | None, *, now: datetime) -> None:
    """Refuse a moment that is gone.

    Apart from :func:`to_scheduled_for`, since a later try of a task may come after the moment for which an
    earlier try has placed the call.
    """
    if scheduled_for is not None and scheduled_for < now:
        raise InvalidInput("scheduled_for", "lies in the past")


def to_moment(field: str, value: object) -> datetime:
    """Return an aware moment, given as such or as ISO 8601 text with an offset."""
    moment = _parse_iso(field, value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise InvalidInput(field, f"must be a datetime or ISO 8601 text; got {kind_of(value)}")
    if moment.utcoffset() is None:
        raise InvalidInput(field, "has no time zone; give an aware datetime or text with an offset")
    return moment


def _parse_iso(field: str, text: str) -> datetime:
    with suppress(ValueError):
        return datetime.fromisoformat(text.strip())
    raise InvalidInput(field, "is not ISO 8601 text such as 2026-04-08T14:00:00Z")


def to_metadata(value: object) -> str | None:
    """Return metadata as the text the API takes: text as it is, a mapping as JSON."""
    if value is None or isinstance(value, str):
        return value and _whole("metadata", value)
    if not isinstance(value, Mapping):
        raise InvalidInput("metadata", f"must be text or a mapping; got {kind_of(value)}")
    return _json("metadata", value)


def to_retry_context(value: object) -> Mapping[str, Any] | None:
    """Return the state of an earlier attempt, checked against the vendor's ``RetryContext``."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidInput("retry_context", f"must be a mapping; got {kind_of(value)}")
    for name, item in value.items():
        field = _field("retry_context", name)
        if name == "collected_data":
            if item is not None and not isinstance(item, Mapping):
                raise InvalidInput(field, f"must be a mapping; got {kind_of(item)}")
        elif name not in RETRY_CONTEXT_TEXTS:
            raise InvalidInput(field, f"is not one of collected_data, {', '.join(RETRY_CONTEXT_TEXTS)}")
        elif item is not None and not isinstance(item, str):
            raise InvalidInput(field, f"must be text; got {kind_of(item)}")
    checked: dict[str, Any] = json.loads(_json("retry_context", value))
    return checked


def to_optional_text(field: str, value: object) -> str | None:
    """Return text that names something; ``None`` means not given.

    Blank text and the text ``None`` are refused: they are what a template renders to when its value is
    missing, and as an id they would mean the wrong thing.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidInput(field, f"must be text; got {kind_of(value)}")
    text = str(value).strip()
    if text in {"", "None"}:
        raise InvalidInput(field, "is blank, which a template renders to when its value is missing")
    return _whole(field, text)


def to_items(field: str, value: object) -> list[object]:
    """Return what is in a list, or in the text that a template has made of one."""
    if isinstance(value, str):
        return list(_WORD.findall(value))
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise InvalidInput(field, f"must be a list, or text; got {kind_of(value)}")


def _json(field: str, value: Mapping[Any, Any]) -> str:
    text = None
    with suppress(TypeError, ValueError, RecursionError):
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if text is None:
        raise InvalidInput(field, "cannot be written as JSON")
    return _whole(field, text)


def _whole(field: str, text: str) -> str:
    if not is_whole(text):
        raise InvalidInput(field, "holds half of a character, which cannot be sent")
    return text
