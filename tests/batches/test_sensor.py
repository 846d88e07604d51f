"""What is the sensor's own: its options and fields, and how its time ends."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from batches.modes import WAYS, a_sensor, phones, reads, wait_in
from waiting.conftest import channel_to

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH_DETAIL
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import needs_state_store

INVALID_OPTIONS: list[dict[str, Any]] = [
    {"stall_timeout": 0},
    {"stall_timeout": "long"},
    {"stall_timeout": timedelta(seconds=-1)},
    {"min_success_rate": -1},
    {"min_success_rate": 100.5},
    {"min_success_rate": "80"},
    {"min_success_rate": True},
    {"min_success_rate": float("nan")},
    {"on_below_threshold": "skip"},
    {"on_stalled": "return"},
    {"missing_timeout": -1},
    {"missing_timeout": "soon"},
]
BAD_FIELDS: dict[str, dict[str, Any]] = {
    "batch_id": {"batch_id": "the last one"},
    "total_recipients": {"batch_id": 7, "total_recipients": "None"},
}


@pytest.mark.parametrize("options", INVALID_OPTIONS, ids=str)
def test_an_invalid_option_breaks_the_dag_file(options: dict[str, Any]) -> None:
    """A mistake shows where it costs nothing."""
    (name,) = options
    with pytest.raises(ValueError, match=name):
        a_sensor(7, **options)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", BAD_FIELDS)
def test_a_bad_field_is_refused_before_anything_is_asked(
    way: str, field: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """What a template rendered to is checked, and the error names the field."""
    options = dict(BAD_FIELDS[field])
    run = wait_in(way, channel, options.pop("batch_id"), retries=3, **options)
    assert run.state == "failed"
    assert field in str(run.error)
    assert sandbox.requests == []


@needs_state_store
def test_in_mode_reschedule_the_last_change_is_remembered_between_looks(
    make_sandbox: Any,
) -> None:
    """In the task's state, as numbers and a moment; it is written only when something has changed."""
    sandbox = make_sandbox()
    batch, channel = sandbox.place_batch(phones("00", "06")), channel_to(sandbox)
    sandbox.advance(600)
    sensor = a_sensor(batch, mode="reschedule", stall_timeout=600)
    runs = [run_task(sensor, channel, reschedule_count=count) for count in range(3)]
    assert [run.state for run in runs] == ["up_for_reschedule"] * 3
    assert [len(run.sent("SetTaskStateStore")) for run in runs] == [1, 0, 0]
    (entry,) = runs[-1].state_store.values()
    assert (set(entry), set(entry["changed"])) == ({"changed", "missing_since"}, {"metrics", "seen_at"})
    assert "4155550" not in str(entry)


@needs_state_store
@pytest.mark.parametrize("refused", ["SetTaskStateStore", "GetTaskStateStore"])
def test_a_state_store_that_fails_fails_no_look(
    refused: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Then the time without a change is counted anew."""
    channel.refused.add(refused)
    run = wait_in("reschedule", channel, sandbox.place_batch(phones("01")))
    assert run.state == "success", run.log_text


@needs_state_store
def test_in_mode_reschedule_a_batch_call_that_does_not_exist_fails_as_well(channel: FakeSupervisor) -> None:
    """Since when it is missing is remembered between looks."""
    sensor = a_sensor(4711, mode="reschedule", missing_timeout=2, retries=3)
    states = []
    for count in range(3):
        time.sleep(2 if count == 2 else 0)
        run = run_task(sensor, channel, reschedule_count=count)
        states.append(run.state)
    assert states == ["up_for_reschedule", "up_for_reschedule", "failed"]
    assert "Check that the agent or batch call exists" in run.log_text


def test_a_look_costs_one_request(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """And the first one a second, for the number of recipients; the last one a third, for the name."""
    batch = sandbox.place_batch(phones("01"))
    sandbox.advance(600)
    assert wait_in("poke", channel, batch).state == "success"
    assert reads(sandbox) == {"metrics": 1, "detail": 2}


def test_a_name_that_cannot_be_read_is_gone_without(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What matters is known already."""
    batch = sandbox.place_batch(phones("01"))
    sandbox.advance(600)
    sandbox.inject(BATCH_DETAIL, Fault.NOT_FOUND)
    run = wait_in("poke", channel, batch, total_recipients=1)
    assert run.state == "success"
    assert (run.xcoms["return_value"]["name"], run.xcoms["return_value"]["status"]) == (None, None)
