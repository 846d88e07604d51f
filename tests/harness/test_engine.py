"""The engine harness keeps its promises: small DAGs through Airflow's own engine over SQLite."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.engine import DagResult, run_dag_source

pytestmark = pytest.mark.engine

SECRET = "s3cret-value"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

MANY_THINGS = """
from datetime import timedelta
import logging

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseHook, BaseOperator, task


class Wait(BaseOperator):
    def execute(self, context):
        context["ti"].xcom_push("id", 7)
        self.defer(trigger=TimeDeltaTrigger(timedelta(0)), method_name="done")

    def done(self, context, event):
        return event is not None


with DAG("many_things", schedule=None):

    @task(retries=2, retry_delay=timedelta(minutes=5))
    def flaky(ti, task_state_store):
        task_state_store.set(f"try_{ti.try_number}", {"done": True})
        if ti.try_number == 1:
            raise ValueError("not yet")
        return 5

    @task
    def double(x):
        return 2 * x

    @task
    def connect(dag_run):
        conn = BaseHook.get_connection("db")
        logging.getLogger("lib").warning("host %s password %s", conn.host, conn.password)
        return dag_run.conf["word"]

    flaky() >> double.expand(x=[1, 2]) >> Wait(task_id="wait") >> connect()
"""


@pytest.fixture(scope="module")
def many_things(tmp_path_factory: pytest.TempPathFactory) -> DagResult:
    return run_dag_source(
        MANY_THINGS,
        tmp_path_factory.mktemp("dags"),
        "many_things",
        run_conf={"word": "hello"},
        logical_date=NOW,
        env={"AIRFLOW_CONN_DB": f"x://me:{SECRET}@somewhere"},
    )


def test_a_run_succeeds_with_retries(many_things: DagResult) -> None:
    """A task that fails once is run again without waiting for its delay."""
    assert (many_things.state, many_things["flaky"].state) == ("success", "success")
    assert many_things["flaky"].try_number == 2
    assert "ValueError: not yet" in many_things.log_text


def test_the_state_store_is_read_from_the_database(many_things: DagResult) -> None:
    """What each try stored is there after the run."""
    assert many_things["flaky"].state_store == {"try_1": {"done": True}, "try_2": {"done": True}}


def test_mapped_tasks_are_seen_by_index(many_things: DagResult) -> None:
    """Each index of a mapped task has its own XComs and rendered fields."""
    assert [many_things["double", index].xcoms for index in (0, 1)] == [
        {"return_value": 2},
        {"return_value": 4},
    ]
    assert many_things["double", 1].rendered_fields["op_kwargs"] == {"x": 2}


def test_deferral_runs_the_trigger(many_things: DagResult) -> None:
    """A deferred task resumes within the run and keeps the XComs it pushed before."""
    assert many_things["wait"].xcoms == {"id": 7, "return_value": True}


def test_connections_and_conf_are_given_to_the_run(many_things: DagResult) -> None:
    """Connections come from ``env``; the password is in the raw log and masked in the other."""
    assert many_things["connect"].xcoms == {"return_value": "hello"}
    assert f"host somewhere password {SECRET}" in many_things.log_text
    assert "host somewhere password ***" in many_things.masked_log_text


def test_nothing_of_a_run_stays_in_the_process(many_things: DagResult) -> None:
    """Environment and signal handling are as before the run."""
    assert many_things.run_id
    assert "AIRFLOW_CONN_DB" not in os.environ
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_failed_run_says_so(tmp_path: Path) -> None:
    """A run that fails returns its states, it does not raise."""
    source = """
        from airflow.sdk import DAG, task

        with DAG("sad", schedule=None):

            @task
            def fail():
                raise ValueError("no")

            @task
            def after():
                pass

            fail() >> after()
    """
    result = run_dag_source(source, tmp_path, "sad")
    assert (result.state, result["fail"].state, result["after"].state) == (
        "failed",
        "failed",
        "upstream_failed",
    )


def test_a_broken_file_is_an_import_error(tmp_path: Path) -> None:
    """A DAG file that cannot be imported raises with the reason."""
    with pytest.raises(ImportError, match="ZeroDivisionError"):
        run_dag_source("1 / 0", tmp_path, "broken")
