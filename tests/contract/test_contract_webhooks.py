from __future__ import annotations

import re

import pytest

from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.numbers import ENDINGS
from formant_provider.sandbox.webhooks import ATTEMPTS_AT, MAX_TARGETS
from support.webhook_receiver import Receiver

UNDOCUMENTED = "call.voicemail_reached"


def shape(value):
    """Return a value with its leaves replaced by their types."""
    return {name: shape(each) for name, each in value.items()} if isinstance(value, dict) else type(value)


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def test_an_event_is_that_of_the_sample(start, receiver, facts):
    """The vendor's sample call, placed here at the same time, has the same event but for ids and hosts."""
    documented = facts("webhooks.json")
    sample = documented["completed"]
    sandbox, send = start(platform_redials=2)
    sandbox.add_webhook(receiver.url, secret="made-up")
    call = sample["data"]["call"]
    values = {"customer_phone": call["to_phone"], **call["call_parameters"]}
    parameters = [{"name": name, "value": value} for name, value in values.items()]
    context = sample["data"]["retry_context"]
    wanted = {"agent_id": call["agent_id"], "parameters": parameters, "retry_context": context}
    assert send("POST", "/v1/call", json=wanted).status_code == 200
    sandbox.advance(142)
    sandbox.deliver_webhooks()
    (got,) = receiver.seen
    assert set(documented["headers"]) <= set(got.headers)
    assert shape(got.event) == shape(sample)
    assert re.fullmatch("sha256=[0-9a-f]{64}", got.headers["X-FormantAI-Signature"])
    ours = {"event_id": "", "conversation_id": "", "trace_id": "", "from_phone": "", "recording_url": ""}
    ours["transcript"] = ""

    def blank(event):
        data = event["data"]
        return {**event, **ours, "data": {**data, **ours, "call": {**data["call"], **ours}}}

    assert blank(got.event) == blank(sample)


def test_the_events_are_those_of_the_vendor(start, receiver, facts):
    """Every documented type is sent for some test number, and one besides that nobody documents."""
    sandbox, _ = start()
    sandbox.add_webhook(receiver.url)
    for digits in ENDINGS:
        sandbox.place(f"+141555501{digits}")
    sandbox.advance(142)
    sandbox.deliver_webhooks()
    assert set(receiver.types) == {*facts("webhooks.json")["events"], UNDOCUMENTED}


def test_deliveries_keep_to_the_vendors_numbers(facts):
    """Times of the attempts, the time for a response, and how many targets an agent has."""
    documented = facts("webhooks.json")
    assert list(ATTEMPTS_AT) == documented["attempts_at_seconds"]
    assert Sandbox.webhook_timeout_seconds == documented["timeout_seconds"]
    assert documented["most_targets"] == MAX_TARGETS
