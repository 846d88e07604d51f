"""What came of a call is written into the call store by whoever waits for it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from waiting.conftest import SPEED
from waiting.modes import NUMBER, a_sensor, an_operator, to_the_end

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from formant_provider.sensors.batch import FormantBatchCallSensor
from formant_provider.store.schema import intents
from formant_provider.store.store import Store, open_up
from formant_provider.store.verify import verify
from formant_provider.tasks.privacy import reveal
from support.databases import Database
from support.stores import SECRET, connections_with
from support.supervisor import FakeSupervisor
from support.task_run import run_task, run_trigger

# A call is on record when it is over, after ten seconds: long after its task has looked for it.
TALKS_ON = {"speed": 1, "call_speed": 14}
BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])


def row_in(database: Database) -> dict[str, Any]:
    """Return the only row there is."""
    with store_in(database).reading() as conn:
        return dict(conn.execute(select(intents)).mappings().one())


def a_call() -> FormantCreateCallOperator:
    """The same call, by a task that does not wait for it."""
    waits = an_operator()
    return FormantCreateCallOperator(task_id="call", agent_id=456, parameters=reveal(waits.parameters))


def store_in(database: Database) -> Store:
    return open_up(database.engine(), "the test", SECRET)


@BOTH
def test_the_outcome_of_a_call_is_on_record(deferrable: bool, database: Database, sandbox: Sandbox) -> None:
    """By the operator that placed it: the status, and when it ended."""
    channel = FakeSupervisor(connections_with(database, sandbox))
    assert to_the_end(an_operator(deferrable=deferrable), channel).state == "success"
    row = row_in(database)
    assert (row["state"], row["outcome"]) == ("placed", "completed")
    assert row["outcome_at"] >= row["asked_at"]
    assert not verify(store_in(database)).findings


@BOTH
def test_a_sensor_records_the_outcome_too(deferrable: bool, database: Database, sandbox: Sandbox) -> None:
    """Of a call that another task has placed over the same store."""
    channel = FakeSupervisor(connections_with(database, sandbox))
    placed = run_task(a_call(), channel)
    assert row_in(database)["outcome"] is None
    sensor = a_sensor(trace_id=placed.xcoms["trace_id"], deferrable=deferrable)
    assert to_the_end(sensor, channel).state == "success"
    assert row_in(database)["outcome"] == "completed"


@BOTH
def test_an_unconfirmed_call_that_appears_later_is_known_to_the_store(
    deferrable: bool, database: Database, make_sandbox: Any
) -> None:
    """The wait finds its conversation; a further try gets its ids from the store and asks nobody."""
    sandbox = make_sandbox(**TALKS_ON)
    sandbox.inject(CALL, Fault.DROP_AFTER)
    channel = FakeSupervisor(connections_with(database, sandbox))
    operator = an_operator(lookup_timeout=0, deferrable=deferrable, timeout=16)  # all of it is waited
    run = run_task(operator, channel)
    if deferrable:
        assert run.trigger_kwargs["receipt"]["placement"] == "unconfirmed"
        assert run.trigger_kwargs["receipt"]["store_row"] == row_in(database)["id"]
        event = run_trigger(run.deferral, channel).event
        run = run_task(operator, channel, resume_event=event)
    assert run.state == "success", run.log_text
    result, call, row = run.xcoms["return_value"], sandbox.calls[0], row_in(database)
    assert "store_row" not in result
    assert (row["state"], row["outcome"], row["trace_id"]) == ("placed", "completed", call.trace_id)
    assert row["conversation_id"] == result["conversation_id"]
    assert not verify(store_in(database)).findings
    asked = len(sandbox.requests)
    again = run_task(a_call(), channel, try_number=2)
    assert again.xcoms["trace_id"] == call.trace_id
    assert again.xcoms["return_value"]["placement"] in {"placed", "found"}
    assert len(sandbox.requests) == asked


def test_a_wait_that_was_begun_before_an_upgrade_ends_well(database: Database, make_sandbox: Any) -> None:
    """Its trigger, in Airflow's database, names no row: the task ends as it did; the store learns nothing."""
    sandbox = make_sandbox(**TALKS_ON)
    sandbox.inject(CALL, Fault.DROP_AFTER)
    channel = FakeSupervisor(connections_with(database, sandbox))
    operator = an_operator(lookup_timeout=0, deferrable=True, timeout=16)
    event = run_trigger(run_task(operator, channel).deferral, channel).event
    del event["receipt"]["store_row"]
    run = run_task(operator, channel, resume_event=event)
    assert (run.state, run.xcoms["trace_id"]) == ("success", sandbox.calls[0].trace_id)
    assert row_in(database)["state"] == "unclear"


@BOTH
def test_the_end_of_a_batch_call_is_on_record(
    deferrable: bool, database: Database, make_sandbox: Any, tmp_path: Any
) -> None:
    """By the sensor that waits for it: the vendor's word, and when."""
    sandbox = make_sandbox(speed=SPEED)
    channel = FakeSupervisor(connections_with(database, sandbox))
    contacts = tmp_path / "contacts.csv"
    contacts.write_text(f"customer_phone\n{NUMBER}00\n{NUMBER}01\n")
    batch = FormantCreateBatchCallOperator(task_id="batch", agent_id=456, name="due", contacts=str(contacts))
    placed = run_task(batch, channel)
    assert placed.state == "success", placed.log_text
    assert row_in(database)["outcome"] is None
    sensor = FormantBatchCallSensor(
        task_id="wait",
        batch_id=placed.xcoms["batch_id"],
        poke_interval=0.2,
        timeout=60,
        deferrable=deferrable,
    )
    done = to_the_end(sensor, channel)
    assert done.state == "success", done.log_text
    row = row_in(database)
    assert row["outcome"] == str(done.xcoms["return_value"]["status"] or "over")
    assert row["outcome_at"] >= row["asked_at"]
    assert not verify(store_in(database)).findings
