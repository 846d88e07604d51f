"""A cap on the notifier: none unless it is given, and then it needs a call store."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import BaseOperator

from formant_provider.call_cap import CallCap
from formant_provider.notifications.call import FormantCallNotifier
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task

ON_CALL = "+14155550100"
NO_STORE = "Could not call: call_cap: needs a call store"


class Fails(BaseOperator):
    """Fails."""

    def execute(self, context: Any) -> None:  # noqa: ARG002 - Airflow's signature
        raise RuntimeError("the source is empty")


def page(channel: FakeSupervisor, call_cap: Any) -> TaskRun:
    notifier = FormantCallNotifier(agent_id=456, parameters={"customer_phone": ON_CALL}, call_cap=call_cap)
    with make_dag(params={"per": "7d", "calls": 3}):
        task = Fails(task_id="task", on_failure_callback=notifier)
    run = run_task(task, channel)
    assert (run.state, str(run.error)) == ("failed", "the source is empty")
    return run


def test_whoever_is_on_call_is_called_however_often(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Without a cap of its own, none holds for the notifier."""
    page(channel, None)
    assert sandbox.rings == {ON_CALL: 1}


CAPS = {
    "a cap": CallCap(),
    "text": "2/1d",
    "templates": CallCap("{{ params.calls }}", "{{ params.per }}"),
    "a template": "{{ params.calls }}/{{ params.per }}",
}


@pytest.mark.parametrize("call_cap", CAPS.values(), ids=CAPS)
def test_a_cap_without_a_store_is_logged_and_places_no_call(
    call_cap: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """As an object, as text, rendered or not: nobody could count. The task is as without a notifier."""
    run = page(channel, call_cap)
    assert NO_STORE in run.log_text
    assert "No call was placed." in run.log_text
    assert sandbox.requests == []


def test_a_rendered_cap_stays_with_its_event(channel: FakeSupervisor) -> None:
    """One notifier serves many events: each is rendered from what the DAG file says."""
    cap = CallCap("{{ params.calls }}", "{{ params.per }}")
    page(channel, cap)
    assert (cap.calls, cap.per) == ("{{ params.calls }}", "{{ params.per }}")


WRONG = {
    "no cap": ("2 per day", "Could not call: call_cap: must be a number of calls and a time"),
    "blank": ("{{ '' }}", "Could not call: call_cap.calls: must be an integer"),
    "another kind": (2, "Could not call: call_cap: must be CallCap or a mapping of calls, per"),
    "rendered": (CallCap("{{ ds }}"), "Could not call: call_cap.calls: must be an integer"),
    "broken": (CallCap("{{ nobody.knows }}"), "Could not call: call_cap.calls: could not be rendered"),
}


@pytest.mark.parametrize(("call_cap", "told"), WRONG.values(), ids=WRONG)
def test_an_invalid_cap_is_logged_and_places_no_call(
    call_cap: Any, told: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The log names the field; nothing is raised."""
    assert told in page(channel, call_cap).log_text
    assert sandbox.requests == []
