from __future__ import annotations

import copy
import itertools

import jsonschema
import pytest

PHONE = {"name": "customer_phone", "value": "+14155550100"}
GOOD = {"agent_id": 456, "parameters": [PHONE]}
NULLABLE = {"conversation_id", "idempotency_key", "metadata", "scheduled_for"}
OPTIONAL = {*NULLABLE, "retry_context"}
ODD = [None, True, 0, -1.5, "", "text", [], [1], {}, {"a": 1}, [{}], [[]], [PHONE, PHONE]]


@pytest.fixture
def schema(facts):
    """Return a function that says whether a value is what the vendor calls by that name."""
    definitions = facts("create_call.schema.json")["$defs"]

    def fits(name, value):
        document = {"$ref": f"#/$defs/{name}", "$defs": definitions}
        return jsonschema.Draft202012Validator(document).is_valid(value)

    return fits


@pytest.mark.parametrize("name", ["scheduled", "immediate"])
def test_the_vendors_samples_fit_the_schema_written_here(facts, schema, name):
    """The schema in this folder describes the vendor's own request and response samples."""
    sample = facts("create_call.samples.json")[name]
    assert schema("CreateCallRequest", sample["request"])
    assert schema("Accepted", sample["response"])


@pytest.mark.parametrize("name", ["scheduled", "immediate"])
def test_the_vendors_samples_are_accepted(start, facts, schema, name):
    """The sandbox takes the vendor's sample request and answers like the sample, ids and filler apart."""
    sample = facts("create_call.samples.json")[name]
    _, send = start()
    answer = send("POST", "/v1/call", json=sample["request"])
    assert answer.status_code == 200
    assert schema("Accepted", answer.json())
    got, documented = answer.json()["data"], sample["response"]["data"]
    assert set(got) == set(documented) - {"retry_context"}
    fixed = ("agent_id", "scheduled_for", "status")
    assert [got[field] for field in fixed] == [documented[field] for field in fixed]
    assert [type(got[field]) for field in got] == [type(documented[field]) for field in got]


@pytest.mark.parametrize("receipt", ["scheduled", "always", "never"])
@pytest.mark.parametrize(
    "fields", [{}, {"retry_context": {}}, {"scheduled_for": "2026-04-08T14:00:00+05:30"}]
)
def test_every_receipt_fits_the_schema(start, facts, schema, receipt, fields):
    """Whatever its switch says, a receipt has documented fields of documented types."""
    _, send = start(receipt_conversation_id=receipt)
    answer = send("POST", "/v1/call", json={**GOOD, **fields}).json()
    assert schema("Accepted", answer)
    assert set(answer["data"]) <= set(facts("create_call.samples.json")["scheduled"]["response"]["data"])


@pytest.mark.parametrize(("field", "value"), list(itertools.product([*GOOD, *OPTIONAL], ODD)), ids=repr)
def test_what_the_schema_forbids_the_sandbox_refuses(start, schema, field, value):
    """No odd value that the vendor's schema does not allow in a field gets past the sandbox."""
    body = {**copy.deepcopy(GOOD), field: value}
    sandbox, send = start()
    answer = send("POST", "/v1/call", json=body)
    if not schema("CreateCallRequest", body):
        assert answer.status_code == 400
    assert answer.status_code in {200, 400, 404}
    assert sum(sandbox.rings.values()) == (answer.status_code == 200)


@pytest.mark.parametrize("field", sorted(OPTIONAL))
def test_null_is_allowed_where_the_schema_says_so(start, field):
    """Every optional field may be null, with the one exception the schema makes."""
    _, send = start()
    status = send("POST", "/v1/call", json={**GOOD, field: None}).status_code
    assert status == (200 if field in NULLABLE else 400)


def test_a_full_request_is_accepted(start, schema):
    """A request with every documented field filled is accepted, and its retry context comes back."""
    context = {
        "collected_data": {"due": 29000, "dates": ["2026-04-01"]},
        "retry_initial_message": "Hello again",
        "retry_language": "hi-IN",
        "retry_stage_id": "stage_follow_up",
    }
    sandbox, send = start(receipt_conversation_id="always")
    chain = send("POST", "/v1/call", json=GOOD).json()["data"]["conversation_id"]
    body = {
        "agent_id": 456,
        "parameters": [PHONE, {"name": "loan_id", "value": "LN-12345"}],
        "conversation_id": chain,
        "idempotency_key": "5f2b1a34-7d7e-4f0f-9a39-0d4c9b1f6a11",
        "metadata": '{"campaign": "march"}',
        "retry_context": context,
        "scheduled_for": "2026-04-08T14:00:00Z",
    }
    assert schema("CreateCallRequest", body)
    answer = send("POST", "/v1/call", json=body)
    assert answer.status_code == 200
    assert answer.json()["data"]["retry_context"] == context
    assert sandbox.requests[-1].body == body
