"""Workers die, are suspended, or are given a task twice: nobody is called twice, and everybody is called."""

from __future__ import annotations

import psutil
import pytest
from cluster.conftest import Cases

from formant_provider.sandbox import Fault
from support.cluster import WORKERS
from support.standalone import wait_for

pytestmark = pytest.mark.timeout(1800)


def test_a_worker_killed_between_acceptance_and_receipt_calls_nobody_again(healthy: Cases) -> None:
    """The next try finds the call whose worker was killed before the answer came."""
    names = ["killed", "killed_stored"]
    healthy.hold_answers(names, seconds=60)
    runs = healthy.play(names)
    for run in runs:
        run.wait_for_fault(Fault.HANG_AFTER)
    healthy.airflow.kill(*{run.worker() for run in runs})
    for run in runs:
        run.wait()
        run.assert_everybody_was_called_once()
        assert run.result()["placement"] == "found"


def test_a_worker_killed_while_a_list_is_called_calls_nobody_again(healthy: Cases) -> None:
    """The next try goes on with the list, finds calls whose answers were lost, and reports on everybody."""
    names = ["killed_list", "killed_list_stored"]
    healthy.hold_answers(names, seconds=0.4, times=100)
    runs = healthy.play(names)
    for run in runs:
        run.wait_for_rings(20)
    healthy.airflow.kill(*{run.worker() for run in runs})
    for run in runs:
        run.wait()
        run.assert_everybody_was_called_once()


def test_a_message_delivered_twice_while_its_task_runs_starts_nothing(healthy: Cases) -> None:
    """Redis gives the message to a worker again; Airflow refuses to start the task, and the first goes on."""
    runs = healthy.play(["twice", "twice_stored", "twice_list", "twice_list_stored"])
    for run in runs:
        run.wait()
        run.assert_everybody_was_called_once()
        assert [task["try_number"] for task in run.tasks()] == [1]
    log = healthy.airflow.log(*WORKERS)
    assert log.count("Task already running elsewhere") >= len(runs)


def test_a_process_that_is_suspended_and_resumed_calls_nobody_again(healthy: Cases) -> None:
    """A new try takes over meanwhile; resumed beside it, the old process sends nothing more."""
    names = ["suspended", "suspended_stored", "suspended_list", "suspended_list_stored"]
    healthy.hold_answers(names[:2], seconds=30)
    healthy.hold_answers(names[2:], seconds=0.4, times=200)
    runs = healthy.play(names)
    for run in runs:
        run.wait_for_rings(20 if run.is_list else 1)
    suspended = [psutil.Process(run.pid()) for run in runs]
    for process in suspended:
        process.parent().suspend()  # which tells Airflow that the task lives
        process.suspend()
    for run in runs:
        run.wait_for_try(2)
    for process in suspended:
        process.parent().resume()
        process.resume()
    for run in runs:
        run.wait()
    wait_for(lambda: not any(process.is_running() for process in suspended), "their ends", timeout_s=90)
    for run in runs:
        run.assert_everybody_was_called_once()
