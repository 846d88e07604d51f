from __future__ import annotations

import hashlib
import hmac

import pytest

from formant_provider.sandbox import Sandbox, WebhookFault
from formant_provider.sandbox.webhook_faults import DESCRIPTIONS

COMPLETED, NO_ANSWER, BUSY = "+14155550100", "+14155550101", "+14155550102"


def after(sandbox, seconds=10**6):
    sandbox.advance(seconds)
    sandbox.deliver_webhooks()


def signed_with(got, secret):
    digest = hmac.new(secret, got.content, hashlib.sha256).hexdigest()
    return got.headers["X-FormantAI-Signature"] == f"sha256={digest}"


def test_a_duplicate_comes_twice(watched, receiver):
    """The same bytes with the same id, though the first was answered 200; the next event comes once."""
    sandbox = watched()
    sandbox.inject_webhook(WebhookFault.DUPLICATE)
    sandbox.place(BUSY)
    sandbox.place(NO_ANSWER)
    after(sandbox)
    assert receiver.phones == [BUSY, BUSY, NO_ANSWER]
    assert receiver.seen[0].content == receiver.seen[1].content
    assert [(each.attempt, each.fault) for each in sandbox.deliveries] == [
        (1, "duplicate"),
        (1, "duplicate"),
        (1, None),
    ]


def test_out_of_order_comes_behind_the_next_event(watched, receiver):
    """The event of a call that ended first arrives second, at the time of the other."""
    sandbox = watched()
    sandbox.inject_webhook("out_of_order")
    sandbox.place(BUSY)
    sandbox.place(NO_ANSWER)
    after(sandbox, 29)
    assert receiver.phones == []
    after(sandbox, 1)
    assert receiver.phones == [NO_ANSWER, BUSY]
    after(sandbox)
    assert len(receiver.seen) == 2


def test_a_redial_can_overtake_the_attempt_before(watched, receiver):
    """The last attempt of a chain is told first, and the one before says that it was not the last."""
    sandbox = watched(platform_redials=1, platform_redial_after_seconds=60)
    sandbox.inject_webhook("out_of_order")
    sandbox.place(BUSY)
    after(sandbox)
    finals = [each.event["data"]["retry"]["is_final_attempt"] for each in receiver.seen]
    assert (receiver.types, finals) == (["call.completed", "call.busy"], [True, False])


def test_out_of_order_without_a_next_event_comes_in_the_end(watched, receiver):
    """After 300 s, or as many as were wanted, it is sent alone."""
    sandbox = watched()
    sandbox.inject_webhook("out_of_order")
    sandbox.inject_webhook("out_of_order", seconds=20)
    sandbox.place(BUSY)
    after(sandbox, 5 + 299)
    assert receiver.phones == []
    after(sandbox, 1)
    sandbox.place(BUSY)
    after(sandbox, 5 + 19)
    assert len(receiver.seen) == 1
    after(sandbox, 1)
    assert len(receiver.seen) == 2


def test_a_next_event_that_comes_too_late_changes_nothing(watched, receiver):
    """However far the clock is moved at once, an event that is due before the next one is sent before it."""
    sandbox = watched()
    sandbox.inject_webhook("out_of_order", seconds=20)
    sandbox.place(BUSY)
    sandbox.place(NO_ANSWER)
    after(sandbox)
    assert receiver.phones == [BUSY, NO_ANSWER]


def test_late_comes_late_and_is_repeated_from_then_on(watched, receiver):
    """After 600 s, or as many as were wanted, with the timestamp of the call's end."""
    receiver.answers.append(500)
    sandbox = watched()
    sandbox.inject_webhook("late", seconds=100)
    sandbox.inject_webhook("late")
    sandbox.place(BUSY)
    sandbox.place(NO_ANSWER)
    after(sandbox, 5 + 99)
    assert receiver.seen == []
    after(sandbox, 1)
    assert receiver.phones == [BUSY]
    assert receiver.seen[0].event["timestamp"] == "2026-03-18T12:00:05.000Z"
    after(sandbox, 30)
    assert receiver.phones == [BUSY, BUSY]
    after(sandbox, 30 + 600 - 135 - 1)
    assert len(receiver.seen) == 2
    after(sandbox, 1)
    assert receiver.phones[2:] == [NO_ANSWER]


def test_never_comes_never(watched, receiver):
    """The record says that the call ended, and no event does; the next one comes."""
    sandbox = watched()
    sandbox.inject_webhook("never")
    sandbox.place(BUSY)
    sandbox.place(NO_ANSWER)
    after(sandbox)
    assert receiver.phones == [NO_ANSWER]
    assert len(sandbox.deliveries) == 1


def test_a_wrong_signature_fits_no_secret(watched, receiver):
    """It is well formed and wrong, in each attempt; the next event is signed as it should be."""
    receiver.answers.append(500)
    sandbox = watched(target={"old_secret": "older"})
    sandbox.inject_webhook("wrong_signature")
    sandbox.place(BUSY)
    sandbox.place(COMPLETED)
    after(sandbox)
    first, again, right = receiver.seen
    assert first.content == again.content
    for wrong in (first, again):
        assert len(wrong.headers["X-FormantAI-Signature"]) == len("sha256=") + 64
        assert not signed_with(wrong, b"s3cret")
        assert not signed_with(wrong, b"older")
    assert signed_with(right, b"s3cret")


@pytest.mark.parametrize(("old", "secret"), [("older", b"older"), (None, b"s3cret-old")])
def test_the_old_key_is_the_one_before(watched, receiver, old, secret):
    """Signed with the old secret of the target, and then with the new one again."""
    sandbox = watched(target={"old_secret": old})
    sandbox.inject_webhook("old_key")
    sandbox.place(BUSY)
    sandbox.place(NO_ANSWER)
    after(sandbox)
    first, second = receiver.seen
    assert signed_with(first, secret)
    assert signed_with(second, b"s3cret")


def test_a_2xx_that_is_lost_is_repeated_once(watched, receiver):
    """The receiver answered 200 and gets the same event after 30 s; that answer arrives."""
    sandbox = watched()
    sandbox.inject_webhook("2xx_lost")
    sandbox.place(BUSY)
    after(sandbox)
    assert [(each.attempt, each.status) for each in sandbox.deliveries] == [(1, 200), (2, 200)]
    assert len({each.content for each in receiver.seen}) == 1


def test_a_lost_2xx_needs_a_2xx(watched, receiver):
    """A refusal is no success that could be lost."""
    receiver.answers.append(401)
    sandbox = watched()
    sandbox.inject_webhook("2xx_lost")
    sandbox.place(BUSY)
    after(sandbox)
    assert len(receiver.seen) == 1


def test_without_transcript_has_all_but_that(watched, receiver):
    """The event of a completed call lacks its transcript; the next one has it."""
    sandbox = watched()
    sandbox.inject_webhook("without_transcript")
    sandbox.place(COMPLETED)
    after(sandbox)
    sandbox.place(COMPLETED)
    after(sandbox)
    first, second = [each.event["data"] for each in receiver.seen]
    assert second.keys() - first.keys() == {"transcript"}
    assert first["results"] == second["results"]


def test_a_stale_timestamp_is_signed(watched, receiver):
    """Two hours old, or as many seconds as were wanted, sent at once and signed with the right secret."""
    sandbox = watched()
    sandbox.inject_webhook("stale_timestamp")
    sandbox.inject_webhook("stale_timestamp", seconds=65)
    sandbox.place(BUSY)
    sandbox.place(BUSY)
    after(sandbox, 5)
    stamps = [each.event["timestamp"] for each in receiver.seen]
    assert stamps == ["2026-03-18T10:00:05.000Z", "2026-03-18T11:59:00.000Z"]
    assert all(signed_with(each, b"s3cret") for each in receiver.seen)


def test_faults_meet_events_in_order_and_as_often_as_queued(watched, receiver):
    """The first fault for two events, the second for the one behind them, the rest is well."""
    sandbox = watched()
    sandbox.inject_webhook("never", times=2)
    sandbox.inject_webhook("duplicate")
    for phone in (BUSY, NO_ANSWER, COMPLETED):
        sandbox.place(phone)
    after(sandbox)
    assert receiver.phones == [COMPLETED, COMPLETED]
    sandbox.place(BUSY)
    after(sandbox)
    assert receiver.phones[2:] == [BUSY]


@pytest.mark.parametrize(
    ("fault", "options", "message"),
    [
        ("explosion", {}, "unknown fault"),
        ("late", {"times": 0}, "times"),
        ("late", {"seconds": -1}, "seconds"),
        ("never", {"seconds": 1}, "does not apply to never"),
    ],
)
def test_a_fault_that_makes_no_sense_is_a_value_error(fault, options, message):
    """An unknown fault, no times, or seconds where there are none."""
    with pytest.raises(ValueError, match=message):
        Sandbox().inject_webhook(fault, **options)


def test_every_fault_is_described():
    """Each has a line for the tables."""
    assert set(DESCRIPTIONS) == set(WebhookFault)
