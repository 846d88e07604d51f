"""Records of batch calls as they come back from the API.

Vendor pages: https://docs.formantai.com/platform/batch-calls and
https://docs.formantai.com/api-reference/batch-calls
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from formant_provider.api.models import iso_moment


@dataclass(frozen=True)
class BatchCall:
    """One batch call. What the API did not send, or not in its type, is ``None``.

    :param batch_id: what the API calls ``id``.
    :param status: ``pending``, or a word the vendor does not document.
    :param total_recipients: rows of its file.
    :param created_at: ISO 8601 text.
    """

    batch_id: int
    name: str | None
    agent_id: int | None
    status: str | None
    total_recipients: int | None
    created_at: str | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BatchCall | None:
        """Read one record; ``None`` when it has no id to go by."""
        batch_id = to_integer(data.get("id"))
        if batch_id is None:
            return None
        return cls(
            batch_id=batch_id,
            name=_text(data.get("name")),
            agent_id=to_integer(data.get("agent_id")),
            status=_text(data.get("status")),
            total_recipients=to_integer(data.get("total_recipients")),
            created_at=_text(data.get("created_at")),
        )

    @property
    def created(self) -> datetime | None:
        """The moment of its creation, aware; ``None`` when the API did not say."""
        return iso_moment(self.created_at)


@dataclass(frozen=True)
class BatchMetrics:
    """What became of the recipients of a batch call so far, by the vendor's names.

    The vendor defines none of them. In its sample the outcome counts add up to ``total_processed``, and those
    in progress or pending retry make up the rest. Telephony failures have no count, so that the sum may never
    be reached. What the API did not send, or not as a number, is ``None``.

    :param avg_duration_seconds: of those who were connected.
    :param success_rate: percent; in the vendor's sample of all recipients.
    """

    avg_duration_seconds: float | None
    busy_count: int | None
    completed_count: int | None
    failed_count: int | None
    in_progress_count: int | None
    no_answer_count: int | None
    pending_retry_count: int | None
    socket_failure_count: int | None
    success_count: int | None
    success_rate: float | None
    total_processed: int | None
    unreachable_count: int | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BatchMetrics:
        """Read the ``data`` of an answer."""
        names = set(cls.__dataclass_fields__)
        averages = {"avg_duration_seconds", "success_rate"}
        values: dict[str, Any] = {name: _number(data.get(name)) for name in averages}
        return cls(**values, **{name: to_integer(data.get(name)) for name in names - averages})


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def to_integer(value: object) -> int | None:
    """Return a whole number, also one that came as text or as a float; ``None`` for all else."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
