"""What is private stays private: searched for in everything a task leaves behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from support.private import search
from support.scripted_server import Answer, ScriptedServer, Seen
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task

KEY = "key-1234567"  # the conftest's sandbox knows it
DIGITS = "14155550100"
PARAMETERS = {"customer_phone": f"+{DIGITS}", "customer_name": "Rahul-the-private", "due_amount": 2900071}
PRIVATE = (KEY, DIGITS, "Rahul-the-private", "2900071")


def assert_private(run: TaskRun, private: tuple[str, ...] = PRIVATE) -> None:
    search(run, private)


def an_operator(**fields: Any) -> FormantCreateCallOperator:
    return FormantCreateCallOperator(task_id="call", **{"agent_id": 456, "parameters": PARAMETERS, **fields})


def as_list(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in parameters.items()]


def test_a_successful_call_leaves_nothing_private(channel: FakeSupervisor) -> None:
    """Key, number and parameter values are in no log line, rendered field or XCom of a plain task."""
    run = run_task(an_operator(), channel)
    assert run.state == "success"
    assert_private(run)
    hidden = {"customer_phone": "***", "customer_name": "***", "due_amount": "***"}
    assert run.rendered_fields["parameters"] == hidden


def test_the_api_s_list_form_is_hidden_too(channel: FakeSupervisor) -> None:
    """A list of name and value shows its names."""
    run = run_task(an_operator(parameters=as_list(PARAMETERS)), channel)
    assert run.state == "success"
    assert_private(run)
    assert run.rendered_fields["parameters"][0] == {"name": "customer_phone", "value": "***"}


@pytest.mark.parametrize("how", ["expand", "expand_kwargs"])
def test_a_mapped_call_leaves_nothing_private(how: str, channel: FakeSupervisor) -> None:
    """The same holds under dynamic task mapping, where Airflow renders in another way."""
    with make_dag():
        partial = FormantCreateCallOperator.partial(task_id="call", agent_id=456)
        mapped = (
            partial.expand(parameters=[PARAMETERS])
            if how == "expand"
            else partial.expand_kwargs([{"parameters": PARAMETERS}])
        )
    run = run_task(mapped, channel, map_index=0)
    assert run.state == "success"
    assert_private(run)
    assert set(run.rendered_fields["parameters"]) == set(PARAMETERS)


def test_a_number_from_the_context_leaves_nothing_private(channel: FakeSupervisor) -> None:
    """A number that only exists once the template is rendered is hidden as well."""
    parameters = {"customer_phone": "{{ dag_run.conf.phone }}", "customer_name": "{{ dag_run.conf.name }}"}
    conf = {"phone": f"+{DIGITS}", "name": "Rahul-the-private"}
    run = run_task(an_operator(parameters=parameters), channel, conf=conf)
    assert run.state == "success"
    assert_private(run)


@pytest.mark.parametrize("number", [f"+{DIGITS}", "{{ dag_run.conf.phone }}"], ids=["literal", "rendered"])
def test_the_number_is_masked_wherever_else_it_turns_up(number: str, channel: FakeSupervisor) -> None:
    """A number repeated in metadata or a name of the user's is masked in the rendered fields."""
    operator = an_operator(
        parameters={"customer_phone": number}, metadata=f"for {number}", idempotency_key=f"loan of {number}"
    )
    run = run_task(operator, channel, conf={"phone": f"+{DIGITS}"})
    assert run.state == "success"
    assert run.rendered_fields["metadata"] == "for +***"
    assert DIGITS not in repr(run.rendered_fields)
    assert DIGITS not in run.masked_log_text


def test_a_retry_context_shows_its_names_alone(channel: FakeSupervisor) -> None:
    """What was collected in an earlier conversation is as private as a parameter."""
    context = {"retry_language": "en-US", "collected_data": {"owes": "Rahul-the-private"}}
    run = run_task(an_operator(retry_context=context), channel)
    assert run.state == "success"
    assert_private(run)
    assert run.rendered_fields["retry_context"] == {"retry_language": "***", "collected_data": "***"}


@pytest.mark.parametrize(
    "parameters",
    [
        {**PARAMETERS, "due_amount": None},
        {**PARAMETERS, "due_amount": ["2900071"]},
        {**PARAMETERS, "customer_phone": DIGITS},
        {**PARAMETERS, "customer_phone": int(DIGITS)},
        {**PARAMETERS, "customer_phone": f"+{DIGITS}999999"},
        {"customer_name": "Rahul-the-private"},
        {**PARAMETERS, f"+{DIGITS}": None},
        as_list(PARAMETERS) * 2,
        [f"+{DIGITS}"],
        f"+{DIGITS}",
        {**PARAMETERS, "broken": "{{ no.such.thing }}"},
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused_input_leaves_nothing_private(
    parameters: Any, channel: FakeSupervisor, sandbox: Sandbox
) -> None:
    """Neither a refusal nor a template that fails shows the number or a value beside it."""
    operator = an_operator()
    operator.parameters = parameters  # as from another task: what is literal fails when the file is parsed
    run = run_task(operator, channel)
    assert run.error is not None
    assert sandbox.requests == []
    assert_private(run)


FAULTS = [
    Fault.ERROR_500_BEFORE,
    Fault.ERROR_503_AFTER,
    Fault.DROP_AFTER,
    Fault.GARBAGE,
    Fault.RATE_LIMIT,
    Fault.CONCURRENCY_LIMIT,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_call_leaves_nothing_private(
    fault: Fault, channel: FakeSupervisor, sandbox: Sandbox
) -> None:
    """Errors, their causes and the log of a call that went wrong hold nothing private."""
    sandbox.inject("POST /v1/call", fault, times=4)
    run = run_task(an_operator(retries=1, on_unconfirmed="fail"), channel)
    assert run.error is not None
    assert_private(run)


def test_an_unreachable_server_leaves_nothing_private() -> None:
    """The error of a connection that was never made carries no request along."""
    with Sandbox(api_key=KEY) as sandbox:
        uri = sandbox.connection_uri()
    run = run_task(an_operator(), FakeSupervisor({"formant_default": uri}))
    assert "nothing was sent" in str(run.error)
    assert_private(run)


def repeat_everything(request: Seen) -> Answer:
    """Quote the whole request, as a careless server would."""
    message = f"cannot {request.raw_body.decode()} for {DIGITS} with {dict(request.headers)}"
    return Answer(400, {"error": {"message": message, "type": "invalid_request"}})


def test_a_server_that_repeats_the_request_in_its_error_gives_nothing_away() -> None:
    """The vendor's words are quoted without what is private in them."""
    with ScriptedServer(repeat_everything) as server:
        uri = f"formant://{server.base_url.replace('://', f'://:{KEY}@')}"
        run = run_task(an_operator(), FakeSupervisor({"formant_default": uri}))
    assert "400 invalid_request: cannot" in str(run.error)
    assert_private(run)


ODD_VALUES = {
    "name": 'Zoë "the odd" Fox',
    "script": "राहुल शर्मा",
    "lines": "first-odd-line\nsecond-odd-line",
    "path": "C:\\odd-path",
}


def test_a_400_that_echoes_the_body_gives_nothing_away() -> None:
    """The same through the sandbox, whose clock is ahead of ours and which quotes what it refuses."""
    now = datetime.now(UTC)
    operator = an_operator(
        parameters={**PARAMETERS, **ODD_VALUES},
        metadata="a note on them",
        retry_context={"collected_data": {"owes": ["quite a lot"]}},
        scheduled_for=now + timedelta(days=1),
    )
    with Sandbox(api_key=KEY, start_at=now + timedelta(days=9), echo_values_in_errors=True) as sandbox:
        run = run_task(operator, FakeSupervisor({"formant_default": sandbox.connection_uri()}))
    assert "400 invalid_request" in str(run.error)
    odd = ("Zo", "Fox", "राहुल", "u0930", "odd-line", "odd-path", "quite a lot")
    assert_private(run, (*PRIVATE, *odd))
    assert "a note on them" not in f"{run.log_text} {run.error}"


def test_what_is_no_template_is_sent_as_it_stands_and_hidden_all_the_same(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A YAML file (Airflow 3.4) takes literals out of the template fields of its operator."""
    operator = an_operator(parameters={**PARAMETERS, "note": "{{ ds }}"})
    operator.template_fields = [name for name in operator.template_fields if name != "parameters"]
    run = run_task(operator, channel)
    assert run.state == "success"
    assert_private(run)
    (sent,) = sandbox.requests
    assert {"name": "note", "value": "{{ ds }}"} in sent.body["parameters"]
