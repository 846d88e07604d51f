"""Test numbers: the last two digits of ``customer_phone`` decide how the call ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How one call ends.

    :param status: status of the finished record.
    :param lasts_seconds: virtual seconds from the start of the call to its end.
    :param duration_seconds: talk time the record reports; None when nobody was connected.
    :param failure_reason: the reason in the record; None when there is nothing to explain.
    :param record_delay_seconds: virtual seconds from the end of the call to its record; None is never.
    :param note: one sentence for people reading the table.
    """

    status: str
    lasts_seconds: int
    duration_seconds: int | None = None
    failure_reason: str | None = None
    record_delay_seconds: int | None = 0
    note: str

    @property
    def talked(self) -> bool:
        """Whether there was a conversation, and so there are a transcript and results."""
        return self.status == "completed"


COMPLETED = Ending(
    status="completed", lasts_seconds=142, duration_seconds=142, note="answered, talked, ended normally"
)


def answered(lasts_seconds: int) -> Ending:
    """Return the ending of a call that is answered and lasts this long."""
    return replace(COMPLETED, lasts_seconds=lasts_seconds, duration_seconds=lasts_seconds)


def _failure(status: str, lasts_seconds: int, reason: str, note: str) -> Ending:
    return Ending(status=status, lasts_seconds=lasts_seconds, failure_reason=reason, note=note)


ENDINGS: dict[str, Ending] = {
    "01": Ending(status="no_answer", lasts_seconds=30, note="rang, nobody picked up"),
    "02": Ending(status="busy", lasts_seconds=5, note="line busy"),
    "03": _failure("failed", 3, "call setup failed", "the call could not be set up"),
    "04": _failure("unreachable", 10, "number not reachable", "no such line, or switched off"),
    "05": _failure(
        "socket_failure", 8, "voice stream did not start", "picked up, but the voice stream never started"
    ),
    "06": _failure(
        "telephony_failed", 6, "telephony provider error", "the carrier failed after the call was initiated"
    ),
    "07": Ending(
        status="voicemail_reached",
        lasts_seconds=21,
        duration_seconds=21,
        note="a status word the vendor does not document",
    ),
    "08": replace(COMPLETED, record_delay_seconds=None, note="talked, but the record never appears"),
    "09": replace(
        COMPLETED, record_delay_seconds=60, note="talked, but the record appears 60 s after the end"
    ),
}
"""Last two digits of the number -> how the call ends. Any other digits end in :data:`COMPLETED`.

Safe to use are ``+14155550100`` to ``+14155550199``, a range set aside for fiction: nobody has those numbers.
"""


def ending_of(phone: str) -> Ending:
    """Return how a call to ``phone`` ends."""
    return ENDINGS.get(phone[-2:], COMPLETED)


def agent_phone(agent_id: int) -> str:
    """Return the number that an agent calls from and is called at: of another range set aside for fiction."""
    return f"+121255501{agent_id % 100:02}"


def table_rows() -> list[dict[str, Any]]:
    """Return the whole table as plain rows, the default last under ``ends_in`` = ``any other``."""
    return [
        {
            "ends_in": digits,
            "status": ending.status,
            "lasts_seconds": ending.lasts_seconds,
            "duration_seconds": ending.duration_seconds,
            "failure_reason": ending.failure_reason,
            "note": ending.note,
        }
        for digits, ending in [*ENDINGS.items(), ("any other", COMPLETED)]
    ]
