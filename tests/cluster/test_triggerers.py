"""Triggerers die, are suspended, or see their tasks cleared: everybody is called once, and each wait ends."""

from __future__ import annotations

import time

import pytest
from cluster.conftest import Cases

from support.cluster import TRIGGERERS

pytestmark = pytest.mark.timeout(1800)

FIRST, SECOND = TRIGGERERS
TAKEN_OVER_S = 15
"""Longer than the health threshold of a triggerer in this cluster."""


def test_two_hundred_waits_survive_a_triggerer_that_is_killed(healthy: Cases) -> None:
    """The other triggerer takes them over, and each task ends with its own call."""
    (run,) = healthy.play(["many_waits"])
    run.wait_for_states("deferred")
    healthy.airflow.kill(FIRST)
    run.end_calls()
    run.wait()
    run.assert_everybody_was_called_once()


def test_waits_survive_a_triggerer_that_is_suspended_and_resumed(healthy: Cases) -> None:
    """The other triggerer takes them over; what the first one tells when it is resumed changes nothing."""
    (run,) = healthy.play(["some_waits"])
    run.wait_for_states("deferred")
    healthy.airflow.suspend(FIRST)
    time.sleep(TAKEN_OVER_S)
    run.end_calls()
    run.wait()
    healthy.airflow.resume(FIRST)
    time.sleep(TAKEN_OVER_S)
    run.assert_everybody_was_called_once()
    assert {task["state"] for task in run.tasks()} == {"success"}
    assert {task["try_number"] for task in run.tasks()} == {1}


def test_deferred_tasks_that_are_cleared_wait_for_the_same_calls(healthy: Cases) -> None:
    """Cleared while they wait, they call nobody again; cleared once more at the end, neither."""
    (run,) = healthy.play(["cleared_waits"])
    run.wait_for_states("deferred")
    run.clear()
    run.wait_for_states("deferred")
    run.end_calls()
    run.wait()
    run.assert_everybody_was_called_once()
    run.clear()
    run.wait()
    run.assert_everybody_was_called_once()
