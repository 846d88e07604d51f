"""Call lists over a call store: the cap, the do-not-call list and the pace hold for each call of a list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from formant_provider.attempts import Attempts
from formant_provider.call_cap import CallCap
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.operators.suppression import FormantSuppressionOperator
from formant_provider.sandbox import Sandbox
from support.databases import Database
from support.stores import connections_with
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task

KEY = "key-1234567"
NO_ANSWER = "+14155550101"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over within a second."""
    with Sandbox(api_key=KEY, call_speed=200, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox))


def numbers(count: int) -> list[str]:
    return [f"+14155550{at}" for at in range(110, 110 + count)]


def a_list(calls: Any, **fields: Any) -> FormantCallListOperator:
    fields = {"agent_id": 456, "poll_interval": 0.2, "retries": 3, **fields}
    return FormantCallListOperator(task_id="list", calls=calls, **fields)


def rows(*wanted: str) -> list[dict[str, Any]]:
    return [{"customer_phone": number} for number in wanted]


def result(run: TaskRun) -> dict[str, Any]:
    assert run.state == "success", run.log_text
    return dict(run.xcoms["return_value"])


def test_a_list_is_worked_off_over_a_store(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Everybody is called once, also when the task is cleared, or Airflow forgets its state."""
    assert result(run_task(a_list(rows(*numbers(20))), channel))["reached"] == 20
    channel.state.clear()
    again = result(run_task(a_list(rows(*numbers(22))), channel, try_number=2, clear_number=1))
    assert again["reached"] == 22
    assert sandbox.rings == dict.fromkeys(numbers(22), 1)


def test_two_lists_that_share_people_keep_the_cap(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Whoever another list has called as often as allowed is left out, with the reason."""
    cap = {"call_cap": CallCap(1, "1d")}
    assert result(run_task(a_list(rows(*numbers(6)), **cap), channel))["reached"] == 6
    second = result(run_task(a_list(rows(*numbers(9)), **cap), channel, run_id="another"))
    assert (second["reached"], second["by_reason"]) == (3, {"capped": 6})
    assert sandbox.rings == dict.fromkeys(numbers(9), 1)


def test_a_cap_counts_further_attempts(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A further attempt that would be one too many is not made; what was placed stays."""
    attempts = Attempts(most=3, after={"no_answer": 6})
    run = run_task(a_list(rows(NO_ANSWER), attempts=attempts, call_cap=CallCap(2, "1d")), channel)
    assert result(run)["by_status"] == {"no_answer": 1}
    assert sandbox.rings == {NO_ANSWER: 2}


def test_a_capped_call_waits_until_it_is_free(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """With on_capped="schedule" the list waits in the triggerer, and calls nobody too early."""
    cap = {"call_cap": CallCap(1, "2h"), "on_capped": "schedule"}
    result(run_task(a_list(rows(*numbers(1)), **cap), channel))
    second = run_task(a_list(rows(*numbers(1)), **cap), channel, run_id="another")
    assert second.state == "deferred", second.log_text
    assert sandbox.rings == dict.fromkeys(numbers(1), 1)


def test_whoever_asked_not_to_be_called_is_left_out(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The do-not-call list of the store holds for lists as for single calls."""
    listed = FormantSuppressionOperator(task_id="suppress", numbers=numbers(1), reason="asked")
    assert run_task(listed, channel).state == "success"
    outcome = result(run_task(a_list(rows(*numbers(3))), channel))
    assert outcome["by_reason"] == {"suppressed": 1}
    assert sandbox.rings == dict.fromkeys(numbers(3)[1:], 1)


def test_a_list_needs_something_that_remembers(sandbox: Sandbox) -> None:
    """Before Airflow 3.3 a list needs a call store; without one nobody is called."""
    channel = FakeSupervisor(connections={"formant_default": sandbox.connection_uri()})
    run = run_task(a_list(rows(*numbers(3))), channel, state_store=False)
    assert run.state == "failed"
    assert not sandbox.requests
    assert "store_conn_id" in str(run.error)


def test_an_expired_list_whose_file_cannot_be_written_is_not_retried_where_nothing_remembers_its_time(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Before Airflow 3.3 a retry would call people after ``timeout``, so there is none."""
    (tmp_path / "there").touch()  # a file where the folder should be
    fields = {"results_uri": str(tmp_path / "there" / "r.csv"), "on_timeout": "return"}
    run = run_task(a_list(rows(*numbers(3)), timeout=0.001, **fields), channel, state_store=False)
    assert run.state == "failed", run.log_text
    assert "Clear this task to write the file" in str(run.error)
    assert run.xcoms["return_value"]["by_reason"] == {"expired": 3}
    assert not sandbox.rings


def test_a_list_over_a_store_that_is_empty_once_it_has_begun_is_not_skipped(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """As over Airflow's own: a task that has called people fails, and its calls stay in the store."""
    fields: dict[str, Any] = {"attempts": Attempts(most=2, after={"no_answer": "1h"}), "on_empty": "skip"}
    first = run_task(a_list(rows(NO_ANSWER), **fields), channel)
    assert first.state == "deferred", first.log_text
    lost = run_task(a_list(rows("nobody"), **fields), channel, resume_event=first.trigger_kwargs)
    assert lost.state == "failed", lost.log_text
    assert result(run_task(a_list(rows(NO_ANSWER)), channel, try_number=2, clear_number=1))["calls"] == 1
    assert sandbox.rings == {NO_ANSWER: 1}
