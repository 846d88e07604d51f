"""Options that have no effect are refused when the DAG file is parsed, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sensors.batch import FormantBatchCallSensor
from support.task_run import make_dag

PEOPLE = [{"customer_phone": "+14155550100"}]
WAIT = {"wait_for_completion": True}

IDLE_CALLS: list[tuple[dict[str, Any], str]] = [
    ({"redial_on": {"busy"}, "retries": 3}, "redial_on has no effect without wait_for_completion=True"),
    ({"redial_on": {"busy"}, **WAIT}, "redial_on has no effect without retries"),
    ({"redial_on": {"busy"}, **WAIT, "retries": 0}, "redial_on has no effect without retries"),
    ({"timeout": 60}, "timeout has no effect without wait_for_completion=True: add that, or leave it out"),
    ({"timeout": 60, "poll_interval": 5}, "wait_for_completion=True: add that, or leave them out"),
    ({"timeout": 0, **WAIT}, "timeout must be above 0"),
    ({"poll_interval": 5}, "poll_interval has no effect without"),
    ({"on_timeout": "skip"}, "on_timeout has no effect without"),
    ({"settle_for": 60}, "settle_for has no effect without"),
    ({"success_statuses": {"completed", "busy"}}, "success_statuses has no effect without"),
    ({"terminal_statuses": {"over"}}, "terminal_statuses has no effect without"),
    ({"on_unsuccessful": "succeed"}, "on_unsuccessful has no effect without"),
    ({"include_transcript": True}, "include_transcript has no effect without"),
]
IDLE_BATCH_CALLS: list[tuple[dict[str, Any], str]] = [
    ({"timeout": 60}, "timeout has no effect without wait_for_completion=True"),
    ({"timeout": 0, **WAIT}, "timeout must be above 0"),
    ({"poll_interval": 5}, "poll_interval has no effect without"),
    ({"on_timeout": "return"}, "on_timeout has no effect without"),
    ({"stall_timeout": 60}, "stall_timeout has no effect without"),
    ({"min_success_rate": 0.3, **WAIT}, "min_success_rate is in percent: write 30 instead of 0.3"),
    ({"on_below_threshold": "succeed", **WAIT}, "on_below_threshold has no effect without min_success_rate"),
]


def a_call(**options: Any) -> FormantCreateCallOperator:
    return FormantCreateCallOperator(task_id="call", agent_id=456, parameters=PEOPLE[0], **options)


def a_batch_call(**options: Any) -> FormantCreateBatchCallOperator:
    fields = {"agent_id": 456, "name": "A", "contacts": PEOPLE}
    return FormantCreateBatchCallOperator(task_id="call", **fields, **options)


@pytest.mark.parametrize(
    ("options", "told"), IDLE_CALLS, ids=lambda item: next(iter(item)) if isinstance(item, dict) else "told"
)
def test_an_option_of_a_call_that_cannot_act_breaks_the_dag_file(options: dict[str, Any], told: str) -> None:
    """Plain and mapped; who writes it expects something of it."""
    with pytest.raises(ValueError, match=told):
        a_call(**options)
    with make_dag(), pytest.raises(ValueError, match=told):
        FormantCreateCallOperator.partial(task_id="call", agent_id=456, **options)


@pytest.mark.parametrize(
    ("options", "told"),
    IDLE_BATCH_CALLS,
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else "told",
)
def test_an_option_of_a_batch_call_that_cannot_act_breaks_the_dag_file(
    options: dict[str, Any], told: str
) -> None:
    """Plain and mapped, as with single calls."""
    with pytest.raises(ValueError, match=told):
        a_batch_call(**options)
    with make_dag(), pytest.raises(ValueError, match=told):
        FormantCreateBatchCallOperator.partial(task_id="call", agent_id=456, **options)


def test_a_report_is_needed_for_its_columns() -> None:
    """results_fields without results_uri would be forgotten; in a mapped task rows may have one each."""
    with pytest.raises(ValueError, match="results_fields has no effect without results_uri"):
        a_batch_call(**WAIT, results_fields=["status"])
    with make_dag():
        FormantCreateBatchCallOperator.partial(
            task_id="call", agent_id=456, name="A", contacts=PEOPLE, **WAIT, results_fields=["status"]
        ).expand(results_uri=["/a.csv", "/b.csv"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"min_success_rate": 0.3}, "write 30 instead of 0.3"),
        ({"on_below_threshold": "succeed"}, "on_below_threshold has no effect without min_success_rate"),
    ],
)
def test_a_sensor_s_option_that_cannot_act_breaks_the_dag_file(options: dict[str, Any], told: str) -> None:
    """A sensor always waits, so only its threshold can be idle."""
    with pytest.raises(ValueError, match=told):
        FormantBatchCallSensor(task_id="wait", batch_id=7, **options)


def test_retries_may_come_from_the_dag() -> None:
    """Those of default_args count, plain and mapped."""
    options = {**WAIT, "redial_on": {"busy"}}
    with make_dag(default_args={"retries": 2}):
        a_call(**options)
        FormantCreateCallOperator.partial(task_id="each", agent_id=456, **options).expand(parameters=PEOPLE)


def test_defaults_of_a_dag_bother_no_task_that_does_not_wait() -> None:
    """default_args are for many tasks, and an option that says what is so anyway is no mistake."""
    with make_dag(default_args={"timeout": 60, "poll_interval": 5, "on_timeout": "skip"}):
        a_call()
        FormantCreateCallOperator.partial(task_id="each", agent_id=456).expand(parameters=PEOPLE)
    a_call(timeout=3600, redial_on=(), on_unsuccessful="fail")
    with make_dag(default_args={**WAIT, "retries": 1}):
        FormantCreateCallOperator.partial(task_id="each", agent_id=456, redial_on={"busy"}).expand(
            parameters=PEOPLE
        )
    for rate in (0, 1, 100, None):
        a_batch_call(**WAIT, min_success_rate=rate)
