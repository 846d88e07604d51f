"""Every outcome in every way to wait: the task ends when the conversation does, and says how it ended."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from waiting.conftest import channel_to
from waiting.modes import MODES, NUMBER, wait_in

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import DETAIL, LIST
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun

Make = Callable[..., Sandbox]

pytestmark = pytest.mark.parametrize("mode", MODES)

OUTCOMES = {
    "00": "completed",
    "01": "no_answer",
    "02": "busy",
    "03": "failed",
    "04": "unreachable",
    "05": "socket_failure",
    "06": "telephony_failed",
}
LISTS: dict[str, dict[str, Any]] = {
    "trace_id in the list": {"trace_id_in_list": True},
    "trace_id in the detail alone": {},
    "oldest first": {"list_order": "oldest_first"},
    "by end": {"list_order": "newest_end_first"},
    "in no order": {"list_order": "unordered"},
    "record from the start": {"record_appears": "start"},
}


def assert_over(run: TaskRun, sandbox: Sandbox, status: str, *, state: str = "success") -> None:
    """The task ended in this state, and XCom tells of this call's own record."""
    assert run.state == state, run.log_text
    (call,) = sandbox.calls
    result = run.xcoms["return_value"]
    assert result["status"] == run.xcoms["status"] == status
    assert result["trace_id"] == run.xcoms["trace_id"] == call.trace_id
    assert result["conversation_id"] == run.xcoms["conversation_id"] == call.conversation_id
    assert result["duration_seconds"] == call.ending.duration_seconds
    assert result["failure_reason"] == call.ending.failure_reason
    assert (result["results"] is not None) is (status == "completed")
    assert "transcript" not in result
    assert sandbox.rings == {call.customer_phone: 1}
    assert call.customer_phone.lstrip("+") not in f"{run.xcoms} {run.masked_log_text} {run.state_store}"


@pytest.mark.parametrize("ending", OUTCOMES)
def test_a_wait_ends_with_the_outcome(
    mode: str, ending: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Status, duration, failure reason and results go downstream; what was not expected fails the task."""
    run = wait_in(mode, channel, sandbox, ending)
    assert_over(run, sandbox, OUTCOMES[ending], state="success" if ending == "00" else "failed")


@pytest.mark.parametrize("settings", LISTS.values(), ids=LISTS)
def test_the_form_of_the_list_does_not_matter(
    mode: str, settings: dict[str, Any], make_sandbox: Make
) -> None:
    """Whatever the list's order is, and whether it holds trace ids: the call's own record is found."""
    sandbox = make_sandbox(**settings)
    assert_over(wait_in(mode, channel_to(sandbox), sandbox, "00"), sandbox, "completed")


def test_an_unknown_word_is_waited_on(mode: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A status that nobody documents is neither success nor the end, and the log says so."""
    run = wait_in(mode, channel, sandbox, "07", timeout=1)
    assert run.state in {"failed", "up_for_reschedule"}
    result = run.xcoms.get("return_value", {})
    assert result.get("status") in {None, "initiated"}
    assert "duration_seconds" not in result


def test_an_unknown_word_can_be_made_final(mode: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """terminal_statuses ends the wait at a further word, success_statuses makes it welcome as well."""
    run = wait_in(mode, channel, sandbox, "07", success_statuses={"completed", "voicemail_reached"})
    assert run.state == "success"
    assert run.xcoms["status"] == "voicemail_reached"


def test_a_record_that_never_appears_runs_into_the_deadline(
    mode: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Without a record the task waits as long as it may, and says that a call may have been placed."""
    run = wait_in(mode, channel, sandbox, "08", timeout=0.4)
    assert run.state in {"failed", "up_for_reschedule"}
    assert sandbox.rings == {f"{NUMBER}08": 1}


def test_a_record_may_appear_late(mode: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Absence is no error while there is time."""
    assert_over(wait_in(mode, channel, sandbox, "09"), sandbox, "completed")


def test_a_detail_may_be_missing_once(mode: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A 404 for a record that the list shows is looked at again."""
    sandbox.inject(DETAIL, Fault.NOT_FOUND)
    assert_over(wait_in(mode, channel, sandbox, "00", timeout=60), sandbox, "completed")


@pytest.mark.parametrize(
    "fault", [Fault.ERROR_500_BEFORE, Fault.ERROR_503_BEFORE, Fault.DROP_BEFORE, Fault.GARBAGE]
)
@pytest.mark.parametrize("endpoint", [LIST, DETAIL])
def test_errors_that_pass_fail_nobody(
    mode: str, fault: Fault, endpoint: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """5xx, lost connections and garbage slow a wait down and fail nobody."""
    sandbox.inject(endpoint, fault, times=2)
    assert_over(wait_in(mode, channel, sandbox, "00", timeout=60), sandbox, "completed")


def test_a_rate_limit_is_kept(mode: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """After a 429 nothing is asked before the time the API named."""
    sandbox.inject(LIST, Fault.RATE_LIMIT, times=2, retry_after=1)
    run = wait_in(mode, channel, sandbox, "00", timeout=60)
    assert_over(run, sandbox, "completed")
    lists = [request for request in sandbox.requests if request.endpoint == LIST]
    assert [request.status for request in lists[:3]] == [429, 429, 200]
    for before, after in pairwise(lists):
        # In mode "reschedule" it is Airflow that keeps the time; what it is told is in test_sensor.py.
        if before.status == 429 and mode != "reschedule":
            assert (after.at - before.at).total_seconds() >= 1.0 * sandbox.speed


def test_two_calls_to_one_person_keep_apart(mode: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A call of somebody else's to the same person at the same time is not taken for ours."""
    others = [sandbox.place(f"{NUMBER}00", agent_id=456) for _ in range(2)]
    run = wait_in(mode, channel, sandbox, "00")
    assert run.state == "success"
    (ours,) = (call for call in sandbox.calls if call not in others)
    assert run.xcoms["trace_id"] == ours.trace_id
    assert run.xcoms["conversation_id"] == ours.conversation_id
