"""The read of the record after a wait: it waits for the API; in vain, and what is known is pushed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from waiting.conftest import channel_to
from waiting.modes import NUMBER, a_sensor, an_operator, wait_in

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import DETAIL
from support.scripted_server import Answer, ScriptedServer, Seen
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task, run_trigger

Make = Callable[..., Sandbox]
TASKS = pytest.mark.parametrize("kind", ["operator", "sensor"])
ALL_MODES = pytest.mark.parametrize("mode", ["call", "deferrable call", "poke", "deferrable sensor"])


class Resumed:
    """A task whose wait in the triggerer has ended, and that is about to read the record."""

    def __init__(self, kind: str, sandbox: Sandbox, ending: str = "00", **options: Any) -> None:
        self.channel = channel_to(sandbox)
        self.sandbox = sandbox
        if kind == "operator":
            self.task: Any = an_operator(ending, deferrable=True, retries=0, **options)
        else:
            trace_id = sandbox.place(NUMBER + ending).trace_id
            self.task = a_sensor(trace_id=trace_id, deferrable=True, retries=0, **options)
        waiting = run_task(self.task, self.channel)
        self.event = run_trigger(waiting.deferral, self.channel).event

    def resume(self) -> TaskRun:
        return run_task(self.task, self.channel, resume_event=self.event)


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[float]]:
    """Let no time pass from now on, and count what would have."""

    def begin() -> list[float]:
        slept: list[float] = []
        monkeypatch.setattr("time.sleep", slept.append)
        return slept

    return begin


@TASKS
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (Fault.RATE_LIMIT, {"retry_after": 60}),
        (Fault.RATE_LIMIT, {"retry_after": 60, "times": 4}),
        (Fault.ERROR_503_BEFORE, {"times": 4}),
        (Fault.DROP_AFTER, {"times": 2}),
    ],
    ids=str,
)
def test_the_last_read_waits_for_the_api(
    kind: str, fault: Fault, options: dict[str, Any], make_sandbox: Make, no_sleep: Any
) -> None:
    """A 429 or 5xx at the very end, with no retries left, costs time and loses nothing."""
    world = Resumed(kind, make_sandbox(trace_id_in_list=True))
    slept = no_sleep()
    world.sandbox.inject(DETAIL, fault, **options)
    run = world.resume()
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["results"] is not None
    assert sum(slept) <= 301


@TASKS
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (Fault.RATE_LIMIT, {"retry_after": 600}),
        (Fault.ERROR_500_BEFORE, {}),
        (Fault.NOT_FOUND, {}),
        (None, {}),
    ],
    ids=str,
)
def test_what_the_wait_found_out_is_pushed_when_the_record_cannot_be_read(
    kind: str, fault: Fault | None, options: dict[str, Any], make_sandbox: Make, no_sleep: Any
) -> None:
    """Status, ids, times and duration are known from the list, also where the key was changed meanwhile."""
    world = Resumed(kind, make_sandbox(trace_id_in_list=True))
    no_sleep()
    (call,) = world.sandbox.calls
    if fault is None:
        world.sandbox.api_key = "changed"
    else:
        world.sandbox.inject(DETAIL, fault, times=100, **options)
    run = world.resume()
    assert run.state == "success", run.log_text
    result = run.xcoms["return_value"]
    assert (result["status"], result["trace_id"]) == (call.ending.status, call.trace_id)
    assert result["conversation_id"] == run.xcoms["conversation_id"] == call.conversation_id
    assert result["duration_seconds"] == call.ending.duration_seconds
    for text, timestamp in (("started_at", "start_timestamp"), ("ended_at", "end_timestamp")):
        assert result[text].endswith("Z")
        assert datetime.fromisoformat(result[text]).timestamp() == result[timestamp] / 1000
    assert result["results"] is None
    assert "Continuing with what is known" in run.log_text
    assert world.sandbox.rings == {call.customer_phone: 1}


def test_the_event_holds_times_and_nothing_private(make_sandbox: Make) -> None:
    """What goes through Airflow's database for this is ids, moments and a duration."""
    sandbox = make_sandbox(trace_id_in_list=True)
    event = Resumed("operator", sandbox).event
    assert set(event["known"]) == {"trace_id", "start_timestamp", "end_timestamp", "duration_seconds"}
    assert "4155550100" not in json.dumps(event)


@ALL_MODES
def test_a_number_in_the_failure_reason_is_not_pushed(
    mode: str, make_sandbox: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor words it freely; XCom and logs hold no number all the same."""
    from dataclasses import replace

    import formant_provider.sandbox.numbers as endings

    phone = f"{NUMBER}04"
    wordy = replace(
        endings.ENDINGS["04"], failure_reason=f"{phone} or {phone[2:]} is not reachable (code 21)"
    )
    monkeypatch.setitem(endings.ENDINGS, "04", wordy)
    sandbox = make_sandbox()
    run = wait_in(mode, channel_to(sandbox), sandbox, "04", on_unsuccessful="succeed")
    assert run.xcoms["return_value"]["failure_reason"] == "*** or *** is not reachable (code 21)"
    assert phone[2:] not in f"{run.xcoms}{run.log_text.replace(str(run.xcoms), '')}"


def test_many_that_continue_at_once_share_the_rate_limit(
    make_sandbox: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 80 tasks that read their records at 50 requests a minute none fails."""
    sandbox = make_sandbox(speed=0, rate_limit=50, trace_id_in_list=True)
    channel: FakeSupervisor = channel_to(sandbox)
    monkeypatch.setattr("time.sleep", sandbox.advance)
    calls = [sandbox.place(f"{NUMBER}{n % 80 + 10}") for n in range(80)]
    sandbox.advance(200)
    for n, call in enumerate(calls):
        event = {"conversation_id": call.conversation_id, "status": "completed", "receipt": _receipt(call)}
        sensor = a_sensor(trace_id=call.trace_id, deferrable=True, retries=0)
        run_task(sensor, channel, run_id=f"r{n}")
        run = run_task(sensor, channel, run_id=f"r{n}", resume_event=event)
        assert run.state == "success"
        assert run.xcoms["return_value"]["results"] is not None


def _receipt(call: Any) -> dict[str, Any]:
    return {"agent_id": 456, "trace_id": call.trace_id, "conversation_id": None}


def test_the_last_read_uses_a_key_that_was_changed_since_the_last_poll() -> None:
    """Where webhooks tell of ends, that was some minutes ago: no result is lost for it."""
    connection = {"conn_type": "formant", "password": "key-1"}
    record = {"agent_id": 456, "conversation_id": "c-1", "trace_id": "t-1", "status": "completed"}
    times = {"start_timestamp": round(time.time() * 1000), "end_timestamp": round(time.time() * 1000)}

    def answer(seen: Seen) -> Answer:
        if f"Bearer {connection['password']}" not in seen.headers.values():
            return Answer(401, {"error": {"message": "no", "type": "authentication_error"}})
        if seen.method == "POST":
            return Answer(200, {"data": {"agent_id": 456, "trace_id": "t-1", "status": "initiated"}})
        if "?" in seen.path:
            connection["password"] = "key-2"  # from the end of the last poll on
            return Answer(200, {"data": [{**record, **times}], "has_more": False, "total": 1})
        return Answer(200, {"data": {**record, **times, "results": {"intent": "paid"}}})

    with ScriptedServer(answer) as server:
        connection["host"] = server.base_url
        run = run_task(an_operator(), FakeSupervisor({"formant_default": connection}))
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["results"] == {"intent": "paid"}
    assert sum(seen.method == "POST" for seen in server.seen) == 1
