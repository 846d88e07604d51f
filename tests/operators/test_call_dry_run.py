"""A dry run of a call says when the phone would ring, or why not, and asks nothing of the vendor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.calling_window import CallingWindow
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Sandbox
from support.calls import NUMBER, an_operator
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

TODAY = datetime.now(UTC).date()
# Open for an hour, each day but today and tomorrow.
LATER = CallingWindow(
    "12:00", "13:00", timezone="UTC", holidays=[TODAY + timedelta(days=n) for n in (-1, 0, 1)]
)
ANY, PAST = CallingWindow("00:00", "24:00"), datetime.now(UTC) - timedelta(hours=1)
OPENS_AT = f"{TODAY + timedelta(days=2)}T12:00:00Z"

pytestmark = pytest.mark.usefixtures("sleeps")


def dry_run_result(channel: FakeSupervisor, attempt: Any = None, **fields: Any) -> TaskRun:
    return run_task(an_operator(**{"dry_run": True, **fields}), channel, **(attempt or {}))


@pytest.mark.parametrize("dry_run", [True, "true", "{{ 1 == 1 }}"])
def test_a_dry_run_asks_the_vendor_nothing(dry_run: Any, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Not one request, nor a wait; the result is one like any other, of status dry_run."""
    fields = {"wait_for_completion": True, "deferrable": True, "reference": "LN-1"}
    run = dry_run_result(channel, dry_run=dry_run, **fields)
    assert (run.state, sandbox.requests) == ("success", [])
    result = run.xcoms["return_value"]
    assert (result["status"], result["placement"], result["scheduled_for"]) == ("dry_run", None, None)
    assert (result["trace_id"], result["reason"], result["reference"]) == (None, None, "LN-1")
    [entry] = result["by_opening"]
    assert entry == {"zones": "America/Los_Angeles", "is_open": True, "opens_at": None, "count": 1}
    assert (run.xcoms["trace_id"], run.xcoms["status"]) == ("", "dry_run")
    assert NUMBER not in run.log_text


def test_a_dry_run_says_when_the_phone_would_ring(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Outside of the hours at their next opening, in the result and in the log."""
    run = dry_run_result(channel, calling_window=LATER)
    assert (run.state, sandbox.requests) == ("success", [])
    result = run.xcoms["return_value"]
    assert (result["status"], result["scheduled_for"]) == ("dry_run", OPENS_AT)
    [entry] = result["by_opening"]
    assert entry == {"zones": "UTC", "is_open": False, "opens_at": OPENS_AT, "count": 1}
    assert f"1 may be called from {OPENS_AT} on (UTC)" in run.log_text


def test_a_time_of_your_own_is_said_too(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Without hours the phone rings when it was asked to."""
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    run = dry_run_result(channel, scheduled_for=moment)
    assert run.xcoms["return_value"]["scheduled_for"] == f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    assert sandbox.requests == []


def test_the_hours_are_those_of_the_time_of_your_own(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A call for an open hour two days ahead is not said to wait for it, nor to ring now."""
    moment = datetime.fromisoformat(OPENS_AT) + timedelta(minutes=30)
    run = dry_run_result(channel, scheduled_for=moment, calling_window=LATER)
    assert (run.state, sandbox.requests) == ("success", [])
    result = run.xcoms["return_value"]
    assert result["scheduled_for"] == f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    assert result["by_opening"] == [{"zones": "UTC", "is_open": True, "opens_at": None, "count": 1}]
    assert f"1 may be called at {moment:%Y-%m-%dT%H:%M:%SZ} (UTC)" in run.log_text


LATE = {"run_type": "backfill", "data_interval_end": datetime.now(UTC) - timedelta(days=30)}
SKIPS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "on the do-not-call list": ({"suppress": [NUMBER]}, {}, "suppressed"),
    "outside of the hours": ({"calling_window": LATER, "on_closed": "skip"}, {}, "closed"),
    "too late": ({}, LATE, "late"),
}


@pytest.mark.parametrize(("fields", "attempt", "reason"), SKIPS.values(), ids=SKIPS)
def test_what_would_be_skipped_is_said(
    fields: dict[str, Any], attempt: dict[str, Any], reason: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The task succeeds, and the result has the reason for which the call would be skipped."""
    run = dry_run_result(channel, attempt, **fields)
    assert (run.state, sandbox.requests) == ("success", [])
    result = run.xcoms["return_value"]
    assert (result["status"], result["reason"], result["scheduled_for"]) == ("dry_run", reason, None)
    assert "this task would be skipped" in run.log_text


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no number": ({"parameters": {"customer_phone": "nobody"}}, "customer_phone: "),
    "no agent": ({"agent_id": "agent"}, "agent_id: "),
    "a list that is lost": ({"suppress": []}, "suppress: "),
    "a time that is past": ({"scheduled_for": PAST}, "scheduled_for: lies in the past"),
    "a past time in the hours": ({"scheduled_for": PAST, "calling_window": ANY}, "scheduled_for: lies in"),
    "no connection": ({"formant_conn_id": "nowhere"}, "formant_conn_id"),
    "hours of nonsense": ({"calling_window": CallingWindow("{{ 'x' }}")}, "calling_window.start: "),
    "closed hours": ({"calling_window": LATER, "on_closed": "fail"}, "calling_window is closed now"),
    "a field without a value": ({"idempotency_key": "{{ none }}"}, "idempotency_key: "),
    "no word for true or false": ({"dry_run": "{{ 'yes' }}"}, "dry_run: "),
    "nothing": ({"dry_run": ""}, "dry_run: "),
    "None": ({"dry_run": None}, "dry_run: "),
}


@pytest.mark.parametrize(("fields", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_would_fail_fails(
    fields: dict[str, Any], fault: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """For the reason for which it would if it were meant; and a doubt about the wish itself calls nobody."""
    operator = an_operator(
        **{"dry_run": True, **fields, "agent_id": 456, "parameters": {"customer_phone": NUMBER}}
    )
    # As from another task: what is literal fails when the file is parsed.
    vars(operator).update({name: fields[name] for name in ("agent_id", "parameters") if name in fields})
    run = run_task(operator, channel)
    assert run.state in {"failed", "up_for_retry"}
    assert fault in run.log_text
    assert sandbox.requests == []


@needs_state_store
@pytest.mark.parametrize("map_index", [-1, 0])
def test_a_real_run_after_it_is_not_affected(
    map_index: int, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Cleared without dry_run the call is placed, once; nothing is in doubt."""
    for try_number, dry_run, placement in ((1, True, None), (2, False, "placed"), (3, False, "placed")):
        operator: Any = an_operator(dry_run=dry_run)
        if map_index == 0:
            with make_dag():
                operator = FormantCreateCallOperator.partial(
                    task_id="call", agent_id=456, dry_run=dry_run
                ).expand(parameters=[{"customer_phone": NUMBER}])
        run = run_task(operator, channel, try_number=try_number, map_index=map_index)
        assert run.state == "success", run.log_text
        assert run.xcoms["return_value"]["placement"] == placement
    assert sandbox.rings == {NUMBER: 1}


@needs_state_store
def test_a_dry_run_after_a_lost_answer_keeps_the_doubt(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """It looks at nothing and writes nothing: the next real try finds the call of the first."""
    first = run_task(an_operator(), channel)
    asked = len(sandbox.requests)
    assert run_task(an_operator(dry_run=True), channel, try_number=2).state == "success"
    assert len(sandbox.requests) == asked
    again = run_task(an_operator(), channel, try_number=3)
    assert again.xcoms["trace_id"] == first.xcoms["trace_id"]
    assert sandbox.rings == {NUMBER: 1}
