"""``@task.formant_call_list``: a function returns whom to call."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import task

from formant_provider.decorators.call_list import FormantCallListDecoratedOperator
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from support.list_rows import number
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

KEY = "key-1234567"
PEOPLE = [{"customer_phone": number(110 + at), "name": f"Private-{at}"} for at in range(3)]
ONCE = {person["customer_phone"]: 1 for person in PEOPLE}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over in a moment."""
    with Sandbox(api_key=KEY, call_speed=3000, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def channel(sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections={"formant_default": sandbox.connection_uri()})


def run(function: Any, channel: FakeSupervisor, *args: Any, options: Any = None, **attempt: Any) -> TaskRun:
    """Decorate a function, call it in a DAG, and run the task once."""
    chosen = {"task_id": "list", "agent_id": 456, "retries": 2, "poll_interval": 0.1, **(options or {})}
    with make_dag():
        output = task.formant_call_list(**chosen)(function)(*args)
    return run_task(output.operator, channel, **attempt)


def assert_private(done: TaskRun, *private: str) -> None:
    """Nothing of it is in a log line, in what was sent to Airflow, or in the error."""
    messages = [repr(msg) for msg in done.messages if type(msg).__name__ != "MaskSecret"]
    left = "\n".join([done.log_text, *messages, repr(done.error)])
    for text in (KEY, "4155550", "Private-", *private):
        assert text not in left


@needs_state_store
def test_a_function_returns_whom_to_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Everybody is called once, and the task hands on what the operator would."""
    done = run(lambda: PEOPLE, channel)
    assert done.state == "success", done.log_text
    assert sandbox.rings == ONCE
    assert done.xcoms["return_value"]["reached"] == 3
    sent = {item["name"] for item in sandbox.requests[0].body["parameters"]}
    assert sent == {"customer_phone", "name"}
    assert_private(done)


@needs_state_store
def test_a_function_may_return_where_the_list_is(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A file, as the operator takes it."""
    place = tmp_path / "people.csv"
    place.write_text("".join(f"{cell}\n" for cell in ["customer_phone", *ONCE]))
    done = run(lambda: str(place), channel)
    assert done.state == "success", done.log_text
    assert sandbox.rings == ONCE


@needs_state_store
def test_a_list_that_is_turned_from_operator_to_decorator_calls_nobody_again(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A person has the same key by both."""
    operator = FormantCallListOperator(task_id="list", agent_id=456, calls=PEOPLE, poll_interval=0.1)
    assert run_task(operator, channel).state == "success"
    done = run(lambda: PEOPLE, channel, try_number=2, clear_number=1)
    assert done.state == "success", done.log_text
    assert done.xcoms["return_value"]["reached"] == 3
    assert sandbox.rings == ONCE


@needs_state_store
def test_the_function_s_arguments_and_the_context_reach_it(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Arguments are rendered, the context is given by name, and neither is shown."""
    seen: list[str] = []

    def people(phone: str, ds: Any = None, **context: Any) -> list[dict[str, Any]]:
        seen.append(f"{ds} {context['run_id']}")
        return [{"customer_phone": phone}]

    done = run(people, channel, "{{ dag_run.conf.phone }}", conf={"phone": number(110)})
    assert done.state == "success", done.log_text
    assert (seen, sandbox.rings) == (["2026-01-01 r1"], {number(110): 1})
    assert done.rendered_fields["op_args"] == ["***"]
    assert_private(done)


@needs_state_store
def test_what_is_returned_is_not_rendered(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Data that looks like a template is sent as it is."""
    done = run(lambda: [{**PEOPLE[0], "note": "{{ run_id }}"}], channel)
    assert done.state == "success", done.log_text
    sent = {item["name"]: item["value"] for item in sandbox.requests[0].body["parameters"]}
    assert sent["note"] == "{{ run_id }}"


@needs_state_store
def test_after_a_wait_the_function_runs_again_and_whoever_was_called_is_not(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Nothing of what it returned is kept meanwhile; who was added is called."""
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    rows = [PEOPLE[0], {**PEOPLE[1], "scheduled_for": later}]
    ran: list[int] = []

    def people() -> list[dict[str, Any]]:
        ran.append(len(ran))
        return rows if len(ran) == 1 else [*reversed(rows), PEOPLE[2]]

    deferred = run(people, channel)
    assert deferred.state == "deferred", deferred.log_text
    assert_private(deferred)
    event = {"give_up_at": deferred.trigger_kwargs["give_up_at"]}
    again = run(people, channel, resume_event=event)
    assert again.state == "deferred", again.log_text
    assert len(ran) == 2
    assert sandbox.rings == {number(110): 1, number(112): 1}


@needs_state_store
def test_the_options_of_the_operator_are_those_of_the_decorator(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Whatever it takes besides calls, templates included; plain mappings as well."""
    options = {
        "agent_id": "{{ 400 + 56 }}",
        "attempts": {"most": 2, "after": {"busy": "15m"}},
        "dry_run": "{{ 'true' }}",
    }
    done = run(lambda: PEOPLE, channel, options=options)
    assert done.state == "success", done.log_text
    assert (done.xcoms["return_value"]["status"], sandbox.requests) == ("dry_run", [])


@needs_state_store
@pytest.mark.parametrize("how", ["expand", "partial"])
def test_a_mapped_function_is_a_list_a_row(how: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Each calls its own people, and shows nothing of them."""

    def people(person: dict[str, Any], _word: str = "") -> list[dict[str, Any]]:
        return [person]

    with make_dag():
        decorated = task.formant_call_list(task_id="list", agent_id=456, poll_interval=0.1)(people)
        made = decorated if how == "expand" else decorated.partial(_word="x")
        output = made.expand(person=PEOPLE[:2])
    for index in range(2):
        done = run_task(output.operator, channel, map_index=index)
        assert done.state == "success", done.log_text
        assert_private(done)
    assert sandbox.rings == {number(110): 1, number(111): 1}


@needs_state_store
@pytest.mark.parametrize("returned", [None, 7, [], [7], {"customer_phone": number(110)}], ids=str)
def test_a_return_that_is_no_list_fails_the_task(
    returned: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Nobody is called, and the error shows nothing of it."""
    done = run(lambda: returned, channel)
    assert done.state == "failed", done.log_text
    assert not sandbox.requests
    assert_private(done)


def test_a_function_may_skip_or_fail_as_any_task(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What it raises ends the task as Airflow has it, and nothing is sent."""

    def skips() -> None:
        raise AirflowSkipException

    def fails() -> None:
        raise LookupError

    assert run(skips, channel).state == "skipped"
    assert run(fails, channel).state == "up_for_retry"
    assert not sandbox.requests


def test_a_bad_option_breaks_the_dag_file(channel: FakeSupervisor) -> None:
    """As with the operator; and the function is what returns the calls."""
    with pytest.raises(ValueError, match="on_timeout must be one of"):
        run(lambda: [], channel, options={"on_timeout": "shout"})
    with pytest.raises(TypeError, match="calls"):
        run(lambda: [], channel, options={"calls": PEOPLE})


def test_an_asynchronous_function_is_refused_when_the_file_is_parsed() -> None:
    """It would be called and not awaited."""

    async def people() -> list[Any]:
        return []

    with make_dag(), pytest.raises(TypeError, match="asynchronous"):
        task.formant_call_list(agent_id=456)(people)()


def test_airflow_knows_the_decorator_by_its_name() -> None:
    """The registered name leads to the operator, whose label is what people wrote."""
    assert task.formant_call_list(lambda: []).operator_class is FormantCallListDecoratedOperator
    assert FormantCallListDecoratedOperator.custom_operator_name == "@task.formant_call_list"
