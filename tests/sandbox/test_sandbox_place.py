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
    """Among 20,000 calls a page takes a few milliseconds and 200 details well under a second."""
    api = start(rate_limit=None)
    calls = [api.sandbox.place(PHONE) for _ in range(20_000)]
    api.sandbox.advance(142)
    assert api.conversations(limit=100).json()["total"] == 20_000
    started = time.monotonic()
    for offset in range(0, 20_000, 1000):
        newest_first = calls[::-1][offset : offset + 100]
        items = api.conversations(limit=100, offset=offset).json()["data"]
        assert [item["conversation_id"] for item in items] == [call.conversation_id for call in newest_first]
    assert time.monotonic() - started < 1
    started = time.monotonic()
    for call in calls[::100]:
        assert api.conversation(call.conversation_id).status_code == 200
    assert time.monotonic() - started < 1
