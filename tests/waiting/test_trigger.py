"""Triggers: what is stored of them, what their events hold, and how they end when they are hindered."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from batches.modes import a_sensor as a_batch_sensor
from batches.modes import phones
from waiting.conftest import KEY, channel_to
from waiting.modes import NUMBER, an_operator, reads

from formant_provider.core.batches.feed import BatchWatch
from formant_provider.core.conversations.waiters import Watch
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.calls import Call
from formant_provider.sandbox.faults import LIST, METRICS
from formant_provider.triggers.batch import BatchEnd, BatchTrigger
from formant_provider.triggers.conversation import ConversationTrigger, WaitEnd
from support.isolation import process_left_alone
from support.log_capture import captured_logs
from support.supervisor import FakeSupervisor, supervised_by
from support.task_run import run_task, run_trigger
from support.triggers import HINDRANCES, error_reaching_the_task, events_of, run_all

PRIVATE = ("4155550100", "Rahul", KEY, "payment_confirmed", "sandbox calling")


def deadline_in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def a_trigger(what: Call | int | Sandbox, seconds: float = 5) -> ConversationTrigger:
    call = what.place(f"{NUMBER}00") if isinstance(what, Sandbox) else what
    watch = Watch(datetime.now(UTC), getattr(call, "trace_id", f"t-{call}"), poll_interval_s=0.1)
    return ConversationTrigger("formant_default", None, 456, watch.to_json(), deadline_in(seconds), {})


def a_batch_trigger(what: int | Sandbox, seconds: float = 5) -> BatchTrigger:
    batch_id = what if isinstance(what, int) else what.place_batch(phones("00")).batch_id
    watch = BatchWatch(batch_id, 1, 60.0, 0.1)
    return BatchTrigger("formant_default", None, watch.to_json(), deadline_in(seconds), {})


class ACall:
    """A call that is waited for."""

    trigger = staticmethod(a_trigger)
    asks = LIST
    ends = (WaitEnd(), WaitEnd("c_1", "busy", others=2, error=("NotFound", "no"), receipt={"a": 1}))
    says = ("stops waiting for the conversation of trace_id t-7", "The call itself goes on")
    arguments = frozenset({"agent_id"})

    @staticmethod
    def task(_: Sandbox) -> Any:
        options = {"include_transcript": True, "settle_for": 60, "terminal_statuses": {"hung_up"}}
        return an_operator(deferrable=True, retries=3, **options)


class ABatchCall:
    """A batch call that is waited for."""

    trigger = staticmethod(a_batch_trigger)
    asks = METRICS
    full = BatchEnd(7, 3, {"total_processed": 3}, is_over=True, is_stalled=True, receipt={"a": 1})
    ends = (BatchEnd(7), full, BatchEnd(7, error=("NotFound", "no")))
    says = ("stops waiting for batch call 7", "all its recipients are called")
    arguments: frozenset[str] = frozenset()

    @staticmethod
    def task(sandbox: Sandbox) -> Any:
        options = {"deferrable": True, "stall_timeout": timedelta(hours=2), "retries": 3}
        return a_batch_sensor(sandbox.place_batch(phones("00")), **options)


KINDS = pytest.mark.parametrize("kind", [ACall, ABatchCall])


@KINDS
def test_arguments_and_event_hold_nothing_private(
    kind: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """No number, no parameter, no key and nothing that was said is in what Airflow stores or logs of it."""
    run = run_task(kind.task(sandbox), channel)
    fired = run_trigger(run.deferral, channel)
    stored = json.dumps([run.trigger_kwargs, fired.event], default=str)
    for private in PRIVATE:
        assert private not in stored
        assert private not in fired.log_text
    names = {"formant_conn_id", "region", "watch", "deadline", "receipt"}
    assert set(run.trigger_kwargs) == names | kind.arguments
    assert fired.event["error"] is None


@KINDS
def test_a_trigger_is_made_again_from_what_it_says_of_itself(
    kind: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A triggerer that takes over has the arguments and nothing else, and they are plain JSON."""
    run = run_task(kind.task(sandbox), channel)
    path, arguments = type(kind.trigger(7))(**run.trigger_kwargs).serialize()
    assert path == run.deferral.classpath
    assert json.loads(json.dumps(arguments)) == run.trigger_kwargs


@KINDS
def test_an_event_comes_back_as_it_was_sent(kind: Any) -> None:
    """One pair of functions writes and reads the event, whatever happened."""
    for end in kind.ends:
        payload = json.loads(json.dumps(end.to_event().payload))
        again = type(end).from_event(payload)
        assert json.loads(json.dumps(again.to_event().payload)) == payload


@KINDS
def test_a_trigger_whose_deadline_has_passed_looks_once(kind: Any, make_sandbox: Any) -> None:
    """A triggerer that was away does not give up what has ended in the meantime."""
    sandbox = make_sandbox()
    trigger = kind.trigger(sandbox, seconds=-600)
    sandbox.advance(200)
    (end,) = run_all([trigger], channel_to(sandbox))
    assert end.is_over


@KINDS
@pytest.mark.parametrize("hindrance", HINDRANCES)
def test_an_error_that_does_not_pass_reaches_the_task(hindrance: str, kind: Any, sandbox: Sandbox) -> None:
    """A trigger fires in any case; the task fails as it would in a worker, and places no further call."""
    run = error_reaching_the_task(hindrance, kind.task(sandbox), channel_to(sandbox), PRIVATE)
    assert "places no further" in run.log_text


@KINDS
def test_no_request_leaves_before_the_time_the_api_named(kind: Any, make_sandbox: Any) -> None:
    """In a storm of 429s a hundred waiters together ask once each time they may."""
    sandbox = make_sandbox(speed=1)
    sandbox.inject(kind.asks, Fault.RATE_LIMIT, times=2, retry_after=1)
    run_all([kind.trigger(number, seconds=2.5) for number in range(1, 101)], channel_to(sandbox))
    asked = [request.at for request in sandbox.requests]
    assert (asked[1] - asked[0]).total_seconds() >= 1
    assert (asked[2] - asked[1]).total_seconds() >= 1


@KINDS
def test_on_kill_says_what_goes_on(kind: Any) -> None:
    """There is no cancel, and it is not known here who ended the wait: it is no warning."""
    with process_left_alone(), captured_logs() as lines:
        asyncio.run(kind.trigger(7).on_kill())
    assert all(said in lines.text for said in kind.says)
    assert "warning" not in lines.text.lower()


def test_a_wait_for_an_unconfirmed_call_names_no_id() -> None:
    """Its response was lost with its ids: the log says so, and not that an id is None."""
    watch = Watch(datetime.now(UTC), recipient="a mark")
    trigger = ConversationTrigger("formant_default", None, 456, watch.to_json(), deadline_in(5), {})
    with process_left_alone(), captured_logs() as lines:
        asyncio.run(trigger.on_kill())
    assert "stops waiting for the conversation of a call that is unconfirmed" in lines.text


def test_triggers_of_one_agent_share_one_poll(make_sandbox: Any) -> None:
    """Forty calls that are waited for at once cost one list a poll, and one detail each, once it is over."""
    sandbox = make_sandbox(speed=300)
    calls = [sandbox.place(f"{NUMBER}{ending}") for ending in range(20, 60)]
    ends = run_all([a_trigger(call) for call in calls], channel_to(sandbox))
    assert [end.conversation_id for end in ends] == [call.conversation_id for call in calls]
    assert reads(sandbox)["detail"] == 40
    assert reads(sandbox)["list"] <= 8


def test_another_connection_is_used_from_the_next_poll_on(make_sandbox: Any) -> None:
    """A key that was changed while a call is waited for does not end the wait."""
    sandbox = make_sandbox(speed=600, other_keys=())
    call = sandbox.place(f"{NUMBER}00")
    channel = channel_to(sandbox)
    good = dict(channel.connections["formant_default"])
    channel.connections["formant_default"]["password"] = "old-key-1234"

    async def wait_and_mend() -> WaitEnd:
        waiting = asyncio.create_task(events_of([a_trigger(call)]))
        while not any(request.status == 401 for request in sandbox.requests):
            await asyncio.sleep(0.01)
        channel.connections["formant_default"] = good
        return (await waiting)[0]

    with process_left_alone(), supervised_by(channel):
        end = asyncio.run(wait_and_mend())
    assert end.status == "completed"


def test_a_connection_that_is_not_found_says_where_an_inline_trigger_looks(sandbox: Sandbox) -> None:
    """With ``airflow dags test`` a connection of the metadata database is found by tasks alone."""
    channel = channel_to(sandbox)
    channel.connections.pop("formant_default")
    (end,) = run_all([a_trigger(1, seconds=20)], channel)
    assert end.error is not None
    assert "AIRFLOW_CONN_FORMANT_DEFAULT" in end.error[1]
    assert "airflow dags test" in end.error[1]
    assert "deferrable=False" in end.error[1]
