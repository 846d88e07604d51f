"""Which conversations the API need not be asked of, since an event has told all of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.models import Conversation
from formant_provider.store.store import Store
from formant_provider.store.webhook_records import attempts_since, record_of_attempt, records_from_events
from support.databases import Database
from support.stores import new_store
from support.webhook_events import AT, NUMBER, store_events, webhook

TURNS = [{"role": "agent", "message": "Hello"}]


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def is_told(store: Store, *, needs_transcript: bool = False) -> bool:
    return bool(records_from_events(store, ["conv_1"], needs_transcript=needs_transcript))


def test_an_event_tells_the_record_of_its_conversation(store: Store) -> None:
    """With the names, units and moments that the API has."""
    store_events(store, webhook())
    (record,) = records_from_events(store, ["conv_1", "conv_2"], needs_transcript=False).values()
    assert (record.contact_number, record.status, record.results) == (NUMBER, "completed", {"intent": "pay"})
    assert (record.start_timestamp, record.end_timestamp) == (1773827880000, 1773827940000)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("event_type", "changed", "is_whole"),
    [
        ("call.no_answer", {"duration_seconds": None, "results": None}, True),
        ("call.failed", {"duration_seconds": 9, "results": None}, False),
        ("call.completed", {"results": None}, False),
        ("call.completed", {"results": {}}, True),
        ("call.completed", {"duration_seconds": None}, False),
        ("call.completed", {"ended_at": None}, False),
        ("call.completed", {"started_at": "soon"}, False),
        ("call.started", {"status": "in_progress"}, False),
        ("call.voicemail_reached", {}, False),
    ],
)
def test_a_record_that_lacks_something_is_left_to_the_api(
    event_type: str, changed: dict[str, Any], is_whole: bool, store: Store
) -> None:
    """A call is over, and has what its detail would have; where nobody talked there are no results."""
    store_events(store, webhook("a", event_type, **changed))
    assert is_told(store) is is_whole


@pytest.mark.parametrize(("transcript", "expected"), [(None, False), ("BOT: Hello", False), (TURNS, True)])
def test_a_transcript_is_taken_in_the_form_of_the_api_alone(
    transcript: Any, expected: bool, store: Store
) -> None:
    """Targets may leave it out, or send it as one text; a file has it in one form whoever told it."""
    store_events(store, webhook(transcript=transcript))
    assert is_told(store, needs_transcript=True) is expected
    assert is_told(store)


def test_the_newest_attempt_of_a_shared_id_counts(store: Store) -> None:
    """By its number, and then by when it was sent; events may come in any order."""
    later, sent = {"attempt_number": 2}, (AT + timedelta(minutes=5)).isoformat()
    store_events(
        store,
        webhook("a", retry=later, timestamp=sent),
        webhook("b", "call.busy", retry=later),
        webhook("c", "call.no_answer", retry={"attempt_number": 1}, timestamp=sent),
    )
    (record,) = records_from_events(store, ["conv_1"], needs_transcript=False).values()
    assert record.status == "completed"


def test_all_attempts_since_a_moment_are_told(store: Store) -> None:
    """Those of the agent that began since, however many; of each, whether it is the last one."""
    later = {"started_at": "2026-03-18T10:01:00Z", "ended_at": "2026-03-18T10:02:00Z"}
    store_events(
        store, webhook("early", conversation_id="early", **later), received_at=AT - timedelta(hours=1)
    )
    store_events(store, webhook("began before"), webhook("other", agent_id=1, **later))
    finals = [(True, "call.busy"), (False, "call.busy"), (None, "call.busy"), (None, "call.completed")] * 150
    events = [
        webhook(str(n), kind, conversation_id=str(n), retry={"is_final_attempt": is_final}, **later)
        for n, (is_final, kind) in enumerate(finals)
    ]
    store_events(store, *events)
    told = list(attempts_since(store, 456, AT))
    assert [attempt.record.conversation_id for attempt in told] == [str(n) for n in range(600)]
    assert [attempt.is_final for attempt in told] == [True, False, False, True] * 150


def test_of_attempts_that_share_an_id_each_has_its_own_record(store: Store) -> None:
    """Whoever has waited for the second reads what the second has told, and not the first one's."""
    store_events(
        store,
        webhook("a", "call.no_answer", retry={"attempt_number": 1}, duration_seconds=None, results=None),
        webhook(
            "b",
            retry={"attempt_number": 2},
            started_at="2026-03-18T10:28:00Z",
            ended_at="2026-03-18T10:29:00Z",
        ),
    )
    second = Conversation("conv_1", 456, "completed", start_timestamp=1773829680000)
    record = record_of_attempt(store, second, needs_transcript=False)
    assert record is not None
    assert record.end_timestamp == 1773829740000
    first = Conversation("conv_1", 456, "no_answer", start_timestamp=1773827880000)
    assert record_of_attempt(store, first, needs_transcript=False) is not None
    assert record_of_attempt(store, second, needs_transcript=True) is None
