from __future__ import annotations

import pytest

PHONE = "+14155550100"


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


@pytest.mark.parametrize(
    ("choice", "shown"), [("full", PHONE), ("masked", "+1415*****00"), ("none", "left out")]
)
def test_the_list_may_mask_or_omit_numbers(start, choice, shown):
    """``list_numbers`` masks the number in the list or leaves it out; the detail has it in full."""
    api = start(list_numbers=choice)
    call = api.sandbox.place(PHONE)
    api.sandbox.advance(142)
    (item,) = api.conversations().json()["data"]
    assert item.get("contact_number", "left out") == shown
    assert api.conversation(call.conversation_id).json()["data"]["contact_number"] == PHONE


def test_a_detail_may_come_without_times(start):
    """Without ``times_in_detail`` a detail has no start and no end, like the vendor's sample."""
    api = start(times_in_detail=False)
    api.sandbox.place(PHONE)
    api.sandbox.advance(142)
    (item,) = api.conversations().json()["data"]
    assert item["end_timestamp"] - item["start_timestamp"] == 142_000
    assert not {"start_timestamp", "end_timestamp"} & api.only_record().keys()
