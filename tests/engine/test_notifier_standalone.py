"""Pages in a real Airflow: from the worker, the DAG processor, the triggerer and the executor, each once."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.faults import CALL
from support.standalone import Standalone, wait_for

pytestmark = [pytest.mark.standalone, pytest.mark.timeout(600)]

KEY = "key-1234567"
ON_CALL = "+14155550160"

DAGS = """
import time
from datetime import timedelta

from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback, task

from formant_provider.notifications.call import FormantCallNotifier


def page(**fields):
    told = {"customer_phone": "{{ var.value.on_call }}", "what": "{{ event }}"}
    return {"agent_id": 456, "parameters": told, **fields}


PAGE = FormantCallNotifier(**page())
BROKEN = FormantCallNotifier(**page(formant_conn_id="nobody"))

with DAG("fails", schedule=None, on_failure_callback=[PAGE, BROKEN]):

    @task(
        retries=1,
        retry_delay=timedelta(0),
        on_retry_callback=[PAGE, BROKEN],
        on_failure_callback=[PAGE, PAGE, BROKEN],
    )
    def load():
        raise LookupError("the source is empty")

    load()


def missed(kind, **fields):
    callback = kind(FormantCallNotifier, kwargs=page(**fields))
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=1), callback)


with DAG(
    "late",
    schedule=None,
    deadline=[
        missed(AsyncCallback),
        missed(SyncCallback),
        missed(AsyncCallback, formant_conn_id="nobody"),
        missed(SyncCallback, formant_conn_id="nobody"),
    ],
):

    @task
    def slow():
        time.sleep(3)

    slow()
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Standalone]:
    folder = tmp_path_factory.mktemp("notifier")
    (folder / "dags").mkdir()
    (folder / "dags" / "pages.py").write_text(DAGS)
    env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_json(), "AIRFLOW_VAR_ON_CALL": ON_CALL}
    with Standalone(folder / "dags", folder / "home", env) as airflow:
        yield airflow


def told(sandbox: Sandbox) -> Counter[str]:
    """What was called about, and how often a phone rang for it."""
    keys = {seen.body["idempotency_key"]: seen.body for seen in sandbox.requests if seen.endpoint == CALL}
    return Counter(
        next(item["value"] for item in body["parameters"] if item["name"] == "what") for body in keys.values()
    )


def logs(airflow: Standalone) -> str:
    return "\n".join(path.read_text(errors="replace") for path in Path(airflow.home).rglob("*.log"))


def test_a_failing_task_and_its_dag_ring_once_each(airflow: Standalone, sandbox: Sandbox) -> None:
    """A retry, a failure with three callbacks, and the failure of the DAG: three rings, the task as ever."""
    run_id = airflow.trigger("fails")
    assert airflow.wait_for_run("fails", run_id) == "failed"
    where = f"fails / {run_id}"
    wanted = {f"retry of {where} / load": 1, f"failed of {where} / load": 1, f"failed of {where}": 1}
    wait_for(lambda: len(told(sandbox)) == 3, "the page of the DAG", timeout_s=60)
    assert told(sandbox) == wanted
    assert sandbox.rings == {ON_CALL: 3}
    instance = airflow.task("fails", run_id, "load")
    assert (instance["state"], instance["try_number"]) == ("failed", 2)
    first, second = (airflow.task_log("fails", run_id, "load", number) for number in (1, 2))
    assert "the source is empty" in first
    assert "the source is empty" in second
    assert "No second call is placed" in second
    for log in (first, second):
        assert "formant_conn_id: could not be rendered or read" in log


def test_a_missed_deadline_rings_once_for_each_alert(airflow: Standalone, sandbox: Sandbox) -> None:
    """An alert in the triggerer and one in the executor ring once each; those that cannot ring do no harm."""
    before = sandbox.rings.total()
    run_id = airflow.trigger("late")

    def callbacks() -> list[tuple[str, str]]:
        with sqlite3.connect(airflow.home / "airflow.db") as database:
            return database.execute("select type, state from callback order by type").fetchall()

    states = [(kind, "success") for kind in ("executor", "executor", "triggerer", "triggerer")]
    wait_for(lambda: callbacks() == states, "the callbacks to be done", timeout_s=90)
    assert airflow.wait_for_run("late", run_id) == "success"
    assert sandbox.rings.total() - before == 2
    what = f"deadline of late / {run_id}"
    bodies = [seen.body for seen in sandbox.requests if what in json.dumps(seen.body)]
    assert len({body["idempotency_key"] for body in bodies}) == len(bodies) == 2


def test_nothing_private_was_stored_or_logged(airflow: Standalone) -> None:
    """No log of any component, and no table that callbacks are stored in, has the number or the key."""
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        stored = [
            database.execute(f"select * from {table}").fetchall()  # noqa: S608 - names of ours
            for table in ("callback", "deadline", "deadline_alert", "trigger", "serialized_dag", "dag_code")
        ]
    text = logs(airflow) + repr(stored)
    assert "Calling about" in text
    for private in (KEY, ON_CALL.lstrip("+")):
        assert private not in text
