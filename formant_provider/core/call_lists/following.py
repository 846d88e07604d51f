"""Which conversation a call of a list is waited for, and what of it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from formant_provider.core.call_lists.calls import UNKNOWN, Attempt
from formant_provider.core.conversations.evidence import first_of
from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.conversations.waiters import Watch

if TYPE_CHECKING:
    from formant_provider.core.call_lists.standing import Call
    from formant_provider.core.calls.intent import Intent
    from formant_provider.core.calls.placement import Placement
    from formant_provider.core.conversations.waiters import Waiter

NO_RECORD = "no_record"


@dataclass(frozen=True)
class Following:
    """How the calls of a list are followed to their end.

    :param mark: returns the mark of a recipient of an agent.
    :param timeout: how long after its beginning a call is given up that is not known to be over.
    """

    mark: Callable[[int, str], str | None]
    endings: Endings
    poll_interval_s: float
    safety_interval_s: float
    timeout: timedelta

    def watch(self, call: Call) -> tuple[Watch, datetime]:
        """Return what is waited for, and until when."""
        placed = call.placed or {}
        since, trace_id = datetime.fromisoformat(placed["since"]), placed["trace_id"]
        watch = Watch(
            since=since,
            trace_id=trace_id,
            # The id on a receipt need not be that of the record: it is used when there is nothing better.
            conversation_id=None if trace_id else placed["conversation_id"],
            recipient=self.mark(call.agent_id, call.number),
            endings=self.endings,
            poll_interval_s=self.poll_interval_s,
            safety_interval_s=self.safety_interval_s,
            until=datetime.fromisoformat(placed["until"]) if placed["until"] else None,
            has_begun=True,
        )
        return watch, since + self.timeout


def placed_of(placement: Placement) -> dict[str, Any]:
    """Return what is kept of a placement, in plain values."""
    return _placed(placement.receipt, placement.since, placement.until)


def placed_in(intent: Intent) -> Mapping[str, Any] | None:
    """Return the same of what a ledger knows of a call; ``None`` if it has no receipt."""
    receipt = intent.receipt
    return None if receipt is None else _placed(receipt, intent.written_at, None)


def doubt_in(intent: Intent) -> Mapping[str, Any]:
    """Return the same of a call that may have been placed, and of which there is no receipt."""
    spans = [send.span for send in intent.sends]
    since = first_of(spans) if spans else intent.written_at
    return _placed(None, since, max((span.end for span in spans), default=None))


def attempt_of(number: int, waiter: Waiter, placed: Mapping[str, Any], *, now_ms: int) -> Attempt:
    """Return an attempt as its wait has ended; one that does not say when it was over is over now."""
    record = waiter.record or waiter.likely
    if record is None:
        ids = placed["trace_id"], placed["conversation_id"]
        return Attempt(number, NO_RECORD if any(ids) else UNKNOWN, *ids, end_ms=now_ms)
    return Attempt(
        number,
        record.status or NO_RECORD,
        record.trace_id or placed["trace_id"],
        record.conversation_id,
        record.start_timestamp,
        record.end_timestamp or now_ms,
        record.duration_seconds,
    )


def _placed(receipt: Any, since: datetime, until: datetime | None) -> dict[str, Any]:
    return {
        "since": since.isoformat(),
        "until": until.isoformat() if until else None,
        "trace_id": receipt.trace_id if receipt else None,
        "conversation_id": receipt.conversation_id if receipt else None,
    }
