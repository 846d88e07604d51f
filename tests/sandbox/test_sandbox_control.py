from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
import requests

from formant_provider.sandbox import Fault, WebhookFault
from formant_provider.sandbox.faults import ENDPOINTS

PHONE = "+14155550100"
NO_KEY = {"Authorization": None}


def control(api, method, command, body=None):
    return api.send(method, f"/sandbox/{command}", json=body, headers=NO_KEY)


def test_the_sandbox_describes_itself(start):
    """GET /sandbox/ lists, without a key, what there is to call, inject and dial."""
    answer = control(start(agents=[9, 7]), "GET", "").json()
    assert answer["agents"] == [7, 9]
    assert answer["endpoints"] == list(ENDPOINTS)
    assert list(answer["faults"]) == list(Fault)
    assert list(answer["webhook_faults"]) == list(WebhookFault)
    assert [row["ends_in"] for row in answer["numbers"]][-2:] == ["09", "any other"]
    assert "POST /sandbox/faults" in answer["control"]


def test_time_can_be_advanced_over_http(start):
    """POST /sandbox/advance moves the clock and answers with the new time."""
    api = start()
    before = api.sandbox.now()
    answer = control(api, "POST", "advance", {"seconds": 90})
    assert datetime.fromisoformat(answer.json()["now"]) == api.sandbox.now() == before + timedelta(seconds=90)


def test_a_fault_can_be_queued_over_http(start):
    """POST /sandbox/faults does what ``inject`` does and answers with what is waiting."""
    api = start()
    wanted = {"endpoint": "POST /v1/call", "fault": "rate_limit", "times": 2, "retry_after": 7}
    assert control(api, "POST", "faults", wanted).json() == {
        "faults": [{"endpoint": "POST /v1/call", "fault": "rate_limit", "times": 2}]
    }
    assert [api.call().headers.get("Retry-After") for _ in range(3)] == ["7", "7", None]


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("advance", {}),
        ("advance", {"seconds": -1}),
        ("advance", {"seconds": "60"}),
        ("advance", {"minutes": 1}),
        ("advance", []),
        ("faults", {"endpoint": "POST /v1/call"}),
        ("faults", {"endpoint": "POST /v1/call", "fault": "explosion"}),
        ("faults", {"endpoint": "POST /v2/call", "fault": "garbage"}),
        ("faults", {"endpoint": "POST /v1/call", "fault": "garbage", "times": True}),
        ("faults", {"endpoint": "POST /v1/call", "fault": "garbage", "seconds": 1}),
        ("webhooks", {}),
        ("webhooks", {"url": "nowhere"}),
        ("webhooks", {"url": "http://127.0.0.1", "agent_id": 1}),
        ("webhooks", {"url": "http://127.0.0.1", "events": "call.busy"}),
        ("webhook-faults", {"fault": "explosion"}),
    ],
)
def test_a_wrong_command_is_refused(start, command, body):
    """Control endpoints are as strict as the others: 400 with a message, and nothing happens."""
    api = start()
    before = api.sandbox.now()
    answer = control(api, "POST", command, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert (api.sandbox.now(), control(api, "GET", "stats").json()["faults"]) == (before, [])


def test_the_counts_are_there_over_http(start):
    """GET /sandbox/stats counts requests per endpoint and status, answered or not, and rings."""
    api = start()
    api.sandbox.inject("POST /v1/call", Fault.DROP_AFTER)
    with pytest.raises(requests.ConnectionError):
        api.call()
    api.call(scheduled_for="2026-03-19T12:00:00Z")
    api.call("nobody")
    api.conversation("none")
    api.sandbox.inject("GET /v1/conversations", Fault.HANG_BEFORE, times=3)
    stats = control(api, "GET", "stats").json()
    assert stats["rings"] == {PHONE: 2}
    assert stats["requests"] == {
        "POST /v1/call": {"seen": 3, "answered": {"200": 1, "400": 1}, "unanswered": 1},
        "GET /v1/conversations/{conversation_id}": {"seen": 1, "answered": {"404": 1}, "unanswered": 0},
    }
    assert stats["faults"] == [{"endpoint": "GET /v1/conversations", "fault": "hang_before", "times": 3}]


def test_requests_can_be_read_in_python(start):
    """Each request is kept with method, path, headers, query, parsed body and the status answered."""
    api = start()
    api.call(metadata="ß")
    api.conversations(limit=1)
    api.send("POST", "/v1/call", data=b"{oops", headers={"Content-Type": "application/json"})
    call, listing, broken = api.sandbox.requests
    assert (call.method, call.path, call.endpoint, call.status) == ("POST", "/v1/call", "POST /v1/call", 200)
    assert call.body["metadata"] == "ß"
    assert call.headers["authorization"] == call.headers["Authorization"] == "Bearer sandbox-key"
    assert (listing.query, listing.body) == ({"limit": "1"}, None)
    assert (broken.body, broken.status) == ("{oops", 400)


def test_what_is_read_is_a_copy(start):
    """Changing what was read does not change the sandbox."""
    api = start()
    api.call()
    api.sandbox.rings.clear()
    api.sandbox.calls.clear()
    api.sandbox.requests[0].status = 500
    api.sandbox.requests.clear()
    assert (len(api.sandbox.calls), api.sandbox.rings[PHONE], api.sandbox.requests[0].status) == (1, 1, 200)


@pytest.mark.parametrize("over_http", [True, False])
def test_reset_forgets_everything_but_the_time(start, over_http):
    """After a reset there are no calls, keys, counts, faults or spent limits; the clock has gone on."""
    api = start(rate_limit=2)
    api.call(idempotency_key="k")
    api.call()
    api.sandbox.inject("POST /v1/call", Fault.ERROR_500_BEFORE)
    now = api.sandbox.advance(500)
    if over_http:
        assert control(api, "POST", "reset").status_code == 200
    else:
        api.sandbox.reset()
    assert (api.sandbox.rings, api.sandbox.requests, api.sandbox.calls) == ({}, [], [])
    assert api.conversations().json()["total"] == 0
    assert api.call(idempotency_key="k").status_code == 200
    assert api.sandbox.now() == now


def test_control_requests_are_not_counted(start):
    """What goes to /sandbox/, right or wrong, is no request to the vendor and costs no limit."""
    api = start()
    assert control(api, "GET", "stats").status_code == 200
    assert control(api, "GET", "advance").status_code == 404
    assert api.send("GET", "/sandbox").status_code == 200
    assert api.sandbox.requests == []


def test_webhooks_can_be_set_up_and_watched_over_http(start, receiver):
    """Targets are added, listed without secrets and removed, and what was sent is there, without bodies."""
    api = start()
    wanted = {"url": receiver.url, "secret": "s3cret", "agent_id": 456, "events": ["call.busy"]}
    assert control(api, "POST", "webhooks", wanted).json()["targets"] == [
        {
            "url": receiver.url,
            "agent_id": 456,
            "events": ["call.busy"],
            "include_transcript": True,
            "signed": True,
        }
    ]
    assert control(api, "POST", "webhook-faults", {"fault": "late", "seconds": 60}).json() == {
        "faults": [{"fault": "late", "times": 1}]
    }
    call = api.sandbox.place("+14155550102")
    control(api, "POST", "advance", {"seconds": 65})
    api.sandbox.deliver_webhooks()
    answer = control(api, "GET", "webhooks")
    assert not any(private in answer.text for private in ("s3cret", call.customer_phone))
    (sent,) = answer.json()["deliveries"]
    assert sent == {
        "url": receiver.url,
        "event_id": receiver.seen[0].event["event_id"],
        "event_type": "call.busy",
        "agent_id": 456,
        "conversation_id": call.conversation_id,
        "attempt": 1,
        "at": "2026-03-18T12:01:05+00:00",
        "status": 200,
        "fault": "late",
    }
    assert (answer.json()["due"], answer.json()["faults"]) == (0, [])
    assert control(api, "DELETE", "webhooks").json()["targets"] == []


def test_what_is_still_due_is_counted_over_http(start, receiver):
    """A test in another process can wait until nothing is."""
    api, answered = start(), threading.Event()
    receiver.answers.append(answered)
    control(api, "POST", "webhooks", {"url": receiver.url})
    for _ in range(2):
        api.sandbox.place("+14155550102")
    control(api, "POST", "advance", {"seconds": 5})
    assert control(api, "GET", "webhooks").json()["due"] == 2
    answered.set()
    api.sandbox.deliver_webhooks()
    assert control(api, "GET", "webhooks").json()["due"] == 0
