"""What can go wrong with a webhook, on demand: each fault meets the next events of the sandbox."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class WebhookFault(StrEnum):
    """Everything that can go wrong with an event, by the name used in tests, over HTTP and in the docs.

    A fault meets an event for one target, with all attempts to deliver it.
    """

    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    LATE = "late"
    NEVER = "never"
    WRONG_SIGNATURE = "wrong_signature"
    OLD_KEY = "old_key"
    SUCCESS_LOST = "2xx_lost"
    WITHOUT_TRANSCRIPT = "without_transcript"
    STALE_TIMESTAMP = "stale_timestamp"


DESCRIPTIONS: dict[WebhookFault, str] = {
    WebhookFault.DUPLICATE: "sent twice in a row, with the same id",
    WebhookFault.OUT_OF_ORDER: "sent after the next event of the target, or `seconds` (300) late without one",
    WebhookFault.LATE: "sent `seconds` (600) late, with the timestamp of its call",
    WebhookFault.NEVER: "not sent",
    WebhookFault.WRONG_SIGNATURE: "signed with a secret that the target never had",
    WebhookFault.OLD_KEY: "signed with the `old_secret` of the target (default: the secret and `-old`)",
    WebhookFault.SUCCESS_LOST: "the first 2xx is taken for a network error, so it is repeated",
    WebhookFault.WITHOUT_TRANSCRIPT: "sent without the transcript",
    WebhookFault.STALE_TIMESTAMP: "its signed `timestamp` is `seconds` (7200) too old",
}
"""One line per fault, for tables. Seconds are virtual."""

DEFAULT_SECONDS = {
    WebhookFault.OUT_OF_ORDER: 300.0,
    WebhookFault.LATE: 600.0,
    WebhookFault.STALE_TIMESTAMP: 7200.0,
}


@dataclass
class QueuedWebhookFault:
    """A fault that waits for its events.

    :param times: how many more events it meets.
    :param seconds: virtual seconds, for the faults that have them; None is their default.
    :raises ValueError: the fault is unknown, or a value does not apply to it.
    """

    fault: str
    times: int = 1
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.fault not in list(WebhookFault):
            raise ValueError(f"unknown fault {self.fault!r}; one of {', '.join(WebhookFault)}")
        self.kind = WebhookFault(self.fault)
        if self.times < 1:
            raise ValueError("times must be 1 or more")
        if self.seconds is None:
            self.seconds = DEFAULT_SECONDS.get(self.kind)
        elif self.kind not in DEFAULT_SECONDS:
            raise ValueError(
                f"seconds does not apply to {self.kind}; it belongs to {', '.join(DEFAULT_SECONDS)}"
            )
        elif not 0 <= self.seconds < 10**9:
            raise ValueError("seconds must be 0 or more")


class WebhookFaultQueue:
    """Faults of events, first in, first out."""

    def __init__(self) -> None:
        self._queue: deque[QueuedWebhookFault] = deque()

    def add(self, fault: QueuedWebhookFault) -> None:
        """Queue a fault behind the others."""
        self._queue.append(fault)

    def take(self) -> QueuedWebhookFault | None:
        """Return the fault that the next event meets, if any, and count it down."""
        if not self._queue:
            return None
        self._queue[0].times -= 1
        return self._queue[0] if self._queue[0].times else self._queue.popleft()

    def queued(self) -> list[dict[str, Any]]:
        """Return the queued faults as plain rows, in order."""
        return [{"fault": str(fault.kind), "times": fault.times} for fault in self._queue]
