"""Triggers that run beside one another, as a triggerer lets them, and what may hinder them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from formant_provider.triggers.shared import WaitingTrigger
from support.isolation import process_left_alone
from support.supervisor import FakeSupervisor, supervised_by
from support.task_run import TaskRun, run_task, run_trigger

# Errors that do not pass, by what becomes of the connection; ``None``: it is gone.
HINDRANCES: dict[str, dict[str, Any] | None] = {
    "AuthenticationFailed": {"password": "another-key"},
    "InvalidInput": {"conn_type": "http"},
    "AirflowNotFoundException": None,
}


async def events_of(triggers: Sequence[WaitingTrigger]) -> list[Any]:
    """Run triggers, and read how each wait ended."""
    fired = await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))
    return [trigger.result.from_event(each.payload) for trigger, each in zip(triggers, fired, strict=True)]


def run_all(triggers: Sequence[WaitingTrigger], channel: FakeSupervisor) -> list[Any]:
    """Run triggers in an event loop of their own."""
    with process_left_alone(), supervised_by(channel):
        return asyncio.run(events_of(triggers))


def error_reaching_the_task(kind: str, task: Any, channel: FakeSupervisor, private: Sequence[str]) -> TaskRun:
    """See that a trigger fires in any case; return the task that then fails as it would in a worker."""
    deferral = run_task(task, channel).deferral
    good = channel.connections.pop("formant_default")
    if (change := HINDRANCES[kind]) is not None:
        channel.connections["formant_default"] = {**good, **change}
    event = run_trigger(deferral, channel).event
    assert event["error"][0] == kind
    channel.connections["formant_default"] = good
    run = run_task(task, channel, resume_event=event)
    # What cannot get better is not retried; a connection that could not be read may be there next time.
    assert run.state == ("up_for_retry" if change is None else "failed")
    assert not any(each in run.masked_log_text for each in private)
    return run
