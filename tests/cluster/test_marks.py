"""Somebody marks a list, or deletes its run, while it is called: within seconds nobody is called any more."""

from __future__ import annotations

import time

import psutil
import pytest
from cluster.cluster_dags import PEOPLE
from cluster.conftest import Cases, Played

from support.standalone import wait_for

pytestmark = pytest.mark.timeout(1800)


def started(cases: Cases, name: str) -> tuple[Played, psutil.Process]:
    """Start a list, and return it in the middle, with its process."""
    cases.hold_answers([name], seconds=0.8, times=120)
    (run,) = cases.play([name])
    run.wait_for_rings(10)
    return run, psutil.Process(run.pid())


def assert_it_ends(run: Played, process: psutil.Process) -> None:
    """Its process ends within seconds, nobody is called after it, and many are not called at all."""
    wait_for(lambda: not process.is_running(), f"the process of {run.name} to end", timeout_s=60)
    called = dict(run.rings)
    time.sleep(3)
    assert run.rings == called
    assert set(called.values()) == {1}
    assert len(called) < PEOPLE[run.name]


def test_a_list_that_is_marked_as_success_calls_nobody_further(healthy: Cases) -> None:
    """Its process is told with the next heartbeat; a clear goes on, and calls nobody twice."""
    run, process = started(healthy, "marked_list")
    run.mark("success")
    assert_it_ends(run, process)
    run.clear()
    run.wait()
    run.assert_everybody_was_called_once()


def test_a_list_whose_run_is_deleted_calls_nobody_further(healthy: Cases) -> None:
    """Its process is told with the next heartbeat, or when it writes down the next calls."""
    run, process = started(healthy, "deleted_list")
    run.delete()
    assert_it_ends(run, process)
