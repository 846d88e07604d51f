"""The trigger: what is stored of it, what its event holds, and how it ends when it is hindered."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from waiting.conftest import KEY, channel_to
from waiting.modes import NUMBER, an_operator, reads

from formant_provider.core.conversations.waiters import Watch
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import LIST
from formant_provider.triggers.conversation import ConversationTrigger, WaitEnd
from support.isolation import process_left_alone
from support.log_capture import captured_logs
from support.supervisor import FakeSupervisor, supervised_by
from support.task_run import run_task, run_trigger
from support.triggers import HINDRANCES, error_reaching_the_task, events_of, run_all

PRIVATE = ("4155550100", "Rahul", KEY)


def test_arguments_and_event_hold_nothing_private(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """No number, no parameter, no key and nothing that was said is in what Airflow stores or logs of it."""
    run = run_task(an_operator(deferrable=True, include_transcript=True), channel)
    fired = run_trigger(run.deferral, channel)
    stored = json.dumps([run.trigger_kwargs, fired.event], default=str)
    for private in (*PRIVATE, "payment_confirmed", "sandbox calling"):
        assert private not in stored
        assert private not in fired.log_text
    assert fired.event["conversation_id"] == sandbox.calls[0].conversation_id


def test_a_trigger_is_made_again_from_what_it_says_of_itself(channel: FakeSupervisor) -> None:
    """A triggerer that takes over has the arguments and nothing else, and they are plain JSON."""
    run = run_task(an_operator(deferrable=True, settle_for=60, terminal_statuses={"hung_up"}), channel)
    path, arguments = ConversationTrigger(**run.trigger_kwargs).serialize()
    assert path == run.deferral.classpath
    assert json.loads(json.dumps(arguments)) == run.trigger_kwargs


def test_an_event_comes_back_as_it_was_sent() -> None:
    """One pair of functions writes and reads the event, whatever happened."""
    for end in (WaitEnd(), WaitEnd("c_1", "busy", others=2, error=("NotFound", "no"), receipt={"a": 1})):
        payload = json.loads(json.dumps(end.to_event().payload))
        assert WaitEnd.from_event(payload).to_event().payload == {
            **end.to_event().payload,
            "error": payload["error"],
        }


def a_trigger(trace_id: str, seconds: float = 5, **watch: Any) -> ConversationTrigger:
    now = datetime.now(UTC)
    fields = Watch(now, trace_id, poll_interval_s=0.1).to_json() | watch
    deadline = (now + timedelta(seconds=seconds)).isoformat()
    return ConversationTrigger("formant_default", None, fields, deadline, {"trace_id": trace_id}, 456)


def test_triggers_of_one_agent_share_one_poll(make_sandbox: Any) -> None:
    """Forty calls that are waited for at once cost one list a poll, and one detail each, once it is over."""
    sandbox = make_sandbox(speed=300)
    calls = [sandbox.place(f"{NUMBER}{ending}") for ending in range(20, 60)]
    ends = run_all([a_trigger(call.trace_id) for call in calls], channel_to(sandbox))
    assert [end.conversation_id for end in ends] == [call.conversation_id for call in calls]
    assert reads(sandbox)["detail"] == 40
    assert reads(sandbox)["list"] <= 8


def test_a_trigger_whose_deadline_has_passed_looks_once(make_sandbox: Any) -> None:
    """A triggerer that was away does not give up a call that has ended in the meantime."""
    sandbox = make_sandbox()
    call = sandbox.place(f"{NUMBER}00")
    sandbox.advance(200)
    (end,) = run_all([a_trigger(call.trace_id, seconds=-600)], channel_to(sandbox))
    assert end.status == "completed"


@pytest.mark.parametrize("kind", HINDRANCES)
def test_an_error_that_does_not_pass_reaches_the_task(kind: str, sandbox: Sandbox) -> None:
    """A trigger fires in any case; the task fails as it would in a worker, and places no further call."""
    task = an_operator(deferrable=True, retries=3)
    run = error_reaching_the_task(kind, task, channel_to(sandbox), PRIVATE)
    assert "places no further call" in run.log_text


def test_another_connection_is_used_from_the_next_poll_on(make_sandbox: Any) -> None:
    """A key that was changed while a call is waited for does not end the wait."""
    sandbox = make_sandbox(speed=600, other_keys=())
    call = sandbox.place(f"{NUMBER}00")
    channel = channel_to(sandbox)
    good = dict(channel.connections["formant_default"])
    channel.connections["formant_default"]["password"] = "old-key-1234"

    async def wait_and_mend() -> WaitEnd:
        waiting = asyncio.create_task(events_of([a_trigger(call.trace_id)]))
        while not any(request.status == 401 for request in sandbox.requests):
            await asyncio.sleep(0.01)
        channel.connections["formant_default"] = good
        return (await waiting)[0]

    with process_left_alone(), supervised_by(channel):
        end = asyncio.run(wait_and_mend())
    assert end.status == "completed"


def test_no_request_leaves_before_the_time_the_api_named(make_sandbox: Any) -> None:
    """In a storm of 429s a hundred waiters together ask once each time they may."""
    sandbox = make_sandbox(speed=1)
    sandbox.inject(LIST, Fault.RATE_LIMIT, times=2, retry_after=1)
    triggers = [a_trigger(f"t-{number}", seconds=2.5) for number in range(100)]
    run_all(triggers, channel_to(sandbox))
    asked = [request.at for request in sandbox.requests]
    assert (asked[1] - asked[0]).total_seconds() >= 1
    assert (asked[2] - asked[1]).total_seconds() >= 1


def test_a_connection_that_is_not_found_says_where_an_inline_trigger_looks(sandbox: Sandbox) -> None:
    """With ``airflow dags test`` a connection of the metadata database is found by tasks alone."""
    channel = channel_to(sandbox)
    channel.connections.pop("formant_default")
    (end,) = run_all([a_trigger("t-1", seconds=20)], channel)
    assert end.error is not None
    assert "AIRFLOW_CONN_FORMANT_DEFAULT" in end.error[1]
    assert "airflow dags test" in end.error[1]
    assert "deferrable=False" in end.error[1]


def test_on_kill_says_that_the_call_goes_on() -> None:
    """There is no cancel, and it is not known here who ended the wait: it is no warning."""
    with process_left_alone(), captured_logs() as lines:
        asyncio.run(a_trigger("t-1").on_kill())
    assert "stops waiting for the conversation of trace_id t-1" in lines.text
    assert "The call itself goes on" in lines.text
    assert "warning" not in lines.text.lower()
