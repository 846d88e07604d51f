"""What changes between two tries, and whether it is another call then: of one call, and of a call list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pendulum
import pytest

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from support.stores import connections_with, sqlite_store
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import needs_state_store

pytestmark = needs_state_store
KEY, NUMBER, CORRECTED = "key-1234567", "+14155550110", "+14155550111"
TWO_DAYS = 2 * 86400

Task = Callable[..., Any]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over within a second."""
    with Sandbox(api_key=KEY, call_speed=400, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def stored(sandbox: Sandbox) -> Iterator[FakeSupervisor]:
    """An Airflow whose connection names a call store."""
    with sqlite_store() as database:
        yield FakeSupervisor(connections=connections_with(database, sandbox, is_set_up=False))


def one_call(number: str = NUMBER, name: str = "Asha", key: str | None = None, **fields: Any) -> Any:
    parameters = {"customer_phone": number, "customer_name": name}
    options = {"task_id": "call", "agent_id": 456, "retries": 5, "idempotency_key": key, **fields}
    return FormantCreateCallOperator(parameters=parameters, lookup_timeout=0, **options)


def a_list(number: str = NUMBER, name: str = "Asha", key: str | None = None, **fields: Any) -> Any:
    row = {"customer_phone": number, "customer_name": name, **({"idempotency_key": key} if key else {})}
    options = {"task_id": "call", "agent_id": 456, "retries": 5, "poll_interval": 0.2, **fields}
    return FormantCallListOperator(calls=[row], **options)


each_task = pytest.mark.parametrize("task", [one_call, a_list])


def twice(channel: FakeSupervisor, task: Task, first: dict[str, Any], then: dict[str, Any]) -> TaskRun:
    """Run a task, change something, and clear it; return the second run."""
    assert run_task(task(**first), channel).state == "success"
    again = run_task(task(**then), channel, try_number=2, clear_number=1)
    assert again.state == "success", again.log_text
    return again


def forget(channel: FakeSupervisor) -> None:
    """Delete all runs: Airflow's state goes with them."""
    channel.state.clear()
    channel.xcoms.clear()


@each_task
def test_other_parameters_are_no_other_call(task: Task, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Whoever was called was called with the first ones."""
    twice(channel, task, {}, {"name": "Rahul"})
    assert sandbox.rings == {NUMBER: 1}


@each_task
def test_another_reference_is_no_other_call(task: Task, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """It is in the new result."""
    again = twice(channel, task, {"reference": "A"}, {"reference": "B"})
    assert again.xcoms["return_value"]["reference"] == "B"
    assert sandbox.rings == {NUMBER: 1}


@pytest.mark.parametrize(("task", "rings"), [(one_call, 2), (a_list, 1)])
def test_another_agent_is_another_call_but_not_in_a_list(
    task: Task, rings: int, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A task of one call asks for a call by that agent; a list calls a person once, whoever does."""
    twice(channel, task, {}, {"agent_id": 789})
    assert sandbox.rings == {NUMBER: rings}


@each_task
def test_a_corrected_number_is_called(task: Task, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """It is another person to us; the first one is not called again."""
    twice(channel, task, {}, {"number": CORRECTED})
    assert sandbox.rings == {NUMBER: 1, CORRECTED: 1}


@pytest.mark.parametrize(("key", "rings"), [(None, 2), ("LN-1", 1)])
@each_task
def test_a_renamed_task_places_other_calls_unless_they_have_names_of_their_own(
    task: Task, key: str | None, rings: int, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """So does one whose DAG was renamed: the names of both are part of the call's."""
    assert run_task(task(key=key), channel).state == "success"
    assert run_task(task(key=key, task_id="renamed"), channel).state == "success"
    assert sandbox.rings == {NUMBER: rings}


@each_task
def test_another_run_is_another_call(task: Task, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The next day's run calls the same people again, as it is meant to."""
    assert run_task(task(), channel).state == "success"
    assert run_task(task(), channel, run_id="r2").state == "success"
    assert sandbox.rings == {NUMBER: 2}


@each_task
def test_a_run_that_is_deleted_and_made_anew_calls_again_after_a_day(
    task: Task, sandbox: Sandbox, channel: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow remembers nothing of it then, and the vendor for 24 hours."""
    run_anew(channel, task, TWO_DAYS, sandbox, monkeypatch)
    assert sandbox.rings == {NUMBER: 2}


def test_a_run_that_is_deleted_and_made_anew_calls_nobody_again_within_a_day(
    sandbox: Sandbox, channel: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor refuses the key; the record is older than the run, so the call is unconfirmed."""
    again = run_anew(channel, one_call, 300, sandbox, monkeypatch)
    assert again.xcoms["return_value"]["placement"] == "unconfirmed"
    assert sandbox.rings == {NUMBER: 1}


def test_a_list_of_a_run_that_is_deleted_and_made_anew_calls_nobody_again_within_a_day(
    sandbox: Sandbox, channel: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks for the call for as long as a call may take; then its row is unknown, and the task fails."""
    again = run_anew(channel, partial(a_list, call_timeout=3), 300, sandbox, monkeypatch)
    assert again.state == "failed"
    assert again.xcoms["return_value"]["by_status"] == {"unknown": 1}
    assert sandbox.rings == {NUMBER: 1}


@each_task
def test_a_run_that_is_deleted_and_made_anew_calls_nobody_again_with_a_call_store(
    task: Task, sandbox: Sandbox, stored: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store remembers the calls of the run's id."""
    run_anew(stored, task, TWO_DAYS, sandbox, monkeypatch)
    assert sandbox.rings == {NUMBER: 1}


def run_anew(
    channel: FakeSupervisor, task: Task, after_s: int, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> TaskRun:
    """Run a task, delete its run, and run the task of a new run of the same id."""
    assert run_task(task(), channel).state == "success"
    forget(channel)
    sandbox.advance(after_s)
    now = pendulum.now
    monkeypatch.setattr(pendulum, "now", lambda *zone: now(*zone).add(seconds=after_s))
    return run_task(task(), channel, run_started_at=pendulum.now("UTC"))
