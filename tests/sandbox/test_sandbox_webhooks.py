from __future__ import annotations

import hashlib
import hmac
import threading

import pytest

from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.numbers import ENDINGS

COMPLETED, NO_ANSWER, BUSY = "+14155550100", "+14155550101", "+14155550102"
OWN = "+12125550156"


def after(sandbox, seconds=1000):
    """Let time pass, and wait for the webhooks of it."""
    sandbox.advance(seconds)
    sandbox.deliver_webhooks()


def test_a_completed_call_is_told_as_the_vendor_has_it(watched, receiver):
    """Headers, envelope, call, results, retry and transcript are those of the vendor's page."""
    sandbox = watched()
    call = sandbox.place(COMPLETED, parameters={"customer_name": "Asha", "loan_id": "LN-1"})
    after(sandbox)
    (got,) = receiver.seen
    event_id = got.headers["X-FormantAI-Event-Id"]
    assert event_id.startswith("evt_")
    assert len(event_id) == 16
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["X-FormantAI-Event-Type"] == "call.completed"
    assert got.headers["X-FormantAI-Timestamp"] == "1773835342"
    digest = hmac.new(b"s3cret", got.content, hashlib.sha256).hexdigest()
    assert got.headers["X-FormantAI-Signature"] == f"sha256={digest}"
    recording_url = f"{sandbox.base_url}/v1/conversations/{call.conversation_id}/recording"
    transcript = got.event["data"]["transcript"]
    assert got.event == {
        "event_id": event_id,
        "event_type": "call.completed",
        "timestamp": "2026-03-18T12:02:22.000Z",
        "data": {
            "call": {
                "agent_id": 456,
                "status": "completed",
                "call_parameters": {"customer_name": "Asha", "loan_id": "LN-1"},
                "conversation_id": call.conversation_id,
                "trace_id": call.trace_id,
                "duration_seconds": 142,
                "started_at": "2026-03-18T12:00:00.000Z",
                "ended_at": "2026-03-18T12:02:22.000Z",
                "failure_reason": None,
                "from_phone": OWN,
                "to_phone": COMPLETED,
                "recording_url": recording_url,
            },
            "results": {"intent": "payment_confirmed", "sentiment": "positive"},
            "retry": {
                "attempt_number": 1,
                "is_final_attempt": True,
                "max_attempts": 1,
                "next_retry_at": None,
            },
            "retry_context": None,
            "transcript": transcript,
        },
    }
    assert [line.partition(": ")[0] for line in transcript.split("\n")] == ["BOT", "HUMAN", "BOT"]


def test_a_call_without_a_talk_has_nothing_to_tell_of_one(watched, receiver):
    """A call that nobody answered has neither duration, recording, results nor transcript."""
    sandbox = watched()
    sandbox.place(NO_ANSWER)
    after(sandbox)
    (got,) = receiver.seen
    assert got.event["event_type"] == "call.no_answer"
    assert (got.call["duration_seconds"], got.call["recording_url"]) == (None, None)
    assert got.call["ended_at"] == "2026-03-18T12:00:30.000Z"
    assert got.event["data"]["results"] is None
    assert "transcript" not in got.event["data"]
    assert got.event["data"]["retry"]["is_final_attempt"] is True


@pytest.mark.parametrize("digits", ENDINGS)
def test_every_ending_has_its_event(watched, receiver, digits):
    """Each test number sends the event of its status, also one that the vendor does not document."""
    sandbox = watched()
    sandbox.place(f"+141555501{digits}")
    after(sandbox)
    status = ENDINGS[digits].status
    assert receiver.types == [f"call.{status}"]
    assert receiver.seen[0].call["status"] == status


def test_the_retry_context_of_a_request_comes_back(start, receiver):
    """The event of a call that was placed with a retry context has it."""
    api = start()
    api.sandbox.add_webhook(receiver.url)
    context = {"collected_data": {"step": 2}, "retry_language": "hi-IN"}
    assert api.call(retry_context=context).ok
    after(api.sandbox)
    assert receiver.seen[0].event["data"]["retry_context"] == context


def test_results_that_are_late_are_not_in_the_event(watched, receiver):
    """What a record would not have at the end of its call is not in the event either."""
    sandbox = watched(results_delay_seconds=5)
    sandbox.place(COMPLETED)
    after(sandbox)
    data = receiver.seen[0].event["data"]
    assert (data["results"], "transcript" in data) == (None, False)


def test_a_target_may_be_set_up_without_transcripts(watched, receiver):
    """Then no event has one, and all else is there."""
    sandbox = watched(target={"include_transcript": False})
    sandbox.place(COMPLETED)
    after(sandbox)
    data = receiver.seen[0].event["data"]
    assert ("transcript" in data, data["results"]["sentiment"]) == (False, "positive")


def test_a_target_without_a_secret_gets_no_signature(watched, receiver):
    """The secret is optional, and then there is no header for it."""
    sandbox = watched(target={"secret": None})
    sandbox.place(COMPLETED)
    after(sandbox)
    assert "X-FormantAI-Signature" not in receiver.seen[0].headers


def test_the_unit_of_the_timestamp_is_a_switch(watched, receiver):
    """The vendor does not say whether the header has seconds or milliseconds."""
    sandbox = watched(webhook_timestamp_unit="milliseconds")
    sandbox.place(COMPLETED)
    after(sandbox)
    assert receiver.seen[0].headers["X-FormantAI-Timestamp"] == "1773835342000"


def test_redials_say_which_attempt_was_the_last(watched, receiver):
    """Each attempt has an event: its number, how many there are, and when the next one comes."""
    sandbox = watched(platform_redials=2, platform_redial_after_seconds=60)
    call = sandbox.place(BUSY)
    after(sandbox)
    assert receiver.types == ["call.busy", "call.busy", "call.completed"]
    assert [each.call["conversation_id"] for each in receiver.seen] == [
        f"{call.chain_id}_{number}" for number in (1, 2, 3)
    ]
    retries = [each.event["data"]["retry"] for each in receiver.seen]
    assert [(each["attempt_number"], each["max_attempts"]) for each in retries] == [(1, 3), (2, 3), (3, 3)]
    assert [each["is_final_attempt"] for each in retries] == [False, False, True]
    starts = [each.call["started_at"] for each in receiver.seen]
    assert [each["next_retry_at"] for each in retries] == [*starts[1:], None]


def test_an_inbound_call_has_its_numbers_the_other_way_round(watched, receiver):
    """The person is who calls, the agent who is called; and there is no further attempt."""
    sandbox = watched(platform_redials=2)
    call = sandbox.receive(COMPLETED, lasts_seconds=30)
    after(sandbox, 30)
    (got,) = receiver.seen
    assert (got.call["from_phone"], got.call["to_phone"]) == (COMPLETED, OWN)
    assert (got.call["conversation_id"], got.call["duration_seconds"]) == (call.conversation_id, 30)
    assert got.event["data"]["retry"]["is_final_attempt"] is True


def test_rows_of_a_batch_call_have_their_events(start, receiver):
    """Each row has one when its call ends, in the order of the ends, with its own columns."""
    api = start(batch_calls_per_minute=60, platform_redials=1)
    api.sandbox.add_webhook(receiver.url)
    assert api.batch(f"customer_phone,name\n{COMPLETED},Asha\n{BUSY},Ravi\n{NO_ANSWER},Mira\n").ok
    after(api.sandbox, 142)
    assert receiver.phones == [BUSY, NO_ANSWER, COMPLETED]
    assert [each.call["call_parameters"] for each in receiver.seen] == [
        {"name": "Ravi"},
        {"name": "Mira"},
        {"name": "Asha"},
    ]
    after(api.sandbox)
    assert receiver.phones[3:] == [BUSY, NO_ANSWER]
    listed = {each["conversation_id"] for each in api.conversations(limit=100).json()["data"]}
    assert {each.call["conversation_id"] for each in receiver.seen} == listed


def test_a_target_of_an_agent_gets_the_events_of_that_agent(watched, receiver):
    """Those of another agent do not go there."""
    sandbox = watched(target={"agent_id": 123})
    sandbox.place(COMPLETED, agent_id=456)
    sandbox.place(BUSY, agent_id=123)
    after(sandbox)
    assert receiver.phones == [BUSY]


def test_a_target_gets_the_events_it_subscribed_to(watched, receiver):
    """Others are not sent."""
    sandbox = watched(target={"events": ["call.busy", "call.failed"]})
    for phone in (COMPLETED, BUSY, NO_ANSWER):
        sandbox.place(phone)
    after(sandbox)
    assert receiver.types == ["call.busy"]


def test_each_target_has_an_event_id_of_its_own(watched, receiver):
    """The same call is two events at two targets, each signed with the secret of its target."""
    sandbox = watched()
    sandbox.add_webhook(f"{receiver.url}/second?x=1", secret="other")
    sandbox.place(COMPLETED)
    after(sandbox)
    assert {each.path for each in receiver.seen} == {"/", "/second?x=1"}
    assert len({each.event["event_id"] for each in receiver.seen}) == 2
    for each in receiver.seen:
        digest = hmac.new(b"s3cret" if each.path == "/" else b"other", each.content, hashlib.sha256)
        assert each.headers["X-FormantAI-Signature"] == f"sha256={digest.hexdigest()}"


def test_an_agent_has_five_targets_at_most(watched, receiver):
    """A sixth is refused, also one for all agents; another agent may have more."""
    sandbox = watched()
    for _ in range(4):
        sandbox.add_webhook(receiver.url, agent_id=123)
    for agent_id in (123, None):
        with pytest.raises(ValueError, match="agent 123 has 5 targets already"):
            sandbox.add_webhook(receiver.url, agent_id=agent_id)
    sandbox.add_webhook(receiver.url, agent_id=456)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://127.0.0.1/", {}),
        ("http://", {}),
        ("http://127.0.0.1:70000/", {}),
        ("http://127.0.0.1/", {"secret": ""}),
        ("http://127.0.0.1/", {"old_secret": ""}),
        ("http://127.0.0.1/", {"agent_id": 1}),
        ("http://127.0.0.1/", {"events": ["completed"]}),
    ],
)
def test_an_invalid_target_is_a_value_error(url, options):
    """No address, an empty secret, an unknown agent or an event of no type is refused."""
    with pytest.raises(ValueError, match=r"url|[Pp]ort|secret|agent 1|events"):
        Sandbox().add_webhook(url, **options)


def test_only_what_ends_from_then_on_is_sent(start, receiver):
    """A target hears of calls that run when it is added, and of no call that ended before."""
    sandbox = start(batch_calls_per_minute=60).sandbox
    sandbox.place(BUSY)
    sandbox.place(COMPLETED)
    sandbox.place_batch([BUSY, BUSY, COMPLETED])
    sandbox.advance(5)
    sandbox.add_webhook(receiver.url)
    sandbox.add_webhook(f"{receiver.url}/second", agent_id=123)
    after(sandbox)
    assert receiver.phones == [BUSY, COMPLETED, COMPLETED]


def test_a_second_target_hears_nothing_of_the_time_before_it(watched, receiver):
    """Also when nobody has looked since that call ended."""
    sandbox = watched()
    sandbox.stop()
    sandbox.place(BUSY)
    sandbox.advance(10)
    sandbox.add_webhook(f"{receiver.url}/second")
    sandbox.start()
    after(sandbox)
    assert [each.path for each in receiver.seen] == ["/"]


def test_calls_of_other_keys_are_not_sent(start, another, receiver):
    """Another key is another tenant, who has set up no targets."""
    api = start(other_keys=["other-key"])
    api.sandbox.add_webhook(receiver.url)
    assert another(api, "other-key").call(BUSY).ok
    assert api.call(NO_ANSWER).ok
    after(api.sandbox)
    assert receiver.phones == [NO_ANSWER]


def test_a_removed_target_gets_nothing_more(watched, receiver):
    """Neither of calls that ran nor of later ones; a target that is added then begins anew."""
    sandbox = watched()
    sandbox.place(BUSY)
    sandbox.clear_webhooks()
    after(sandbox)
    sandbox.place(NO_ANSWER)
    sandbox.add_webhook(receiver.url)
    after(sandbox)
    assert receiver.phones == [NO_ANSWER]


def test_reset_keeps_the_targets_and_forgets_the_rest(watched, receiver):
    """No event of a call before it is sent; deliveries and faults are forgotten; later calls are sent."""
    sandbox = watched()
    sandbox.place(BUSY)
    after(sandbox)
    sandbox.place(COMPLETED)
    sandbox.inject_webhook("never")
    sandbox.reset()
    assert sandbox.deliveries == []
    sandbox.place(NO_ANSWER)
    after(sandbox)
    assert receiver.phones == [BUSY, NO_ANSWER]


def test_without_a_target_there_is_no_thread_for_one(start):
    """A sandbox without webhooks runs one thread, its server."""
    before = threading.active_count()
    sandbox = start().sandbox
    sandbox.place(BUSY)
    after(sandbox)
    assert threading.active_count() == before + 1
    assert sandbox.deliveries == []
