"""Who is on the do-not-call list is not called; and a list that is lost calls nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import task

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from support.calls import NUMBER, an_operator
from support.supervisor import FakeSupervisor, TaskKey
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

OTHER = "+14155550101"


def call(channel: FakeSupervisor, number: str = NUMBER, *, attempt: Any = None, **fields: Any) -> TaskRun:
    return run_task(an_operator(number, **fields), channel, **(attempt or {}))


def a_file(folder: Path, text: str) -> str:
    (folder / "list.csv").write_text(text)
    return str(folder / "list.csv")


@pytest.mark.parametrize("form", ["list", "file", "template", "other spelling"])
def test_who_is_on_the_list_is_not_called(
    form: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The task is skipped, nothing is sent, and the log says how long the list was and no number."""
    path = a_file(tmp_path, f"who;customer_phone\nx;{NUMBER}\ny;{OTHER}\n")
    forms: dict[str, tuple[str, Any]] = {
        "list": (NUMBER, [OTHER, NUMBER]),
        "file": (NUMBER, path),
        "template": (NUMBER, path.replace("list", "{{ 'list' }}")),
        "other spelling": ("+4402079460123", ["+442079460123", OTHER]),
    }
    number, suppress = forms[form]
    run = call(channel, number, suppress=suppress)
    assert (run.state, sandbox.requests) == ("skipped", [])
    assert "Numbers on the do-not-call list: 2." in run.log_text
    assert "The number is on the do-not-call list" in run.log_text
    assert number[3:] not in run.log_text
    assert OTHER[1:] not in run.log_text


def test_who_is_not_on_the_list_is_called(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Once, as without a list; and the list is never shown."""
    run = call(channel, suppress=[OTHER])
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert OTHER[1:] not in str(run.rendered_fields) + run.log_text


@needs_state_store
def test_a_call_that_was_placed_is_handed_on(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A clear of it after its number came onto the list, or with a list that is lost, changes nothing."""
    first = call(channel)
    for suppress in ([NUMBER], "/nowhere/list.csv", []):
        again = call(channel, suppress=suppress, attempt={"try_number": 2})
        assert again.state == "success"
        assert again.xcoms["trace_id"] == first.xcoms["trace_id"]
    assert sandbox.rings == {NUMBER: 1}


def test_a_call_in_doubt_is_looked_for(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A number that came onto the list meanwhile is not called again, and the call is found."""
    sandbox.inject("POST /v1/call", Fault.DROP_AFTER)
    sandbox.inject("POST /v1/call", Fault.ERROR_503_BEFORE, times=3)
    assert call(channel, attempt={"logical_date": datetime.now(UTC)}).state == "up_for_retry"
    sent = len(sandbox.requests)
    sandbox.advance(600)
    again = call(channel, suppress=[NUMBER], attempt={"try_number": 2, "logical_date": datetime.now(UTC)})
    assert again.xcoms["return_value"]["placement"] == "found", again.log_text
    assert sandbox.rings == {NUMBER: 1}
    assert not any(request.endpoint == "POST /v1/call" for request in sandbox.requests[sent:])


LOST: dict[str, Any] = {
    "an empty list": [],
    "blanks": ["", None],
    "blank text": " ",
    "a template of nothing": "{{ none }}",
    "a number without its plus sign": ["14155550100"],
    "an integer": [14155550100],
    "one text that is no place": NUMBER,
    "a number": 7,
}


@pytest.mark.parametrize("kind", LOST)
def test_a_list_that_is_lost_calls_nobody(kind: str, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """It is an error of the input, by the name of the field."""
    run = call(channel, suppress=LOST[kind])
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert "suppress" in str(run.error)
    assert sandbox.requests == []
    assert NUMBER[1:] not in run.log_text


@pytest.mark.parametrize("text", ["", "customer_phone\n", "phone\n\n"])
def test_a_file_that_is_empty_calls_nobody(
    text: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A header alone is what a failed export leaves."""
    run = call(channel, suppress=a_file(tmp_path, text))
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "suppress: holds no number" in str(run.error)


def test_a_file_that_is_not_there_is_tried_again(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The storage may have it later; nobody is called before."""
    run = call(channel, suppress="/nowhere/list.csv")
    assert (run.state, sandbox.requests) == ("up_for_retry", [])


def test_a_list_that_a_task_should_give_and_is_none_calls_nobody(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """An upstream that was skipped, or forgot to return, is not the same as no list."""
    with make_dag():
        upstream = EmptyOperator(task_id="upstream")
        operator = an_operator(suppress=upstream.output)
    channel.xcoms[TaskKey("test_dag", "r1", "upstream", -1)] = {"return_value": None}
    run = run_task(operator, channel)
    assert (run.state, sandbox.requests) == ("failed", [])


def test_none_in_the_dag_file_is_no_list(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Written there, in a mapped task too, it means that nobody is on it."""
    assert call(channel, suppress=None).state == "success"
    with make_dag(dag_id="mapped"):
        operator = FormantCreateCallOperator.partial(task_id="call", agent_id=456, suppress=None).expand(
            parameters=[{"customer_phone": OTHER}]
        )
    assert run_task(operator, channel, map_index=0).state == "success"
    assert sandbox.rings == {NUMBER: 1, OTHER: 1}


@pytest.mark.parametrize("way", ["expand", "expand_kwargs"])
def test_none_in_a_row_that_a_task_gives_calls_nobody(
    way: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """One row of a mapped task may lose its list as well."""
    parameters = {"customer_phone": NUMBER}
    with make_dag():
        upstream = EmptyOperator(task_id="upstream")
        partial = FormantCreateCallOperator.partial(task_id="call", agent_id=456)
        if way == "expand":
            operator = partial.expand(suppress=upstream.output, parameters=[parameters])
            row: Any = None
        else:
            operator = partial.expand_kwargs(upstream.output)
            row = {"suppress": None, "parameters": parameters}
    channel.xcoms[TaskKey("test_dag", "r1", "upstream", -1)] = {"return_value": [row]}
    run = run_task(operator, channel, map_index=0, logical_date=datetime.now(UTC))
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "suppress: is None" in str(run.error)


@pytest.mark.parametrize(
    ("suppress", "state"), [([NUMBER], "skipped"), ([OTHER], "success"), (None, "failed")]
)
def test_a_function_may_return_the_list(
    suppress: Any, state: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """With the whole call; None from it is a list that is lost."""
    with make_dag():

        @task.formant_call(agent_id=456)
        def decorated() -> dict[str, Any]:
            return {"parameters": {"customer_phone": NUMBER}, "suppress": suppress}

        operator = decorated().operator
    run = run_task(operator, channel)
    assert run.state == state, run.log_text
    assert sandbox.rings == ({NUMBER: 1} if state == "success" else {})


def test_an_enumeration_in_a_field_is_its_value(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A template engine would tell the agent the name of it."""

    class Tone(str, Enum):  # noqa: UP042 - the kind that writes its name
        FRIENDLY = "friendly"

    operator = an_operator(parameters={"customer_phone": NUMBER, "tone": Tone.FRIENDLY})
    assert run_task(operator, channel).state == "success"
    (seen,) = sandbox.requests
    assert {"name": "tone", "value": "friendly"} in seen.body["parameters"]


def test_two_spellings_of_one_phone_ring_once(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Two rows of a mapped task that mean one person are one call, in its one spelling."""
    people = [{"customer_phone": number} for number in ("+442079460123", "+4402079460123")]
    for row in range(2):
        with make_dag():
            operator = FormantCreateCallOperator.partial(task_id="call", agent_id=456).expand(
                parameters=people
            )
        run = run_task(operator, channel, map_index=row)
        assert run.state == "success"
        assert not [line for line in run.masked_log_text.splitlines() if "2079460123" in line]
    assert sandbox.rings == {"+442079460123": 1}
