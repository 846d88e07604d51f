"""The standalone harness keeps its promises: a real Airflow to kill and clear, and nothing left of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.standalone import SCRIPT, AirflowApi, Standalone, local, wait_for

pytestmark = pytest.mark.standalone

DAG = """
import time
from datetime import timedelta

from airflow.sdk import DAG, BaseHook, task

with DAG("trivial", schedule=None):

    @task(retries=1, retry_delay=timedelta(0))
    def sleep(dag_run, task_state_store, ti):
        task_state_store.set("tries", ti.try_number)
        print("password", BaseHook.get_connection("db").password)
        time.sleep(dag_run.conf["seconds"] if ti.try_number == 1 else 0)
        return BaseHook.get_connection("db").host

    sleep()
"""


STUBBORN_DAG = """
import signal
import time

from airflow.sdk import DAG, task

with DAG("stubborn", schedule=None):

    @task
    def sleep():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)

    sleep()
"""


def test_the_script_leaves_nothing_behind(tmp_path: Path) -> None:
    """``make airflow`` runs DAGs, and on Ctrl-C ends with all it started, be it a task that will not go."""
    dags, log = tmp_path / "dags", tmp_path / "out.log"
    dags.mkdir()
    (dags / "stubborn.py").write_text(STUBBORN_DAG)
    command = [sys.executable, str(SCRIPT), "--home", str(tmp_path / "home"), "--dags", str(dags)]
    script = local.start(command, log, dict(os.environ))
    local.wait_until(lambda: "Airflow is ready" in log.read_text(), script, log)
    airflow = AirflowApi(re.findall(r"ready: (\S+)", log.read_text())[0])
    run_id = airflow.trigger("stubborn")
    task = airflow.wait_for_task_state("stubborn", run_id, "sleep", "running")
    assert airflow.api("GET", "/connections/formant_default")["conn_type"] == "formant"
    started = psutil.Process(script.pid).children(recursive=True)
    assert task["pid"] in [process.pid for process in started]
    script.send_signal(signal.SIGINT)
    assert script.wait(timeout=15) == 0
    assert [process for process in started if _runs(process)] == []


def test_an_early_death_is_explained(tmp_path: Path) -> None:
    """If Airflow cannot start, the end of its log is shown and the exit code is 1."""
    (tmp_path / "airflow.cfg").write_text("[database]\nsql_alchemy_conn = nonsense\n")
    command = [sys.executable, str(SCRIPT), "--home", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "standalone.log" in ended.stderr


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    dags = tmp_path_factory.mktemp("dags")
    (dags / "trivial.py").write_text(DAG)
    env = {"AIRFLOW_CONN_DB": "x://me:s3cret-value@somewhere"}
    with Standalone(dags, tmp_path_factory.mktemp("home"), env) as airflow:
        yield airflow


def test_a_task_can_be_run_killed_and_cleared(airflow: Standalone) -> None:
    """A task whose process is killed is retried; its log, XCom and a clear are within reach."""
    run_id = airflow.trigger("trivial", {"seconds": 60})
    airflow.kill([airflow.task_pid("trivial", run_id, "sleep")])
    assert airflow.wait_for_run("trivial", run_id) == "success"
    assert airflow.task("trivial", run_id, "sleep")["try_number"] == 2
    assert airflow.xcom("trivial", run_id, "sleep") == "somewhere"
    assert "password ***" in airflow.task_log("trivial", run_id, "sleep", try_number=2)
    airflow.clear("trivial", run_id, ["sleep"])
    assert airflow.wait_for_task_state("trivial", run_id, "sleep", "success")["try_number"] == 3


def test_the_triggerer_can_be_killed_and_started_again(airflow: Standalone) -> None:
    """A part of Airflow can be lost and come back."""
    airflow.kill(airflow.component("triggerer"))
    assert airflow.component("triggerer") == []
    assert airflow.component("scheduler")
    airflow.start_component("triggerer")
    assert wait_for(lambda: airflow.component("triggerer"), "a new triggerer", timeout_s=10)


def _runs(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
