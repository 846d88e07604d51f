"""Tries of one batch call: what was uploaded is found again, and what may have been is not uploaded again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from batches.batch_call import NUMBERS, ONE_RING_EACH, PEOPLE, a_batch_call, asked, posts, uploaded
from waiting.conftest import channel_to

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH, BATCHES
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import HAS_STATE_STORE, needs_state_store

Make = Callable[..., Sandbox]

AFTER = [Fault.ERROR_500_AFTER, Fault.ERROR_503_AFTER, Fault.DROP_AFTER, Fault.GARBAGE]
BEFORE = [Fault.ERROR_500_BEFORE, Fault.ERROR_503_BEFORE, Fault.DROP_BEFORE]
STORES = pytest.mark.parametrize(
    "state_store",
    [pytest.param(True, marks=needs_state_store), False],
    ids=["with a ledger", "below Airflow 3.3"],
)
PARKED = "Look in the FormantAI dashboard for a batch call with that marker in its name."


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for, none of which is waited."""
    asked_for: list[float] = []
    monkeypatch.setattr("time.sleep", asked_for.append)
    return asked_for


def a_try(
    channel: FakeSupervisor, number: int = 1, *, state_store: bool = HAS_STATE_STORE, **fields: Any
) -> TaskRun:
    """One try of the same task; below Airflow 3.3 it has no ledger."""
    operator = a_batch_call(**{"retries": 3, **fields})
    return run_task(
        operator, channel, try_number=number, state_store=state_store, logical_date=datetime.now(UTC)
    )


@STORES
@pytest.mark.parametrize("fault", AFTER)
def test_an_upload_whose_answer_is_lost_is_adopted(
    fault: Fault, state_store: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The same try looks for it and finds it; its ids go downstream."""
    sandbox.inject(BATCH, fault)
    run = a_try(channel, state_store=state_store)
    assert run.state == "success", run.log_text
    result = run.xcoms["return_value"]
    assert (result["placement"], result["batch_id"]) == ("found", sandbox.batches[0].batch_id)
    assert (result["total_recipients"], result["contacts"]["accepted"]) == (3, 3)
    assert (posts(sandbox), sandbox.rings) == (1, ONE_RING_EACH)


@STORES
@pytest.mark.parametrize("fault", BEFORE)
def test_an_upload_that_may_have_been_accepted_is_parked(
    fault: Fault, state_store: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Not found, it is not uploaded again, in no try: the log says what to look for, and where."""
    sandbox.inject(BATCH, fault)
    run = a_try(channel, state_store=state_store)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    text = str(run.error)
    assert "A batch call may have been placed" in text
    assert PARKED in text
    assert "[af-" in text
    cleared = a_try(channel, 2, state_store=state_store)
    assert (cleared.state, type(cleared.error)) == ("failed", AirflowFailException)
    assert PARKED in str(cleared.error)
    assert (posts(sandbox), sandbox.rings) == (1, {})


@STORES
def test_a_list_that_lags_behind_is_believed_later(state_store: bool, make_sandbox: Make) -> None:
    """Parked while the list does not show it, adopted once it does, and never uploaded again."""
    sandbox = make_sandbox(batch_list_lag_reads=2)
    channel = channel_to(sandbox)
    sandbox.inject(BATCH, Fault.DROP_AFTER)
    runs = [a_try(channel, number, state_store=state_store) for number in (1, 2, 3)]
    assert [run.state for run in runs] == ["failed", "failed", "success"]
    assert runs[2].xcoms["return_value"]["placement"] == "found"
    assert runs[2].xcoms["batch_id"] == sandbox.batches[0].batch_id
    assert (posts(sandbox), sandbox.rings) == (1, ONE_RING_EACH)


def test_a_look_lasts_as_long_as_it_may(make_sandbox: Make, waits: list[float]) -> None:
    """lookup_timeout is how long one try looks for what was lost."""
    sandbox = make_sandbox(batch_list_lag_reads=3)
    sandbox.inject(BATCH, Fault.DROP_AFTER)
    run = a_try(channel_to(sandbox), lookup_timeout=20)
    assert run.state == "success"
    assert waits == [1, 2, 4]
    assert asked(sandbox, BATCHES) == 4


@STORES
def test_a_wish_to_upload_again_is_granted_to_a_further_try(
    state_store: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """resubmit_if_missing=True leaves the upload to the next try, which looks once more before it sends."""
    sandbox.inject(BATCH, Fault.DROP_BEFORE)
    first = a_try(channel, state_store=state_store, resubmit_if_missing=True)
    assert (first.state, posts(sandbox)) == ("up_for_retry", 1)
    second = a_try(channel, 2, state_store=state_store, resubmit_if_missing=True)
    assert second.state == "success", second.log_text
    assert second.xcoms["return_value"]["placement"] == "placed"
    assert (posts(sandbox), asked(sandbox, BATCHES), sandbox.rings) == (2, 2, ONE_RING_EACH)


def test_a_wish_to_upload_again_uploads_nothing_that_is_found(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A parked batch call that is there after all is adopted, whatever was wished."""
    sandbox.inject(BATCH, Fault.DROP_AFTER)
    sandbox.inject(BATCHES, Fault.ERROR_503_BEFORE, times=4)
    first = a_try(channel, resubmit_if_missing=True)
    assert first.state == "up_for_retry"
    second = a_try(channel, 2, resubmit_if_missing=True)
    assert second.xcoms["return_value"]["placement"] == "found"
    assert (posts(sandbox), sandbox.rings) == (1, ONE_RING_EACH)


@STORES
@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.RATE_LIMIT_NO_HEADERS, Fault.CONCURRENCY_LIMIT])
def test_a_refusal_is_no_doubt(fault: Fault, state_store: bool, make_sandbox: Make) -> None:
    """What was refused in so many words is uploaded again: within the try, and by the next one."""
    sandbox = make_sandbox()
    channel = channel_to(sandbox)
    sandbox.inject(BATCH, fault, times=5)
    first = a_try(channel, state_store=state_store)
    assert first.state == "up_for_retry", first.log_text
    assert "No batch call was placed by this try" in first.log_text
    second = a_try(channel, 2, state_store=state_store, resubmit_if_missing=not state_store)
    assert second.state == "success", second.log_text
    assert (posts(sandbox), sandbox.rings) == (6, ONE_RING_EACH)


@STORES
def test_an_api_that_is_down_is_sent_nothing(
    state_store: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Nothing arrived, so nothing is in doubt where that is remembered."""
    sandbox.stop()
    first = a_try(channel, state_store=state_store)
    assert first.state == "up_for_retry"
    assert "No batch call was placed by this try" in first.log_text
    sandbox.start()
    second = a_try(channel, 2, state_store=state_store)
    if state_store:
        assert second.state == "success", second.log_text
        assert sandbox.rings == ONE_RING_EACH
    else:  # nobody remembers that nothing was sent
        assert (second.state, sandbox.rings) == ("failed", {})
        assert PARKED in str(second.error)


@needs_state_store
def test_a_further_try_hands_on_the_receipt_and_asks_nothing(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A clear after success gives the same ids, though contacts and name have changed, or are gone."""
    first = a_try(channel)
    second = a_try(channel, 2, contacts="/nowhere/people.csv", name="April")
    assert second.state == "success"
    assert second.xcoms["batch_id"] == first.xcoms["batch_id"]
    before, after = first.xcoms["return_value"], second.xcoms["return_value"]
    assert after == before | {"contacts": None}
    assert len(sandbox.requests) == 1


def test_below_3_3_a_further_try_looks_first(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Nothing is remembered there, so a second try looks before it sends anything, and reads no contacts."""
    a_try(channel, state_store=False)
    second = a_try(channel, 2, state_store=False, contacts="/nowhere/people.csv")
    assert second.state == "success", second.log_text
    assert second.xcoms["return_value"]["placement"] == "found"
    assert (posts(sandbox), sandbox.rings) == (1, ONE_RING_EACH)


@needs_state_store
def test_what_failed_before_it_was_sent_leaves_no_doubt(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A try that found bad contacts is followed by one that uploads the good ones."""
    first = a_try(channel, contacts=[*PEOPLE, {"customer_phone": "x"}])
    assert (first.state, posts(sandbox)) == ("failed", 0)
    second = a_try(channel, 2)
    assert second.state == "success", second.log_text
    assert uploaded(sandbox) == PEOPLE


@needs_state_store
def test_a_ledger_that_cannot_be_written_keeps_the_upload_back(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A process that may have lost its task sends nothing."""
    channel.refused.add("SetTaskStateStore")
    first = a_try(channel)
    assert (first.state, posts(sandbox)) == ("up_for_retry", 0)
    assert "could not be written to Airflow's task state store" in first.log_text
    assert sandbox.rings == {}


@needs_state_store
def test_a_task_that_was_stopped_uploads_nothing(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """on_kill keeps back what was not sent, and says that what was cannot be taken back."""
    operator = a_batch_call(retries=1, pre_execute=lambda context: context["task"].on_kill())
    run = run_task(operator, channel)
    assert (run.state, posts(sandbox)) == ("up_for_retry", 0)
    assert "was stopped before the upload" in run.log_text
    assert "A batch call that was sent cannot be taken back" in run.log_text
    assert a_try(channel, 2).state == "success"
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)


@STORES
def test_a_refused_upload_fails_at_once(state_store: bool, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """An agent that the API does not know, and a key that it does not take, are not tried again."""
    run = a_try(channel, state_store=state_store, agent_id=1)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert "No batch call was placed by this try" in str(run.error)
    channel.connections["formant_default"]["password"] = "another-key"
    run = a_try(channel, state_store=state_store, task_id="other")
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert "Check the API key" in str(run.error)
    assert sandbox.rings == {}
