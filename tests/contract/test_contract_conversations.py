from __future__ import annotations

import re

import pytest

CALL = {"agent_id": 123, "parameters": [{"name": "customer_phone", "value": "+919876543210"}]}


def types_of(record):
    return {name: type(value) for name, value in record.items()}


@pytest.fixture
def finished(start):
    """Return ``send`` of a sandbox in which the call of the vendor's sample has just ended."""
    sandbox, send = start()
    assert send("POST", "/v1/call", json=CALL).status_code == 200
    sandbox.advance(142)
    return send


def test_the_list_has_the_documented_shape(finished, facts):
    """Envelope and item of the list have the fields and types of the sample, no more and no fewer."""
    got, documented = finished("GET", "/v1/conversations").json(), facts("conversations.json")["list"]
    assert types_of(got) == types_of(documented)
    assert types_of(got["data"][0]) == types_of(documented["data"][0])


def test_the_sample_call_is_listed_like_the_sample(finished, facts):
    """The vendor's sample call, placed here at the same time, ends in the same item, except for its id."""
    (got,) = finished("GET", "/v1/conversations").json()["data"]
    (documented,) = facts("conversations.json")["list"]["data"]
    assert {**got, "conversation_id": ""} == {**documented, "conversation_id": ""}


def test_the_detail_has_the_documented_shape(finished, facts):
    """The detail has the sample's fields and types, and the times the vendor describes, under ``data``."""
    (item,) = finished("GET", "/v1/conversations").json()["data"]
    answer = finished("GET", f"/v1/conversations/{item['conversation_id']}").json()
    documented = facts("conversations.json")
    expected = types_of(documented["detail"]["data"])
    expected |= dict.fromkeys(documented["described_but_not_in_the_detail_sample"], int)
    assert list(answer) == ["data"]
    assert types_of(answer["data"]) == expected
    assert {frozenset(turn) for turn in answer["data"]["transcript"]} == {frozenset({"role", "message"})}
    assert {turn["role"] for turn in answer["data"]["transcript"]} == {"agent", "human"}


def test_without_the_trace_the_rest_is_still_documented(start, facts):
    """The switch that leaves ``trace_id`` out of the detail leaves everything else in."""
    sandbox, send = start(trace_id_in_detail=False)
    call = sandbox.place("+919876543210", agent_id=123)
    sandbox.advance(142)
    got = send("GET", f"/v1/conversations/{call.conversation_id}").json()["data"]
    documented = facts("conversations.json")
    expected = {*documented["detail"]["data"], *documented["described_but_not_in_the_detail_sample"]}
    assert set(got) == expected - {"trace_id"}


def test_a_recording_is_binary_audio(finished, facts):
    """What is served under the record's id and ``/recording`` can be saved under the samples' suffix."""
    documented = facts("conversations.json")["recording"]
    (item,) = finished("GET", "/v1/conversations").json()["data"]
    answer = finished("GET", documented["path"].format(**item))
    assert answer.status_code == documented["status"]
    assert answer.headers["Content-Type"].startswith("audio/")
    assert answer.content[:4] + answer.content[8:12] == documented["begins"][".wav"].encode()


def test_every_attempt_is_a_record_of_its_own(start, facts):
    """When the platform redials, one request makes several records of the documented shape."""
    sandbox, send = start(platform_redials=2)
    sandbox.place("+14155550101", agent_id=123)
    sandbox.advance(10_000)
    items = send("GET", "/v1/conversations").json()["data"]
    assert len({item["conversation_id"] for item in items}) == len(items) == 3
    (documented,) = facts("conversations.json")["list"]["data"]
    assert {frozenset(item) for item in items} == {frozenset(documented)}


def test_ids_look_like_the_samples(finished, facts):
    """A record's id is written as in the sample: a UUID, an underscore, a number."""
    form = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_[0-9]+")
    (item,) = finished("GET", "/v1/conversations").json()["data"]
    (documented,) = facts("conversations.json")["list"]["data"]
    assert form.fullmatch(documented["conversation_id"])
    assert form.fullmatch(item["conversation_id"])


def test_every_documented_status_can_be_had(start, facts):
    """There is a number for each status the vendor names; what is null then may be null by the documents."""
    documented = facts("conversations.json")
    sandbox, send = start()
    for digits in range(7):
        phone = [{"name": "customer_phone", "value": f"+1415555010{digits}"}]
        send("POST", "/v1/call", json={"agent_id": 123, "parameters": phone})
    sandbox.advance(200)
    items = send("GET", "/v1/conversations").json()["data"]
    assert {item["status"] for item in items} == set(documented["statuses"])
    sample = types_of(documented["list"]["data"][0])
    for item in items:
        assert {name for name, value in item.items() if value is None} <= set(documented["nullable"])
        assert {
            name: kind for name, kind in types_of(item).items() if item[name] is not None
        }.items() <= sample.items()
