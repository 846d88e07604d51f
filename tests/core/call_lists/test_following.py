"""Which conversation a call is waited for, and what of it is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.models import CallReceipt, Conversation
from formant_provider.core.call_lists.calls import Attempt
from formant_provider.core.call_lists.following import Following, attempt_of, placed_in
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.conversations.waiters import Waiter, Watch
from formant_provider.core.ledger import Sent
from support.list_rows import AGENT, a_call

NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
PLACED = {"since": NOW.isoformat(), "until": None, "trace_id": "t1", "conversation_id": "c1"}


@pytest.fixture
def following() -> Following:
    return Following(
        lambda agent_id, number: f"mark {agent_id} {number[-4:]}", Endings(), 60.0, 600.0, timedelta(hours=1)
    )


def record(**fields: Any) -> Conversation:
    return Conversation.from_json({"conversation_id": "c1", "status": "completed", **fields})


def waiter(**fields: Any) -> Waiter:
    return Waiter(Watch(NOW), **fields)


def test_a_call_is_waited_for_by_its_trace_and_its_recipient(following: Following) -> None:
    """The id on a receipt need not be that of the record."""
    watch, deadline = following.watch(a_call(1, placed=PLACED))
    assert (watch.trace_id, watch.conversation_id, watch.since) == ("t1", None, NOW)
    assert watch.recipient == f"mark {AGENT} 0101"
    assert watch.has_begun, "it was due when it was sent"
    assert deadline == NOW + timedelta(hours=1)


def test_a_call_without_a_trace_is_waited_for_by_its_conversation(following: Following) -> None:
    """There is nothing better."""
    watch, _ = following.watch(a_call(placed={**PLACED, "trace_id": None}))
    assert (watch.trace_id, watch.conversation_id) == (None, "c1")


def test_a_call_whose_receipt_was_lost_is_waited_for_by_its_time(following: Following) -> None:
    """From when on, and until when, it can have begun."""
    until = NOW + timedelta(minutes=2)
    placed = {"since": NOW.isoformat(), "until": until.isoformat(), "trace_id": None, "conversation_id": None}
    watch, _ = following.watch(a_call(placed=placed))
    assert (watch.trace_id, watch.conversation_id, watch.until) == (None, None, until)


def test_of_a_ledger_s_intent_is_kept_what_its_receipt_says() -> None:
    """Without one, nothing shows that the call was placed."""
    receipt = CallReceipt(AGENT, "t1", "initiated", conversation_id="c1")
    assert placed_in(Intent("key", NOW, Sent.UNCLEAR, receipt)) == PLACED
    assert placed_in(Intent("key", NOW, Sent.UNCLEAR)) is None


def test_an_attempt_is_kept_as_its_record_has_it() -> None:
    """Ids and times are the record's."""
    ended = record(trace_id="t2", start_timestamp=NOW_MS, end_timestamp=NOW_MS + 9000, duration_seconds=9)
    attempt = attempt_of(2, waiter(record=ended), PLACED, now_ms=NOW_MS + 60_000)
    assert attempt == Attempt(2, "completed", "t2", "c1", NOW_MS, NOW_MS + 9000, 9)


def test_what_a_record_does_not_say_is_filled_in() -> None:
    """The trace of the receipt; and it is over now if it does not say when it was."""
    attempt = attempt_of(1, waiter(record=record()), PLACED, now_ms=NOW_MS)
    assert (attempt.trace_id, attempt.start_ms, attempt.end_ms) == ("t1", None, NOW_MS)


def test_the_only_record_that_may_be_a_call_s_is_believed_at_the_end() -> None:
    """Nobody else's appeared in time."""
    attempt = attempt_of(1, waiter(likely=record(status="no_answer")), PLACED, now_ms=NOW_MS)
    assert (attempt.status, attempt.conversation_id) == ("no_answer", "c1")


def test_a_call_without_a_record_has_none() -> None:
    """It keeps the ids by which it can be asked about."""
    attempt = attempt_of(1, waiter(), PLACED, now_ms=NOW_MS)
    assert attempt == Attempt(1, "no_record", "t1", "c1", end_ms=NOW_MS)


@pytest.mark.parametrize(
    "attempt",
    [Attempt(1, "no_record"), Attempt(2, "refused", in_try=3), Attempt(3, "completed", "t", "c", 1, 2, 3)],
)
def test_an_attempt_is_the_same_when_it_is_read_back(attempt: Attempt) -> None:
    """What is not known takes no room."""
    plain = attempt.to_json()
    assert Attempt.from_json(plain) == attempt
    assert None not in plain.values()
