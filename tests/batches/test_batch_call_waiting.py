"""The wait for a batch call ends when it is over, and the task as its user wants it to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from batches.batch_call import NUMBERS, ONE_RING_EACH, WAIT, a_batch_call, asked, posts, wait_for
from waiting.conftest import channel_to
from waiting.modes import to_the_end

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH_DETAIL, METRICS
from support.scripted_server import Answer, ScriptedServer, Seen
from support.supervisor import FakeSupervisor
from support.task_run import run_task, run_trigger
from support.versions import needs_state_store

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
LONG = {"speed": 1}  # a call lasts for minutes
# Answered, and the carrier failed: the vendor has no count for that.
UNCOUNTED = [{"customer_phone": "+14155550120"}, {"customer_phone": "+14155550106"}]


@BOTH
def test_a_batch_call_is_waited_for_to_its_end(
    deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Metrics, status and counts go downstream, and nobody is called twice."""
    run = wait_for(channel, deferrable=deferrable)
    assert run.state == "success", run.log_text
    (batch,) = sandbox.batches
    result = run.xcoms["return_value"]
    assert result | {"metrics": 0, "placed_at": 0, "contacts": 0} == {
        "batch_id": batch.batch_id,
        "name": batch.name,
        "agent_id": 456,
        "total_recipients": 3,
        "placement": "placed",
        "reason": None,
        "map_index": -1,
        "reference": None,
        "status": "pending",
        "stalled": False,
        "metrics": 0,
        "placed_at": 0,
        "contacts": 0,
    }
    metrics = result["metrics"]
    assert (metrics["total_processed"], metrics["success_count"], metrics["no_answer_count"]) == (3, 2, 1)
    assert result["contacts"]["accepted"] == 3
    assert run.xcoms["batch_id"] == batch.batch_id
    assert sandbox.rings == ONE_RING_EACH
    assert "3 of 3 recipients are processed (100 %)" in run.log_text or deferrable


@BOTH
def test_redials_of_the_platform_are_waited_for(deferrable: bool, make_sandbox: Any) -> None:
    """Who is to be called again is not done with, and the last attempt is what counts."""
    sandbox = make_sandbox(platform_redials=1)
    run = wait_for(channel_to(sandbox), deferrable=deferrable, min_success_rate=100)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["metrics"]["success_count"] == 3


@BOTH
@pytest.mark.parametrize(("choice", "state"), [("fail", "failed"), ("return", "success")])
def test_the_end_of_the_time_is_the_user_s_choice(
    choice: str, state: str, deferrable: bool, make_sandbox: Any
) -> None:
    """on_timeout fails without retries, or returns what is known; nobody is called again in either case."""
    sandbox = make_sandbox(**LONG)
    options = {
        "timeout": timedelta(seconds=0.3),
        "on_timeout": choice,
        "deferrable": deferrable,
        "retries": 3,
    }
    run = wait_for(channel_to(sandbox), min_success_rate=50, **options)
    assert run.state == state
    result = run.xcoms["return_value"]
    assert (result["metrics"]["in_progress_count"], result["stalled"]) == (3, False)
    assert result["batch_id"] == sandbox.batches[0].batch_id
    assert "is not over" in run.log_text
    assert "nobody is called again" in run.log_text
    assert isinstance(run.error, AirflowFailException) is (choice == "fail")
    assert posts(sandbox) == 1


@needs_state_store
@BOTH
def test_a_task_that_is_cleared_after_its_time_waits_once_more(deferrable: bool, make_sandbox: Any) -> None:
    """The log says so, and it is so: the same batch call, and no other upload."""
    sandbox = make_sandbox(**LONG)
    channel = channel_to(sandbox)
    first = wait_for(channel, timeout=0.001, deferrable=deferrable)
    assert first.state == "failed"
    sandbox.advance(600)
    second = to_the_end(a_batch_call(**WAIT, deferrable=deferrable), channel, try_number=2)
    assert second.state == "success", second.log_text
    assert second.xcoms["return_value"]["batch_id"] == first.xcoms["batch_id"]
    assert second.xcoms["return_value"]["contacts"] is None
    assert sandbox.rings == ONE_RING_EACH


@BOTH
def test_numbers_that_never_add_up_end_by_stalling(
    deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A batch call of which nothing has been heard for stall_timeout is over, with a warning."""
    run = wait_for(channel, UNCOUNTED, stall_timeout=0.4, deferrable=deferrable, on_timeout="fail")
    assert run.state == "success", run.log_text
    result = run.xcoms["return_value"]
    assert (result["stalled"], result["metrics"]["total_processed"]) == (True, 1)
    assert "so it is taken to be over" in run.log_text or deferrable
    assert sandbox.rings.total() == 2


RATES: list[tuple[Any, str, str]] = [
    (66, "fail", "success"),
    (67, "fail", "failed"),
    (67, "succeed", "success"),
    (0, "fail", "success"),
    (None, "fail", "success"),
]


@BOTH
@pytest.mark.parametrize(("rate", "choice", "state"), RATES)
def test_too_few_successes_are_the_user_s_choice(  # noqa: PLR0917 - a table
    rate: Any, choice: Any, state: str, deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Two of three were reached, which is 66.7 %: the threshold says whether that is enough."""
    options = {"min_success_rate": rate, "on_below_threshold": choice, "retries": 3, "deferrable": deferrable}
    run = wait_for(channel, **options)
    assert run.state == state, run.log_text
    assert run.xcoms["return_value"]["metrics"]["success_count"] == 2
    if rate == 67:
        assert "is 66.7 %, and 67 % were asked for" in run.log_text
    if state == "failed":
        assert str(run.error).endswith("A retry would place no further call.")
    assert sandbox.rings == ONE_RING_EACH


@pytest.mark.parametrize("known", ["counts", "rate", "nothing"])
def test_a_rate_that_nobody_knows_is_not_enough(known: str) -> None:
    """Without a count the vendor's own rate is taken; without either the task fails, and says unknown."""
    counts = {"total_processed": 3, "in_progress_count": 0, "pending_retry_count": 0}
    more = {"counts": {"success_count": 2}, "rate": {"success_rate": 66.67}, "nothing": {}}[known]
    batch = {"id": 7, "agent_id": 456, "total_recipients": 3, "status": "done"}

    def answer(seen: Seen) -> Answer:
        return Answer(body={"data": counts | more if seen.path.endswith("/metrics") else batch})

    with ScriptedServer(answer) as server:
        connection = {"conn_type": "formant", "host": server.base_url, "password": "k"}
        channel = FakeSupervisor({"formant_default": connection})
        run = wait_for(channel, min_success_rate=60)
    assert run.state == ("failed" if known == "nothing" else "success"), run.log_text
    if known == "nothing":
        assert "is unknown, and 60 % were asked for" in str(run.error)
        assert run.xcoms["return_value"]["status"] == "done"


@BOTH
def test_a_storm_is_weathered(deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Errors that pass put the wait off, and a name that cannot be read is gone without."""
    sandbox.inject(METRICS, Fault.ERROR_503_BEFORE, times=2)
    sandbox.inject(BATCH_DETAIL, Fault.NOT_FOUND)
    run = wait_for(channel, deferrable=deferrable, timeout=20)
    assert run.state == "success", run.log_text
    result = run.xcoms["return_value"]
    assert (result["name"], result["status"]) == (sandbox.batches[0].name, None)
    assert posts(sandbox) == 1


def test_what_is_stored_of_a_deferred_wait_is_plain(make_sandbox: Any) -> None:
    """The deadline is a moment, and Airflow gives up later than we do."""
    run = run_task(a_batch_call(**{**WAIT, "timeout": 60}, deferrable=True), channel_to(make_sandbox(**LONG)))
    deadline = datetime.fromisoformat(run.trigger_kwargs["deadline"])
    assert timedelta(seconds=50) < deadline - datetime.now(deadline.tzinfo) <= timedelta(seconds=60)
    assert run.deferral.trigger_timeout > timedelta(minutes=30)
    watch = run.trigger_kwargs["watch"]
    assert (watch["total_recipients"], watch["poll_interval_s"], watch["stall_timeout_s"]) == (3, 0.05, 3600)


def test_a_batch_call_in_the_worker_costs_few_requests(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """One upload, a look every poll_interval, and one more for name and status."""
    assert wait_for(channel, poll_interval=0.5).state == "success"
    assert posts(sandbox) == asked(sandbox, BATCH_DETAIL) == 1
    assert asked(sandbox, METRICS) <= 2


@needs_state_store
def test_trouble_in_the_triggerer_ends_the_task_and_a_retry_waits_on(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A key that is refused meanwhile fails for good; cleared with a good one, the task goes on waiting."""
    operator = a_batch_call(**WAIT, deferrable=True, retries=3)
    deferral = run_task(operator, channel).deferral
    good = channel.connections["formant_default"]
    channel.connections["formant_default"] = {**good, "password": "another-key"}
    event = run_trigger(deferral, channel).event
    run = run_task(operator, channel, resume_event=event)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert "The batch call was placed before" in str(run.error)
    channel.connections["formant_default"] = good
    assert to_the_end(a_batch_call(**WAIT, deferrable=True), channel, try_number=2).state == "success"
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)
