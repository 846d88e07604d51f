"""Options of a call list: what is wrong breaks the DAG file, and what is right means what it says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from formant_provider.attempts import Attempts
from formant_provider.call_cap import CallCap
from formant_provider.calling_window import CallingWindow
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from formant_provider.stop_when import StopWhen
from support.list_rows import number
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

ROWS = [{"customer_phone": number(110), "reference": "r"}]

BAD: list[tuple[dict[str, Any], str]] = [
    ({"agent_id": "x"}, "agent_id"),
    ({"agent_id": -5}, "agent_id"),
    ({"agents": {456: 1}}, "agent_id and agents are both given"),
    ({"agent_id": None, "agents": {}}, "agents"),
    ({"agent_id": None, "agents": {"x": 1}}, "agents"),
    ({"agent_id": None, "agents": {456: 0}}, "above 0"),
    ({"agent_id": None, "agents": {456: "half"}}, "above 0"),
    ({"agent_id": None, "agents": [456, 457]}, "agents"),
    ({"columns": {"phone": "x"}}, "columns must name"),
    ({"columns": {"reference": "a", "metadata": "a"}}, "a name of its own"),
    ({"columns": {"reference": 5}}, "a name of its own"),
    ({"columns": ["reference"]}, "columns must name"),
    ({"region": "mars"}, "region"),
    ({"delimiter": ";;"}, "delimiter"),
    ({"default_country": "Germany"}, "default_country"),
    ({"numbers": "mine"}, "numbers"),
    ({"renumber": "yes"}, "renumber"),
    ({"invalid_rows": "ignore"}, "invalid_rows"),
    ({"max_rejected_rate": 101}, "max_rejected_rate"),
    ({"on_empty": "cry"}, "on_empty"),
    ({"calling_window": "09:00-18:00"}, "calling_window"),
    ({"attempts": 3}, "attempts must be|attempts: must be"),
    ({"attempts": {"times": 3}}, "attempts"),
    ({"attempts": {"most": 21, "after": {"busy": 60}}}, "from 1 to 20"),
    ({"attempts": {"most": 2}}, "has no effect without after"),
    ({"attempts": {"most": 2, "after": {"completed": "1h"}}}, "must name statuses"),
    ({"attempts": {"most": 2, "after": {"busy": "soon"}}}, "busy"),
    ({"attempts": {"most": 2, "after": {"busy": 60}, "per_day": 0}}, "per_day"),
    ({"settle_for": -1}, "settle_for"),
    ({"success_statuses": None}, "success_statuses must be a set"),
    ({"success_statuses": "completed"}, "success_statuses must be a set"),
    ({"terminal_statuses": 5}, "terminal_statuses must be a set"),
    ({"call_cap": 3}, "call_cap"),
    ({"call_cap": CallCap(2, "1d"), "on_capped": "fail"}, "on_capped"),
    ({"max_lateness": -1}, "max_lateness"),
    ({"hold": "perhaps"}, "hold"),
    ({"hold_variable": ""}, "hold_variable"),
    ({"hold_variable": 5}, "hold_variable"),
    ({"stop_when": "later"}, "stop_when"),
    ({"stop_when": {"called": 5}}, "stop_when"),
    ({"stop_when": {}}, "must have a limit"),
    ({"stop_when": {"reached": 0}}, "reached"),
    ({"stop_when": {"cost": 5}}, "no effect without cost_per_minute"),
    ({"stop_when": {"failed_above": 0.3}}, "write 30 instead of 0.3"),
    ({"concurrency": 0}, "concurrency"),
    ({"concurrency": 17}, "concurrency"),
    ({"concurrency": True}, "concurrency"),
    ({"max_inline_wait": 0}, "max_inline_wait"),
    ({"poll_interval": 0}, "poll_interval"),
    ({"safety_poll_interval": 0}, "safety_poll_interval"),
    ({"call_timeout": 0}, "call_timeout"),
    ({"call_timeout": "1h"}, "call_timeout"),
    ({"timeout": 0}, "timeout"),
    ({"on_timeout": "shout"}, "on_timeout"),
    ({"success_statuses": "completed"}, "success_statuses"),
    ({"terminal_statuses": [""]}, "terminal_statuses"),
    ({"min_success_rate": 0.3}, "write 30 instead of 0.3"),
    ({"min_success_rate": 30, "on_below_threshold": "cry"}, "on_below_threshold"),
    ({"results_uri": "/tmp/results.txt"}, "results_uri"),  # noqa: S108 - nothing is written
    ({"progress_uri": "/tmp/progress"}, "progress_uri"),  # noqa: S108 - nothing is written
    ({"summary_uri": "/tmp/page.pdf"}, "summary_uri"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "progress_uri": "/tmp/a.csv"}, "progress_uri"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "calls": "/tmp/a.csv"}, "results_uri"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "recipients": "some"}, "recipients"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "keep_columns": "city"}, "keep_columns"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "keep_columns": ["status"]}, "status"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "keep_columns": ["customer_phone"]}, "customer_phone"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "result_columns": {"status": "results.x"}}, "status"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "result_columns": {"x": "transcript"}}, "x"),  # noqa: S108 - nothing is written
    ({"results_uri": "/tmp/a.csv", "result_columns": {"x": ("results.x", "colour")}}, "x"),  # noqa: S108 - nothing is written
]
IDLE: list[tuple[dict[str, Any], str]] = [
    ({"on_below_threshold": "succeed"}, "on_below_threshold has no effect without min_success_rate"),
    (
        {"invalid_rows": "fail", "max_rejected_rate": 5},
        "max_rejected_rate has no effect without invalid_rows",
    ),
    ({"result_columns": {"intent": "results.intent"}}, "result_columns has no effect without results_uri"),
    ({"recipients": "full"}, "recipients has no effect without results_uri"),
    ({"keep_columns": ["city"]}, "keep_columns has no effect without results_uri"),
]


def a_list(**options: Any) -> FormantCallListOperator:
    options = {"calls": ROWS, "agent_id": 456, **options}
    return FormantCallListOperator(task_id="list", **options)


def named(item: Any) -> str:
    return "-".join(item) if isinstance(item, dict) else "told"


@pytest.mark.parametrize(("options", "told"), BAD, ids=named)
def test_a_bad_option_breaks_the_dag_file_and_is_named(options: dict[str, Any], told: str) -> None:
    """Where a mistake costs nothing."""
    with pytest.raises(ValueError, match=told):
        a_list(**options)


@pytest.mark.parametrize(("options", "told"), IDLE, ids=named)
def test_an_option_that_cannot_act_breaks_the_dag_file(options: dict[str, Any], told: str) -> None:
    """Who writes it expects something of it."""
    with pytest.raises(ValueError, match=told):
        a_list(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"on_below_threshold": "succeed"}, "no effect without min_success_rate"),
        ({"min_success_rate": 0.3}, "write 30 instead of 0.3"),
        ({"invalid_rows": "fail", "max_rejected_rate": 5}, "no effect without invalid_rows"),
        ({"agent_id": "x"}, "agent_id"),
        ({"region": "mars"}, "region"),
        ({"concurrency": 17}, "concurrency"),
        ({"attempts": {"most": 2}}, "has no effect without after"),
        ({"stop_when": {}}, "must have a limit"),
    ],
    ids=named,
)
def test_a_bad_option_of_a_mapped_list_breaks_the_dag_file(options: dict[str, Any], told: str) -> None:
    """Those that all rows share."""
    with make_dag(), pytest.raises(ValueError, match=told):
        FormantCallListOperator.partial(task_id="list", **{"agent_id": 456, **options})


def test_an_unknown_option_breaks_the_dag_file() -> None:
    """A misspelt one is not passed over."""
    with pytest.raises((TypeError, ValueError), match="attempt"):
        a_list(attempt=3)


@pytest.mark.parametrize(
    ("option", "plain", "value"),
    [
        (
            "attempts",
            {"most": 3, "after": {"no_answer": "2h", "busy": 900}, "per_day": 2},
            Attempts(3, {"no_answer": timedelta(hours=2), "busy": "15m"}, 2),
        ),
        ("stop_when", {"reached": 5, "minutes": 60}, StopWhen(reached=5, minutes=60)),
    ],
)
def test_plain_mappings_mean_what_the_classes_do(option: str, plain: Any, value: Any) -> None:
    """A DAG that is read from YAML has no classes."""
    assert getattr(a_list(**{option: plain}), option).rule() == value.rule()
    assert repr(getattr(a_list(**{option: plain}), option)) == repr(value)


def test_what_is_not_given_means_what_the_documentation_says() -> None:
    """One attempt, no limit, a day of time, whoever completed is reached."""
    plain = a_list()
    assert plain.attempts.rule() == Attempts(1).rule()
    assert (plain.stop_when, plain.variants, plain.timeout_s) == (None, None, 86400)
    assert plain.following.success_statuses == {"completed"}
    assert (plain.ending.on_timeout, plain.ending.min_success_rate) == ("fail", None)


def test_times_may_be_written_as_spans() -> None:
    """As everywhere in Airflow."""
    hour = timedelta(hours=1)
    spans = a_list(timeout=hour, call_timeout=hour, max_inline_wait=hour, max_lateness=hour, settle_for=hour)
    assert spans.timeout_s == 3600
    assert spans.placing.longest_wait == hour
    assert spans.following.endings.settle_for == hour


def test_default_args_may_hold_options_of_other_tasks() -> None:
    """An option that cannot act is refused where it is written for this task alone."""
    shared = {"on_below_threshold": "succeed", "recipients": "full", "agent_id": 789}
    with DAG("shared", schedule=None, default_args=shared):
        operator = FormantCallListOperator(task_id="list", calls=ROWS)
    assert operator.agent_id == 789
    assert operator.ending.on_below_threshold == "succeed"


def test_a_bad_option_of_default_args_breaks_the_dag_file() -> None:
    """It would act."""
    with (
        DAG("shared", schedule=None, default_args={"concurrency": 99}),
        pytest.raises(ValueError, match="concurrency"),
    ):
        FormantCallListOperator(task_id="list", calls=ROWS, agent_id=456)


def run(channel: FakeSupervisor, operator: Any, **attempt: Any) -> TaskRun:
    return run_task(operator, channel, **attempt)


@needs_state_store
def test_templates_are_rendered_and_then_checked(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Also those within the values of classes; a dry run tells without a call."""
    (tmp_path / "people.csv").write_text(f"customer_phone\n{number(110)}\n")
    options = {
        "agent_id": "{{ 400 + 56 }}",
        "calls": "{{ dag_run.conf.place }}/people.csv",
        "reference": "list {{ ds }}",
        "attempts": Attempts("{{ 1 + 1 }}", {"busy": "{{ 5 }}m"}),
        "stop_when": {"reached": "{{ 3 + 4 }}"},
        "calling_window": CallingWindow("{{ '00:00' }}", "24:00"),
        "hold": "{{ 'off' }}",
        "dry_run": "{{ 'true' }}",
    }
    done = run(channel, a_list(**options), conf={"place": str(tmp_path)})
    assert done.state == "success", done.log_text
    assert not sandbox.requests
    result = done.xcoms["return_value"]
    assert (result["status"], result["waiting"], result["reference"]) == ("dry_run", 1, "list 2026-01-01")
    assert done.rendered_fields["attempts"] == {"most": "2", "after": {"busy": "5m"}, "per_day": None}
    assert done.rendered_fields["stop_when"] == {"reached": "7"}


@needs_state_store
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"agent_id": "{{ 'x' }}"}, "agent_id"),
        ({"attempts": Attempts("{{ 99 }}", {"busy": 60})}, "attempts.most"),
        ({"attempts": Attempts("{{ 2 }}", {"busy": "{{ 'soon' }}"})}, "attempts.after"),
        ({"stop_when": StopWhen(reached="{{ 'many' }}")}, "stop_when.reached"),
        ({"hold": "{{ 'perhaps' }}"}, "hold"),
        ({"dry_run": "{{ 'perhaps' }}"}, "dry_run"),
        ({"results_uri": "{{ '/nowhere/a.txt' }}"}, "results_uri"),
        ({"calling_window": CallingWindow("{{ 'nine' }}", "18:00")}, "calling_window"),
        ({"calls": "{{ none }}"}, "calls"),
        ({"columns": {"reference": "loan"}}, "columns"),
        ({"results_uri": "/nowhere/a.csv", "keep_columns": ["loan"]}, "keep_columns"),
        ({"agent_id": None}, "agent_id"),
    ],
    ids=named,
)
def test_what_shows_only_when_the_task_runs_fails_it_before_anybody_is_called(
    options: dict[str, Any], told: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """At once and without a retry; the error names the field."""
    done = run(channel, a_list(retries=2, **options))
    assert done.state == "failed", done.log_text
    assert told in str(done.error)
    assert not sandbox.requests


@needs_state_store
def test_a_list_that_is_mapped_is_one_list_a_row(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Each row of the mapping is a task of its own, with its own people and agent."""
    others = [{"customer_phone": number(111)}]
    with make_dag():
        mapped = FormantCallListOperator.partial(task_id="list", dry_run=True).expand_kwargs(
            [{"calls": ROWS, "agent_id": 456}, {"calls": others, "agent_id": "789"}]
        )
    for index in range(2):
        done = run(channel, mapped, map_index=index)
        assert done.state == "success", done.log_text
        assert done.xcoms["return_value"]["map_index"] == index
        assert done.xcoms["return_value"]["waiting"] == 1
    assert not sandbox.requests


@needs_state_store
def test_a_bad_option_of_one_mapped_row_fails_that_row(channel: FakeSupervisor) -> None:
    """The others are called."""
    with make_dag():
        mapped = FormantCallListOperator.partial(task_id="list", dry_run=True).expand_kwargs(
            [{"calls": ROWS, "agent_id": 456}, {"calls": ROWS, "agent_id": "x"}]
        )
    assert run(channel, mapped, map_index=0).state == "success"
    assert run(channel, mapped, map_index=1).state == "failed"


@needs_state_store
@pytest.mark.parametrize("option", ["attempts", "stop_when"])
def test_what_is_rendered_is_the_same_in_every_process(option: str) -> None:
    """What differs from parse to parse would be a new version of the DAG each time."""
    values = {
        "attempts": [
            Attempts(2, {"busy": 60, "no_answer": "1h"}),
            Attempts(2, {"no_answer": "1h", "busy": 60}),
        ],
        "stop_when": [StopWhen(reached=5, minutes=3.0), StopWhen(minutes=3, reached="5")],
    }
    first, second = (repr(getattr(a_list(**{option: value}), option)) for value in values[option])
    assert first == second
