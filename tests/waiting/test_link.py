"""The button in Airflow's UI: where the connection says where a conversation is, and nowhere else."""

from __future__ import annotations

import pytest
from waiting.conftest import channel_to
from waiting.modes import NUMBER, a_sensor, an_operator, to_the_end

from formant_provider.links import CONVERSATION_LINK_XCOM
from formant_provider.sandbox import Sandbox
from support.task_run import run_task, run_trigger

TEMPLATE = "https://calls.example/{conversation_id}?trace={trace_id}"


def the_page_of(sandbox: Sandbox) -> str:
    (call,) = sandbox.calls
    return f"https://calls.example/{call.conversation_id}?trace={call.trace_id}"


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_link_leads_to_the_conversation(deferrable: bool, sandbox: Sandbox) -> None:
    """Once the conversation is known, the button of the call's task leads there."""
    channel = channel_to(sandbox, conversation_url_template=TEMPLATE)
    run = to_the_end(an_operator(deferrable=deferrable), channel)
    assert run.xcoms[CONVERSATION_LINK_XCOM] == the_page_of(sandbox)


def test_the_link_works_while_the_task_waits_if_it_needs_no_more_than_is_known(sandbox: Sandbox) -> None:
    """An address made of the trace id is there from the receipt on, and stays when the time is up."""
    channel = channel_to(sandbox, conversation_url_template="https://calls.example/by-trace/{trace_id}")
    operator = an_operator("08", deferrable=True, timeout=0.3)
    waiting = run_task(operator, channel)
    wanted = f"https://calls.example/by-trace/{sandbox.calls[0].trace_id}"
    assert waiting.xcoms[CONVERSATION_LINK_XCOM] == wanted
    event = run_trigger(waiting.deferral, channel).event
    ended = run_task(operator, channel, resume_event=event)
    assert ended.state == "failed"
    assert ended.xcoms[CONVERSATION_LINK_XCOM] == wanted


def test_a_sensor_has_the_link_as_well(sandbox: Sandbox) -> None:
    """The button of the sensor's task leads to the same page."""
    call = sandbox.place(f"{NUMBER}00")
    channel = channel_to(sandbox, conversation_url_template=TEMPLATE)
    run = to_the_end(a_sensor(trace_id=call.trace_id, timeout=3), channel)
    assert run.xcoms[CONVERSATION_LINK_XCOM] == the_page_of(sandbox)


def test_without_a_template_there_is_no_link(sandbox: Sandbox) -> None:
    """The vendor documents no page for a conversation, so none is made up."""
    run = to_the_end(an_operator(), channel_to(sandbox))
    assert not run.xcoms[CONVERSATION_LINK_XCOM]


def test_a_task_that_may_push_nothing_pushes_no_link_either(sandbox: Sandbox) -> None:
    """do_xcom_push=False is respected: a link is kept as an XCom."""
    channel = channel_to(sandbox, conversation_url_template=TEMPLATE)
    run = to_the_end(an_operator(do_xcom_push=False), channel)
    assert (run.state, run.xcoms) == ("success", {})
