from __future__ import annotations

import json
import uuid

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from formant_provider.sandbox import Sandbox

PHONE = "+14155550100"
TO_PHONE = [{"name": "customer_phone", "value": PHONE}]
GOOD = {"agent_id": 456, "parameters": TO_PHONE}


def refused(answer):
    """Return the message of a 400 in the vendor's shape."""
    message = answer.json()["error"]["message"]
    assert answer.json() == {"error": {"message": message, "type": "invalid_request"}}
    assert answer.status_code == 400
    return message


def post_text(api, text, content_type="application/json"):
    return api.send("POST", "/v1/call", data=text, headers={"Content-Type": content_type})


def with_(**fields):
    return {**GOOD, **fields}


def parameters(*pairs):
    return with_(parameters=[{"name": name, "value": value} for name, value in pairs])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"parameters": TO_PHONE}, "agent_id is required"),
        (with_(agent_id="456"), "agent_id must be an integer"),
        (with_(agent_id=True), "agent_id must be an integer"),
        (with_(agent_id=456.0), "agent_id must be an integer"),
        (with_(agent_id=None), "agent_id must be an integer"),
        ({"agent_id": 456}, "parameters is required"),
        (with_(parameters=None), "parameters must be an array"),
        (with_(parameters={"customer_phone": PHONE}), "parameters must be an array"),
        (with_(parameters=[]), "customer_phone parameter is required"),
        (parameters(("customer_name", "Asha")), "customer_phone parameter is required"),
        (with_(parameters=["customer_phone"]), "parameters[0] must be an object"),
        (with_(parameters=[{"name": "customer_phone"}]), "parameters[0].value is required"),
        (parameters(("customer_phone", PHONE), ("due", 29000)), "parameters[1].value must be a string"),
        (parameters(("customer_phone", 14155550100)), "parameters[0].value must be a string"),
        (parameters(("customer_phone", PHONE), ("due", None)), "parameters[1].value must be a string"),
        (parameters(("a", "1"), ("customer_phone", PHONE), ("a", "2")), "parameters must not repeat a name"),
        (
            parameters(("customer_phone", PHONE), ("customer_phone", PHONE)),
            "parameters must not repeat a name",
        ),
        (with_(parameters=[{**TO_PHONE[0], "type": "s"}]), "parameters[0].type is not a known field"),
        (with_(metadata={"loan": 1}), "metadata must be a string"),
        (with_(conversation_id=7), "conversation_id must be a string"),
        (with_(idempotency_key=7), "idempotency_key must be a string"),
        (with_(retry_context=None), "retry_context must be an object"),
        (with_(retry_context={"reason": "busy"}), "retry_context.reason is not a known field"),
        (with_(retry_context={"retry_language": 1}), "retry_context.retry_language must be a string"),
        (with_(retry_context={"collected_data": []}), "retry_context.collected_data must be an object"),
        (with_(agentId=1), "agentId is not a known field"),
        (with_(**{PHONE: "x"}), "(name withheld) is not a known field"),
        ([], "body must be an object"),
        ("call", "body must be an object"),
        (None, "body must be an object"),
    ],
)
def test_a_body_that_is_not_as_documented_is_refused(start, body, message):
    """A missing, unknown or ill-typed field is a 400 that names the field, and nothing rings."""
    api = start()
    # Not json=: requests would leave the body out when it is null.
    assert refused(post_text(api, _json(body))) == message
    assert not api.sandbox.rings


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"agent_id=456",
        b'{"agent_id": 456, "agent_id": 123, "parameters": []}',
        b'{"agent_id": NaN}',
        b'{"agent_id": 1e999}',
        b"\xff{}",
        b'{"metadata": "\\ud800"}',
        b"[" * 100_000,
        b"9" * 5_000,
    ],
    ids=["empty", "cut", "form", "repeated", "nan", "infinite", "latin", "surrogate", "deep", "long number"],
)
def test_a_body_that_is_no_json_is_refused(start, raw):
    """What JSON does not allow is a 400, even where Python's parser is more generous."""
    assert refused(post_text(start(), raw)) == "body must be valid JSON"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_content_type_is_refused(start, content_type):
    """JSON that is not declared as JSON is a 400."""
    assert refused(post_text(start(), _json(GOOD), content_type)) == "Content-Type must be application/json"


def test_a_content_type_with_charset_is_accepted(start):
    """``application/json; charset=utf-8`` is JSON too."""
    assert post_text(start(), _json(GOOD), "application/json; charset=utf-8").status_code == 200


@pytest.mark.parametrize(
    "number",
    ["", "14155550100", "+0123456789", "+1 415 555 0100", "+1-415-555-0100", "0014155550100", "+123456",
     "+1234567890123456", "+1415555010x", "+1415555010\u0661", "+14155550100\n", "anonymous"],
)  # fmt: skip
def test_a_number_that_is_not_e164_is_refused_and_not_repeated(start, number):
    """A number in any other notation is a 400 whose message does not contain it."""
    assert refused(start().call(number)) == "customer_phone must be an E.164 number"


@pytest.mark.parametrize(
    "scheduled_for",
    ["2026-03-18T13:00:00", "2026-03-18 13:00:00Z", "2026-03-18T13:00Z", "2026-03-18", "2026-02-30T13:00:00Z",
     "2026-03-18T25:00:00Z", "2026-03-18T13:00:00+99:00", "20260318T130000Z", "tomorrow", "", 1773840000],
)  # fmt: skip
def test_a_schedule_that_is_not_a_date_time_with_offset_is_refused(start, scheduled_for):
    """A date-time without offset, an impossible date and anything else that is no date-time is a 400."""
    message = "scheduled_for must be an ISO 8601 date-time with a UTC offset"
    assert refused(start().call(scheduled_for=scheduled_for)) == message


@pytest.mark.parametrize(
    "scheduled_for",
    ["2026-03-18T11:59:59Z", "2026-03-18T13:00:00+02:00", "2026-04-17T12:00:01Z", "2020-01-01T00:00:00Z",
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"],
)  # fmt: skip
def test_a_schedule_in_the_past_or_beyond_30_days_is_refused(start, scheduled_for):
    """The sandbox's own clock decides what is past and what is more than 30 days ahead."""
    message = "scheduled_for must lie ahead, by 30 days at most"
    assert refused(start().call(scheduled_for=scheduled_for)) == message


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("2026-03-18T12:00:00Z", "2026-03-18T12:00:00Z"),
        ("2026-04-17T12:00:00Z", "2026-04-17T12:00:00Z"),
        ("2026-03-19T18:30:00+05:30", "2026-03-19T13:00:00Z"),
        ("2026-03-19T13:00:00.250-00:00", "2026-03-19T13:00:00.250000Z"),
    ],
)
def test_a_scheduled_call_is_answered_in_utc(start, sent, answered):
    """The receipt of a scheduled call says so and gives the time in UTC, written with Z."""
    data = start().call(scheduled_for=sent).json()["data"]
    assert (data["status"], data["scheduled_for"]) == ("scheduled", answered)


def test_an_immediate_call_is_initiated(start):
    """The receipt of an immediate call has no schedule, no conversation yet, and a trace id of its own."""
    api = start()
    first, second = api.call().json()["data"], api.call(scheduled_for=None).json()["data"]
    assert uuid.UUID(first.pop("trace_id")) != uuid.UUID(second.pop("trace_id"))
    assert first == second
    assert first == {"agent_id": 456, "conversation_id": None, "scheduled_for": None, "status": "initiated"}


def test_retry_context_is_echoed_as_sent(start):
    """The receipt repeats the members of ``retry_context`` that were sent, unchanged, and adds none."""
    context = {"collected_data": {"राशि": [1, None, 2.5]}, "retry_language": None}
    data = start().call(retry_context=context).json()["data"]
    assert data["retry_context"] == context


@pytest.mark.parametrize(
    ("setting", "immediate", "scheduled"),
    [("scheduled", False, True), ("always", True, True), ("never", False, False)],
)
def test_which_receipts_carry_a_conversation_id_is_a_switch(start, setting, immediate, scheduled):
    """``receipt_conversation_id`` decides whether a receipt names its conversation chain, as a plain UUID."""
    api = start(receipt_conversation_id=setting)
    ids = [
        api.call().json()["data"]["conversation_id"],
        api.call(scheduled_for="2026-03-18T13:00:00Z").json()["data"]["conversation_id"],
    ]
    assert [value is not None for value in ids] == [immediate, scheduled]
    assert all(str(uuid.UUID(value)) == value for value in ids if value)


def test_an_unknown_agent_is_not_found(start):
    """Calling with an agent that does not exist is a 404."""
    answer = start(agents=[7]).call()
    assert answer.status_code == 404
    assert answer.json() == {"error": {"message": "agent not found", "type": "not_found"}}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", "Bearer sandbox-key x", "bearer sandbox-key", "Basic sandbox-key",
     "sandbox-key", "Bearer  sandbox-key"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["POST /v1/call", "GET /v1/conversations", "GET /v1/conversations/x"])
def test_only_a_known_bearer_key_is_accepted(start, path, authorization):
    """Without a known key as a Bearer token every endpoint answers 401, whatever else is wrong."""
    answer = start().send(*path.split(), headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.json() == {
        "error": {"message": "invalid or missing api key", "type": "authentication_error"}
    }
    assert "X-RateLimit-Limit" not in answer.headers


def test_errors_repeat_no_private_value(start):
    """No 400 repeats the number or a parameter value."""
    api = start()
    for fields in ({"agent_id": "x"}, {"surprise": PHONE}, {"scheduled_for": PHONE}, {"metadata": [PHONE]}):
        assert PHONE not in api.call(**fields).text


def test_errors_can_be_made_to_repeat_the_request(start):
    """``echo_values_in_errors`` puts the request into every 400 message, still in the vendor's shape."""
    api = start(echo_values_in_errors=True)
    error = api.call(surprise=1).json()["error"]
    assert error["type"] == "invalid_request"
    assert error["message"].startswith("surprise is not a known field")
    assert PHONE in error["message"]


def test_calls_of_one_chain_are_counted_up(start):
    """A call may join a conversation by the id of its receipt or of its record, and is its next attempt."""
    api = start(receipt_conversation_id="always")
    chain = api.call().json()["data"]["conversation_id"]
    assert api.call(conversation_id=chain).json()["data"]["conversation_id"] == chain
    api.sandbox.advance(200)
    newest = api.conversations().json()["data"][0]["conversation_id"]
    assert api.call(conversation_id=newest).json()["data"]["conversation_id"] == chain
    assert [call.attempt for call in api.sandbox.calls] == [1, 2, 3]


def test_an_unknown_conversation_cannot_be_joined(start):
    """Joining an unknown conversation is a 404, and nothing rings."""
    api = start()
    assert api.call(conversation_id=str(uuid.uuid4())).status_code == 404
    assert not api.sandbox.rings


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["agent_id", "parameters", "conversation_id", "idempotency_key", "metadata", "retry_context"]
FIELDS += ["scheduled_for"]


@given(body=st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)) | JSON, keep=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_json_body_makes_the_server_fail(fuzzed, body, keep):
    """Any JSON gets a documented status in the documented shape; the server never fails."""
    answer = fuzzed({**GOOD, **body} if keep and isinstance(body, dict) else body)
    assert answer.status_code in {200, 400, 404, 409}
    assert set(answer.json()) == ({"data"} if answer.ok else {"error"})


@pytest.fixture(scope="module")
def fuzzed():
    with Sandbox(rate_limit=None) as sandbox, requests.Session() as session:
        session.headers.update({"Authorization": "Bearer sandbox-key", "Content-Type": "application/json"})
        yield lambda body: session.post(f"{sandbox.base_url}/v1/call", data=_json(body), timeout=60)


def _json(body):
    return json.dumps(body).encode()
