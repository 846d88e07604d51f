"""What of an event may be seen by all: ids, states and chosen results; nothing that is private."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import insert

from formant_provider.store.schema import intents
from formant_provider.store.webhook_events import StoredEvent, events_after
from formant_provider.store.webhook_payload import LONGEST_TEXT, MOST_ITEMS, public_payload, public_payloads
from support.databases import Database
from support.stores import new_store
from support.webhook_events import AT, NUMBER, OWN_NUMBER, delivery, store_events, webhook


def payload_of(event: dict[str, Any], *results: str) -> dict[str, Any]:
    payload = public_payload(StoredEvent(1, "formant_default", AT, delivery(event).event), None, results)
    json.dumps(payload, allow_nan=False).encode()
    return payload


def test_a_payload_holds_ids_and_states_and_nothing_private() -> None:
    """No number, parameter, transcript, nor a result that was not chosen."""
    event = webhook(transcript="Asha: hello", results={"intent": "pay", "note": "call me"})
    payload = payload_of(event, "intent")
    assert payload == {
        "event_id": "evt_1",
        "event_type": "call.completed",
        "agent_id": 456,
        "trace_id": "trace_1",
        "conversation_id": "conv_1",
        "status": "completed",
        "attempt": 1,
        "is_final_attempt": True,
        "next_retry_at": None,
        "occurred_at": "2026-03-18T10:00:00+00:00",
        "reference": None,
        "results": {"intent": "pay"},
    }
    text = json.dumps(payload)
    assert not any(each in text for each in (NUMBER[1:], OWN_NUMBER[1:], "Asha", "call me"))


def test_an_event_of_no_call_is_told_as_well() -> None:
    """Of an event of a type to come, what is known is told."""
    payload = payload_of({**webhook(event_type="agent.updated"), "data": {}}, "intent")
    assert (payload["event_type"], payload["trace_id"], payload["results"]) == (
        "agent.updated",
        None,
        {"intent": None},
    )


def test_the_moment_of_the_next_attempt_is_told() -> None:
    """In UTC, whatever zone the vendor writes it in."""
    retry = {"attempt_number": 1, "is_final_attempt": False, "next_retry_at": "2026-03-18T16:00:00+05:30"}
    payload = payload_of(webhook("a", "call.busy", retry=retry))
    assert payload["next_retry_at"] == "2026-03-18T10:30:00+00:00"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("pay", "pay"),
        (True, True),
        (12.5, 12.5),
        (["a", 1], ["a", 1]),
        ({"a": 1, "b": ["deeper"]}, {"a": 1, "b": None}),
        ("x" * (LONGEST_TEXT + 1), None),
        ([1] * (MOST_ITEMS + 1), None),
        (2**70, None),
        (float("nan"), None),
        ("half \ud83d of a pair, \x00", "half ? of a pair, ?"),
        (f"call {NUMBER} back", "call +... back"),
        ({"phone": "+1 415 555 0101"}, {"phone": "+..."}),
        ({NUMBER: "yes", "x" * (LONGEST_TEXT + 1): 1}, {"+...": "yes"}),
        (dict.fromkeys(map(str, range(MOST_ITEMS + 1))), None),
    ],
)
def test_a_chosen_result_is_told_if_it_is_short_and_plain(value: Any, told: Any) -> None:
    """What a queue or Airflow cannot carry is not told, nor is what is written as a number."""
    assert payload_of(webhook(results={"asked": value}), "asked")["results"] == {"asked": told}


def test_a_dot_leads_into_a_result() -> None:
    """A key that has a dot itself comes first; what is not there is told as nothing."""
    results = {"payment": {"date": "2026-04-01", "by": {"card": True}}, "a.b": 1, "a": {"b": 2}}
    names = ("payment.date", "payment.by.card", "a.b", "payment.none", "intent.x")
    told = payload_of(webhook(results=results), *names)["results"]
    assert list(told.values()) == ["2026-04-01", True, 1, None, None]


def test_references_of_many_events_are_found_by_one_query(database: Database) -> None:
    """Each by the trace id of its call in the store; a call that the store does not know has none."""
    store = new_store(database)
    with store.writing() as conn:
        for n in range(3):
            conn.execute(insert(intents).values(**an_intent(n)))
    store_events(store, *(webhook(str(n), trace_id=f"t{n}", conversation_id=str(n)) for n in range(5)))
    events = events_after(store, 0).events
    queries: list[str] = []
    sql_event.listen(store.engine, "before_cursor_execute", lambda *told: queries.append(told[2]))
    payloads = public_payloads(store, events)
    assert [each["reference"] for each in payloads] == ["LN-0", "LN-1", None, None, None]
    assert sum("formant_intents" in query for query in queries) == 1


def an_intent(n: int) -> dict[str, Any]:
    """Return a row; the third call was given no reference."""
    return {
        "id": str(n),
        "kind": "call",
        "agent_id": 456,
        "dag_id": "dag",
        "run_id": "run",
        "task_id": "call",
        "map_index": n,
        "reference": f"LN-{n}" if n < 2 else None,
        "knew_all": True,
        "asked_at": 0,
        "state": "placed",
        "call_at": 0,
        "trace_id": f"t{n}",
        "intent": "{}",
        "try_number": 1,
        "version": 1,
    }
