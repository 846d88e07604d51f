"""Calls for a time that is long gone: a backfill, a catch-up, a scheduler that was down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from support.calls import CREATE_CALL, NUMBER, an_operator
from support.supervisor import FakeSupervisor
from support.task_run import make_dag, run_task
from support.versions import needs_state_store

BUSY = "+14155550102"

pytestmark = pytest.mark.usefixtures("sleeps")


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def a_mapped_one(max_lateness: Any) -> Any:
    with make_dag():
        partial = FormantCreateCallOperator.partial(task_id="call", agent_id=456, max_lateness=max_lateness)
        return partial.expand(parameters=[{"customer_phone": NUMBER}])


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_run_of_last_month_rings_nobody(run_type: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """It is skipped, nothing is sent, and the log says why and what to do to ring all the same."""
    end = ago(days=30)
    run = run_task(an_operator(), channel, run_type=run_type, data_interval_end=end)
    assert (run.state, sandbox.requests) == ("skipped", [])
    assert f"that of {end:%Y-%m-%dT%H:%M}" in run.log_text
    assert "longer ago than max_lateness (1 day, 0:00:00) allows. No call was placed" in run.log_text
    assert "change the option that prevents it first" in run.log_text


@pytest.mark.parametrize(
    "case",
    [
        ("scheduled", 23.9, 86400, 1),
        ("scheduled", 24.1, 86400, 0),
        ("backfill", 23.9, 86400, 1),
        ("backfill", 24.1, timedelta(days=2), 1),
        ("scheduled", 1.1, timedelta(hours=1), 0),
        ("scheduled", 0.9, 3600, 1),
        ("backfill", 720, None, 1),
        ("scheduled", 720, None, 1),
        ("manual", 720, 86400, 1),
        ("manual", 720, 60, 1),
        ("asset_triggered", 720, 86400, 1),
        ("scheduled", -1, 60, 1),
    ],
)
def test_the_end_of_the_data_interval_counts(
    case: tuple[str, float, Any, int], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """For runs that nobody asked for at the time; those that somebody starts are never late."""
    run_type, hours, max_lateness, rings = case
    end = ago(hours=hours)
    run = run_task(an_operator(max_lateness=max_lateness), channel, run_type=run_type, data_interval_end=end)
    assert run.state == ("success" if rings else "skipped")
    assert sandbox.rings.total() == rings


def test_a_run_without_a_data_interval_is_as_late_as_it_was_due(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Some schedules have no interval; their runs are judged by the time from which they may run."""
    run = run_task(an_operator(), channel, run_type="scheduled", logical_date=None)
    assert (run.state, sandbox.requests) == ("skipped", [])


def test_a_scheduled_call_is_judged_the_same_way(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """That the phone is to ring tomorrow does not make last month's reason a new one."""
    operator = an_operator(scheduled_for=pendulum.now("UTC").add(days=1))
    run = run_task(operator, channel, run_type="backfill", data_interval_end=ago(days=30))
    assert (run.state, sandbox.requests) == ("skipped", [])


@needs_state_store
@pytest.mark.parametrize("mapped", [False, True])
def test_a_call_that_was_placed_is_handed_on_however_late(
    mapped: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A clear, a month later, returns the receipt: only a new call is not allowed."""
    operator = a_mapped_one(3600) if mapped else an_operator(max_lateness=3600)
    row: dict[str, Any] = {"run_type": "scheduled", "map_index": 0 if mapped else -1}
    first = run_task(operator, channel, data_interval_end=ago(minutes=1), **row)
    again = run_task(operator, channel, data_interval_end=ago(days=30), try_number=2, **row)
    assert again.state == first.state == "success"
    assert again.xcoms["trace_id"] == first.xcoms["trace_id"]
    assert sandbox.rings == {NUMBER: 1}


def test_a_late_retry_finds_the_call_of_the_first_try(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The first try was in time, and its answer was lost: the call is not denied by a skip."""
    sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=3)
    operator = an_operator(max_lateness=3600)
    in_time = {"run_type": "scheduled", "data_interval_end": ago(minutes=59)}
    assert run_task(operator, channel, **in_time).state == "up_for_retry"
    sandbox.advance(600)
    late = {"run_type": "scheduled", "data_interval_end": ago(minutes=61)}
    run = run_task(operator, channel, try_number=2, **late)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["placement"] == "found"
    assert sandbox.rings == {NUMBER: 1}


@needs_state_store
def test_a_late_retry_of_a_refused_call_is_skipped(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Nobody was called by the first try, and it is too late for a second."""
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, times=4)
    operator = an_operator(max_lateness=3600)
    in_time = {"run_type": "scheduled", "data_interval_end": ago(minutes=59)}
    assert run_task(operator, channel, **in_time).state == "up_for_retry"
    late = {"run_type": "scheduled", "data_interval_end": ago(minutes=61)}
    assert run_task(operator, channel, try_number=2, **late).state == "skipped"
    assert sandbox.rings == {}


@needs_state_store
@pytest.mark.parametrize("map_index", [-1, 0])
def test_a_skipped_call_rings_when_it_is_cleared_with_another_option(
    map_index: int, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """As the log says; the skipped try left no doubt behind, in a mapped task either."""
    run_of = {"run_type": "backfill", "data_interval_end": ago(days=30), "map_index": map_index}
    for try_number, max_lateness in ((1, 86400), (2, 86400), (3, None)):
        operator = an_operator(max_lateness=max_lateness) if map_index < 0 else a_mapped_one(max_lateness)
        run = run_task(operator, channel, try_number=try_number, **run_of)
        assert run.state == ("skipped" if max_lateness else "success")
    assert sandbox.rings == {NUMBER: 1}


@needs_state_store
def test_a_further_call_comes_too_late_as_well(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """After a busy line nobody is called again when it is late; the first call's receipt stays."""
    operator = an_operator(
        BUSY, redial_on={"busy"}, wait_for_completion=True, deferrable=True, retries=1, max_lateness=3600
    )
    run_of = {"run_type": "scheduled", "data_interval_end": ago(minutes=1)}
    first = run_task(operator, channel, **run_of)
    sandbox.advance(600)
    run_of["data_interval_end"] = ago(days=1)
    assert run_task(operator, channel, try_number=2, **run_of).xcoms == first.xcoms
    assert sandbox.rings == {BUSY: 1}


@pytest.mark.parametrize("value", [0, -1, "1 day", True, timedelta(0), float("nan")], ids=repr)
def test_a_lateness_that_cannot_be_meant_breaks_the_dag_file(value: Any) -> None:
    """A mistake shows when the DAG is parsed; 0 would skip every call, and None is how to turn it off."""
    with pytest.raises(ValueError, match="max_lateness"):
        an_operator(max_lateness=value)
