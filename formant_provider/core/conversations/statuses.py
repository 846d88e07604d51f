"""Decides what ends a wait for a conversation. The only place that says which status is final.

A wait ends when the status of its conversation is final (:meth:`Endings.is_over`), and, after an unsuccessful
one, when its record has stayed the newest for ``settle_for``, or when an event has said that it was the last
attempt (:meth:`Endings.counts_at`). A redial that an event has announced is waited for. Else it ends at its
deadline, or with an error that does not pass (:mod:`formant_provider.core.polling.loop`); a temporary error
never ends it.

The vendor's list of statuses is open, and the words for what is still going on are not documented. So a
conversation is over when its status is a word known to be final; any other word is waited on, and never taken
for success. Vendor pages: https://docs.formantai.com/platform/conversations and
https://docs.formantai.com/webhooks/events
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from formant_provider.api.models import Conversation, ReceiptStatus
from formant_provider.api.webhook_models import Attempt

COMPLETED = "completed"
NOTHING_TOLD = Attempt()
# Each is final for one attempt to talk. Whether the platform makes a further one, a record does not tell.
UNSUCCESSFUL = frozenset({"no_answer", "busy", "failed", "unreachable", "socket_failure", "telephony_failed"})
FINAL = UNSUCCESSFUL | {COMPLETED}
# Words that need no warning: those of the receipt, and what the counts of a batch suggest.
_GOING_ON = frozenset({*ReceiptStatus, "in_progress", "pending", "pending_retry"})
# How long after the announced time of a redial its record may still come: it has to ring, talk and end.
REDIAL_ENDS_WITHIN = timedelta(hours=1)


@dataclass(frozen=True)
class Endings:
    """Which statuses end a wait, and when.

    :param successful: the expected statuses, which are a success.
    :param further: words that are final as well, besides those the vendor documents.
    :param settle_for: how long the record of an unsuccessful attempt must stay the newest of its recipient
        until it counts; the platform may call again by itself.
    """

    successful: frozenset[str] = frozenset({COMPLETED})
    further: frozenset[str] = frozenset()
    settle_for: timedelta = field(default=timedelta(0))

    def is_over(self, status: str | None) -> bool:
        """Whether a record with this status will not change any more."""
        return status in FINAL or status in self.further or self.is_success(status)

    def is_success(self, status: str | None) -> bool:
        """Whether this is an expected status."""
        return status in self.successful

    def counts(
        self,
        record: Conversation,
        *,
        now: datetime,
        seen_at: datetime,
        attempt: Attempt = NOTHING_TOLD,
    ) -> bool:
        """Whether a record that is over, and the newest of its recipient, ends the wait.

        :param now: the current time, aware.
        :param seen_at: as in :meth:`counts_at`.
        :param attempt: as in :meth:`counts_at`.
        """
        at_once = self.counts_at_once(record, attempt)
        return at_once or now >= self.counts_at(record, seen_at=seen_at, attempt=attempt)

    def counts_at(
        self, record: Conversation, *, seen_at: datetime, attempt: Attempt = NOTHING_TOLD
    ) -> datetime:
        """Return from when on a record that is over, and the newest of its recipient, ends the wait.

        :param seen_at: when the record was first seen to be over, for one that does not say when it ended.
        :param attempt: what an event has said of redials after it.
        """
        over = min(ended(record) or seen_at, seen_at)
        if self.counts_at_once(record, attempt):
            return over
        if attempt.announced_at is not None:
            return attempt.announced_at + max(self.settle_for, REDIAL_ENDS_WITHIN)
        return over + self.settle_for

    def counts_at_once(self, record: Conversation, attempt: Attempt = NOTHING_TOLD) -> bool:
        """Whether a record that is over ends the wait whatever comes after it."""
        if self.is_success(record.status) or attempt.is_final:
            return True
        return not self.settle_for and attempt.announced_at is None


def is_known(status: str | None) -> bool:
    """Whether the word is one that we know, final or not."""
    return status in FINAL or status in _GOING_ON


def nobody_connected(status: str | None, duration_seconds: int | None) -> bool:
    """Whether nobody talked, so that there is nothing that an agent could have collected."""
    return status in UNSUCCESSFUL and not duration_seconds


def ended(record: Conversation) -> datetime | None:
    """Return when the conversation ended, as far as its record says."""
    return None if record.end_timestamp is None else moment(record.end_timestamp)


def moment(timestamp_ms: float) -> datetime:
    """Return the moment of a vendor's timestamp, which is in milliseconds since 1970."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)


def moment_text(timestamp_ms: Any) -> str | None:
    """Return the moment of a vendor's timestamp as ISO 8601 text in UTC; ``None`` if it is no moment."""
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return iso_text(moment(timestamp_ms))
    return None


def iso_text(value: datetime) -> str:
    """Write an aware moment in UTC as files and results have it: ISO 8601, with milliseconds."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
