"""A cap on a batch call: parse time, templates, and a connection without a call store."""

from __future__ import annotations

from typing import Any

import pytest
from batches.batch_call import a_batch_call

from formant_provider.call_cap import CallCap
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import make_dag, run_task

PEOPLE = [{"customer_phone": "+14155550100"}]
NO_STORE = "call_cap: needs a call store: name its connection in store_conn_id of the connection"

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"call_cap": "2/1d"}, "call_cap: must be CallCap or a mapping of calls, per"),
    ({"on_capped": "wait"}, "on_capped must be one of skip, fail; not 'wait'"),
    ({"on_capped": "schedule"}, "the vendor gives no row of it a time of its own"),
]


@pytest.mark.parametrize(("options", "told"), WRONG, ids=str)
def test_an_option_that_is_invalid_breaks_the_dag_file(options: dict[str, Any], told: str) -> None:
    """A mistake shows when the DAG is parsed; what cannot be done here is refused with the reason."""
    with pytest.raises(ValueError, match=told):
        a_batch_call(PEOPLE, **options)


@pytest.mark.parametrize("on_capped", ["skip", "fail"])
def test_on_capped_alone_may_act_on_the_cap_of_the_connection(
    on_capped: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """It is never refused for want of a call_cap, and a connection without a cap calls as ever."""
    run = run_task(a_batch_call(PEOPLE, on_capped=on_capped), channel)
    assert (run.state, len(sandbox.batches)) == ("success", 1), run.log_text


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_cap_without_a_store_uploads_nothing(
    dry_run: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Nobody could count; the task fails at once, and says which field of which connection is missing."""
    with make_dag(params={"per": "12h"}):
        operator = a_batch_call(PEOPLE, call_cap=CallCap(1, "{{ params.per }}"), dry_run=dry_run, retries=3)
    run = run_task(operator, channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert NO_STORE in run.log_text
    assert run.rendered_fields["call_cap"] == {"calls": "1", "per": "12h"}


def test_a_template_that_renders_to_no_cap_uploads_nothing(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The error names the field."""
    run = run_task(a_batch_call(PEOPLE, call_cap=CallCap("{{ 'x' }}"), retries=3), channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "call_cap.calls: must be an integer, 1 or more" in run.log_text
