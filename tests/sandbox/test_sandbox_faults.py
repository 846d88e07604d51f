from __future__ import annotations

import contextlib
import socket
import time
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
import requests

from formant_provider.sandbox import Fault
from formant_provider.sandbox.faults import DESCRIPTIONS, ENDPOINTS

PHONE = "+14155550100"
CALL, LIST, DETAIL, RECORDING, BATCH, BATCHES, BATCH_DETAIL, METRICS, TRANSCRIBE, TRANSCRIPTION = ENDPOINTS
AFTER = {"error_500_after", "error_503_after", "drop_after", "hang_after", "garbage", "truncated"}
STATUS = {
    Fault.ERROR_500_BEFORE: 500,
    Fault.ERROR_500_AFTER: 500,
    Fault.ERROR_503_BEFORE: 503,
    Fault.ERROR_503_AFTER: 503,
    Fault.GARBAGE: 200,
    Fault.RATE_LIMIT: 429,
    Fault.RATE_LIMIT_RESET_ONLY: 429,
    Fault.RATE_LIMIT_NO_HEADERS: 429,
    Fault.CONCURRENCY_LIMIT: 429,
    Fault.NOT_FOUND: 404,
}
DROPS, HANGS = [Fault.DROP_BEFORE, Fault.DROP_AFTER], [Fault.HANG_BEFORE, Fault.HANG_AFTER]


def send(api, endpoint, **options):
    """Send a valid request to any endpoint."""
    if endpoint == CALL:
        return api.call(**options)
    if endpoint == BATCH:
        return api.batch(**options)
    if endpoint == TRANSCRIBE:
        return api.transcribe(**options)
    ids = {"job_id": api.sandbox.transcriptions[0].job_id}
    ids["conversation_id"] = api.sandbox.calls[0].conversation_id
    ids["batch_id"] = api.sandbox.batches[0].batch_id
    return api.send("GET", endpoint.removeprefix("GET ").format(**ids), **options)


def with_one_record(start, **settings):
    api = start(**settings)
    api.call()
    api.sandbox.place_batch([PHONE])
    api.transcribe()
    api.sandbox.advance(142)
    return api


EVERYWHERE = [(endpoint, fault) for fault in Fault for endpoint in fault.endpoints]


@pytest.mark.parametrize(("endpoint", "fault"), [pair for pair in EVERYWHERE if pair[1] in STATUS])
def test_a_fault_answers_with_its_status_once(start, endpoint, fault):
    """Each answering fault shows its status at each of its endpoints, and then all is well again."""
    api = with_one_record(start)
    api.sandbox.inject(endpoint, fault)
    assert send(api, endpoint).status_code == STATUS[fault]
    assert send(api, endpoint).status_code == 200
    seen = [(request.fault, request.status) for request in api.sandbox.requests[2:]]
    assert seen == [(fault, STATUS[fault]), (None, 200)]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("fault", DROPS)
def test_a_drop_closes_the_connection_without_a_byte(start, endpoint, fault):
    """The client sees a connection error without any response, and the server is fine afterwards."""
    api = with_one_record(start)
    api.sandbox.inject(endpoint, fault)
    with pytest.raises(requests.ConnectionError) as caught:
        send(api, endpoint)
    assert caught.value.response is None
    assert api.sandbox.requests[-1].status is None
    assert send(api, endpoint).status_code == 200


@pytest.mark.parametrize("fault", DROPS)
def test_a_drop_is_seen_as_one_on_the_socket(start, fault):
    """On the bare socket a drop is the end of the stream and nothing before it."""
    api = with_one_record(start)
    api.sandbox.inject(LIST, fault)
    request = b"GET /v1/conversations HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer sandbox-key\r\n\r\n"
    with socket.create_connection((api.sandbox.host, api.sandbox.port), timeout=60) as connection:
        connection.sendall(request)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("fault", HANGS)
def test_a_hang_lasts_longer_than_the_client_waits(start, endpoint, fault):
    """A client with a shorter timeout sees a read timeout; the request counts as seen and unanswered."""
    api = with_one_record(start)
    api.sandbox.inject(endpoint, fault, seconds=20)
    with pytest.raises(requests.ReadTimeout):
        send(api, endpoint, timeout=0.05)
    assert api.sandbox.requests[-1].status is None
    assert send(api, endpoint).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "rings"), [(Fault.HANG_BEFORE, 503, 0), (Fault.HANG_AFTER, 200, 1)]
)
def test_a_patient_client_gets_an_answer_in_the_end(start, fault, status, rings):
    """After the wait a hang before accepting ends in 503, a hang after accepting in the true receipt."""
    api = start()
    api.sandbox.inject(CALL, fault, seconds=0.1)
    started = time.monotonic()
    answer = api.call()
    assert time.monotonic() - started >= 0.1
    assert (answer.status_code, api.sandbox.rings[PHONE]) == (status, rings)
    assert api.sandbox.requests[-1].status == status
    if rings:
        assert answer.json()["data"]["trace_id"] == api.sandbox.calls[0].trace_id


@pytest.mark.parametrize("fault", [fault for fault in Fault if CALL in fault.endpoints])
def test_nothing_rings_before_and_one_phone_after(start, fault):
    """A fault before acceptance leaves phone and key alone; after it the phone rang and the key is used."""
    api = start()
    api.sandbox.inject(CALL, fault)
    with contextlib.suppress(requests.RequestException):
        api.call(idempotency_key="k", timeout=0.05 if fault in HANGS else 60)
    after = fault in AFTER
    assert fault.after is after
    assert api.sandbox.rings[PHONE] == (1 if after else 0)
    assert api.call(idempotency_key="k").status_code == (409 if after else 200)
    assert api.sandbox.rings[PHONE] == 1


def test_garbage_is_announced_as_json(start):
    """Garbage is a 200 that says JSON, begins like JSON and is none."""
    api = start()
    api.sandbox.inject(CALL, Fault.GARBAGE)
    answer = api.call()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.text.startswith('{"data"')
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_500_is_in_the_vendors_shape_and_503_is_not(start):
    """A 500 carries ``internal_error``; a 503 is a gateway's HTML page, for the vendor documents none."""
    api = start()
    api.sandbox.inject(CALL, Fault.ERROR_500_BEFORE)
    api.sandbox.inject(CALL, Fault.ERROR_503_BEFORE)
    first, second = api.call(), api.call()
    assert first.json() == {"error": {"message": "internal error", "type": "internal_error"}}
    assert second.headers["Content-Type"].startswith("text/html")


def limit_headers(answer):
    names = map(str.lower, answer.headers)
    return {name for name in names if name.startswith(("x-ratelimit", "retry-after"))}


@pytest.mark.parametrize("settings", [{}, {"rate_limit": None}])
def test_a_rate_limit_with_everything(start, settings):
    """The full 429 says how long to wait in all ways, in real seconds, whatever the sandbox's own limit."""
    api = start(**settings)
    api.sandbox.inject(CALL, Fault.RATE_LIMIT, retry_after=300)
    answer = api.call()
    assert answer.json()["error"]["type"] == "rate_limit_exceeded"
    assert answer.headers["Retry-After"] == "300"
    assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("50", "0")
    assert_ahead(answer.headers, 300)


def test_a_rate_limit_with_reset_only(start):
    """The second kind of 429 gives the time of the reset and nothing else."""
    api = start()
    api.sandbox.inject(CALL, Fault.RATE_LIMIT_RESET_ONLY, retry_after=300)
    answer = api.call()
    assert limit_headers(answer) == {"x-ratelimit-reset"}
    assert_ahead(answer.headers, 300)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.RATE_LIMIT_NO_HEADERS, "rate_limit_exceeded"),
        (Fault.CONCURRENCY_LIMIT, "concurrent_call_limit_exceeded"),
    ],
)
def test_limits_without_headers(start, fault, kind):
    """These 429 answers do not say how long to wait."""
    api = start()
    api.sandbox.inject(CALL, fault)
    answer = api.call()
    assert (answer.json()["error"]["type"], limit_headers(answer)) == (kind, set())


def test_the_injected_concurrency_error_has_the_vendors_extras(start):
    """It quotes the sandbox's cap, or the vendor's sample value where there is none."""
    quoted = []
    for settings in ({}, {"max_concurrent_calls": 3}):
        api = start(**settings)
        api.sandbox.inject(CALL, Fault.CONCURRENCY_LIMIT)
        error = api.call().json()["error"]
        quoted.append((error["current_calls"], error["max_calls"], error["message"][:46]))
    assert quoted == [
        (10, 10, "concurrent call limit reached. 10 simultaneous"),
        (3, 3, "concurrent call limit reached. 3 simultaneous "),
    ]


def test_faults_apply_in_order_and_as_often_as_queued(start):
    """A queue is first in, first out; ``times`` repeats a fault before the next has its turn."""
    api = start()
    api.sandbox.inject(CALL, Fault.ERROR_500_AFTER, times=2)
    api.sandbox.inject(CALL, Fault.ERROR_503_BEFORE)
    assert [api.call().status_code for _ in range(4)] == [500, 500, 503, 200]
    assert api.sandbox.rings[PHONE] == 3


def test_each_endpoint_has_its_own_queue(start):
    """A fault at one endpoint does not touch the others."""
    api = start()
    api.sandbox.inject(LIST, Fault.ERROR_500_BEFORE)
    assert [api.call().status_code, api.conversations().status_code] == [200, 500]


def test_a_fault_before_acceptance_applies_on_arrival(start):
    """It applies ahead of every check, also to a request that is invalid or has no key."""
    api = start()
    api.sandbox.inject(CALL, Fault.ERROR_500_BEFORE, times=3)
    assert api.post({}).status_code == 500
    assert api.call(surprise=1).status_code == 500
    assert api.send("POST", "/v1/call", headers={"Authorization": "x"}).status_code == 500


@pytest.mark.parametrize("wrong", [{"surprise": 1}, {"agent_id": 1}, {"idempotency_key": "used"}])
def test_a_fault_after_accepting_waits_for_a_request_that_is_accepted(start, wrong):
    """A refused request gets its ordinary error; the fault stays for the next accepted one."""
    api = start()
    api.call(idempotency_key="used")
    api.sandbox.inject(CALL, Fault.ERROR_500_AFTER)
    assert api.call(**wrong).status_code in {400, 404, 409}
    assert api.call().status_code == 500
    assert api.sandbox.rings[PHONE] == 2


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("POST /v1/calls", Fault.GARBAGE), {}, "unknown endpoint"),
        (("/v1/call", Fault.GARBAGE), {}, "unknown endpoint"),
        ((CALL, "explosion"), {}, "unknown fault"),
        ((LIST, Fault.CONCURRENCY_LIMIT), {}, "POST /v1/batch-call only"),
        ((LIST, Fault.NOT_FOUND), {}, "only"),
        ((DETAIL, Fault.TRUNCATED), {}, "recording only"),
        ((CALL, Fault.GARBAGE), {"times": 0}, "times"),
        ((CALL, Fault.GARBAGE), {"seconds": 1}, "seconds does not apply"),
        ((CALL, Fault.HANG_AFTER), {"retry_after": 1}, "retry_after does not apply"),
        ((CALL, Fault.RATE_LIMIT_NO_HEADERS), {"retry_after": 1}, "retry_after does not apply"),
        ((CALL, Fault.HANG_AFTER), {"seconds": -1}, "0 or more"),
        ((CALL, Fault.HANG_AFTER), {"seconds": float("nan")}, "0 or more"),
        ((CALL, Fault.RATE_LIMIT), {"retry_after": -1}, "0 or more"),
    ],
)
def test_a_fault_that_makes_no_sense_is_a_value_error(start, arguments, options, message):
    """An unknown endpoint or fault, or a value the fault has no use for, is refused and nothing is queued."""
    api = start()
    with pytest.raises(ValueError, match=message):
        api.sandbox.inject(*arguments, **options)
    assert api.send("GET", "/sandbox/stats").json()["faults"] == []


def test_every_fault_is_described():
    """The table for readers is complete."""
    assert set(DESCRIPTIONS) == set(Fault)


def assert_ahead(headers, seconds):
    text = headers["X-RateLimit-Reset"]
    assert text.endswith("+00:00")
    assert datetime.fromisoformat(text) - parsedate_to_datetime(headers["Date"]) == timedelta(seconds=seconds)
