from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
PHONE = "+14155550100"


def test_somebody_elses_call_looks_like_any_other(start):
    """A call placed from Python rings, has a record under the sandbox's key, and was no request."""
    api = start()
    call = api.sandbox.place(PHONE, agent_id=123, parameters={"name": "Asha"})
    assert api.sandbox.requests == []
    assert (api.sandbox.rings, api.sandbox.calls) == ({PHONE: 1}, [call])
    assert [(pair.name, pair.value) for pair in call.request.parameters] == [
        ("customer_phone", PHONE),
        ("name", "Asha"),
    ]
    api.sandbox.advance(142)
    record = api.only_record()
    assert (record["conversation_id"], record["trace_id"]) == (call.conversation_id, call.trace_id)
    assert (record["agent_id"], record["contact_number"]) == (123, PHONE)


def test_it_can_be_scheduled(start):
    """A scheduled call starts at its time."""
    api = start()
    call = api.sandbox.place(PHONE, scheduled_for=datetime(2026, 3, 18, 13, 0, tzinfo=UTC))
    assert (call.starts_at - NOON).total_seconds() == 3600


def test_it_counts_towards_the_cap_but_is_never_refused(start):
    """It is accepted beyond the cap, and counts towards it for everybody else."""
    api = start(max_concurrent_calls=1)
    api.sandbox.place(PHONE)
    api.sandbox.place(PHONE)
    assert api.call().status_code == 429


@pytest.mark.parametrize(
    ("phone", "options"),
    [
        ("nobody", {}),
        (PHONE, {"agent_id": 1}),
        (PHONE, {"parameters": {"age": 42}}),
        (PHONE, {"scheduled_for": datetime(2026, 3, 18, 13, 0)}),
        (PHONE, {"scheduled_for": datetime(2026, 3, 18, 11, 0, tzinfo=UTC)}),
    ],
)
def test_what_the_api_would_refuse_is_a_value_error(start, phone, options):
    """A number, an agent, a parameter or a time that POST /v1/call refuses is refused here too."""
    api = start()
    with pytest.raises(ValueError, match=r"E\.164|agent 1|string|scheduled_for"):
        api.sandbox.place(phone, **options)
    assert api.sandbox.rings == {}


def test_a_long_list_is_read_quickly(start):
    """Among 20,000 calls a page takes a few milliseconds and 200 details half a second, of CPU."""
    api = start(rate_limit=None)
    calls = [api.sandbox.place(PHONE) for _ in range(20_000)]
    api.sandbox.advance(142)
    assert api.conversations(limit=100).json()["total"] == 20_000
    started = time.process_time()
    for offset in range(0, 20_000, 1000):
        newest_first = calls[::-1][offset : offset + 100]
        items = api.conversations(limit=100, offset=offset).json()["data"]
        assert [item["conversation_id"] for item in items] == [call.conversation_id for call in newest_first]
    assert time.process_time() - started < 0.25
    started = time.process_time()
    for call in calls[::100]:
        assert api.conversation(call.conversation_id).status_code == 200
    assert time.process_time() - started < 0.5


def test_an_inbound_call_has_a_record_and_no_ring(start):
    """A call that an agent received is a record with its own trace id; it is no ring, no call, no request."""
    api = start()
    call = api.sandbox.receive(PHONE, agent_id=123, lasts_seconds=30)
    assert (api.sandbox.rings, api.sandbox.calls, api.sandbox.requests) == ({}, [], [])
    assert api.conversation(call.conversation_id).status_code == 404
    api.sandbox.advance(30)
    record = api.only_record()
    assert (record["conversation_id"], record["trace_id"]) == (call.conversation_id, call.trace_id)
    assert (record["agent_id"], record["contact_number"]) == (123, PHONE)
    assert (record["status"], record["duration_seconds"]) == ("completed", 30)


def test_the_digits_of_a_caller_do_not_matter(start):
    """A caller with the digits of an unanswered call talks for as long as was given."""
    api = start(record_appears="start")
    api.sandbox.receive("+14155550101")
    assert api.only_record()["status"] == "in_progress"
    api.sandbox.advance(142)
    assert api.only_record()["status"] == "completed"


def test_the_list_may_leave_inbound_calls_out(start):
    """With ``inbound_in_list`` off an inbound call can be read by its id alone."""
    api = start(inbound_in_list=False)
    inbound, placed = api.sandbox.receive(PHONE), api.sandbox.place(PHONE)
    api.sandbox.advance(142)
    assert api.only_record()["conversation_id"] == placed.conversation_id
    assert api.conversation(inbound.conversation_id).json()["data"]["trace_id"] == inbound.trace_id


def test_a_call_can_join_an_inbound_one(start):
    """Its record's id is a conversation that a call can join, as any other."""
    api = start()
    inbound = api.sandbox.receive(PHONE)
    assert api.call(conversation_id=inbound.conversation_id).status_code == 200
    assert api.sandbox.calls[0].conversation_id == f"{inbound.chain_id}_2"


@pytest.mark.parametrize(
    ("phone", "options"), [("nobody", {}), (PHONE, {"agent_id": 1}), (PHONE, {"lasts_seconds": 0})]
)
def test_an_invalid_caller_is_a_value_error(start, phone, options):
    """An invalid number, an unknown agent and an invalid length are refused."""
    api = start()
    with pytest.raises(ValueError, match=r"E\.164|agent 1|lasts_seconds"):
        api.sandbox.receive(phone, **options)
