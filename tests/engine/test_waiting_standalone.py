"""Waiting in a real Airflow: triggerers die, workers die, users interfere, and every outcome arrives."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.faults import CALL, LIST
from support.standalone import Standalone, wait_for
from support.statsd_server import StatsdServer
from support.versions import HAS_STATE_STORE

pytestmark = [pytest.mark.standalone, pytest.mark.timeout(600)]

KEY = "key-1234567"
PEOPLE = ("+14155550120", "+14155550101", "+14155550122")
NOTHING_PRIVATE = (
    KEY,
    "Asha",
    *(phone.lstrip("+") for phone in PEOPLE),
    "payment_confirmed",
    "sandbox calling",
)

DAGS = f"""
from datetime import timedelta

from airflow.sdk import DAG, task

from formant_provider.operators.call import FormantCreateCallOperator

OPTIONS = dict(
    task_id="call",
    agent_id=456,
    wait_for_completion=True,
    poll_interval=1,
    timeout=150,
    on_unsuccessful="succeed",
    retries=2,
    retry_delay=timedelta(0),
)

with DAG("deferred", schedule=None):
    calls = FormantCreateCallOperator.partial(deferrable=True, **OPTIONS).expand(
        parameters=[{{"customer_phone": phone, "customer_name": "Asha"}} for phone in {PEOPLE}]
    )

    @task
    def statuses(values):
        return list(values)

    statuses(calls.output["status"])

for dag_id, deferrable in [("in_the_worker", False), ("given_up", True)]:
    with DAG(dag_id, schedule=None):
        FormantCreateCallOperator(
            parameters={{"customer_phone": "{PEOPLE[0]}", "customer_name": "Asha"}},
            deferrable=deferrable,
            formant_conn_id=dag_id,
            **OPTIONS,
        )
"""


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[dict[str, Sandbox]]:
    """One API for each DAG; a call lasts for minutes, unless time is moved on."""
    sandboxes = {
        name: Sandbox(api_key=KEY, rate_limit=None) for name in ("deferred", "in_the_worker", "given_up")
    }
    for sandbox in sandboxes.values():
        sandbox.start()
    yield sandboxes
    for sandbox in sandboxes.values():
        sandbox.stop()


@pytest.fixture(scope="module")
def statsd() -> Iterator[StatsdServer]:
    with StatsdServer() as server:
        yield server


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, sandboxes: dict[str, Sandbox], statsd: StatsdServer
) -> Iterator[Standalone]:
    folder = tmp_path_factory.mktemp("waiting")
    (folder / "dags").mkdir()
    (folder / "dags" / "waiting.py").write_text(DAGS)
    env = {f"AIRFLOW_CONN_{name.upper()}": sandbox.connection_json() for name, sandbox in sandboxes.items()}
    env["AIRFLOW_CONN_FORMANT_DEFAULT"] = env["AIRFLOW_CONN_DEFERRED"]
    env |= {**statsd.env, "AIRFLOW__FORMANT__WEBHOOKS": "True"}
    with Standalone(folder / "dags", folder / "home", env) as airflow:
        yield airflow


def asked(sandbox: Sandbox, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in sandbox.requests)


def stored_triggers(airflow: Standalone) -> str:
    """All that the database holds of triggers, and of what is handed to a task that goes on."""
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        triggers = database.execute("select classpath, kwargs from trigger").fetchall()
        handed = database.execute("select next_kwargs from task_instance").fetchall()
    return json.dumps([triggers, handed], default=str)


def test_a_triggerer_that_dies_loses_no_call(airflow: Standalone, sandboxes: dict[str, Sandbox]) -> None:
    """Calls that end while no triggerer runs are told of when one runs again, and nobody is called again."""
    sandbox = sandboxes["deferred"]
    run_id = airflow.trigger("deferred")
    for index in range(len(PEOPLE)):
        airflow.wait_for_task_state("deferred", run_id, "call", "deferred", map_index=index)
    wait_for(lambda: asked(sandbox, LIST) > 1, "a poll", timeout_s=60)

    stored = stored_triggers(airflow)
    assert all(call.trace_id in stored for call in sandbox.calls)
    assert not any(private in stored for private in NOTHING_PRIVATE)

    airflow.kill(airflow.component("triggerer"))
    sandbox.advance(200)
    airflow.start_component("triggerer")
    assert airflow.wait_for_run("deferred", run_id, timeout_s=150) == "success"

    assert airflow.xcom("deferred", run_id, "statuses") == ["completed", "no_answer", "completed"]
    assert sandbox.rings == dict.fromkeys(PEOPLE, 1)
    for index in range(len(PEOPLE)):
        assert airflow.task("deferred", run_id, "call", index)["try_number"] == 1
        log = airflow.task_log("deferred", run_id, "call", map_index=index)
        assert "Waiting until" in log
        assert not any(private in log for private in NOTHING_PRIVATE)
    assert not any(private in stored_triggers(airflow) for private in NOTHING_PRIVATE)


def test_a_worker_that_dies_while_it_waits_is_followed_by_one_that_waits_on(
    airflow: Standalone, sandboxes: dict[str, Sandbox]
) -> None:
    """The next try waits for the call of the first one, and rings nobody."""
    sandbox = sandboxes["in_the_worker"]
    run_id = airflow.trigger("in_the_worker")
    wait_for(lambda: asked(sandbox, LIST) > 1, "a poll", timeout_s=60)
    airflow.kill([airflow.task_pid("in_the_worker", run_id, "call")])
    polls = asked(sandbox, LIST)
    wait_for(lambda: asked(sandbox, LIST) > polls, "the next try to poll", timeout_s=90)
    sandbox.advance(200)
    assert airflow.wait_for_run("in_the_worker", run_id) == "success"
    assert airflow.task("in_the_worker", run_id, "call")["try_number"] == 2
    assert sandbox.rings == {PEOPLE[0]: 1}
    if HAS_STATE_STORE:
        assert asked(sandbox, CALL) == 1
    result: dict[str, Any] = airflow.xcom("in_the_worker", run_id, "call")
    assert (result["status"], result["trace_id"]) == ("completed", sandbox.calls[0].trace_id)


def test_a_user_who_gives_up_a_waiting_task_is_told_that_the_call_goes_on(
    airflow: Standalone, sandboxes: dict[str, Sandbox]
) -> None:
    """Marking a deferred task as failed ends the polls; the log says that the call cannot be taken back."""
    sandbox = sandboxes["given_up"]
    run_id = airflow.trigger("given_up")
    airflow.wait_for_task_state("given_up", run_id, "call", "deferred")
    wait_for(lambda: asked(sandbox, LIST) > 1, "a poll", timeout_s=60)
    path = f"/dags/given_up/dagRuns/{run_id}/taskInstances/call"
    airflow.api("PATCH", path, {"new_state": "failed"})

    def said() -> bool:
        return "The call itself goes on" in airflow.task_log("given_up", run_id, "call")

    wait_for(said, "the log to say so", timeout_s=60)
    polls = asked(sandbox, LIST)
    wait_for(lambda: airflow.wait_for_run("given_up", run_id) == "failed", "the run to end", timeout_s=30)
    assert asked(sandbox, LIST) <= polls + 2


def test_every_component_has_sent_its_metrics(
    airflow: Standalone, sandboxes: dict[str, Sandbox], statsd: StatsdServer
) -> None:
    """Workers count calls, the triggerer polls and waits, the API server webhooks; each with its tags."""
    answer = requests.post(f"{airflow.base_url}/formant/webhooks/formant_default", data=b"{}", timeout=30)
    for line in (
        "calls.placed,conn_id=in_the_worker,agent_id=456:1|c",
        "waits.started,conn_id=in_the_worker,agent_id=456,where=worker:1|c",
        "waits.ended,conn_id=in_the_worker,agent_id=456,where=worker,outcome=over:1|c",
        "waits.started,conn_id=formant_default,agent_id=456,where=triggerer:1|c",
        "waits.ended,conn_id=formant_default,agent_id=456,where=triggerer,outcome=over:1|c",
        "waits.ended,conn_id=given_up,agent_id=456,where=triggerer,outcome=cancelled:1|c",
        "polls,conn_id=given_up,agent_id=456:1|c",
        "requests,conn_id=given_up,operation=GET_v1_conversations,status=200:1|c",
        f"webhooks.refused,conn_id=formant_default,status={answer.status_code}:1|c",
    ):
        statsd.wait_for(f"airflow.formant.{line}")
    placed = [line for line in statsd.ours if line.startswith("airflow.formant.calls.placed")]
    assert len(placed) == sum(sandbox.rings.total() for sandbox in sandboxes.values())
    assert not any(private in line for line in statsd.ours for private in NOTHING_PRIVATE)


def test_no_component_has_logged_anything_private(airflow: Standalone) -> None:
    """Neither the triggerer nor any other part of Airflow wrote a number, a key or what was said."""
    for path in Path(airflow.home).rglob("*.log"):
        text = path.read_text(errors="replace")
        for private in NOTHING_PRIVATE:
            assert private not in text, (path.name, private)
