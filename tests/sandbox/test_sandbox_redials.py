from __future__ import annotations

import pytest

NO_ANSWER, BUSY = "+14155550101", "+14155550102"


def attempts(api):
    """Return the records, oldest first."""
    items = api.conversations(limit=100).json()["data"][::-1]
    return [api.conversation(item["conversation_id"]).json()["data"] for item in items]


def test_by_default_the_platform_does_not_redial(start):
    """A call that was not answered is one record, however long one waits."""
    api = start()
    api.call(NO_ANSWER)
    api.sandbox.advance(10**6)
    assert [record["status"] for record in attempts(api)] == ["no_answer"]
    assert api.sandbox.redials == []


def test_a_call_not_answered_is_redialled_until_it_is(start):
    """Each attempt is a record of the same chain; the ones before the last end like the first."""
    api = start(platform_redials=3)
    api.call(BUSY)
    api.sandbox.advance(10**6)
    records = attempts(api)
    assert [record["status"] for record in records] == ["busy", "busy", "busy", "completed"]
    chain = api.sandbox.calls[0].chain_id
    assert [record["conversation_id"] for record in records] == [f"{chain}_{n}" for n in (1, 2, 3, 4)]
    assert {record["contact_number"] for record in records} == {BUSY}
    assert records[-1]["transcript"]
    assert api.recording(records[-1]["conversation_id"]).status_code == 200


def test_a_redial_comes_when_it_is_due(start):
    """It starts so many virtual seconds after the end of the attempt before, and its record at its end."""
    api = start(platform_redials=2, platform_redial_after_seconds=60)
    api.call(NO_ANSWER)
    seen = []
    for seconds in (30, 60, 30, 60, 141, 1):
        api.sandbox.advance(seconds)
        seen.append((len(attempts(api)), len(api.sandbox.redials)))
    assert seen == [(1, 0), (1, 1), (2, 1), (2, 2), (2, 2), (3, 2)]
    first, second, third = attempts(api)
    assert second["start_timestamp"] - first["end_timestamp"] == 60_000
    assert third["start_timestamp"] - second["end_timestamp"] == 60_000


@pytest.mark.parametrize(("switch", "different"), [("same", 1), ("new", 3)])
def test_whether_a_redial_keeps_the_trace_is_a_switch(start, switch, different):
    """The records of a chain carry the receipt's trace, or one each and only the first the receipt's."""
    api = start(platform_redials=2, redial_trace_id=switch)
    trace_id = api.call(NO_ANSWER).json()["data"]["trace_id"]
    api.sandbox.advance(10**6)
    traces = [record["trace_id"] for record in attempts(api)]
    assert traces[0] == trace_id
    assert len(set(traces)) == different


def test_redials_are_not_rings(start):
    """Rings and calls count what was accepted; what the platform does of itself is in a list of its own."""
    api = start(platform_redials=2)
    api.call(NO_ANSWER)
    api.sandbox.advance(10**6)
    assert api.sandbox.rings == {NO_ANSWER: 1}
    assert len(api.sandbox.calls) == 1
    assert [(call.redial, call.attempt) for call in api.sandbox.redials] == [(1, 2), (2, 3)]
    api.sandbox.reset()
    assert (api.sandbox.redials, api.conversations().json()["total"]) == ([], 0)


@pytest.mark.parametrize("digits", ["00", "08", "09"])
def test_a_completed_call_is_not_redialled(start, digits):
    """A completed call is final, even when its record is late or never there."""
    api = start(platform_redials=2)
    api.call(f"+141555501{digits}")
    api.sandbox.advance(10**6)
    assert api.sandbox.redials == []


def test_a_scheduled_call_is_redialled_from_its_own_end(start):
    """The wait counts from the end of the call, not from its placing."""
    api = start(platform_redials=1)
    api.call(BUSY, scheduled_for="2026-03-18T13:00:00Z")
    api.sandbox.advance(3600 + 5 + 299)
    assert api.sandbox.redials == []
    api.sandbox.advance(1)
    assert len(api.sandbox.redials) == 1


def test_a_redial_counts_towards_the_cap(start):
    """While it runs it counts towards the cap on running calls."""
    api = start(platform_redials=1, max_concurrent_calls=1)
    api.call(BUSY)
    api.sandbox.advance(5 + 299)
    assert api.call("+14155550103").status_code == 200
    api.sandbox.advance(3)
    assert api.call("+14155550103").status_code == 429


def test_the_chain_of_a_redial_can_be_joined(start):
    """The id of a redial's record joins its chain like any other."""
    api = start(platform_redials=1)
    api.call(BUSY)
    api.sandbox.advance(10**6)
    redial = api.sandbox.redials[0]
    assert api.call(conversation_id=redial.conversation_id).status_code == 200
    assert api.sandbox.calls[1].chain_id == redial.chain_id
    assert api.sandbox.calls[1].attempt == 3
