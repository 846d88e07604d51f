"""The event of a call and its record tell the same: the client's reading of webhooks meets the sandbox's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.webhook_models import Attempt, WebhookEvent
from formant_provider.sandbox import Sandbox
from support.webhook_receiver import Receiver

DIGITS = ["00", "01", "02", "03", "04", "05", "06", "07"]


@pytest.fixture
def events(sandbox: Sandbox) -> Iterator[Callable[[], list[WebhookEvent]]]:
    """Return a function that returns the events up to an hour later, as the client reads them."""
    with Receiver() as receiver:
        sandbox.add_webhook(receiver.url)

        def an_hour_later() -> list[WebhookEvent]:
            sandbox.advance(3600)
            sandbox.deliver_webhooks()
            return [WebhookEvent.from_body(got.content) for got in receiver.seen]

        yield an_hour_later


@pytest.mark.parametrize("digits", DIGITS)
def test_an_event_tells_what_the_record_does(
    sandbox: Sandbox,
    events: Callable[[], list[WebhookEvent]],
    client_for: Callable[..., FormantClient],
    digits: str,
) -> None:
    """All fields of the detail but the transcript, which has another form, for every kind of end."""
    call = sandbox.place(f"+141555501{digits}")
    (event,) = events()
    record = client_for(sandbox.base_url).get_conversation(call.conversation_id)
    assert event.conversation is not None
    assert replace(event.conversation, transcript=None) == replace(record, transcript=None)
    assert event.has_transcript == (record.transcript is not None)
    assert event.event_type == f"call.{record.status}"
    assert timedelta() <= call.ends_at - event.sent_at < timedelta(milliseconds=1)
    assert event.attempt == Attempt(number=1, is_final=True, most=1)


def test_an_inbound_call_is_told_from_one_of_ours(
    sandbox: Sandbox, events: Callable[[], list[WebhookEvent]]
) -> None:
    """The number of the person is where an agent's own is otherwise."""
    ours, theirs = sandbox.place("+14155550100"), sandbox.receive("+14155550100")
    by_id = {event.conversation.conversation_id: event for event in events() if event.conversation}
    placed, inbound = by_id[ours.conversation_id], by_id[theirs.conversation_id]
    assert placed.conversation is not None
    assert inbound.conversation is not None
    assert placed.conversation.contact_number == inbound.from_phone == "+14155550100"
    assert inbound.conversation.contact_number == placed.from_phone == "+12125550156"


def test_a_chain_of_redials_says_when_it_continues_and_ends() -> None:
    """The next attempt starts when the one before has said, and the last says that it is the last."""
    with Sandbox(speed=0, platform_redials=1) as sandbox, Receiver() as receiver:
        sandbox.add_webhook(receiver.url)
        call = sandbox.place("+14155550102")
        sandbox.advance(3600)
        sandbox.deliver_webhooks()
        first, last = [WebhookEvent.from_body(got.content) for got in receiver.seen]
    (redial,) = sandbox.redials
    assert first.attempt.next_at is not None
    assert abs(first.attempt.next_at - redial.starts_at) < timedelta(milliseconds=1)
    assert redial.chain_id == call.chain_id
    assert (first.attempt.is_final, last.attempt.is_final) == (False, True)
    assert (last.attempt.number, last.attempt.most, last.attempt.next_at) == (2, 2, None)
