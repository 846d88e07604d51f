"""What a task does at the end of its wait is its user's choice; what is invalid is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from waiting.conftest import SPEED, channel_to
from waiting.modes import NUMBER, a_sensor, an_operator, reads, to_the_end

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import needs_state_store

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])

INVALID_OPTIONS: list[dict[str, Any]] = [
    {"poll_interval": 0},
    {"poll_interval": "soon"},
    {"timeout": -1},
    {"timeout": float("inf")},
    {"settle_for": -1},
    {"on_timeout": "succeed"},
    {"on_unsuccessful": "return"},
    {"success_statuses": "completed"},
    {"success_statuses": {""}},
    {"terminal_statuses": [7]},
]
INVALID_SENSOR_OPTIONS: list[dict[str, Any]] = [
    {},
    {"trace_id": "t", "conversation_id": "c"},
    {"trace_id": "t", "agent_id": None},
    {"conversation_id": "c", "settle_for": 60},
    {"trace_id": "t", "on_unsuccessful": "return"},
    {"trace_id": "t", "success_statuses": "completed"},
]
BAD_FIELDS: dict[str, dict[str, Any]] = {
    "agent_id": {"agent_id": "the best one"},
    "trace_id": {"trace_id": " "},
    "recipient": {"recipient": "4155550100"},
    "since": {"since": datetime(2026, 1, 1)},
}


@pytest.mark.parametrize("options", INVALID_OPTIONS, ids=str)
def test_an_invalid_option_breaks_the_dag_file(options: dict[str, Any]) -> None:
    """A mistake shows where it costs nothing."""
    (name,) = options
    with pytest.raises(ValueError, match=name):
        an_operator(**options)


@pytest.mark.parametrize("options", INVALID_SENSOR_OPTIONS, ids=str)
def test_an_invalid_sensor_breaks_the_dag_file(options: dict[str, Any]) -> None:
    """One id, with the agent when it is a trace id, and nothing that contradicts it."""
    with pytest.raises(ValueError, match=r"trace_id|on_unsuccessful|success_statuses"):
        a_sensor(**options)


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_a_bad_field_of_a_sensor_is_refused_before_anything_is_asked(
    field: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """What a template rendered to is checked, and the error names the field and never a number."""
    run = run_task(a_sensor(**{"trace_id": "t-1", **BAD_FIELDS[field]}, retries=3), channel)
    assert run.state == "failed"
    assert field in str(run.error)
    assert "4155550100" not in run.masked_log_text
    assert sandbox.requests == []


@BOTH
@pytest.mark.parametrize(
    ("choice", "state"), [("fail", "failed"), ("skip", "skipped"), ("return", "success")]
)
def test_the_end_of_the_time_is_the_user_s_choice(
    choice: str, state: str, deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """on_timeout fails without retries, skips, or returns the receipt, whose status is no outcome."""
    operator = an_operator("08", on_timeout=choice, timeout=0.3, retries=3, deferrable=deferrable)
    run = to_the_end(operator, channel)
    assert run.state == state
    assert run.xcoms["status"] == "initiated"
    if choice == "return":
        assert run.xcoms["return_value"]["trace_id"] == sandbox.calls[0].trace_id
        assert run.xcoms["return_value"]["status"] == "initiated"
    assert "A call may have been placed" in run.log_text


@BOTH
@pytest.mark.parametrize(
    ("choice", "state"), [("fail", "failed"), ("skip", "skipped"), ("succeed", "success")]
)
def test_an_outcome_that_was_not_expected_is_the_user_s_choice(
    choice: str, state: str, deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """on_unsuccessful fails without retries, skips or succeeds; the outcome goes to XCom in each case."""
    operator = an_operator("02", on_unsuccessful=choice, retries=3, deferrable=deferrable)
    run = to_the_end(operator, channel)
    assert run.state == state
    assert run.xcoms["return_value"]["status"] == run.xcoms["status"] == "busy"
    assert sandbox.rings.total() == 1


@BOTH
def test_a_busy_line_can_be_a_success(deferrable: bool, channel: FakeSupervisor) -> None:
    """success_statuses says which outcomes are expected."""
    operator = an_operator("02", success_statuses=["completed", "busy"], deferrable=deferrable)
    assert to_the_end(operator, channel).state == "success"


@BOTH
def test_the_transcript_is_pushed_when_it_is_asked_for(deferrable: bool, channel: FakeSupervisor) -> None:
    """include_transcript adds what was said, as the API gave it."""
    run = to_the_end(an_operator(include_transcript=True, deferrable=deferrable), channel)
    assert run.xcoms["return_value"]["transcript"][0]["role"] == "agent"
    assert "sandbox calling" not in run.log_text.replace(str(run.xcoms), "")


@needs_state_store
@BOTH
def test_an_outcome_to_redial_on_leaves_the_task_its_retries(
    deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A busy line in redial_on fails the try so that Airflow may retry; the retry calls and waits again."""
    options = {"redial_on": {"busy"}, "retries": 3, "deferrable": deferrable}
    first = to_the_end(an_operator("02", **options), channel)
    assert first.state == "up_for_retry"
    assert "Rahul-the-private" not in first.log_text
    second = to_the_end(an_operator("02", **options), channel, try_number=2)
    assert second.state == "up_for_retry"
    assert sandbox.rings == {f"{NUMBER}02": 2}
    assert second.xcoms["trace_id"] == sandbox.calls[1].trace_id != first.xcoms["trace_id"]


@needs_state_store
@BOTH
def test_a_retry_during_the_wait_goes_on_waiting_for_the_same_call(
    deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A try that was lost while it waited is followed by one that waits for the same call."""
    lost = run_task(an_operator(deferrable=True, retries=3), channel)
    assert lost.state == "deferred"
    run = to_the_end(an_operator(deferrable=deferrable, retries=3), channel, try_number=2)
    assert run.state == "success"
    assert run.xcoms["return_value"]["trace_id"] == lost.xcoms["trace_id"]
    assert sandbox.rings == {f"{NUMBER}00": 1}


@BOTH
def test_without_a_store_a_retry_finds_the_call_and_waits_for_it(deferrable: bool, make_sandbox: Any) -> None:
    """Below Airflow 3.3 the vendor's refusal of the key leads to the call, and the wait continues."""
    # By its recipient and time, so both clocks keep step.
    sandbox = make_sandbox(speed=1, call_speed=SPEED)
    channel = channel_to(sandbox)
    old = {"state_store": False, "logical_date": datetime.now(UTC)}
    run_task(an_operator(deferrable=True, retries=3), channel, **old)
    operator = an_operator(deferrable=deferrable, retries=3, lookup_timeout=0)
    run = to_the_end(operator, channel, try_number=2, **old)
    assert run.state == "success"
    assert run.xcoms["return_value"]["trace_id"] == sandbox.calls[0].trace_id
    assert sandbox.rings == {f"{NUMBER}00": 1}


@BOTH
def test_an_unconfirmed_call_is_waited_for_by_its_recipient(deferrable: bool, make_sandbox: Any) -> None:
    """A call whose receipt was lost, and that has no record yet, is found when its record appears."""
    sandbox = make_sandbox(speed=1, call_speed=300)  # the call lasts half a second
    sandbox.inject(CALL, Fault.DROP_AFTER)
    run = to_the_end(an_operator(lookup_timeout=0, deferrable=deferrable, timeout=20), channel_to(sandbox))
    assert run.state == "success", run.log_text
    result = run.xcoms["return_value"]
    assert result["placement"] == "found"
    assert (result["trace_id"], result["status"]) == (sandbox.calls[0].trace_id, "completed")
    assert sandbox.rings == {f"{NUMBER}00": 1}


@BOTH
@pytest.mark.parametrize(
    ("choice", "state"), [("fail", "failed"), ("skip", "skipped"), ("succeed", "success")]
)
def test_a_call_that_stays_unconfirmed_ends_as_on_unconfirmed_says(
    choice: str, state: str, deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """When the time is up and nothing was found, it is on_unconfirmed that decides."""
    from formant_provider.sandbox import Fault
    from formant_provider.sandbox.faults import CALL

    sandbox.inject(CALL, Fault.DROP_AFTER)
    operator = an_operator("08", lookup_timeout=0, deferrable=deferrable, timeout=0.3, on_unconfirmed=choice)
    run = to_the_end(operator, channel)
    assert run.state == state
    assert sandbox.rings == {f"{NUMBER}08": 1}


def test_a_scheduled_call_is_not_asked_for_before_its_time(channel: FakeSupervisor) -> None:
    """The wait, and its deadline, begin when the call does."""
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    run = run_task(an_operator(scheduled_for=in_an_hour, deferrable=True, timeout=60), channel)
    deadline = datetime.fromisoformat(run.trigger_kwargs["deadline"])
    assert deadline - in_an_hour >= timedelta(seconds=59)
    assert datetime.fromisoformat(run.trigger_kwargs["watch"]["since"]) >= in_an_hour - timedelta(seconds=1)


def test_a_wait_costs_a_list_a_poll_and_two_details(make_sandbox: Any) -> None:
    """In the worker: one list for each poll, one detail to be sure of the record, one to push it."""
    from waiting.conftest import channel_to

    sandbox = make_sandbox(speed=600)
    run = to_the_end(an_operator(timeout=60), channel_to(sandbox))
    assert run.state == "success"
    assert reads(sandbox)["detail"] == 2
    assert reads(sandbox)["list"] < 20


@BOTH
def test_of_two_calls_at_once_an_unconfirmed_one_takes_neither(
    deferrable: bool, make_sandbox: Callable[..., Sandbox]
) -> None:
    """Another task's call to the person lends no ids, and the log says why nothing was found."""
    sandbox = make_sandbox(speed=1, call_speed=30)  # no call is on record while this one is placed
    sandbox.inject(CALL, Fault.DROP_AFTER)
    sandbox.place(f"{NUMBER}00")
    operator = an_operator(
        lookup_timeout=0, deferrable=deferrable, timeout=10, on_unconfirmed="fail", retries=3
    )
    run = to_the_end(operator, channel_to(sandbox))
    assert run.state == "failed"
    assert run.xcoms["trace_id"] == ""
    assert "2 calls to or from this recipient began when this one can have begun" in run.log_text
    assert sandbox.rings == {f"{NUMBER}00": 2}
