"""Every outcome in every way to wait: the task ends when the batch call does, and says how it went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from batches.modes import WAYS, phones, reads, wait_in
from waiting.conftest import channel_to

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH_DETAIL, METRICS
from support.supervisor import FakeSupervisor
from support.versions import HAS_STATE_STORE

Make = Callable[..., Sandbox]

pytestmark = pytest.mark.parametrize("way", WAYS)

ALL_COUNTED = ["00", "01", "02", "03", "04", "05"]
COUNTS = {
    "completed_count": 1,
    "success_count": 1,
    "no_answer_count": 1,
    "busy_count": 1,
    "failed_count": 1,
    "unreachable_count": 1,
    "socket_failure_count": 1,
    "total_processed": 6,
    "in_progress_count": 0,
    "pending_retry_count": 0,
}
WORLDS: dict[str, dict[str, Any]] = {
    "at once": {},
    "one after the other": {"batch_calls_per_minute": 6},
    "with redials": {"platform_redials": 1, "platform_redial_after_seconds": 600},
}


def test_the_metrics_are_pushed(way: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """By the vendor's names, with id, name, number of recipients and the vendor's status."""
    batch = sandbox.place_batch(phones(*ALL_COUNTED), name="March")
    run = wait_in(way, channel, batch)
    assert run.state == "success", run.log_text
    result = run.xcoms["return_value"]
    assert {name: result[name] for name in ("batch_id", "name", "total_recipients", "status", "stalled")} == {
        "batch_id": batch.batch_id,
        "name": "March",
        "total_recipients": 6,
        "status": "pending",
        "stalled": False,
    }
    assert {name: result["metrics"][name] for name in COUNTS} == COUNTS
    assert result["metrics"]["success_rate"] == pytest.approx(16.67)
    assert "6 of 6 recipients are processed (100 %)" in run.log_text


@pytest.mark.parametrize("world", WORLDS)
def test_nobody_is_missed(way: str, world: str, make_sandbox: Make) -> None:
    """It is over when the last recipient is done with, whoever is to be called again."""
    sandbox = make_sandbox(**WORLDS[world])
    run = wait_in(way, channel_to(sandbox), sandbox.place_batch(phones("00", "01", "00")))
    assert run.state == "success", run.log_text
    metrics = run.xcoms["return_value"]["metrics"]
    assert metrics["total_processed"] == 3
    assert metrics["completed_count"] == (3 if world == "with redials" else 2)


@pytest.mark.parametrize("uncounted", ["nowhere", "processed", "failed"])
def test_telephony_failures_may_be_counted_or_not(way: str, uncounted: str, make_sandbox: Make) -> None:
    """Where they are in no count, the batch call ends by stall_timeout, with a warning and marked so."""
    stalls = uncounted == "nowhere"
    if stalls and way == "reschedule" and not HAS_STATE_STORE:
        pytest.skip("nothing outlives a look before Airflow 3.3")
    sandbox = make_sandbox(uncounted_outcomes=uncounted)
    run = wait_in(way, channel_to(sandbox), sandbox.place_batch(phones("00", "06")), stall_timeout=0.5)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["stalled"] is stalls
    assert ("nothing has changed" in run.log_text) is stalls


RATES = [
    (None, "fail", "success"),
    (50, "fail", "success"),
    (50.1, "fail", "failed"),
    (100, "fail", "failed"),
    (100, "succeed", "success"),
    (0, "fail", "success"),
]


@pytest.mark.parametrize(("minimum", "choice", "state"), RATES)
def test_a_threshold_is_one_of_all_recipients(  # noqa: PLR0917 - a table
    way: str, minimum: Any, choice: str, state: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """min_success_rate ends the task as on_below_threshold says; the metrics go to XCom in each case."""
    batch = sandbox.place_batch(phones("00", "01"))
    options = {"min_success_rate": minimum, "on_below_threshold": choice, "retries": 3}
    run = wait_in(way, channel, batch, **options)
    assert run.state == state, run.log_text
    assert run.xcoms["return_value"]["metrics"]["success_count"] == 1
    if state == "failed":
        assert "50.0 %" in run.log_text
        assert "would place no further call" in run.log_text


def test_a_total_that_is_given_is_not_asked_for(way: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """As digits too, which is what a template renders to; the one detail is the last word on its name."""
    batch = sandbox.place_batch(phones("01"))
    run = wait_in(way, channel, str(batch.batch_id), total_recipients="1")
    assert run.state == "success", run.log_text
    assert reads(sandbox)["detail"] == 1


@pytest.mark.parametrize("fault", [Fault.ERROR_500_BEFORE, Fault.DROP_BEFORE, Fault.GARBAGE, Fault.NOT_FOUND])
@pytest.mark.parametrize("endpoint", [METRICS, BATCH_DETAIL])
def test_errors_that_pass_fail_nobody(
    way: str, fault: Fault, endpoint: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """5xx, lost connections, garbage and a moment of absence slow a wait down and fail nobody."""
    sandbox.inject(endpoint, fault, times=2)
    run = wait_in(way, channel, sandbox.place_batch(phones("01")))
    assert run.state == "success", run.log_text


def test_a_batch_call_that_does_not_end_runs_into_the_timeout(way: str, make_sandbox: Make) -> None:
    """Nothing in the metrics is taken for the end."""
    sandbox = make_sandbox(speed=1)
    run = wait_in(way, channel_to(sandbox), sandbox.place_batch(phones("00")), timeout=0.4)
    assert run.state in {"failed", "up_for_reschedule"}
    result = run.xcoms.get("return_value", {})
    assert (result.get("status"), result.get("reason", "timeout")) == (None, "timeout")
    assert "metrics" not in result


def test_a_batch_call_that_is_not_there_is_not_over(
    way: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Whatever stall_timeout is: nothing was ever seen."""
    run = wait_in(way, channel, 4711, timeout=0.4, stall_timeout=0.1)
    assert run.state in {"failed", "up_for_reschedule"}
    assert sandbox.rings == {}


def test_waiting_places_no_call(way: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A sensor sends nothing but reads, and shows no number."""
    run = wait_in(way, channel, sandbox.place_batch(phones("01")))
    assert {request.method for request in sandbox.requests} == {"GET"}
    assert "4155550101" not in f"{run.messages} {run.log_text}"


@pytest.mark.parametrize("choice", ["fail", "succeed"])
@pytest.mark.parametrize("why", ["somebody is to be called again", "the calls have not begun"])
def test_a_batch_call_with_people_left_has_not_stalled_into_success(
    way: str, why: str, choice: str, make_sandbox: Make
) -> None:
    """When nothing changes though somebody is still to be called the task fails, or ends as was chosen."""
    if way == "reschedule" and not HAS_STATE_STORE:
        pytest.skip("nothing outlives a look before Airflow 3.3")
    if why == "the calls have not begun":
        sandbox = make_sandbox(batch_calls_per_minute=1, speed=0)
    else:
        sandbox = make_sandbox(speed=0, platform_redials=1, platform_redial_after_seconds=6000)
    batch = sandbox.place_batch(phones("01"))
    if why == "somebody is to be called again":
        sandbox.advance(100)
    rings = dict(sandbox.rings)
    run = wait_in(way, channel_to(sandbox), batch, stall_timeout=0.3, on_stalled=choice, retries=3)
    assert run.state == ("success" if choice == "succeed" else "failed"), run.log_text
    result = run.xcoms["return_value"]
    assert result["stalled"] is True
    assert "is not over, and nothing has changed in it" in run.log_text
    if choice == "fail":
        assert "This task places no further call" in run.log_text
    assert sandbox.rings == rings


def test_a_batch_call_that_does_not_exist_fails_after_a_while(
    way: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """An id that the API does not know is not waited for to the end of the timeout."""
    if way == "reschedule":
        pytest.skip("a process for each look: see test_sensor.py")
    run = wait_in(way, channel, 4711, timeout=60, missing_timeout=0.3, retries=3)
    assert run.state == "failed"
    assert "answered 404" in str(run.error)
    assert "Check that the agent or batch call exists" in run.log_text
    assert sandbox.rings == {}


def test_a_batch_call_that_is_known_late_is_waited_for(
    way: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """What was just placed may not be known everywhere yet; being seen once ends the doubt."""
    sandbox.inject(METRICS, Fault.NOT_FOUND, times=3)
    run = wait_in(way, channel, sandbox.place_batch(phones("01")), missing_timeout=60)
    assert run.state == "success", run.log_text
