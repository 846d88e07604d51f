"""Records that go to the API and come back from it.

Requests are complete and correct once built; answers are read leniently, since the vendor's schema requires
none of their fields.

Vendor pages: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call and
https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pendulum

PHONE_PARAMETER = "customer_phone"
_LONG_NUMBER = re.compile(r"\+?\d[\d\s()./-]{4,}\d")
# The end of the year 9999, beyond which there are no dates.
_LAST_MOMENT_MS = 253_402_300_799_000
_TIMES = ("start_timestamp", "end_timestamp", "duration_seconds")


class ReceiptStatus(StrEnum):
    """Statuses of a receipt the vendor documents. Others may come; they are kept as they are."""

    INITIATED = "initiated"
    SCHEDULED = "scheduled"


@dataclass(frozen=True)
class CallRequest:
    """One call, ready to be sent.

    :param agent_id: the agent that talks.
    :param parameters: name and text of each parameter, ``customer_phone`` among them; private.
    :param idempotency_key: the same for every try of the same call; the vendor refuses a second use.
    :param scheduled_for: when to call, with a zone; ``None`` means now.
    :param conversation_id: the conversation chain to join.
    :param metadata: opaque text for systems downstream.
    :param retry_context: what an earlier attempt left, as the vendor's ``RetryContext``; private.
    """

    agent_id: int
    parameters: tuple[tuple[str, str], ...] = field(repr=False)
    idempotency_key: str
    scheduled_for: datetime | None = None
    conversation_id: str | None = None
    metadata: str | None = field(default=None, repr=False)
    retry_context: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def recipient(self) -> str:
        """The number to call, E.164; a ``Recipient`` where the request was built from a user's fields."""
        return dict(self.parameters)[PHONE_PARAMETER]

    def private_texts(self) -> Iterator[str]:
        """Yield every text of the request that nobody but the API should read."""
        yield from (value for _, value in self.parameters)
        if self.metadata is not None:
            yield self.metadata
        yield from _texts(self.retry_context)

    def body(self) -> dict[str, Any]:
        """Return the JSON body of POST /v1/call. Fields that are not set are left out."""
        fields = {
            "agent_id": self.agent_id,
            "parameters": [{"name": name, "value": value} for name, value in self.parameters],
            "scheduled_for": utc_text(self.scheduled_for) if self.scheduled_for else None,
            "conversation_id": self.conversation_id,
            "idempotency_key": self.idempotency_key,
            "metadata": self.metadata,
            "retry_context": self.retry_context,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class CallReceipt:
    """The API's answer to an accepted call.

    :param trace_id: the vendor's name for this call.
    :param status: ``initiated``, ``scheduled``, or a word the vendor adds later.
    :param conversation_id: only when the API gave one.
    :param scheduled_for: ISO 8601 text, ``None`` for an immediate call.
    """

    agent_id: int | None
    trace_id: str | None
    status: str | None
    conversation_id: str | None = None
    scheduled_for: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CallReceipt:
        """Read the ``data`` of an answer. A missing field is ``None``: the call was accepted all the same."""
        return cls(**_known(cls, data))

    @property
    def scheduled_at(self) -> datetime | None:
        """The moment a call was scheduled for; ``None`` for one that was not, or does not say when."""
        return iso_moment(self.scheduled_for) if self.status == ReceiptStatus.SCHEDULED else None


@dataclass(frozen=True)
class Conversation:
    """The record of one attempt to talk, from the list (fewer fields) or in detail.

    :param contact_number: the recipient; private.
    :param start_timestamp: epoch milliseconds.
    :param end_timestamp: epoch milliseconds.
    :param duration_seconds: ``None`` when nobody was connected.
    :param failure_reason: the vendor's free text, less any phone number in it.
    :param results: what the agent collected; private.
    :param transcript: as the API sent it, since the vendor documents several forms; private.
    """

    conversation_id: str
    agent_id: int | None
    status: str | None
    contact_number: str | None = field(default=None, repr=False)
    trace_id: str | None = None
    start_timestamp: int | None = None
    end_timestamp: int | None = None
    duration_seconds: int | None = None
    failure_reason: str | None = None
    results: Mapping[str, Any] | None = field(default=None, repr=False)
    transcript: Any = field(default=None, repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Conversation:
        """Read one record. Fields the API did not send, or not in their type, are ``None``."""
        fields = _known(cls, data)
        for name in _TIMES:
            number = fields[name]
            is_good = isinstance(number, int | float) and 0 <= number <= _LAST_MOMENT_MS
            fields[name] = number if is_good else None
        for name in ("conversation_id", "status", "trace_id", "contact_number", "failure_reason"):
            text = fields[name]
            fields[name] = str(text) if isinstance(text, str | int) else None
        for name in ("status", "failure_reason"):
            fields[name] = without_numbers(fields[name]) if fields[name] is not None else None
        return cls(**fields)

    def filled_from(self, listed: Conversation) -> Conversation:
        """Return this detail with what only the list told: the vendor's own sample of one has no times."""
        names = ("agent_id", "contact_number", "trace_id", *_TIMES)
        told = {name: getattr(listed, name) for name in names if getattr(self, name) is None}
        return replace(self, **told)

    def at_the_times_of(self, listed: Conversation) -> Conversation:
        """Return this record of a webhook with the times that the list has, which may be more exact."""
        told = {name: time for name in _TIMES if (time := getattr(listed, name)) is not None}
        return replace(self, **told)


@dataclass(frozen=True)
class Recording:
    """A recording that was downloaded.

    :param size: bytes.
    :param content_type: as the API named it, such as ``audio/wav``; empty when it did not.
    """

    size: int
    content_type: str


def without_numbers(text: str) -> str:
    """Return what the vendor wrote, with stars in place of everything that may be a phone number."""
    return _LONG_NUMBER.sub("***", text)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _known(cls: type[CallReceipt | Conversation], data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data.get(name) for name in cls.__dataclass_fields__}


def iso_moment(text: object) -> datetime | None:
    """Read a moment in ISO 8601, aware; without an offset it is UTC. ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(text.strip() if isinstance(text, str) else "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def utc_text(moment: datetime) -> str:
    """Write a moment as the vendor does: ISO 8601, UTC, ``Z``."""
    return pendulum.instance(moment).in_timezone("UTC").to_iso8601_string()
