"""Batch calls in Airflow: workers and triggerers die, tasks are cleared, and nobody is called twice."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH, BATCHES, METRICS
from support.standalone import Standalone, wait_for
from support.versions import HAS_STATE_STORE

pytestmark = [pytest.mark.standalone, pytest.mark.timeout(600)]

KEY = "key-1234567"
NAME = "Asha-the-private"
PEOPLE = ("+14155550120", "+14155550121", "+14155550101")
ONE_RING_EACH = dict.fromkeys(PEOPLE, 1)
PRIVATE = (KEY, NAME, *(phone.lstrip("+") for phone in PEOPLE))
BATCH_CALLS = ("killed", "deferred", "cleared", "lagging")

DAGS = """
from datetime import timedelta

from airflow.sdk import DAG

from formant_provider.operators.batch import FormantCreateBatchCallOperator as BatchCall

CONTACTS, REPORTS = {contacts!r}, {reports!r}
WAIT = dict(wait_for_completion=True, poll_interval=1, timeout=150, deferrable=True)


def case(name, **options):
    with DAG(name, schedule=None):
        BatchCall(
            task_id="batch_call",
            formant_conn_id=name,
            agent_id=456,
            name=name,
            contacts=CONTACTS,
            retry_delay=timedelta(0),
            **options,
        )


case("killed", retries=2)
case("deferred", retries=2, results_uri=REPORTS + "/{{{{ dag.dag_id }}}}.csv", **WAIT)
case("cleared", retries=2)
case("lagging", retries=2, lookup_timeout=0)
"""


@dataclass(frozen=True)
class Run:
    """One run of a DAG with one batch call, and the API it goes to."""

    airflow: Standalone
    sandbox: Sandbox
    name: str
    run_id: str

    @property
    def where(self) -> tuple[str, str, str]:
        return self.name, self.run_id, "batch_call"

    def wait_for(self, state: str) -> None:
        """Wait until the run has ended so."""
        assert self.airflow.wait_for_run(self.name, self.run_id, timeout_s=120) == state, self.logs()

    def clear(self) -> None:
        self.airflow.clear(self.name, self.run_id, ["batch_call"])

    def asked(self, endpoint: str) -> int:
        return sum(request.endpoint == endpoint for request in self.sandbox.requests)

    def tries(self) -> int:
        return int(self.airflow.task(*self.where)["try_number"])

    def logs(self) -> str:
        """The log of every try, as the UI shows it."""
        return "\n".join(self.airflow.task_log(*self.where, number) for number in range(1, self.tries() + 1))

    def assert_placed_once(self, placement: str, posts: int = 1) -> dict[str, Any]:
        """Everybody was called by the one batch call, whose id is downstream; return the result."""
        assert self.sandbox.rings == ONE_RING_EACH
        assert self.asked(BATCH) == posts
        result: dict[str, Any] = self.airflow.xcom(*self.where)
        (batch,) = self.sandbox.batches
        assert result["batch_id"] == self.airflow.xcom(*self.where, "batch_id") == batch.batch_id
        assert result["placement"] == placement
        return result


Start = Callable[[str], Run]


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[Mapping[str, Sandbox]]:
    """One API for each DAG; a call lasts for minutes, unless time is moved on."""
    lags = {"lagging": 2}  # the first look and that of the first clear
    sandboxes = {
        name: Sandbox(api_key=KEY, rate_limit=None, batch_list_lag_reads=lags.get(name, 0))
        for name in BATCH_CALLS
    }
    for sandbox in sandboxes.values():
        sandbox.start()
    yield sandboxes
    for sandbox in sandboxes.values():
        sandbox.stop()


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, sandboxes: Mapping[str, Sandbox]
) -> Iterator[Standalone]:
    folder = tmp_path_factory.mktemp("batch_calls")
    rows = "".join(f"{phone},{NAME}\n" for phone in PEOPLE)
    (folder / "contacts.csv").write_text(f"customer_phone,customer_name\n{rows}")
    (folder / "dags").mkdir()
    source = DAGS.format(contacts=str(folder / "contacts.csv"), reports=str(folder / "reports"))
    (folder / "dags" / "batch_calls.py").write_text(source)
    connections = {name: json.loads(sandbox.connection_json()) for name, sandbox in sandboxes.items()}
    env = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()}
    with Standalone(folder / "dags", folder / "home", env) as airflow:
        yield airflow
        assert_nothing_private(folder / "home")


def assert_nothing_private(home: Path) -> None:
    """Neither the database, with all that Airflow ever stored, nor a log of any component shows a contact."""
    with sqlite3.connect(home / "airflow.db") as database:
        text = "\n".join(database.iterdump())
    assert ("formant_batch_calls" in text) is HAS_STATE_STORE
    assert not [private for private in PRIVATE if private in text]
    logs = [path for path in home.rglob("*.log") if path.is_file()]
    assert any("Batch call of agent 456" in path.read_text(errors="replace") for path in logs)
    for path in logs:
        shown = path.read_text(errors="replace")
        assert not [private for private in PRIVATE if private in shown], path


@pytest.fixture
def start(airflow: Standalone, sandboxes: Mapping[str, Sandbox]) -> Start:
    """Start a run of a DAG."""
    return lambda name: Run(airflow, sandboxes[name], name, airflow.trigger(name))


def stored_triggers(airflow: Standalone) -> str:
    """All that the database holds of triggers, and of what is handed to a task that goes on."""
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        triggers = database.execute("select classpath, kwargs from trigger").fetchall()
        handed = database.execute("select next_kwargs from task_instance").fetchall()
    return json.dumps([triggers, handed], default=str)


def test_a_worker_killed_between_accept_and_receipt_does_not_ring_again(
    start: Start, sandboxes: Mapping[str, Sandbox]
) -> None:
    """The batch call whose worker was killed while it waited for the answer is found by the next try."""
    sandboxes["killed"].inject(BATCH, Fault.HANG_AFTER, seconds=100)
    run = start("killed")
    wait_for(lambda: run.sandbox.batches, "the upload to be accepted", timeout_s=60)
    run.airflow.kill([run.airflow.task_pid(*run.where)])
    run.wait_for("success")
    run.assert_placed_once("found")
    assert run.tries() == 2
    assert "The batch call was placed before" in run.logs()


def test_a_triggerer_that_dies_loses_no_batch_call(start: Start) -> None:
    """A batch call that ends while no triggerer runs is reported on when one runs again."""
    run = start("deferred")
    airflow = run.airflow
    airflow.wait_for_task_state(*run.where, "deferred")
    wait_for(lambda: run.asked(METRICS) > 1, "a poll", timeout_s=60)
    stored = stored_triggers(airflow)
    assert "BatchTrigger" in stored
    assert not [private for private in PRIVATE if private in stored]

    airflow.kill(airflow.component("triggerer"))
    run.sandbox.advance(600)
    airflow.start_component("triggerer")
    run.wait_for("success")

    result = run.assert_placed_once("placed")
    assert run.tries() == 1
    assert (result["metrics"]["success_count"], result["metrics"]["no_answer_count"]) == (2, 1)
    assert result["by_status"] == {"completed": 2, "no_answer": 1}
    with open(result["results_uri"], newline="", encoding="utf-8") as file:
        masked = [f"*******{number[-4:]}" for number in PEOPLE]
        assert [row["customer_phone"] for row in csv.DictReader(file)] == masked
    files = sorted(path.name for path in Path(result["results_uri"]).parent.iterdir())
    assert files == ["deferred.csv"]
    assert not [private for private in PRIVATE if private in stored_triggers(airflow)]


def test_a_batch_call_that_is_cleared_after_success_is_not_placed_again(start: Start) -> None:
    """The same ids go downstream, from what was written down or from the list."""
    run = start("cleared")
    run.wait_for("success")
    before = run.assert_placed_once("placed")
    run.clear()
    run.wait_for("success")
    assert run.tries() == 2
    is_remembered = HAS_STATE_STORE and "3.3." in version("apache-airflow-core")
    after = run.assert_placed_once("placed" if is_remembered else "found")
    assert after["batch_id"] == before["batch_id"]
    assert (run.asked(BATCHES) == 0) is is_remembered


def test_a_parked_batch_call_is_adopted_once_the_list_has_caught_up(
    start: Start, sandboxes: Mapping[str, Sandbox]
) -> None:
    """Cleared too early it is parked again; nobody is called twice in either case."""
    sandboxes["lagging"].inject(BATCH, Fault.DROP_AFTER)
    run = start("lagging")
    run.wait_for("failed")
    assert run.tries() == 1
    assert "Look in the FormantAI dashboard for a batch call with that marker in its name" in run.logs()
    run.clear()
    run.wait_for("failed")
    assert run.tries() == 2
    run.clear()
    run.wait_for("success")
    run.assert_placed_once("found")
    assert run.tries() == 3
