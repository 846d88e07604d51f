"""What a webhook of the vendor tells: an event, read leniently, since only one sample of them is known.

Vendor page: https://docs.formantai.com/webhooks/events
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import Conversation, iso_moment

# What `python -m formant_provider.webhooks check` sends: it tells of no call, and nobody acts on it.
CHECK_EVENT = "formant.check"
_LARGEST_ID = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# How far from its event a redial may be announced: what is farther is a slip, and times are reckoned with it.
_BEFORE, _AFTER = timedelta(days=1), timedelta(days=60)
_DEEPEST = 100  # as deep as lists and objects may lie in each other
_MOST_DIGITS = 20  # of a phone number; E.164 has 15


@dataclass(frozen=True)
class Attempt:
    """What an event says of the platform's own redials.

    :param number: of this attempt, from 1 on.
    :param is_final: whether the platform calls no more; ``None`` when it does not say.
    :param most: how many attempts there are at most.
    :param next_at: when the platform calls again, in UTC; ``None`` when it does not say, or no moment near
        the event.
    """

    number: int | None = None
    is_final: bool | None = None
    most: int | None = None
    next_at: datetime | None = None

    @property
    def announced_at(self) -> datetime | None:
        """When the platform calls again, unless it has said that this attempt was the last."""
        return None if self.is_final else self.next_at

    @classmethod
    def from_json(cls, data: Mapping[str, Any], sent_at: datetime) -> Attempt:
        """Read ``data.retry``.

        :param sent_at: the moment of the event.
        """
        is_final, next_at = data.get("is_final_attempt"), _utc(data.get("next_retry_at"))
        return cls(
            number=_whole(data.get("attempt_number")),
            is_final=is_final if isinstance(is_final, bool) else None,
            most=_whole(data.get("max_attempts")),
            next_at=next_at if next_at and -_BEFORE <= next_at - sent_at <= _AFTER else None,
        )


@dataclass(frozen=True)
class WebhookEvent:
    """One event.

    :param event_id: the same for each delivery of it.
    :param event_type: such as ``call.completed``; may be one that is not documented.
    :param sent_at: the moment that the vendor has signed, in UTC.
    :param conversation: the record of the attempt, with ``to_phone`` as its ``contact_number``; ``None`` when
        the event names no conversation.
    :param from_phone: who called; private.
    :param has_transcript: whether the target is set up to include what was said.
    """

    event_id: str
    event_type: str
    sent_at: datetime
    conversation: Conversation | None = None
    attempt: Attempt = Attempt()
    from_phone: str | None = field(default=None, repr=False)
    has_transcript: bool = False

    def numbers(self) -> set[int]:
        """Return who was called and who has called, each an integer of the digits of E.164; private."""
        to_phone = self.conversation.contact_number if self.conversation else None
        digits = (re.sub(r"\D", "", number or "") for number in (to_phone, self.from_phone))
        return {int(number) for number in digits if number.isascii() and 0 < len(number) <= _MOST_DIGITS}

    @property
    def is_check(self) -> bool:
        """Whether it was sent to try the way from a public URL to the store."""
        return self.event_type == CHECK_EVENT

    @classmethod
    def from_body(cls, body: bytes) -> WebhookEvent:
        """Read the body of a webhook. Fields that are not known are ignored here.

        :raises InvalidInput: it is no JSON object, or too deep, or lacks its id, its type or its time.
        """
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, Mapping) or not _is_shallow(data):
            raise InvalidInput("body", f"must be a JSON object of at most {_DEEPEST} levels")
        for name in ("event_id", "event_type"):
            if not isinstance(data.get(name), str) or not data[name].strip():
                raise InvalidInput(name, "must be text")
        sent_at = _utc(data.get("timestamp"))
        if sent_at is None:
            raise InvalidInput("timestamp", "must be a moment in ISO 8601")
        return cls(data["event_id"], data["event_type"], sent_at, **_told(data.get("data"), sent_at))


def _told(data: object, sent_at: datetime) -> dict[str, Any]:
    """Return what the event tells of a call."""
    data = _mapping(data)
    call = _mapping(data.get("call"))
    transcript = data.get("transcript")
    agent_id = _whole(call.get("agent_id"))
    record = Conversation.from_json(
        {
            **{name: call.get(name) for name in ("conversation_id", "trace_id", "status", "failure_reason")},
            "agent_id": agent_id if agent_id is not None and abs(agent_id) <= _LARGEST_ID else None,
            "contact_number": call.get("to_phone"),
            "start_timestamp": _epoch_ms(call.get("started_at")),
            "end_timestamp": _epoch_ms(call.get("ended_at")),
            "duration_seconds": call.get("duration_seconds"),
            "results": data["results"] if isinstance(data.get("results"), Mapping) else None,
            "transcript": transcript,
        }
    )
    from_phone = call.get("from_phone")
    return {
        "conversation": record if record.conversation_id else None,
        "attempt": Attempt.from_json(_mapping(data.get("retry")), sent_at),
        "from_phone": from_phone if isinstance(from_phone, str) else None,
        "has_transcript": transcript is not None,
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_shallow(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [each for above in level for each in _within(above) if isinstance(each, dict | list)]
        if not level:
            return True
    return False


def _within(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _utc(value: object) -> datetime | None:
    """Return a moment in UTC; ``None`` also for one that lies before the year 1, or after 9999, there."""
    moment = iso_moment(value)
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        return None


def _epoch_ms(value: object) -> int | None:
    """Return whole milliseconds, as the list has them of the same moment."""
    moment = iso_moment(value)
    return None if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)
