"""A single call takes the writing of a country, and a number of an old plan if that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import task

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task

NATIONAL, NUMBER = "(415) 555-0100", "+14155550100"


def call(channel: FakeSupervisor, number: str, **fields: Any) -> TaskRun:
    parameters = {"customer_phone": number, "note": f"for {number}"}
    operator = FormantCreateCallOperator(task_id="call", agent_id=456, parameters={}, **fields)
    operator.parameters = parameters  # as from another task: what is literal fails when the file is parsed
    return run_task(operator, channel)


def test_a_number_in_national_writing_is_called(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """With default_country; and the same call in E.164 is the same call, with the same key."""
    run = call(channel, NATIONAL, default_country="US")
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1}), run.log_text
    again = call(channel, NUMBER)
    assert (again.state, sandbox.rings) == ("success", {NUMBER: 1})


def test_a_number_is_masked_as_it_is_written(channel: FakeSupervisor) -> None:
    """In groups, in digits and in E.164, wherever it turns up in what Airflow shows."""
    run = call(channel, NATIONAL, default_country="US", metadata=f"{NATIONAL} 4155550100 {NUMBER}")
    assert run.state == "success", run.log_text
    assert run.rendered_fields["metadata"] == "*** *** +1***"
    for secret in (NATIONAL, "4155550100", "555-0100"):
        assert secret not in run.log_text


@pytest.mark.parametrize(
    ("number", "fields", "told"),
    [
        (NATIONAL, {}, "blanks, hyphens, dots or brackets, which are read with default_country"),
        ("4915123456789", {"default_country": "DE"}, "can be read in two ways"),
        ("415 555 0100 x5", {"default_country": "US"}, "has an extension"),
        ("+1 (800) FLOWERS", {}, "is spelt with letters"),
        ("555-0100", {"default_country": "US"}, "has no area code"),
        ("06 9", {"default_country": "IT"}, "unknown country code or a length"),
        ("+39669812345", {}, "lost the 0"),
        ("+5215512345678", {}, "Mexico dropped the 1 after +52"),
        ("4.42E+11", {"default_country": "GB"}, "scientific notation; its last digits are gone"),
        (NUMBER, {"default_country": "ZZ"}, "default_country: must be two capital letters"),
    ],
)
def test_what_cannot_be_called_is_refused_with_what_was_found(
    number: str, fields: dict[str, Any], told: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Before anything is sent, by the name of the field and without the number."""
    run = call(channel, number, **fields)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert told in str(run.error)
    assert number not in run.log_text


def test_a_number_of_an_old_plan_is_called_under_that_of_today(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """With renumber=True, and once."""
    for number in ("+5215512345678", "+525512345678"):
        assert call(channel, number, renumber=True).state == "success"
    assert sandbox.rings == {"+525512345678": 1}


@pytest.mark.parametrize("listed", ["+5215512345678", "+525512345678", "044 55 1234 5678"])
def test_who_was_listed_under_an_old_number_is_not_called(
    listed: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Whether or not this call renumbers, and in the writing of the country."""
    run = call(channel, "+525512345678", suppress=[listed], default_country="MX")
    assert (run.state, sandbox.requests) == ("skipped", [])


def test_the_decorator_takes_a_country_as_well(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """As all options of the operator; and masks what the function returned."""
    with make_dag():

        @task.formant_call(agent_id=456, default_country="US", renumber=True)
        def remind() -> dict[str, Any]:
            return {"customer_phone": NATIONAL}

        made = remind()
    run = run_task(made.operator, channel)
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1}), run.log_text
    assert NATIONAL not in run.log_text


@pytest.mark.parametrize("country", ["us", "USA", "1", "", "Germany", 49])
def test_what_is_no_country_breaks_the_dag_file(country: Any) -> None:
    """Where a mistake costs nothing."""
    with pytest.raises(ValueError, match="default_country must be two capital letters"):
        FormantCreateCallOperator(task_id="c", agent_id=1, parameters={}, default_country=country)
    with pytest.raises(ValueError, match="default_country must be two capital letters"):
        FormantCreateBatchCallOperator(
            task_id="c", agent_id=1, name="n", contacts=[], default_country=country
        )


def test_the_old_name_of_the_country_goes_on_with_a_warning() -> None:
    """For batch calls, which had it; and both at once cannot be meant."""
    fields: dict[str, Any] = {"task_id": "c", "agent_id": 1, "name": "n", "contacts": []}
    with pytest.warns(DeprecationWarning, match="default_region is now default_country"):
        made = FormantCreateBatchCallOperator(**fields, default_region="DE")
    assert made.rules.default_country == "DE"
    with pytest.raises(ValueError, match="give default_country alone"):
        FormantCreateBatchCallOperator(**fields, default_region="DE", default_country="DE")
