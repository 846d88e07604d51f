"""Deadline alerts, called as Airflow calls them; a whole Airflow does it in tests/engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from formant_provider.notifications.call import FormantCallNotifier
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from support.log_capture import LogLines, captured_logs
from support.supervisor import FakeSupervisor, supervised_by

ON_CALL = "+14155550100"
PARAMETERS = {"customer_phone": "{{ var.value.on_call }}", "run": "{{ event.run_id }}"}


def missed(name: Any) -> dict[str, Any]:
    """The context of a deadline, as it comes out of Airflow's database."""
    run = {
        "dag_id": "nightly",
        "dag_run_id": "r1",
        "logical_date": "2026-01-01T00:00:00Z",
        "state": "running",
    }
    return {"dag_run": run, "deadline": {"id": name, "deadline_time": "2026-01-01T01:00:00Z"}}


def call_back(how: str, context: dict[str, Any], channel: FakeSupervisor, **fields: Any) -> LogLines:
    """Do as an executor does (``sync``) or as a triggerer does (``async``)."""
    kwargs = {"agent_id": 456, "parameters": PARAMETERS, **fields}
    channel.variables["on_call"] = ON_CALL

    async def in_triggerer() -> None:
        await FormantCallNotifier(**kwargs, context=context)

    with supervised_by(channel), captured_logs() as lines:
        if how == "sync":
            FormantCallNotifier(**kwargs, context=context)(context)
        else:
            asyncio.run(in_triggerer())
    return lines


WAYS = pytest.mark.parametrize("how", ["sync", "async"])


@WAYS
def test_a_deadline_rings_once(how: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """However often one deadline is told of there is one ring; another deadline is another ring."""
    lines = [call_back(how, missed(name), channel) for name in ("d1", "d1", "d1", "d2")]
    assert sandbox.rings == {ON_CALL: 2}
    assert [line.text.count("No second call is placed") for line in lines] == [0, 1, 1, 0]
    assert sandbox.requests[0].body["parameters"][1] == {"name": "run", "value": "r1"}
    assert not any(ON_CALL.lstrip("+") in line.text for line in lines)


def test_both_ways_mean_the_same_event(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A deadline that is told of in the executor and in the triggerer rings once."""
    for how in ("sync", "async"):
        call_back(how, missed("d1"), channel)
    assert sandbox.rings == {ON_CALL: 1}


@WAYS
@pytest.mark.parametrize("context", [{}, missed(None)], ids=["empty", "no id"])
def test_a_deadline_without_an_id_is_refused(
    how: str, context: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Nothing is rung under a key that all such events would share; with a name of one's own it is."""
    lines = call_back(how, context, channel)
    assert "does not tell which event it is about. No call was placed." in lines.text
    assert sandbox.requests == []
    call_back(how, context, channel, idempotency_key="tonight")
    assert sandbox.rings == {ON_CALL: 1}


TROUBLE = {
    "unknown connection": {"formant_conn_id": "nobody"},
    "wrong key": {"formant_conn_id": "wrong_key"},
    "unknown agent": {"agent_id": 999},
    "no number": {"parameters": {"customer_name": "Asha-the-private"}},
    "broken template": {"parameters": {"customer_phone": "{{ x", "customer_name": "Asha-the-private"}},
}


@WAYS
@pytest.mark.parametrize("what", TROUBLE)
def test_trouble_is_logged_and_not_raised(
    what: str, how: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Neither executor nor triggerer sees an error, which they would log with our arguments."""
    channel.connections["wrong_key"] = sandbox.connection_uri().replace("key-1234567", "wrong-key")
    lines = call_back(how, missed("d1"), channel, **TROUBLE[what])
    assert "Could not call: " in lines.text
    assert "Asha-the-private" not in lines.text
    assert sandbox.rings == {}


@WAYS
def test_a_storm_is_logged_and_not_raised(how: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A server that fails for ever is left after three sends."""
    sandbox.inject(CALL, Fault.ERROR_500_BEFORE, times=9)
    lines = call_back(how, missed("d1"), channel)
    assert "Could not call: " in lines.text
    assert (len(sandbox.requests), sandbox.rings) == (3, {})


def test_a_triggerer_is_not_blocked(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The event loop turns all the time while the API takes its time."""
    channel.variables["on_call"] = ON_CALL
    sandbox.inject(CALL, Fault.HANG_AFTER, seconds=1)

    async def turns() -> int:
        ringing, counted = asyncio.ensure_future(in_triggerer()), 0
        while not ringing.done():
            await asyncio.sleep(0.01)
            counted += 1
        return counted

    async def in_triggerer() -> None:
        await FormantCallNotifier(agent_id=456, parameters=PARAMETERS, context=missed("d1"))

    with supervised_by(channel), captured_logs():
        assert asyncio.run(turns()) > 20  # for a second; pauses of the machine itself do not count
    assert sandbox.rings == {ON_CALL: 1}
