from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import task

from formant_provider.call_cap import CallCap
from formant_provider.decorators.call import FormantCallDecoratedOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task, run_trigger

KEY = "key-1234567"
NUMBER = "+14155550100"
CALL_TASK = task.formant_call(agent_id=456)
PEOPLE = [{"customer_phone": f"+1415555012{n}", "customer_name": f"Private-{n}"} for n in range(3)]


def run(function: Any, channel: FakeSupervisor, *args: Any, options: Any = None, **attempt: Any) -> TaskRun:
    """Decorate a function, call it in a DAG, and run the task once."""
    with make_dag():
        output = task.formant_call(**{"task_id": "call", "agent_id": 456, "retries": 2, **(options or {})})(
            function
        )(*args)
    return run_task(output.operator, channel, **attempt)


def assert_private(done: TaskRun, *private: str) -> None:
    """Nothing of it is in a log line, in what was sent to Airflow, or in the error."""
    messages = [repr(msg) for msg in done.messages if type(msg).__name__ != "MaskSecret"]
    left = "\n".join([done.log_text, *messages, repr(done.error)])
    for text in (KEY, NUMBER.lstrip("+"), *private):
        assert text not in left


def test_a_function_returns_the_parameters(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A mapping is the call's parameters; the task hands on what the operator would."""

    def call() -> dict[str, Any]:
        return {"customer_phone": NUMBER, "due_amount": 1250.5}

    done = run(call, channel)
    assert (done.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert sandbox.requests[0].body["parameters"][1] == {"name": "due_amount", "value": "1250.5"}
    (placed,) = sandbox.calls
    assert done.xcoms["return_value"]["placement"] == "placed"
    keys = {key for key in done.xcoms if not key.startswith("_link")}
    assert keys == {"return_value", "trace_id", "conversation_id", "status"}
    assert done.xcoms["trace_id"] == placed.trace_id
    assert_private(done, "1250.5")


def test_the_key_is_that_of_the_operator(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A task that is turned from operator to decorator during a run rings nobody again."""
    done = run(lambda: {"customer_phone": NUMBER}, channel)
    operator = FormantCreateCallOperator(task_id="call", agent_id=456, parameters={"customer_phone": NUMBER})
    again = run_task(operator, FakeSupervisor(channel.connections))
    assert (done.state, again.state) == ("success", "success")
    first, second = (seen.body["idempotency_key"] for seen in sandbox.requests if seen.endpoint == CALL)
    assert first == second
    assert sandbox.rings == {NUMBER: 1}


def test_a_function_returns_the_parameters_as_the_api_writes_them(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A list of name and value is the call's parameters as well."""
    done = run(lambda: [{"name": "customer_phone", "value": NUMBER}], channel)
    assert (done.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert_private(done)


def test_a_function_returns_a_whole_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A mapping with parameters in it is the call: any field that the operator has for it."""
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)

    def call() -> dict[str, Any]:
        return {
            "agent_id": 789,
            "parameters": {"customer_phone": NUMBER},
            "scheduled_for": at,
            "idempotency_key": "loan 7",
            "metadata": {"loan": 7},
            "retry_context": {"retry_language": "hi-IN", "collected_data": {"owes": "Private-0"}},
        }

    done = run(call, channel, options={"agent_id": None})
    assert done.state == "success", done.log_text
    body = sandbox.requests[0].body
    assert (body["agent_id"], json.loads(body["metadata"])) == (789, {"loan": 7})
    assert pendulum.parse(body["scheduled_for"]) == at
    assert body["retry_context"]["retry_language"] == "hi-IN"
    assert_private(done, "Private-0", "hi-IN")
    assert done.rendered_fields["retry_context"] == {"retry_language": "***", "collected_data": "***"}


def test_a_parameter_by_the_name_of_parameters_is_no_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A text under that name is a parameter like any other; what a call's parameters are cannot be."""
    done = run(lambda: {"customer_phone": NUMBER, "parameters": "of the loan"}, channel)
    assert done.state == "success"
    assert {"name": "parameters", "value": "of the loan"} in sandbox.requests[0].body["parameters"]


def test_the_function_s_arguments_and_the_context_reach_it(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Arguments are rendered, context is given by name, and neither is shown."""

    def call(phone: str, name: str = "", ds: Any = None, **context: Any) -> dict[str, Any]:
        return {"customer_phone": phone, "name": name, "day": ds, "run": context["run_id"]}

    with make_dag():
        operator = CALL_TASK(call)("{{ dag_run.conf.phone }}", name="Private-0").operator
    done = run_task(operator, channel, conf={"phone": NUMBER})
    assert done.state == "success", done.log_text
    sent = {item["name"]: item["value"] for item in sandbox.requests[0].body["parameters"]}
    assert sent == {"customer_phone": NUMBER, "name": "Private-0", "day": "2026-01-01", "run": "r1"}
    assert_private(done, "Private-0")
    assert done.rendered_fields["op_kwargs"] == {"name": "***"}
    assert done.rendered_fields["parameters"] == dict.fromkeys(sent, "***")


def test_what_is_returned_is_not_rendered(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Data that looks like a template is sent as it is."""
    done = run(lambda: {"customer_phone": NUMBER, "note": "{{ run_id }}"}, channel)
    assert done.state == "success"
    assert sandbox.requests[0].body["parameters"][1]["value"] == "{{ run_id }}"


@pytest.mark.parametrize("how", ["expand", "expand_kwargs", "partial"])
def test_a_mapped_function_rings_each_person_once(
    how: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Each row is one call, whatever its place in the list, and shows nothing of its row."""

    def call(person: dict[str, Any], word: str = "Hello") -> dict[str, Any]:
        return {**person, "word": word}

    for people in (PEOPLE, PEOPLE[::-1]):
        with make_dag():
            decorated = CALL_TASK(call)
            if how == "expand":
                output = decorated.expand(person=people)
            elif how == "partial":
                output = decorated.partial(word="Hello").expand(person=people)
            else:
                output = decorated.expand_kwargs([{"person": person} for person in people])
        for index in range(3):
            done = run_task(output.operator, channel, map_index=index)
            assert done.state == "success", done.log_text
            assert_private(done, *(text.lstrip("+") for person in PEOPLE for text in person.values()))
            assert done.rendered_fields["parameters"].keys() == {"customer_phone", "customer_name", "word"}
    assert sandbox.rings == {person["customer_phone"]: 1 for person in PEOPLE}


def test_the_options_of_the_operator_are_those_of_the_decorator(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Whatever the operator takes besides parameters can be said in the decorator, and be a template."""
    options = {"agent_id": "{{ 400 + 56 }}", "metadata": "{{ run_id }}", "idempotency_key": "x {{ ds }}"}
    done = run(lambda: {"customer_phone": NUMBER}, channel, options={**options, "do_xcom_push": False})
    assert (done.state, done.xcoms) == ("success", {})
    body = sandbox.requests[0].body
    assert (body["agent_id"], body["metadata"]) == (456, "r1")
    with pytest.raises(ValueError, match="on_timeout must be one of"):
        run(lambda: {}, channel, options={"on_timeout": "shout"})
    with pytest.raises(TypeError, match="parameters"):
        run(lambda: {}, channel, options={"parameters": {"customer_phone": NUMBER}})


def test_a_cap_is_given_to_the_decorator(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """As a template, too; without a call store nobody could count, and nobody is called."""
    options = {"call_cap": CallCap("{{ 1 + 1 }}", "1d"), "on_capped": "schedule"}
    done = run(lambda: {"customer_phone": NUMBER}, channel, options=options)
    assert (done.state, sandbox.requests) == ("failed", [])
    assert "call_cap: needs a call store" in done.log_text
    assert done.rendered_fields["call_cap"] == {"calls": "2", "per": "1d"}
    with pytest.raises(ValueError, match="on_capped must be one of"):
        run(lambda: {}, channel, options={"on_capped": "wait"})


def test_a_retry_runs_the_function_again_and_rings_nobody_again(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """What the function returns may change from try to try: the same person is the same call."""
    seen: list[int] = []

    def call() -> dict[str, Any]:
        seen.append(len(seen))
        return {"customer_phone": NUMBER, "count": len(seen)}

    sandbox.inject(CALL, Fault.DROP_AFTER)
    sandbox.inject(CALL, Fault.ERROR_503_BEFORE, times=3)
    today = datetime.now(UTC)
    first = run(call, channel, logical_date=today)
    sandbox.advance(600)
    second = run(call, channel, try_number=2, logical_date=today)
    assert (first.state, second.state, seen) == ("up_for_retry", "success", [0, 1])
    assert second.xcoms["return_value"]["placement"] == "found"
    assert len({request.body["idempotency_key"] for request in sandbox.requests if request.body}) == 1
    assert sandbox.rings == {NUMBER: 1}


WAITING = {"wait_for_completion": True, "on_unsuccessful": "succeed", "poll_interval": 1}


def test_a_task_that_waits_hands_on_the_outcome(channel: FakeSupervisor) -> None:
    """With wait_for_completion the task ends with the conversation, as the operator's does."""

    def call() -> dict[str, Any]:
        return {"customer_phone": NUMBER}

    with Sandbox(api_key=KEY, speed=500_000, rate_limit=None) as fast:
        channel.connections["formant_default"] = fast.connection_uri()
        done = run(call, channel, options=WAITING)
        assert (done.state, fast.rings) == ("success", {NUMBER: 1})
    assert done.xcoms["return_value"]["status"] == done.xcoms["status"] == "completed"


def test_a_deferred_task_goes_on_without_its_function(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """While the triggerer waits the function is not needed, nor stored: it ran once."""
    ran: list[int] = []

    def call(person: dict[str, Any]) -> dict[str, Any]:
        ran.append(1)
        return person

    options = {**WAITING, "deferrable": True}
    deferred = run(call, channel, PEOPLE[0], options=options)
    assert deferred.state == "deferred"
    assert_private(deferred, "14155550120", "Private-0")
    sandbox.advance(600)
    event = run_trigger(deferred.deferral, channel).event
    done = run(call, channel, PEOPLE[0], options=options, resume_event=event)
    assert (done.state, ran, sandbox.rings) == ("success", [1], {"+14155550120": 1})
    assert done.xcoms["return_value"]["status"] == "completed"
    assert_private(done, "14155550120", "Private-0")


def test_after_the_rate_limit_the_function_runs_again(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What was to be sent is not stored while the triggerer waits for the limit: it is asked for again."""
    sandbox.inject(CALL, Fault.RATE_LIMIT, retry_after=60)
    ran: list[int] = []

    def call() -> dict[str, Any]:
        ran.append(1)
        return {"customer_phone": NUMBER, "name": "Private-0"}

    deferred = run(call, channel, options={"deferrable": True})
    assert (deferred.state, deferred.deferral.next_method) == ("deferred", "execute_after_limit")
    assert_private(deferred, "Private-0")
    event = {"give_up_at": deferred.trigger_kwargs["give_up_at"], "doubt_since": None}
    done = run(call, channel, options={"deferrable": True}, resume_event=event)
    assert (done.state, ran, sandbox.rings) == ("success", [1, 1], {NUMBER: 1})


BAD = {
    "nothing": (None, "parameters: "),
    "text": (NUMBER, "parameters: "),
    "number": (7, "parameters: "),
    "empty": ({}, "parameters: "),
    "no phone": ({"customer_name": "Private-0"}, "parameters: must hold customer_phone"),
    "nested": ({"customer_phone": NUMBER, "who": {"name": "Private-0"}}, "parameters.who: "),
    "bad phone": ({"customer_phone": NUMBER[1:]}, "parameters.customer_phone: "),
    "bad list": ([{"name": "customer_phone"}], "parameters[0]: "),
    "bad call": ({"parameters": {"customer_phone": NUMBER}, "agent_id": "x"}, "agent_id: "),
    "no such field": ({"parameters": {"customer_phone": NUMBER}, "phone": NUMBER}, "phone: is not a field"),
    "odd field": ({"parameters": {"customer_phone": NUMBER}, NUMBER: 1}, "returned value: is not a field"),
    "hours": ({"parameters": {"customer_phone": NUMBER}, "calling_window": None}, "calling_window: must"),
    "cap": ({"parameters": {"customer_phone": NUMBER}, "call_cap": None}, "call_cap: must be given to"),
    "dry run": ({"parameters": {"customer_phone": NUMBER}, "dry_run": False}, "dry_run: must be given to"),
    "connection": ({"parameters": {"customer_phone": NUMBER}, "region": "in"}, "region: must be given to"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_return_is_refused_before_anything_is_sent(
    what: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The task fails at once, its error names the field and not the value, and nobody is called."""
    returned, said = BAD[what]
    done = run(lambda: returned, channel)
    assert done.state == "failed"
    assert str(done.error).startswith(said)
    assert "No call was placed" in str(done.error)
    assert sandbox.requests == []
    assert_private(done, "Private-0")


def test_a_dry_run_runs_the_function_and_calls_nobody(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What it returns is checked, and the result says so; what would be refused is refused."""
    done = run(lambda: {"customer_phone": NUMBER}, channel, options={"dry_run": True})
    assert (done.state, done.xcoms["return_value"]["status"]) == ("success", "dry_run"), done.log_text
    refused = run(lambda: {"customer_phone": "x"}, channel, options={"dry_run": "{{ 'true' }}"})
    assert refused.state == "failed"
    assert sandbox.requests == []


def test_a_function_may_skip_or_fail_as_any_task(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What the function raises ends the task as Airflow has it, and nothing is sent."""

    def skips() -> None:
        raise AirflowSkipException

    def fails() -> None:
        raise LookupError

    assert run(skips, channel).state == "skipped"
    assert run(fails, channel).state == "up_for_retry"
    assert sandbox.requests == []


def test_an_asynchronous_function_is_refused_when_the_file_is_parsed() -> None:
    """It would be called and not awaited."""

    async def call() -> dict[str, Any]:
        return {}

    with make_dag(), pytest.raises(TypeError, match="asynchronous"):
        CALL_TASK(call)()


def test_airflow_knows_the_decorator_by_its_name() -> None:
    """The registered name leads to the operator, whose label is what people wrote."""
    assert task.formant_call(lambda: {}).operator_class is FormantCallDecoratedOperator
    assert FormantCallDecoratedOperator.custom_operator_name == "@task.formant_call"
