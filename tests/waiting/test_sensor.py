"""What is the sensor's own: by which id it waits, what it asks for, and how its time ends."""

from __future__ import annotations

from functools import partial
from threading import Timer
from typing import Any

import pytest
from batches.modes import a_sensor as a_batch_sensor
from waiting.conftest import channel_to
from waiting.modes import MODES, NUMBER, a_sensor, reads, to_the_end

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import LIST, METRICS
from support.supervisor import FakeSupervisor
from support.task_run import run_task

WAYS: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
IN_EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def test_every_way_is_tested() -> None:
    """The table of outcomes knows all ways to wait."""
    assert len(MODES) == len(WAYS) + 2


@IN_EVERY_WAY
@pytest.mark.parametrize("agent", [{}, {"agent_id": 456}], ids=["detail", "list"])
def test_a_sensor_waits_by_the_id_of_a_record(
    way: dict[str, Any], agent: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """conversation_id needs no agent; with one, the list is read in place of each record."""
    call = sandbox.place(f"{NUMBER}00")
    options = {"conversation_id": call.conversation_id, "timeout": 3, **way, **agent}
    run = to_the_end(a_sensor(**options), channel)
    assert run.state == "success"
    assert run.xcoms["return_value"]["trace_id"] == call.trace_id
    assert (reads(sandbox)["list"] > 0) is bool(agent)


@IN_EVERY_WAY
def test_a_recipient_spares_the_details_of_others(way: dict[str, Any], make_sandbox: Any) -> None:
    """Knowing whom it waits for, a sensor reads one record of many, and its number is shown to nobody."""
    sandbox = make_sandbox()
    for number in range(20, 40):
        sandbox.place(f"{NUMBER}{number}")
    call = sandbox.place(f"{NUMBER}00")
    sandbox.advance(300)
    sensor = a_sensor(trace_id=call.trace_id, recipient=f"{NUMBER}00", timeout=3, **way)
    run = to_the_end(sensor, channel_to(sandbox))
    assert run.state == "success"
    assert reads(sandbox) == {"list": 1, "detail": 2}
    assert run.rendered_fields.get("recipient") in {None, "***"}  # nothing is rendered when it is resumed
    told = [message for message in run.messages if type(message).__name__ != "MaskSecret"]
    assert "4155550100" not in f"{told} {run.xcoms}"
    log = [line for line in run.masked_log_text.splitlines() if "MaskSecret" not in line]
    assert "4155550100" not in "".join(log)


@IN_EVERY_WAY
def test_waiting_places_no_call(way: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A sensor sends nothing but reads."""
    call = sandbox.place(f"{NUMBER}01")
    run = to_the_end(a_sensor(trace_id=call.trace_id, on_unsuccessful="succeed", timeout=3, **way), channel)
    assert run.state == "success"
    assert {request.method for request in sandbox.requests} == {"GET"}


SENSORS = pytest.mark.parametrize(
    ("sensor", "asks"),
    [(partial(a_sensor, trace_id="t-1"), LIST), (partial(a_batch_sensor, 7, total_recipients=1), METRICS)],
)


@SENSORS
@pytest.mark.parametrize("soft_fail", [False, True])
def test_the_end_of_the_time_is_that_of_every_sensor(
    soft_fail: bool, sensor: Any, asks: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A deferred sensor whose time is up fails for good as others do, or skips with soft_fail."""
    task = sensor(deferrable=True, soft_fail=soft_fail, timeout=0.3, retries=3)
    assert to_the_end(task, channel).state == ("skipped" if soft_fail else "failed")
    assert asks in {request.endpoint for request in sandbox.requests}


@SENSORS
def test_in_mode_reschedule_airflow_is_told_to_come_back_when_the_api_said(
    sensor: Any, asks: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A rate limit that is longer than poke_interval puts the next look off."""
    sandbox.inject(asks, Fault.RATE_LIMIT, retry_after=60)
    run = run_task(sensor(mode="reschedule", timeout=600), channel)
    (order,) = run.sent("RescheduleTask")
    assert 58 <= (order.reschedule_date - order.end_date).total_seconds() <= 62


def test_a_sensor_looks_no_farther_back_than_since(make_sandbox: Any) -> None:
    """An old call is not found by default, and is with since."""
    sandbox = make_sandbox()
    call = sandbox.place(f"{NUMBER}00")
    sandbox.advance(200)
    channel = channel_to(sandbox)
    options = {"trace_id": call.trace_id, "timeout": 0.3}
    assert to_the_end(a_sensor(since="2099-01-01T00:00:00Z", **options), channel).state == "failed"
    assert to_the_end(a_sensor(since=call.starts_at.isoformat(), **options), channel).state == "success"


@pytest.mark.parametrize("settle_for", [0, 30_000])
def test_a_redial_of_the_platform_can_be_waited_for(settle_for: float, make_sandbox: Any) -> None:
    """With settle_for the attempt that the platform makes by itself decides, without it the first one."""
    sandbox = make_sandbox(platform_redials=1, platform_redial_after_seconds=600)
    call = sandbox.place(f"{NUMBER}01")
    sandbox.advance(40)
    sensor = a_sensor(trace_id=call.trace_id, settle_for=settle_for, timeout=5, on_unsuccessful="succeed")
    run = to_the_end(sensor, channel_to(sandbox))
    assert run.xcoms["status"] == ("completed" if settle_for else "no_answer")


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("sensor", [a_sensor, a_batch_sensor], ids=["call", "batch call"])
def test_a_key_that_is_refused_for_a_moment_ends_no_wait(
    sensor: Any, mode: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A key is changed here and there, and not in one moment; one that stays refused fails the task."""
    if sensor is a_sensor:
        waiting = partial(sensor, trace_id=sandbox.place(f"{NUMBER}00").trace_id, mode=mode)
    else:
        waiting = partial(sensor, sandbox.place_batch([f"{NUMBER}00"]), mode=mode)
    connection = channel.connections["formant_default"]
    assert isinstance(connection, dict)
    connection["password"] = "another-key"
    refused = run_task(waiting(), channel)
    assert (refused.state, sandbox.requests[-1].status) == ("failed", 401)
    assert "401" in str(refused.error)
    Timer(0.5, connection.update, kwargs={"password": sandbox.api_key}).start()
    assert to_the_end(waiting(), channel).state == "success"


def test_a_connection_that_cannot_be_read_for_a_moment_ends_no_wait(make_sandbox: Any) -> None:
    """A sensor that looks on in one process waits for it; one that is gone for good fails the task."""
    sandbox = make_sandbox(speed=1, call_speed=60)
    channel, call = channel_to(sandbox), sandbox.place(f"{NUMBER}00")
    sensor = partial(a_sensor, trace_id=call.trace_id, mode="poke", poke_interval=0.3, timeout=20)
    Timer(0.6, channel.refused.add, args=["GetConnection"]).start()
    Timer(1.2, channel.refused.clear).start()
    run = run_task(sensor(), channel)
    assert run.state == "success", run.log_text
    assert "The connection cannot be read" in run.log_text
    Timer(0.6, channel.refused.add, args=["GetConnection"]).start()
    gone = run_task(sensor(trace_id="unknown"), channel)
    assert gone.state == "failed", gone.log_text
