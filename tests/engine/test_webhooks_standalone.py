"""In a real Airflow: its receiver of webhooks and its triggerer are killed while calls end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from formant_provider.sandbox import Sandbox
from formant_provider.store.store import Store, open_up
from formant_provider.store.webhook_events import events_after
from support.databases import sqlite_database
from support.standalone import Standalone, wait_for
from support.stores import SECRET, connections_with
from support.versions import HAS_LOOPS, HAS_STATE_STORE

pytestmark = [
    pytest.mark.standalone,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not HAS_STATE_STORE or HAS_LOOPS, reason="slow; one Airflow is enough"),
]

DAG_ID = "heard"
WEBHOOK_SECRET = "whsec_of_the_test_of_deaths"
POLL_INTERVALS_S = {"asks_often": 1, "asks_seldom": 300}
DAG_FILE = f"""
from datetime import timedelta

from airflow.sdk import DAG, task

from formant_provider.operators.call import FormantCreateCallOperator

with DAG("{DAG_ID}", schedule=None, params={{"people": {{}}}}):

    @task
    def people_of(task_id, params=None):
        return [{{"customer_phone": phone}} for phone in params["people"][task_id]]

    for task_id, interval in {POLL_INTERVALS_S}.items():
        FormantCreateCallOperator.partial(
            task_id=task_id,
            agent_id=456,
            wait_for_completion=True,
            deferrable=True,
            poll_interval=interval,
            timeout=200,
            on_unsuccessful="succeed",
            retries=3,
            retry_delay=timedelta(seconds=10),  # a worker that does not reach the API server fails
        ).expand(parameters=people_of.override(task_id=f"people_of_{{task_id}}")(task_id))
"""

# Calls last for a third of the table's 142 seconds, and an event is sent again after half a minute.
CALL_SPEED, LONGEST_CALL_S, AGAIN_AFTER_S = 3, 50, 30


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(rate_limit=None, call_speed=CALL_SPEED) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[tuple[Standalone, Store]]:
    folder = tmp_path_factory.mktemp("webhooks")
    (folder / "dags").mkdir()
    (folder / "dags" / "heard.py").write_text(DAG_FILE)
    with sqlite_database(folder) as database:
        connections = connections_with(database, sandbox, webhook_secret=WEBHOOK_SECRET)
        env = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}
        env["AIRFLOW__FORMANT__WEBHOOKS"] = "True"
        store = open_up(database.engine(), "the test", SECRET)
        with Standalone(folder / "dags", folder / "home", env) as airflow:
            url = f"{airflow.base_url}/formant/webhooks/formant_default"
            sandbox.add_webhook(url, secret=WEBHOOK_SECRET)
            yield airflow, store


def begin(airflow: Standalone, people: dict[str, list[str]]) -> str:
    """Call people, and return the run as soon as all of its tasks wait in the triggerer."""
    run_id = airflow.trigger(DAG_ID, {"people": people})
    for task_id, phones in people.items():
        for index in range(len(phones)):
            airflow.wait_for_task_state(DAG_ID, run_id, task_id, "deferred", map_index=index, timeout_s=90)
    return run_id


def attempts(sandbox: Sandbox, run_calls: set[str]) -> list[int | None]:
    """Return what the receiver has answered to the events of these calls."""
    return [sent.status for sent in sandbox.deliveries if sent.conversation_id in run_calls]


def check(airflow: Standalone, sandbox: Sandbox, run_id: str, people: dict[str, list[str]]) -> None:
    """Each was called once, and its task has the outcome and the ids of that call."""
    assert airflow.wait_for_run(DAG_ID, run_id, timeout_s=120) == "success"
    by_phone = {call.customer_phone: call for call in sandbox.calls}
    for task_id, phones in people.items():
        path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value?map_index="
        for index, phone in enumerate(phones):
            told = airflow.api("GET", f"{path}{index}")["value"]
            assert (told["status"], told["trace_id"]) == ("completed", by_phone[phone].trace_id)
            assert sandbox.rings[phone] == 1


def conversations(sandbox: Sandbox, people: dict[str, list[str]]) -> set[str]:
    called = {phone for phones in people.values() for phone in phones}
    return {call.conversation_id for call in sandbox.calls if call.customer_phone in called}


def test_calls_that_end_while_the_receiver_is_dead_end_their_waits(
    place: tuple[Standalone, Store], sandbox: Sandbox
) -> None:
    """Polls go on, what was not delivered is delivered again, and nobody is called twice."""
    airflow, store = place
    people = {"asks_often": ["+14155550110", "+14155550113"], "asks_seldom": ["+14155550111", "+14155550112"]}
    run_id = begin(airflow, people)
    # The process that serves calls itself by another name than the one that was started.
    airflow.kill(airflow.component("api-server") + airflow.component("api_server"))
    sandbox.advance(LONGEST_CALL_S)
    ours = conversations(sandbox, people)
    wait_for(lambda: None in attempts(sandbox, ours), "an event that nobody takes", timeout_s=30)
    airflow.start_component("api-server")
    wait_for(lambda: airflow.api("GET", "/monitor/health"), "the API server to be back", timeout_s=90)
    sandbox.advance(AGAIN_AFTER_S)
    check(airflow, sandbox, run_id, people)
    sandbox.deliver_webhooks()
    assert attempts(sandbox, ours).count(200) == len(ours) == 4
    stored = [each.event.conversation.conversation_id for each in events_after(store, 0).events]
    assert sorted(stored) == sorted(ours)


def test_calls_that_end_while_the_triggerer_is_dead_end_their_waits(
    place: tuple[Standalone, Store], sandbox: Sandbox
) -> None:
    """What the receiver has stored meanwhile is read by the triggerer that takes over."""
    airflow, _ = place
    people = {"asks_often": ["+14155550120", "+14155550121"], "asks_seldom": ["+14155550122", "+14155550123"]}
    run_id = begin(airflow, people)
    airflow.kill(airflow.component("triggerer"))
    sandbox.advance(LONGEST_CALL_S)
    sandbox.deliver_webhooks()
    assert attempts(sandbox, conversations(sandbox, people)) == [200] * 4
    airflow.start_component("triggerer")
    check(airflow, sandbox, run_id, people)
