"""The five ways to wait for a call, as one function."""

from __future__ import annotations

import time
from typing import Any

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.faults import DETAIL, LIST
from formant_provider.sensors.conversation import FormantConversationSensor
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task, run_trigger

NUMBER = "+141555501"
MODES = ("call", "deferrable call", "poke", "reschedule", "deferrable sensor")
TIMEOUT_S = 60.0


def an_operator(ending: str = "00", **options: Any) -> FormantCreateCallOperator:
    chosen = {"wait_for_completion": True, "poll_interval": 0.05, "timeout": TIMEOUT_S, **options}
    parameters = {"customer_phone": NUMBER + ending, "customer_name": "Rahul-the-private"}
    return FormantCreateCallOperator(task_id="call", agent_id=456, parameters=parameters, **chosen)


def a_sensor(**options: Any) -> FormantConversationSensor:
    chosen = {"agent_id": 456, "poke_interval": 0.05, "timeout": TIMEOUT_S, **options}
    if "conversation_id" in options and "agent_id" not in options:
        del chosen["agent_id"]
    return FormantConversationSensor(task_id="wait", **chosen)


def wait_in(mode: str, channel: FakeSupervisor, sandbox: Sandbox, ending: str, **options: Any) -> TaskRun:
    """Let one call be placed and waited for, to the end of its task."""
    if mode.endswith("call"):
        return to_the_end(an_operator(ending, deferrable=mode.startswith("deferrable"), **options), channel)
    trace_id = sandbox.place(NUMBER + ending).trace_id
    # The call is over when a sensor first looks: deferred, it looks a fifth of a second apart.
    time.sleep(0.1)
    options["mode"] = "reschedule" if mode == "reschedule" else "poke"
    return to_the_end(
        a_sensor(trace_id=trace_id, deferrable=mode.startswith("deferrable"), **options), channel
    )


def to_the_end(task: Any, channel: FakeSupervisor, **attempt: Any) -> TaskRun:
    """Run a task until it is neither deferred nor put off."""
    began, pokes = time.monotonic(), 0
    run = run_task(task, channel, **attempt)
    while run.state in {"deferred", "up_for_reschedule"}:
        if run.state == "deferred":
            event = run_trigger(run.deferral, channel).event
            run = run_task(task, channel, resume_event=event, **attempt)
        elif time.monotonic() - began > task.timeout + 1:
            return run
        else:
            time.sleep(0.05)
            pokes += 1
            run = run_task(task, channel, reschedule_count=pokes, **attempt)
    return run


def reads(sandbox: Sandbox) -> dict[str, int]:
    """How often the list and details were asked for."""
    seen = [request.endpoint for request in sandbox.requests]
    return {"list": seen.count(LIST), "detail": seen.count(DETAIL)}
