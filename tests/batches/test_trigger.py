"""The trigger of a batch call: what is stored of it, what its event holds, and how it ends when hindered."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from batches.modes import a_sensor, phones, reads
from waiting.conftest import KEY, channel_to

from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.batches import Batch
from formant_provider.sandbox.faults import METRICS
from formant_provider.tasks.waiting import wait_here
from formant_provider.triggers.batch import BatchEnd, BatchTrigger
from support.isolation import process_left_alone
from support.log_capture import captured_logs
from support.supervisor import FakeSupervisor, supervised_by
from support.task_run import run_task, run_trigger
from support.triggers import HINDRANCES, error_reaching_the_task, run_all

PRIVATE = ("4155550100", "Rahul", KEY)


def test_arguments_and_event_hold_nothing_private(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Ids, counts and moments are what Airflow stores and logs of it."""
    batch = sandbox.place_batch(phones("00"))
    run = run_task(a_sensor(batch, deferrable=True), channel)
    fired = run_trigger(run.deferral, channel)
    stored = json.dumps([run.trigger_kwargs, fired.event], default=str)
    for private in PRIVATE:
        assert private not in stored
        assert private not in fired.log_text
    assert set(run.trigger_kwargs) == {"formant_conn_id", "region", "watch", "deadline", "receipt"}
    assert fired.event["metrics"]["completed_count"] == 1


def test_a_trigger_is_made_again_from_what_it_says_of_itself(channel: FakeSupervisor) -> None:
    """A triggerer that takes over has the arguments and nothing else, and they are plain JSON."""
    run = run_task(a_sensor(7, deferrable=True, stall_timeout=timedelta(hours=2)), channel)
    path, arguments = BatchTrigger(**run.trigger_kwargs).serialize()
    assert path == run.deferral.classpath
    assert json.loads(json.dumps(arguments)) == run.trigger_kwargs
    assert arguments["watch"]["stall_timeout_s"] == 7200


def test_an_event_comes_back_as_it_was_sent() -> None:
    """One pair of functions writes and reads the event, whatever happened."""
    full = BatchEnd(7, 3, {"total_processed": 3}, is_over=True, is_stalled=True, receipt={"a": 1})
    for end in (BatchEnd(7), full, BatchEnd(7, error=("NotFound", "no"))):
        payload = json.loads(json.dumps(end.to_event().payload))
        again = BatchEnd.from_event(payload)
        assert json.loads(json.dumps(again.to_event().payload)) == payload


def a_trigger(batch: Batch | int, seconds: float = 10, **watch: Any) -> BatchTrigger:
    fields = {
        "batch_id": batch if isinstance(batch, int) else batch.batch_id,
        "total_recipients": None,
        "stall_timeout_s": 60.0,
        "poll_interval_s": 0.1,
        **watch,
    }
    deadline = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    return BatchTrigger("formant_default", None, fields, deadline, {"name": "March"})


def test_triggers_of_one_batch_call_share_one_poll(make_sandbox: Any) -> None:
    """Forty who wait for it cost one request a poll, and one for its number of recipients."""
    sandbox = make_sandbox(speed=300)
    batch = sandbox.place_batch(phones("00"))
    ends = run_all([a_trigger(batch) for _ in range(40)], channel_to(sandbox))
    assert all(end.is_over and end.total_recipients == 1 for end in ends)
    assert reads(sandbox)["detail"] == 1
    assert reads(sandbox)["metrics"] <= 8


def test_triggers_of_many_batch_calls_share_one_pace(make_sandbox: Any) -> None:
    """A rate limit is spent by all together, is not run into, and everybody is served."""
    sandbox = make_sandbox(speed=60, rate_limit=60)  # a window is a second
    batches = [sandbox.place_batch(phones("01")) for _ in range(150)]
    ends = run_all(
        [a_trigger(batch, total_recipients=1, seconds=30) for batch in batches], channel_to(sandbox)
    )
    assert [end.batch_id for end in ends] == [batch.batch_id for batch in batches]
    assert all(end.is_over for end in ends)
    assert sum(request.status == 429 for request in sandbox.requests) <= 1


def test_a_trigger_whose_deadline_has_passed_looks_once(make_sandbox: Any) -> None:
    """A triggerer that was away does not give up a batch call that has ended in the meantime."""
    sandbox = make_sandbox()
    batch = sandbox.place_batch(phones("00"))
    sandbox.advance(200)
    (end,) = run_all([a_trigger(batch, seconds=-600)], channel_to(sandbox))
    assert (end.is_over, end.is_stalled) == (True, False)


def test_a_deadline_ends_with_what_was_last_seen(make_sandbox: Any) -> None:
    """Not over, but its metrics are told, and what the task knew is handed back."""
    sandbox = make_sandbox(speed=1)
    batch = sandbox.place_batch(phones("00", "10"))
    (end,) = run_all([a_trigger(batch, seconds=0.4)], channel_to(sandbox))
    assert (end.is_over, end.total_recipients, end.receipt) == (False, 2, {"name": "March"})
    assert end.metrics is not None
    assert end.metrics["in_progress_count"] == 2


def test_the_worker_and_the_triggerer_see_the_same(make_sandbox: Any) -> None:
    """One flow, and two that drive it."""
    sandbox = make_sandbox()
    channel, batch = channel_to(sandbox), sandbox.place_batch(phones("00", "06"))
    (there,) = run_all([a_trigger(batch, stall_timeout_s=0.5)], channel)
    with process_left_alone(), supervised_by(channel):
        here = wait_here(FormantHook(), a_trigger(batch, stall_timeout_s=0.5))
    assert here == there
    assert there.is_stalled


@pytest.mark.parametrize("kind", HINDRANCES)
def test_an_error_that_does_not_pass_reaches_the_task(kind: str, sandbox: Sandbox) -> None:
    """A trigger fires in any case; the task fails as it would in a worker, and rings nobody."""
    task = a_sensor(sandbox.place_batch(phones("00")), deferrable=True, retries=3)
    run = error_reaching_the_task(kind, task, channel_to(sandbox), PRIVATE)
    assert "places no further batch call" in run.log_text


def test_no_request_leaves_before_the_time_the_api_named(make_sandbox: Any) -> None:
    """In a storm of 429s a hundred waiters together ask once each time they may."""
    sandbox = make_sandbox(speed=1)
    sandbox.inject(METRICS, Fault.RATE_LIMIT, times=2, retry_after=1)
    run_all(
        [a_trigger(number, seconds=2.5, total_recipients=1) for number in range(1, 101)], channel_to(sandbox)
    )
    asked = [request.at for request in sandbox.requests]
    assert (asked[1] - asked[0]).total_seconds() >= 1
    assert (asked[2] - asked[1]).total_seconds() >= 1


def test_on_kill_says_that_the_batch_call_goes_on() -> None:
    """There is no cancel: a user's action ends the wait and not the batch call."""
    with process_left_alone(), captured_logs() as lines:
        asyncio.run(a_trigger(7).on_kill())
    assert "all its recipients are called" in lines.text
