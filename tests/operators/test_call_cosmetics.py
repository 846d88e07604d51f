"""What only shows a call, or hands it on, fails no task whose call was placed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from formant_provider.sandbox import Sandbox
from formant_provider.tasks.results import storable
from support.calls import NUMBER, an_operator
from support.scripted_server import Answer, ScriptedServer
from support.supervisor import FakeSupervisor
from support.task_run import run_task, run_trigger


class Faulty(FakeSupervisor):
    """An Airflow that answers some questions about connections and refuses some XComs."""

    answered: tuple[bool, ...] = ()
    takes: tuple[str, ...] = ("return_value", "_link_formant_conversation")
    _asked = 0

    def _answer_get_connection(self, msg: Any) -> Any:
        self._asked += 1
        if self._asked <= len(self.answered) and not self.answered[self._asked - 1]:
            raise OSError(f"the vault does not answer for {NUMBER}")
        return super()._answer_get_connection(msg)

    def _answer_set_xcom(self, msg: Any) -> None:
        if msg.key not in self.takes:
            raise OSError(f"no room for {NUMBER}")
        super()._answer_set_xcom(msg)


@pytest.fixture
def faulty(sandbox: Sandbox) -> Faulty:
    return Faulty(connections={"formant_default": sandbox.connection_uri()})


def test_an_xcom_that_cannot_be_pushed_fails_no_placed_call(faulty: Faulty, sandbox: Sandbox) -> None:
    """The log says which and the kind of error, not its text; what the task returns is Airflow's to push."""
    run = run_task(an_operator(), faulty)
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert run.xcoms["return_value"]["trace_id"]
    assert "XCom trace_id could not be pushed (OSError)" in run.log_text
    assert "no room" not in run.log_text


def test_the_connection_is_read_once_so_it_may_go_away_after_the_call(
    faulty: Faulty, sandbox: Sandbox
) -> None:
    """The button needs what was read for the call, and asks for it no second time."""
    faulty.answered, faulty.takes = (True, False), (*faulty.takes, "trace_id", "conversation_id", "status")
    run = run_task(an_operator(), faulty)
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert (faulty._asked, "No link to the conversation" in run.log_text) == (1, False)


def test_a_link_that_cannot_be_made_after_a_wait_fails_none_either(faulty: Faulty, sandbox: Sandbox) -> None:
    """The task continues and returns the outcome; why there is no link is in the log."""
    operator = an_operator(wait_for_completion=True, deferrable=True, poll_interval=0.2)
    deferred = run_task(operator, faulty)
    sandbox.advance(600)
    event = run_trigger(deferred.deferral, faulty).event
    faulty._asked, faulty.answered = 0, (False,)
    run = run_task(operator, faulty, resume_event=event)
    assert run.state == "success", run.log_text
    assert "No link to the conversation: the connection could not be read (" in run.log_text
    assert "the vault" not in run.log_text
    assert run.xcoms["return_value"]["status"] == "completed"
    assert sandbox.rings == {NUMBER: 1}


ODD = {
    "__classname__": "builtins.object",
    "__type": 1,
    "nan": float("nan"),
    "big": 10**30,
    "half": "a\ud800b",
    "zero": "a\x00b",
    "bytes": b"x",
    "fine": [1, 2.5, True, None, "text"],
}


def test_whatever_the_api_gives_can_be_stored() -> None:
    """Airflow's own names, numbers that JSON or a database cannot hold, broken text: all can be pushed."""
    import msgspec
    from airflow.sdk.bases.xcom import BaseXCom

    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    kept = storable({**ODD, "deep": deep})
    assert kept["fine"] == ODD["fine"]
    text = msgspec.msgpack.encode(BaseXCom.serialize_value(kept))
    for unwanted in (b"\x00b", b"NaN"):
        assert unwanted not in text


def test_results_that_cannot_be_stored_fail_no_call_that_is_over(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """An agent's results are whatever its maker chose; the task hands on what can be stored of them."""
    operator = an_operator(wait_for_completion=True, deferrable=True, poll_interval=0.2)
    deferred = run_task(operator, channel)
    sandbox.advance(600)
    event = run_trigger(deferred.deferral, channel).event
    address = f"{sandbox.base_url}/v1/conversations/{event['conversation_id']}"
    record = requests.get(address, headers={"Authorization": f"Bearer {sandbox.api_key}"}, timeout=60).json()
    with ScriptedServer(Answer(200, _with_odd_results(record))) as server:
        channel.connections["formant_default"] = f"formant://http://:key@{server.base_url[7:]}"
        run = run_task(operator, channel, resume_event=event)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["results"]["fine"] == ODD["fine"]
    assert run.xcoms["return_value"]["results"][" __classname__"] == "builtins.object"


def _with_odd_results(record: Any) -> bytes:
    """Return the record as JSON; Python writes and reads NaN and half characters in it."""
    odd = {name: value for name, value in ODD.items() if name != "bytes"}
    holder = record["data"]
    holder["results"] = odd
    return json.dumps(record).encode()
