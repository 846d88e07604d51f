"""A cap on the operator: parse time, templates, rows, and a connection without a call store."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG

from formant_provider.call_cap import CallCap
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import make_dag, run_task

NUMBER = "+14155550100"
NO_STORE = (
    "call_cap: needs a call store: name its connection in store_conn_id of the connection 'formant_default'"
)


def an_operator(**fields: Any) -> FormantCreateCallOperator:
    defaults = {"agent_id": 456, "parameters": {"customer_phone": NUMBER}, "call_cap": CallCap()}
    return FormantCreateCallOperator(task_id="call", retries=3, **{**defaults, **fields})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"call_cap": "2/1d"}, "call_cap: must be CallCap or a mapping of calls, per"),
    ({"call_cap": 2}, "call_cap: must be CallCap or a mapping of calls, per"),
    ({"on_capped": "wait"}, "on_capped must be one of skip, fail, schedule; not 'wait'"),
]


@pytest.mark.parametrize(("options", "told"), WRONG, ids=str)
def test_an_option_that_is_invalid_breaks_the_dag_file(options: dict[str, Any], told: str) -> None:
    """A mistake shows when the DAG is parsed."""
    with pytest.raises(ValueError, match=told):
        an_operator(**options)


@pytest.mark.parametrize("on_capped", ["skip", "fail", "schedule"])
def test_on_capped_alone_may_act_on_the_cap_of_the_connection(
    on_capped: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """It is never refused for want of a call_cap, and a connection without a cap calls as ever."""
    run = run_task(an_operator(call_cap=None, on_capped=on_capped), channel)
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1})


def test_a_cap_without_a_store_places_no_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Nobody could count; the task fails at once, and says which field of which connection is missing."""
    run = run_task(an_operator(), channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert NO_STORE in run.log_text
    assert run.xcoms["return_value"]["status"] == "refused"
    assert run.xcoms["return_value"]["reason"] == "invalid_input"


def test_a_dry_run_tells_that_the_store_is_missing(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Everything is checked as for a call that is placed."""
    run = run_task(an_operator(dry_run=True), channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert NO_STORE in run.log_text


def test_every_field_of_the_cap_is_a_template(channel: FakeSupervisor) -> None:
    """Variables and params may say how often; Airflow shows what they came to."""
    channel.variables["calls"] = "3"
    with make_dag(params={"hours": 12}):
        operator = an_operator(call_cap=CallCap("{{ var.value.calls }}", "{{ params.hours }}h"))
    run = run_task(operator, channel)
    assert NO_STORE in run.log_text  # both were read, and are valid
    shown = run.rendered_fields["call_cap"]
    assert json.loads(json.dumps(shown)) == {"calls": "3", "per": "12h"}


RENDERED: list[tuple[dict[str, Any], str]] = [
    ({"calls": "{{ 'none' }}"}, "call_cap.calls: must be an integer, 1 or more"),
    ({"per": "{{ 7 }}"}, "call_cap.per: must be a timedelta"),
]


@pytest.mark.parametrize(("fields", "told"), RENDERED, ids=str)
def test_a_template_that_renders_to_no_cap_is_refused_before_anything_is_sent(
    fields: dict[str, Any], told: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The task fails at once, and the error names the field."""
    run = run_task(an_operator(call_cap=CallCap(**fields)), channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert told in run.log_text


def test_two_runs_share_no_rendered_cap(channel: FakeSupervisor) -> None:
    """A cap kept in one object for many tasks is rendered for each run anew."""
    cap = CallCap("{{ dag_run.conf.calls }}", "{{ dag_run.conf.per }}")
    operator = an_operator(call_cap=cap)
    shown = [
        run_task(operator, channel, run_id=f"r{calls}", conf={"calls": calls, "per": "1h"}).rendered_fields
        for calls in (1, 2)
    ]
    assert [fields["call_cap"]["calls"] for fields in shown] == ["1", "2"]
    assert (cap.calls, cap.per) == ("{{ dag_run.conf.calls }}", "{{ dag_run.conf.per }}")


def test_mapped_rows_share_a_cap_or_have_their_own(channel: FakeSupervisor) -> None:
    """It can be given to all rows, or with each row."""
    people = [{"customer_phone": NUMBER}, {"customer_phone": "+14155550101"}]
    with make_dag():
        shared = FormantCreateCallOperator.partial(
            task_id="call", agent_id=456, call_cap=CallCap(1, "{{ '7' }}d"), on_capped="schedule"
        ).expand(parameters=people)
    for index in range(2):
        assert run_task(shared, channel, map_index=index).rendered_fields["call_cap"]["per"] == "7d"
    with make_dag():
        rows = [
            {"parameters": person, "call_cap": CallCap(calls)} for calls, person in enumerate(people, start=1)
        ]
        own = FormantCreateCallOperator.partial(task_id="call", agent_id=456).expand_kwargs(rows)
    shown = [run_task(own, channel, map_index=index).rendered_fields for index in range(2)]
    assert [fields["call_cap"]["calls"] for fields in shown] == ["1", "2"]


def a_dag() -> DAG:
    with make_dag() as dag:
        an_operator(call_cap=CallCap(3, timedelta(days=7)))
        FormantCreateCallOperator.partial(task_id="rows", agent_id=456, call_cap=CallCap(1, "12h")).expand(
            parameters=[{"customer_phone": NUMBER}]
        )
    return dag


def test_a_dag_with_caps_is_stored_as_the_same_whenever_it_is_parsed() -> None:
    """What was stored differently would be a new version of the DAG."""
    from airflow.serialization import serialized_objects as stored_as

    kind: Any = getattr(stored_as, "DagSerialization", None) or stored_as.SerializedDAG  # Airflow 3.1
    stored = [json.dumps(kind.to_dict(a_dag()), sort_keys=True) for _ in range(2)]
    assert stored[0] == stored[1]
    assert '"per": "7d"' in stored[0]
    assert "12h" in stored[0]
