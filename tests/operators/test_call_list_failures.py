"""What becomes of a call list when the API fails, its time is up, or its rows change between two tries."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Fault, Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import needs_state_store

pytestmark = needs_state_store  # over a call store: test_call_list_store.py
KEY = "key-1234567"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over within a second."""
    with Sandbox(api_key=KEY, call_speed=200, rate_limit=None) as sandbox:
        yield sandbox


def numbers(count: int) -> list[str]:
    return [f"+14155550{at}" for at in range(110, 110 + count)]


def run_list(channel: FakeSupervisor, wanted: list[str], again: int = 0, **fields: Any) -> TaskRun:
    rows = [{"customer_phone": number} for number in wanted]
    options = {"agent_id": 456, "poll_interval": 0.2, "retries": 3, **fields}
    operator = FormantCallListOperator(task_id="list", calls=rows, **options)
    return run_task(operator, channel, **({"try_number": 1 + again, "clear_number": again} if again else {}))


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.ERROR_503_BEFORE, Fault.DROP_BEFORE], ids=str)
def test_a_list_waits_for_an_api_that_accepts_nothing(
    fault: Fault, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """All of it slows down, one request goes ahead, and in the end everybody is called once."""
    sandbox.inject("POST /v1/call", fault, times=2)
    run = run_list(channel, numbers(12))
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["reached"] == 12
    assert sandbox.rings == dict.fromkeys(numbers(12), 1)


@pytest.mark.parametrize("fault", [Fault.ERROR_503_AFTER, Fault.DROP_AFTER], ids=str)
def test_a_list_finds_calls_whose_answers_were_lost(
    fault: Fault, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The same key is sent again, or the call is looked for; nobody is called twice."""
    sandbox.inject("POST /v1/call", fault, times=2)
    run = run_list(channel, numbers(12))
    assert run.state == "success", run.log_text
    result = run.xcoms["return_value"]
    assert (result["reached"], result["calls"]) == (12, 12)
    assert sandbox.rings == dict.fromkeys(numbers(12), 1)


def test_after_its_time_nobody_is_called_until_the_task_is_cleared(tmp_path: Path) -> None:
    """Calls in progress are followed to their ends, and the others are called when the task is cleared."""
    place = tmp_path / "results.csv"
    with Sandbox(api_key=KEY, call_speed=200, rate_limit=20, rate_window_seconds=1) as slow:
        channel = FakeSupervisor(connections={"formant_default": slow.connection_uri()})
        run = run_list(channel, numbers(40), timeout=1, results_uri=str(place))
        called = dict(slow.rings)
        assert run.state == "failed"
        assert 0 < len(called) < 40
        result = run.xcoms["return_value"]
        assert (result["status"], result["waiting"]) == ("expired", 0)
        assert result["by_reason"] == {"expired": 40 - len(called)}
        with place.open(newline="") as file:
            told = {row["customer_phone"]: row["status"] for row in csv.DictReader(file)}
        assert len(told) == 40
        assert set(told.values()) == {"completed", "rejected"}
        again = run_list(channel, numbers(40), again=1)
        assert again.state == "success", again.log_text
        assert slow.rings == dict.fromkeys(numbers(40), 1)


def test_a_list_may_return_when_its_time_is_up(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """With ``on_timeout="return"`` the task succeeds, and says who was not called."""
    run = run_list(channel, numbers(3), timeout=0.001, on_timeout="return")
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["by_reason"] == {"expired": 3}
    assert not sandbox.rings


def test_who_was_taken_off_the_list_is_not_called(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A list that has shrunk between two tries calls those who are left, and reports on them alone."""
    channel.variables["pause"] = "true"
    assert run_list(channel, numbers(5), hold_variable="pause").state == "deferred"
    channel.variables["pause"] = "false"
    run = run_list(channel, numbers(5)[2:], again=1, hold_variable="pause")
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["rows"] == 3
    assert sandbox.rings == dict.fromkeys(numbers(5)[2:], 1)


def test_shares_that_change_between_two_tries_call_nobody_again(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Who was called by one agent is not called by another one that would call them now."""
    first = run_list(channel, numbers(10), agent_id=None, agents={456: 1})
    again = run_list(channel, numbers(12), again=1, agent_id=None, agents={456: 0.0001, 789: 1})
    assert (first.state, again.state) == ("success", "success")
    assert sandbox.rings == dict.fromkeys(numbers(12), 1)
    assert again.xcoms["return_value"]["variants"] == {
        "456": {"called": 10, "reached": 10},
        "789": {"called": 2, "reached": 2},
    }
