"""Metrics reach a real StatsD server, from each kind of process that Airflow has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from formant_provider.api.telemetry import LIST_ROWS, METRICS
from support.statsd_server import StatsdServer

pytest.importorskip("statsd")
pytestmark = pytest.mark.timeout(300)  # processes that import Airflow, on a busy machine

# Each process is a fork of one that has imported what a task imports.
SCRIPT = """
import asyncio, os, socket, sys, threading, time
from importlib import import_module
from formant_provider.api.telemetry import CALLS_PLACED, LIST_ROWS, METRICS
from formant_provider.hooks.telemetry.measuring import AirflowTelemetry

def set_up_as_airflow_does(side):
    try:
        stats = import_module(f"{side}.stats").Stats
        utils = import_module(f"{side}.metrics.stats_utils")
    except ImportError:
        return  # Airflow 3.1 has one that sets itself up
    if hasattr(stats, "factory"):
        stats.initialize(factory=utils.get_stats_factory(stats))
    else:
        stats.initialize(factory=utils.get_stats_factory(), export_legacy_names=True)

def task():
    set_up_as_airflow_does("airflow.sdk.observability")
    AirflowTelemetry("a_task").count(CALLS_PLACED, agent_id=7)

def server():
    set_up_as_airflow_does("airflow.observability")
    AirflowTelemetry("a_server").count(CALLS_PLACED, agent_id=7)

def program():
    AirflowTelemetry("a_program").count(CALLS_PLACED, agent_id=7)

def event_loop():
    looked_up = threading.Event()
    real = socket.getaddrinfo
    def slow(*args, **kwargs):
        time.sleep(1)
        try:
            return real(*args, **kwargs)
        finally:
            looked_up.set()
    socket.getaddrinfo = slow
    async def main():
        AirflowTelemetry("a_loop").count(CALLS_PLACED, agent_id=7)
        assert not looked_up.is_set(), "the event loop was held up"
        assert await asyncio.to_thread(looked_up.wait, 60)
        await asyncio.sleep(1)  # until it is sent
    asyncio.run(main())

def without_threads():
    def start(_):
        raise RuntimeError("can't start new thread")
    async def main():
        threading.Thread.start = start
        AirflowTelemetry("a_loop").count(CALLS_PLACED, agent_id=7)
    asyncio.run(main())

def odd_names():
    AirflowTelemetry("x/y:z #1,a=b").gauge(LIST_ROWS, 3, dag_id="d.e", task_id="group.t", agent_id=None)

def every():
    telemetry = AirflowTelemetry("c")
    for metric in METRICS:
        send = telemetry.count if metric.kind == "counter" else lambda m, **t: telemetry.gauge(m, 1, **t)
        send(metric, **{tag: "GET /v1/conversations/{conversation_id}" for tag in metric.tags})

for name in sys.argv[1:]:
    if not (pid := os.fork()):
        try:
            globals()[name]()
        except BaseException as error:
            print(name, repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, name
"""


@pytest.fixture
def server() -> Iterator[StatsdServer]:
    with StatsdServer() as server:
        yield server


def run(folder: Path, env: Mapping[str, str], *names: str) -> str:
    """Run functions of the script, each in a process of its own; return what they logged."""
    home = {"AIRFLOW_HOME": str(folder), "AIRFLOW__CORE__UNIT_TEST_MODE": "False"}
    command = [sys.executable, "-c", SCRIPT, *names]
    done = subprocess.run(
        command, env={**os.environ, **home, **env}, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_metrics_arrive_from_every_process(server: StatsdServer, tmp_path: Path) -> None:
    """From a task, from what uses Airflow's core, from a program of our own, and from an event loop.

    The last one is not held up by a host name that takes long to look up. Tags are plain in any case, and
    every metric passes Airflow's check of names.
    """
    logged = run(tmp_path, server.env, "task", "server", "program", "event_loop", "odd_names", "every")
    for conn_id in ("a_task", "a_server", "a_program", "a_loop"):
        server.wait_for(f"airflow.formant.calls.placed,conn_id={conn_id},agent_id=7:1|c", timeout_s=5)
    server.wait_for(
        f"airflow.{LIST_ROWS.name},conn_id=x_y_z_1_a_b,dag_id=d.e,task_id=group.t:3|g", timeout_s=5
    )
    assert {line.partition(",")[0] for line in server.ours} == {f"airflow.{each.name}" for each in METRICS}
    assert "Invalid stat name" not in logged
    assert "not sent" not in logged


def test_without_tags_the_names_are_the_same(server: StatsdServer, tmp_path: Path) -> None:
    """Plain StatsD has no tags: they are left out, and nothing of them is in a name."""
    plain = {**server.env, "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "False"}
    run(tmp_path, plain, "every")
    server.wait_for("airflow.formant.call_list.calls:1|g", timeout_s=5)
    counters = [f"airflow.{each.name}:1|c" for each in METRICS if each.kind == "counter"]
    assert server.ours == [*counters, *(f"airflow.{each.name}:1|g" for each in METRICS[len(counters) :])]


def test_datadog_gets_the_same_with_its_own_tags(server: StatsdServer, tmp_path: Path) -> None:
    """With statsd_datadog_enabled the tags follow the value."""
    pytest.importorskip("datadog")
    datadog = {"AIRFLOW__METRICS__STATSD_DATADOG_ENABLED": "True", "DD_DOGSTATSD_DISABLE": "False"}
    run(tmp_path, {**server.env, **datadog}, "task")
    server.wait_for("airflow.formant.calls.placed:1|c|#conn_id:a_task,agent_id:7", timeout_s=5)


def test_metrics_that_cannot_be_sent_fail_nothing(tmp_path: Path) -> None:
    """Whatever the backend of metrics does, a line in the log is all that comes of it."""
    (tmp_path / "broken_client.py").write_text(
        "from statsd import StatsClient\n"
        "class Broken(StatsClient):\n"
        "    def incr(self, *args, **kwargs): raise RuntimeError('+14155550100')\n"
    )
    env = {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_CUSTOM_CLIENT_PATH": "broken_client.Broken",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    logged = run(tmp_path, env, "task", "every")
    assert "not sent from this process (RuntimeError)" in logged
    assert "14155550100" not in logged


def test_an_event_loop_goes_on_where_no_thread_can_be_started(tmp_path: Path) -> None:
    """A machine that is short of threads loses metrics, and no wait."""
    assert "not sent from this process (no thread can be started)" in run(tmp_path, {}, "without_threads")
