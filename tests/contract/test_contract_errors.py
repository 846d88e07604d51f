from __future__ import annotations

from datetime import datetime

import jsonschema
import pytest

from formant_provider.sandbox import Fault


def call(send, **fields):
    phone = [{"name": "customer_phone", "value": "+14155550100"}]
    return send("POST", "/v1/call", json={"agent_id": 456, "parameters": phone, **fields})


def no_customer_phone(start):
    return call(start()[1], parameters=[{"name": "customer_name", "value": "Asha"}])


def bad_schedule(start):
    return call(start()[1], scheduled_for="2027-01-01T00:00:00Z")


def wrong_key(start):
    return start()[1]("GET", "/v1/conversations", headers={"Authorization": "Bearer other"})


def unknown_agent(start):
    return call(start()[1], agent_id=1)


def unknown_record(start):
    return start()[1]("GET", "/v1/conversations/e36853de-9cbb-441e-ad75-d3c8ac82abfb_1")


def missing_recording(start):
    return start()[1]("GET", "/v1/conversations/e36853de-9cbb-441e-ad75-d3c8ac82abfb_1/recording")


def used_key(start):
    _, send = start()
    call(send, idempotency_key="k")
    return call(send, idempotency_key="k")


def over_the_limit(start):
    _, send = start(rate_limit=1)
    call(send)
    return call(send)


def over_the_cap(start):
    _, send = start(max_concurrent_calls=10)
    return [call(send) for _ in range(11)][-1]


def server_fault(start):
    sandbox, send = start()
    sandbox.inject("POST /v1/call", Fault.ERROR_500_BEFORE)
    return call(send)


WAYS = [
    no_customer_phone, bad_schedule, wrong_key, unknown_agent, unknown_record, missing_recording, used_key,
    over_the_limit, over_the_cap, server_fault,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_documented_error_is_answered_as_documented(start, facts, way):
    """Status, type, extras and any message the vendor gives are those of the table, in the schema's shape."""
    (row,) = [row for row in facts("errors.json") if row["how"] == way.__name__]
    answer = way(start)
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json()) == ["error"]
    definitions = facts("create_call.schema.json")["$defs"]
    jsonschema.validate(answer.json(), {"$ref": "#/$defs/ErrorResponse", "$defs": definitions})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (row["status"], row["type"])
    assert row["message"] in {None, error["message"]}
    extras = {name: value for name, value in error.items() if name not in {"message", "type"}}
    assert extras == row.get("extras", {})


def test_every_row_of_the_table_is_tried(facts):
    """No documented error is left out."""
    assert {row["how"] for row in facts("errors.json")} == {way.__name__ for way in WAYS}


def test_the_rate_headers_are_written_as_documented(start):
    """Limit, remaining and wait are integers, the reset is ISO 8601 with offset, in whole seconds."""
    headers = over_the_limit(start).headers
    assert headers["X-RateLimit-Limit"].isdecimal()
    assert headers["X-RateLimit-Remaining"].isdecimal()
    assert headers["Retry-After"].isdecimal()
    reset = datetime.fromisoformat(headers["X-RateLimit-Reset"])
    assert headers["X-RateLimit-Reset"] == reset.strftime("%Y-%m-%dT%H:%M:%S+00:00")
