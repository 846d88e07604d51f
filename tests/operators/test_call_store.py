"""Calls over a call store: one call for each person, and its ids, whatever became of the task since."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from support.databases import Database
from support.stores import connections_with
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import needs_state_store

NUMBER = "+14155550100"


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox))


def a_call(**fields: Any) -> FormantCreateCallOperator:
    call = {"agent_id": 456, "parameters": {"customer_phone": NUMBER}, "reference": "LN-1"}
    return FormantCreateCallOperator(task_id="call", **{**call, **fields})


def test_a_call_is_placed_and_found_again(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A clear returns the ids of the first try, and sends nothing; Airflow's own state store is not used."""
    first = run_task(a_call(), channel)
    assert first.state == "success", first.log_text
    assert first.xcoms["return_value"]["placement"] == "placed"
    again = run_task(a_call(), channel, try_number=2)
    assert again.xcoms["return_value"] == first.xcoms["return_value"]
    assert sandbox.rings == {NUMBER: 1}
    assert len(sandbox.requests) == 1
    assert first.state_store.get("formant_calls") is None


def test_another_dag_finds_the_call_of_the_same_name(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The store knows a name in every DAG; the second gets the ids of the first one's call."""
    first = run_task(a_call(idempotency_key="loan 7"), channel)
    second = run_task(a_call(idempotency_key="loan 7"), channel, run_id="another run")
    assert second.xcoms["return_value"]["placement"] == "found"
    assert second.xcoms["trace_id"] == first.xcoms["trace_id"]
    assert len(sandbox.requests) == 1
    assert first.log_text.count("in the call store of connection 'calls_db'") == 1


def test_a_refused_call_is_placed_by_the_next_try(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What was not accepted is sent again, by the next try too."""
    sandbox.inject(CALL, Fault.ERROR_503_BEFORE, times=4)
    first = run_task(a_call(retries=2), channel, max_tries=2)
    assert first.state == "up_for_retry", first.log_text
    second = run_task(a_call(retries=2), channel, try_number=2, max_tries=2)
    assert second.state == "success", second.log_text
    assert sandbox.rings == {NUMBER: 1}


def test_a_cap_counts_every_dag(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Two a day are placed, of three runs that ask."""
    from formant_provider.call_cap import CallCap

    runs = [run_task(a_call(call_cap=CallCap(2)), channel, run_id=f"run {number}") for number in range(3)]
    assert [run.state for run in runs] == ["success", "success", "skipped"], runs[2].log_text
    assert runs[2].xcoms["return_value"]["reason"] == "capped"
    assert sandbox.rings == {NUMBER: 2}


def test_a_capped_call_is_scheduled_for_when_the_cap_allows_it(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """With ``on_capped="schedule"`` the third call is placed for a day after the first."""
    from formant_provider.call_cap import CallCap

    fields: dict[str, Any] = {"call_cap": CallCap(2), "on_capped": "schedule"}
    runs = [run_task(a_call(**fields), channel, run_id=f"run {number}") for number in range(4)]
    assert [run.state for run in runs] == ["success"] * 4, runs[2].log_text
    assert [bool(run.xcoms["return_value"]["scheduled_for"]) for run in runs] == [False, False, True, True]
    assert len(sandbox.requests) == 4


def test_a_call_in_doubt_is_not_sent_again_over_the_cap(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """It may not have been accepted, and others have called since: a further send is held against the cap."""
    from formant_provider.call_cap import CallCap

    fields: dict[str, Any] = {"call_cap": CallCap(1), "retries": 2, "lookup_timeout": 0}
    sandbox.inject(CALL, Fault.DROP_BEFORE, times=4)
    first = run_task(a_call(**fields), channel, max_tries=2)
    assert first.state == "up_for_retry", first.log_text
    other = run_task(a_call(), channel, run_id="another run")  # without a cap
    assert other.state == "success", other.log_text
    second = run_task(a_call(**fields), channel, try_number=2, max_tries=2)
    assert second.state != "success", second.log_text
    assert sandbox.rings == {NUMBER: 1}


def test_who_asks_not_to_be_called_meanwhile_is_not_called(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A call in doubt is not sent again to somebody who is on the do-not-call list by now."""
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.suppressions import Decision, add
    from support.supervisor import supervised_by

    sandbox.inject(CALL, Fault.DROP_BEFORE, times=4)
    first = run_task(a_call(retries=2), channel, max_tries=2)
    assert first.state == "up_for_retry", first.log_text
    with supervised_by(channel):
        store = FormantHook().get_store()
        assert store is not None
        now = datetime.now(UTC)
        add(store, {store.digests.recipient(NUMBER): now}, Decision("asked not to be called", "a test", now))
    second = run_task(a_call(retries=2, lookup_timeout=0), channel, try_number=2, max_tries=2)
    assert second.state != "success", second.log_text
    assert sandbox.rings == {}


def test_the_calls_of_others_are_not_taken_for_this_one(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The store knows whose the other conversation is, so the only one that is left is this call's."""
    other = run_task(a_call(), channel, run_id="another run")
    assert other.state == "success", other.log_text
    sandbox.inject(CALL, Fault.ERROR_503_AFTER)
    sandbox.inject(CALL, Fault.DROP_BEFORE, times=3)
    first = run_task(a_call(retries=2), channel, max_tries=2)
    assert first.state == "up_for_retry", first.log_text
    sandbox.advance(600)  # both are on record
    second = run_task(a_call(retries=2), channel, try_number=2, max_tries=2)
    assert second.xcoms["return_value"]["placement"] == "found", second.log_text
    assert second.xcoms["trace_id"] not in {"", other.xcoms["trace_id"]}
    assert sandbox.rings == {NUMBER: 2}


@needs_state_store
def test_a_connection_that_joins_an_old_store_calls_nobody_again(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The store is older than the run, and knows nothing of it: what Airflow's task state knows counts."""
    named = channel.connections["formant_default"]
    channel.connections["formant_default"] = sandbox.connection_uri()
    first = run_task(a_call(), channel)
    channel.connections["formant_default"] = named
    again = run_task(a_call(), channel, try_number=2)
    assert again.xcoms["trace_id"] == first.xcoms["trace_id"], again.log_text
    assert sandbox.rings == {NUMBER: 1}


def test_a_name_of_ones_own_may_have_been_used_without_the_store(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A 429 and then a 409 do not prove that our own key was spent: another connection may have used it."""
    named = channel.connections["formant_default"]
    channel.connections["formant_default"] = sandbox.connection_uri()
    run_task(a_call(idempotency_key="loan 7"), channel, run_id="another run")
    channel.connections["formant_default"] = named
    sandbox.inject(CALL, Fault.RATE_LIMIT, retry_after=1)
    run = run_task(a_call(idempotency_key="loan 7", lookup_timeout=0), channel)
    assert run.xcoms["return_value"]["placement"] in {"found", "unconfirmed"}, run.log_text
    assert sandbox.rings == {NUMBER: 1}


@pytest.mark.parametrize("has_store", [True, pytest.param(False, marks=needs_state_store)])
def test_a_call_that_the_api_knows_stays_unconfirmed_until_it_is_on_record(
    has_store: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Of a name of one's own, whoever asks while it lasts: nobody is told that its outcome is unknown."""
    if not has_store:
        channel.connections["formant_default"] = sandbox.connection_uri()
    named = {"idempotency_key": "loan 7", "lookup_timeout": 0}
    sandbox.inject(CALL, Fault.ERROR_503_AFTER)
    first = run_task(a_call(**named), channel)
    cleared = run_task(a_call(**named), channel, try_number=2, clear_number=1)
    other = run_task(a_call(**named), channel, run_id="another run")
    for run in (first, cleared, other):
        assert run.state == "success", run.log_text
        assert run.xcoms["return_value"]["placement"] == "unconfirmed"
    sandbox.advance(600)
    found = run_task(a_call(**named), channel, try_number=3, clear_number=2)
    assert found.xcoms["return_value"]["placement"] == "found", found.log_text
    assert found.xcoms["trace_id"] == sandbox.calls[0].trace_id
    assert sandbox.rings == {NUMBER: 1}
