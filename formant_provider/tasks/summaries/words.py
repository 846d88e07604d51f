"""What the words of a list of calls mean, in a sentence for people who read the page about it."""

from __future__ import annotations

from formant_provider.core.numbers.reasons import Reason

_STATUSES = {
    "busy": "The line was busy.",
    "failed": "The call failed.",
    "in_progress": "A call is under way, or its end is not known yet.",
    "no_answer": "Nobody answered.",
    "no_record": "No conversation was on record in time.",
    "rejected": "Never called; the reasons are below.",
    "socket_failure": "The platform lost the connection.",
    "telephony_failed": "The telephone network did not put the call through.",
    "unknown": "May have been called; nothing tells how it ended.",
    "unreachable": "The phone could not be reached.",
    "waiting": "Still to be called, or to be called again.",
}
# These come before the sentences of :class:`Reason`, which speak of a list that is not sent yet.
_REASONS = {
    "attempts_used": "All attempts were made.",
    "closed": "The calling window was closed where this number is.",
    "duplicate": "Another row calls the same number.",
    "expired": "The time for the list was up.",
    "held": "The list was on hold.",
    "invalid_input": "A value of the row is invalid.",
    "late": "The run came too late to call anybody.",
    "not_called_again": "The records did not show that a further attempt was due.",
    "not_named": "No further attempt is made after this outcome.",
    "reached_meanwhile": "Somebody has reached the person since.",
    "refused": "The platform refused the call.",
    "stopped": "The list was stopped before.",
    "unknown": "No reason is known.",
}


def status_text(word: str) -> str:
    """Return what a status means; blank text for one that says it itself, or that nobody has documented."""
    return _STATUSES.get(word, "")


def reason_text(word: str) -> str:
    """Return why somebody was left out, or is not called again."""
    return _REASONS.get(word) or (Reason(word).sentence if word in set(Reason) else "")
