"""A real Airflow that makes up for the past: a backfill of a month, and a schedule that catches up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.sandbox import Sandbox
from support.standalone import FINISHED, Standalone, wait_for

pytestmark = [pytest.mark.standalone, pytest.mark.timeout(600)]

KEY = "key-1234567"
TODAY, ALL_THE_SAME, CATCH_UP = "+14155550110", "+14155550111", "+14155550112"
CONSUMER, ONCE = "+14155550113", "+14155550114"
NOW = datetime.now(UTC)
# Twelve hours ago, so that no day ends while the test runs.
DAYS_END = (NOW - timedelta(hours=12)).replace(minute=0, second=0, microsecond=0)
DAYS = 30

DAGS = f"""
from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Asset, task
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.timetables.interval import CronDataIntervalTimetable

from formant_provider.operators.call import FormantCreateCallOperator

end = datetime.fromisoformat({DAYS_END.isoformat()!r})


def every_day():
    return CronDataIntervalTimetable(f"0 {{end.hour}} * * *", timezone="UTC")


def call(number, **options):
    options |= dict(retries=3, retry_delay=timedelta(0))  # Airflow on SQLite loses a task now and then
    FormantCreateCallOperator(
        task_id="call", agent_id=456, parameters={{"customer_phone": number}}, **options
    )


with DAG("caught_up", schedule=every_day(), start_date=end - timedelta(days=4), catchup=True):
    call("{CATCH_UP}")

LONG_AGO = dict(start_date=end - timedelta(days=90), catchup=False)

with DAG("backfilled", schedule=every_day(), **LONG_AGO):
    call("{TODAY}")

with DAG("wanted", schedule=every_day(), **LONG_AGO):
    call("{ALL_THE_SAME}", max_lateness=None)

loans = Asset("loans")

with DAG("producer", schedule=every_day(), **LONG_AGO):

    @task(outlets=[loans], retries=3, retry_delay=timedelta(0))
    def produce(dag_run=None):
        if dag_run.run_type != "backfill":
            raise AirflowSkipException

    produce()

with DAG("consumer", schedule=[loans], **LONG_AGO):
    call("{CONSUMER}")

with DAG("once", schedule="@once", start_date=end - timedelta(days=90)):
    call("{ONCE}")
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, rate_limit=None) as sandbox:
        yield sandbox


def airflow_command(airflow: Standalone, *words: str) -> None:
    """Do what somebody at a terminal does."""
    command = [sys.executable, "-m", "airflow", *words]
    done = subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def backfill(airflow: Standalone, dag_id: str, days: int, until: int = 1) -> None:
    begin, end = DAYS_END - timedelta(days=days), DAYS_END - timedelta(days=until)
    options = ["--from-date", begin.isoformat(), "--to-date", end.isoformat(), "--max-active-runs", "8"]
    airflow_command(airflow, "backfill", "create", "--dag-id", dag_id, *options)


def ended(airflow: Standalone, dag_id: str, number: int) -> list[dict[str, Any]]:
    """Wait until so many runs of the DAG have ended; return their tasks, the oldest run's first."""

    def tasks() -> list[dict[str, Any]] | None:
        runs = airflow.api("GET", f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        if len(runs) < number or not {run["state"] for run in runs} <= set(FINISHED):
            return None
        found = airflow.api("GET", f"/dags/{dag_id}/dagRuns/~/taskInstances?limit=100")["task_instances"]
        return sorted(found, key=lambda task: task["logical_date"])

    return wait_for(tasks, f"{number} runs of {dag_id} to end", timeout_s=200)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Standalone]:
    """An Airflow that finds its backfills when it starts: SQLite bears no second writer meanwhile."""
    folder = tmp_path_factory.mktemp("backfill")
    (folder / "dags").mkdir()
    (folder / "dags" / "daily.py").write_text(DAGS)
    env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_json()}
    airflow = Standalone(folder / "dags", folder / "home", env)
    airflow_command(airflow, "db", "migrate")
    airflow_command(airflow, "dags", "reserialize")
    backfill(airflow, "backfilled", DAYS)
    backfill(airflow, "wanted", 3)
    backfill(airflow, "producer", DAYS, until=DAYS - 2)
    with airflow:
        yield airflow


def test_a_schedule_that_catches_up_rings_for_yesterday_alone(airflow: Standalone, sandbox: Sandbox) -> None:
    """A scheduler that was down for days comes back, and nobody is called about the days before."""
    tasks = ended(airflow, "caught_up", 4)
    assert [task["state"] for task in tasks] == ["skipped"] * 3 + ["success"]
    assert sandbox.rings[CATCH_UP] == 1


def test_a_backfill_of_a_month_rings_for_yesterday_alone(airflow: Standalone, sandbox: Sandbox) -> None:
    """Twenty-nine of thirty days are long gone, and their tasks are skipped with the reason in the log."""
    tasks = ended(airflow, "backfilled", DAYS)
    assert [task["state"] for task in tasks] == ["skipped"] * (DAYS - 1) + ["success"]
    assert sandbox.rings[TODAY] == 1
    first = tasks[0]
    log = airflow.task_log("backfilled", first["dag_run_id"], first["task_id"])
    assert "longer ago than max_lateness (1 day, 0:00:00) allows" in log
    assert first["dag_run_id"].startswith("backfill")


def test_a_backfill_that_is_meant_to_ring_does(airflow: Standalone, sandbox: Sandbox) -> None:
    """Without a limit each of its days is a call of its own."""
    assert {task["state"] for task in ended(airflow, "wanted", 3)} == {"success"}
    assert sandbox.rings[ALL_THE_SAME] == 3


def test_a_backfilled_producer_rings_nobody_one_step_down(airflow: Standalone, sandbox: Sandbox) -> None:
    """Its consumer's runs are of today, by their ids and times, and are about last month all the same."""

    def after_the_producer() -> list[dict[str, Any]] | None:
        made = airflow.api("GET", "/dags/producer/dagRuns?limit=100")["dag_runs"]
        backfilled = [run for run in made if run["run_type"] == "backfill"]
        runs = airflow.api("GET", "/dags/consumer/dagRuns?limit=100")["dag_runs"]
        if (
            len(backfilled) < 3
            or not runs
            or not {run["state"] for run in backfilled + runs} <= set(FINISHED)
        ):
            return None
        return list(airflow.api("GET", "/dags/consumer/dagRuns/~/taskInstances")["task_instances"])

    tasks = wait_for(after_the_producer, "the consumer of the backfill", timeout_s=200)
    assert {task["state"] for task in tasks} == {"skipped"}
    assert CONSUMER not in sandbox.rings
    log = airflow.task_log("consumer", tasks[0]["dag_run_id"], "call")
    assert "as after a backfill or a clear of its producer" in log
    assert tasks[0]["dag_run_id"].startswith(f"asset_triggered__{NOW:%Y-%m-%d}")


def test_an_old_once_says_why_it_is_late(airflow: Standalone, sandbox: Sandbox) -> None:
    """The log says that its run counts as that of the start date, and what to set."""
    [task] = ended(airflow, "once", 1)
    log = airflow.task_log("once", task["dag_run_id"], "call")
    assert (task["state"], ONCE in sandbox.rings) == ("skipped", False), log
    assert "The schedule is @once" in log
    assert "max_lateness=None" in log
