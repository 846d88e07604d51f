from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from formant_provider.notifications.call import (
    LONGEST_S,
    LONGEST_TIMEOUT_S,
    NO_SEND_AFTER_S,
    FormantCallNotifier,
)
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from support.sockets import Received, serving
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import takes_long

KEY = "key-1234567"  # the conftest's sandbox knows it
ON_CALL = "+14155550100"
PRIVATE = (KEY, ON_CALL.lstrip("+"), "Asha-the-private")


class Fails(BaseOperator):
    """Fails until the try that it is told."""

    def __init__(self, until: int = 99, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.until = until

    def execute(self, context: Any) -> None:
        if context["ti"].try_number < self.until:
            raise RuntimeError("the source is empty")


def a_page(**fields: Any) -> FormantCallNotifier:
    parameters = {"customer_phone": ON_CALL, "customer_name": "Asha-the-private"}
    return FormantCallNotifier(**{"agent_id": 456, "parameters": parameters, **fields})


def parameters_sent(sandbox: Sandbox) -> list[dict[str, str]]:
    """What each request told the agent."""
    return [
        {item["name"]: item["value"] for item in seen.body["parameters"]}
        for seen in sandbox.requests
        if seen.endpoint == CALL
    ]


def assert_as_without_page(run: TaskRun) -> None:
    """The task failed by its own error, and nothing private was left behind."""
    assert (run.state, str(run.error)) == ("failed", "the source is empty")
    messages = [repr(msg) for msg in run.messages if type(msg).__name__ != "MaskSecret"]
    for secret in PRIVATE:
        assert secret not in run.log_text
        assert secret not in "\n".join(messages)


def test_a_failure_rings_once_however_often_it_is_told(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Three callbacks for one failure are one ring, and the further ones are no errors."""
    page = a_page()
    run = run_task(Fails(task_id="load", on_failure_callback=[page, page, a_page()]), channel)
    assert_as_without_page(run)
    assert sandbox.rings == {ON_CALL: 1}
    assert run.log_text.count("No second call is placed") == 2
    assert not [line for line in run.log_text.splitlines() if line.startswith("error formant")]


@pytest.mark.parametrize("other", [{"task_id": "store"}, {"run_id": "r2"}])
def test_two_failures_are_two_rings(other: Any, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Another task of the run, or the same task of another run, is another failure."""
    page = a_page()
    run_task(Fails(task_id="load", on_failure_callback=page), channel)
    task_id = other.pop("task_id", "load")
    run_task(Fails(task_id=task_id, on_failure_callback=page), channel, **other)
    assert sandbox.rings == {ON_CALL: 2}


def test_a_retry_and_a_failure_are_two_events(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Two retries are one event of their kind, and the failure that follows is another."""
    page = a_page(parameters={"customer_phone": ON_CALL, "what": "{{ event.kind }}"})
    task = Fails(task_id="load", retries=2, on_retry_callback=page, on_failure_callback=page)
    states = [run_task(task, channel, try_number=number).state for number in (1, 2, 3)]
    assert states == ["up_for_retry", "up_for_retry", "failed"]
    assert sandbox.rings == {ON_CALL: 2}
    assert [sent["what"] for sent in parameters_sent(sandbox)] == ["retry", "retry", "failed"]


def test_every_row_of_a_mapped_task_is_an_event(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Each map index rings once; with a name for the run, all of them ring once."""
    for page in (a_page(), a_page(idempotency_key="{{ event.dag_id }} {{ event.run_id }}")):
        with make_dag():
            mapped = Fails.partial(task_id="load", on_failure_callback=[page, page]).expand(until=[99, 99])
        for index in (0, 1):
            assert run_task(mapped, channel, map_index=index).state == "failed"
    assert sandbox.rings == {ON_CALL: 2 + 1}


def test_other_callbacks_of_a_task_ring_too(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A start and a success are events as well, each of its own kind."""
    page = a_page(parameters={"customer_phone": ON_CALL, "what": "{{ event.kind }}"})
    task = Fails(task_id="load", until=0, on_execute_callback=page, on_success_callback=[page, page])
    assert run_task(task, channel).state == "success"
    assert [sent["what"] for sent in parameters_sent(sandbox)] == ["started", "success", "success"]
    assert sandbox.rings == {ON_CALL: 2}


def test_templates_know_the_task_and_the_error(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The names of an event, Airflow's own context, and variables can all be told to the agent."""
    told = {
        "customer_phone": "{{ var.value.on_call }}",
        "where": "{{ event.dag_id }} {{ event.run_id }} {{ event.task_id }} {{ event.try_number }}",
        "error": "{{ event.exception_type }}",
        "log": "{{ event.log_url }}",
        "day": "{{ ds }}",
        "team": "{{ params.team }}",
        "urgent": True,
    }
    channel.variables["on_call"] = ON_CALL
    page = a_page(agent_id="{{ 400 + 56 }}", parameters=told, metadata={"run": "{{ run_id }}"}, region=None)
    with make_dag("nightly", params={"team": "data"}):
        task = Fails(task_id="load", on_failure_callback=page)
    assert_as_without_page(run_task(task, channel))
    (sent,) = parameters_sent(sandbox)
    assert sent.pop("log").startswith("http")
    assert sent == {
        "customer_phone": ON_CALL, "where": "nightly r1 load 1", "error": "RuntimeError",
        "day": "2026-01-01", "team": "data", "urgent": "true",
    }  # fmt: skip
    assert sandbox.requests[0].body["metadata"] == '{"run": "r1"}'


def test_what_was_rendered_for_one_event_is_not_told_of_the_next(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """One notifier serves many tasks in a process, and leaves nothing in the context of the others."""
    page = a_page(parameters={"customer_phone": ON_CALL, "what": "{{ event.task_id }}"})
    contexts: list[Any] = []
    for task_id in ("load", "store"):
        run_task(Fails(task_id=task_id, on_failure_callback=[page, contexts.append]), channel)
    assert [sent["what"] for sent in parameters_sent(sandbox)] == ["load", "store"]
    assert not any({"parameters", "agent_id", "event"} & set(context) for context in contexts)


def test_native_rendering_leaves_the_plus_sign(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A number stays text in a DAG that renders to Python values: a page must not be lost by that."""
    with make_dag(render_template_as_native_obj=True):
        task = Fails(task_id="load", on_failure_callback=a_page())
    assert_as_without_page(run_task(task, channel))
    assert sandbox.rings == {ON_CALL: 1}


BAD = {
    "unknown connection": ({"formant_conn_id": "nobody"}, "formant_conn_id: could not be"),
    "another system's connection": ({"formant_conn_id": "http_default"}, "conn_type: "),
    "wrong key": ({"formant_conn_id": "wrong_key"}, "401 authentication_error"),
    "unknown region": ({"region": "mars"}, "region: "),
    "unknown agent": ({"agent_id": 999}, "404 not_found"),
    "no agent": ({"agent_id": "{{ none }}"}, "agent_id: "),
    "template of nothing": (
        {"parameters": {"customer_phone": "{{ no.such }}", "x": "Asha-the-private"}},
        "parameters: could not be rendered or read (UndefinedError); its template reads no.such",
    ),
    "broken template": ({"parameters": {"customer_phone": f"{{{{ {ON_CALL}"}}, "(TemplateSyntaxError)"),
    "unknown variable": ({"metadata": "{{ var.value.nobody }}"}, "its template reads var.value.nobody"),
    "no number": ({"parameters": {"customer_name": "Asha-the-private"}}, "parameters: must hold"),
    "no parameters": ({"parameters": f"{ON_CALL}"}, "parameters: must be"),
    "impossible number": ({"parameters": {"customer_phone": f"{ON_CALL}99999"}}, "customer_phone: "),
    "blank key": ({"idempotency_key": " "}, "idempotency_key: "),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_rung_is_logged_and_changes_nothing(
    what: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The task ends as without the page, the log says in our words why nobody was called, nothing private."""
    fields, said = BAD[what]
    channel.connections["http_default"] = f"http://:{KEY}@127.0.0.1:1"
    channel.connections["wrong_key"] = sandbox.connection_uri().replace(KEY, "wrong-key")
    run = run_task(Fails(task_id="load", on_failure_callback=a_page(**fields)), channel)
    assert_as_without_page(run)
    assert sandbox.rings == {}
    (line,) = [line for line in run.log_text.splitlines() if "Could not call" in line]
    assert said in line
    assert line.endswith("No call was placed.")


STORMS = [fault for fault in Fault if CALL in fault.endpoints]


@pytest.mark.parametrize("counted", [False, True], ids=["keys kept", "keys counted"])
@pytest.mark.parametrize("fault", STORMS)
def test_a_storm_at_the_api_changes_nothing(
    fault: Fault, counted: bool, channel: FakeSupervisor, sleeps: list[float]
) -> None:
    """Whatever the API does, for however long: the task's own end, at most one ring, few sends, one key."""
    with Sandbox(api_key=KEY, rate_limit=None, failed_request_uses_key=counted) as sandbox:
        options = {"seconds": 0.6} if fault.startswith("hang") else {}
        sandbox.inject(CALL, fault, times=100, **options)
        connection = {"password": KEY, "host": sandbox.base_url, "extra": {"read_timeout": 0.2}}
        channel.connections["formant_default"] = {"conn_type": "formant", **connection}
        run = run_task(Fails(task_id="load", on_failure_callback=a_page()), channel)
        posts = [seen for seen in sandbox.requests if seen.endpoint == CALL]
    assert_as_without_page(run)
    assert len(posts) <= 3
    assert len({seen.body["idempotency_key"] for seen in posts}) == 1
    assert sum(sleeps) <= NO_SEND_AFTER_S
    assert sandbox.rings.total() == (1 if fault.after else 0)
    assert any(told in run.log_text for told in ("Could not call", "was placed before", "Perhaps no call"))
    if "No call was placed." in run.log_text:
        assert sandbox.rings.total() == 0


def test_an_unreachable_server_changes_nothing(channel: FakeSupervisor) -> None:
    """Without a server the task ends as it would have."""
    with Sandbox(api_key=KEY) as sandbox:
        channel.connections["formant_default"] = sandbox.connection_uri()
    run = run_task(Fails(task_id="load", on_failure_callback=a_page()), channel)
    assert_as_without_page(run)
    assert "No call was placed." in run.log_text


def test_a_storm_that_passes_is_survived(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Two refusals in a row do not keep the third send from ringing."""
    sandbox.inject(CALL, Fault.RATE_LIMIT)
    sandbox.inject(CALL, Fault.ERROR_503_BEFORE)
    assert_as_without_page(run_task(Fails(task_id="load", on_failure_callback=a_page()), channel))
    assert sandbox.rings == {ON_CALL: 1}


def test_a_long_wait_that_the_api_asks_for_is_not_waited(
    sandbox: Sandbox, channel: FakeSupervisor, sleeps: list[float]
) -> None:
    """A worker is not held for a minute by a page; the log says how long the API asked to wait."""
    sandbox.inject(CALL, Fault.RATE_LIMIT, retry_after=60)
    run = run_task(Fails(task_id="load", on_failure_callback=a_page()), channel)
    assert_as_without_page(run)
    assert (sleeps, len(sandbox.requests), sandbox.rings) == ([], 1, {})
    assert "answered 429" in run.log_text


@takes_long
def test_a_page_takes_no_longer_than_it_says(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A server that does not answer is left after two sends, long before Airflow ends the worker."""
    sandbox.inject(CALL, Fault.HANG_BEFORE, times=9, seconds=20)
    began = time.monotonic()
    run = run_task(Fails(task_id="load", on_failure_callback=a_page()), channel)
    assert_as_without_page(run)
    assert time.monotonic() - began < NO_SEND_AFTER_S + 2 * LONGEST_TIMEOUT_S == 18
    assert len(sandbox.requests) == 2
    assert f"took no call within {NO_SEND_AFTER_S:g} s. A call may have been placed." in run.log_text


@takes_long
@pytest.mark.parametrize("what", ["head", "body"])
def test_an_answer_that_comes_byte_by_byte_holds_no_page_up(what: str, channel: FakeSupervisor) -> None:
    """It keeps to every timeout from byte to byte; the page is over in time, and denies no ring."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n"

    def drip(connection: socket.socket, received: Received) -> None:
        received.data += connection.recv(65536)
        connection.sendall(head if what == "body" else head[:17])
        for _ in range(80):
            connection.sendall(b" " if what == "body" else b"X-Drip: 1\r\n")
            threading.Event().wait(0.3)  # in real time, unlike time.sleep here

    with serving(drip) as server:
        host = f"http://127.0.0.1:{server.port}"
        channel.connections["formant_default"] = {"conn_type": "formant", "host": host, "password": KEY}
        began = time.monotonic()
        run = run_task(Fails(task_id="load", on_failure_callback=a_page()), channel)
        assert time.monotonic() - began < 18
    assert_as_without_page(run)
    assert "did not finish its answer within 17.5 s. A call may have been placed." in run.log_text
    assert b"POST /v1/call" in server.data


def test_a_page_ends_before_airflow_ends_its_worker() -> None:
    """Also one whose answer does not end: within the 18 seconds that are promised."""
    assert NO_SEND_AFTER_S < LONGEST_S < 18
