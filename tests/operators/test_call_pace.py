"""A task whose turn is far gives its worker back, whatever ``deferrable`` says, and continues in its turn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from formant_provider.call_cap import CallCap
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Sandbox
from formant_provider.store.store import open_up
from formant_provider.store.verify import verify
from support.databases import Database
from support.stores import SECRET, connections_with
from support.supervisor import FakeSupervisor
from support.task_run import run_task


def numbered(nth: int) -> str:
    return f"+1415555011{nth}"


def a_call(nth: int, **fields: Any) -> FormantCreateCallOperator:
    call = {"agent_id": 456, "parameters": {"customer_phone": numbered(nth)}}
    return FormantCreateCallOperator(task_id=f"call_{nth}", **{**call, **fields})


def pass_time(database: Database, seconds: int) -> None:
    """Let the queue of the account be older."""
    moved = {
        "formant_pace": ("tail_at", "gate_at", "looked_at"),
        "formant_turns": ("turn_at", "came_at", "back_at"),
    }
    with database.engine().begin() as conn:
        for table, columns in moved.items():
            changes = ", ".join(f"{name} = {name} - {1000 * seconds}" for name in columns)
            conn.execute(text(f"UPDATE {table} SET {changes}"))  # noqa: S608 - our own names


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox, calls_per_minute=1))


def test_a_task_defers_to_its_turn_and_goes_on(
    database: Database, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The second of two calls at one a minute waits without a worker, is placed once, and needs no retry."""
    first = run_task(a_call(0), channel)
    assert first.state == "success", first.log_text
    began, second = datetime.now(UTC), run_task(a_call(1, deferrable=False), channel)
    assert second.state == "deferred", second.log_text
    assert "By calls_per_minute of the connection, the turn of this call comes in 6" in second.log_text
    until = datetime.fromisoformat(second.trigger_kwargs["until"])
    assert timedelta(seconds=55) < until - began < timedelta(seconds=70)
    assert len(sandbox.requests) == 1
    pass_time(database, 63)
    resumed = run_task(a_call(1), channel, resume_event=second.trigger_kwargs)
    assert resumed.state == "success", resumed.log_text
    assert resumed.xcoms["return_value"]["placement"] == "placed"
    assert sandbox.rings == {numbered(0): 1, numbered(1): 1}


def test_a_task_that_is_tried_again_has_kept_its_place(
    database: Database, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Its worker or its triggerer died: it is not sent to the end of the queue."""
    run_task(a_call(0), channel)
    kept = [run_task(a_call(nth), channel).trigger_kwargs["until"] for nth in (1, 2)]
    again = run_task(a_call(1), channel, try_number=2).trigger_kwargs["until"]
    moments = [datetime.fromisoformat(moment) for moment in (kept[0], again, kept[1])]
    assert moments[1] - moments[0] < timedelta(seconds=5)
    assert moments[2] - moments[1] > timedelta(seconds=55)
    pass_time(database, 130)
    for nth in (2, 1):
        resumed = run_task(a_call(nth), channel, resume_event={"give_up_at": kept[0]}, max_tries=2)
        if resumed.state == "deferred":  # the other one has just passed the gate
            pass_time(database, 63)
            resumed = run_task(a_call(nth), channel, resume_event={"give_up_at": kept[0]})
        assert resumed.state == "success", resumed.log_text
    assert sandbox.rings == {numbered(nth): 1 for nth in range(3)}


def test_a_redial_that_waits_for_its_turn_leaves_the_call_before_it_counted(
    database: Database, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Meanwhile no cap admits what it would not have admitted; nothing of the first call is forgotten."""
    parameters, person = {"customer_phone": "+14155550102"}, "+14155550102"  # is busy
    waits = {"wait_for_completion": True, "deferrable": True, "retries": 3}
    redialled = a_call(0, parameters=parameters, redial_on={"busy"}, **waits)
    run_task(redialled, channel)
    sandbox.advance(600)
    second = run_task(redialled, channel, try_number=2)
    assert "until" in second.trigger_kwargs, second.log_text
    capped = run_task(a_call(1, parameters=parameters, call_cap=CallCap(1, per="7d")), channel)
    assert capped.xcoms["return_value"]["reason"] == "capped", capped.log_text
    store = open_up(database.engine(), "the test", SECRET)
    assert verify(store).findings == []
    pass_time(database, 63)
    resumed = run_task(redialled, channel, try_number=2, resume_event=second.trigger_kwargs)
    assert resumed.state == "deferred", resumed.log_text
    assert sandbox.rings == {person: 2}
    assert verify(store).findings == []


def test_a_turn_beyond_a_day_is_waited_for(
    database: Database, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Unlike the API's own limit, it comes for sure."""
    run_task(a_call(0), channel)
    pass_time(database, -2 * 86_400)
    run = run_task(a_call(1), channel)
    assert run.state == "deferred", run.log_text
    assert datetime.fromisoformat(run.trigger_kwargs["until"]) > datetime.now(UTC) + timedelta(days=1.9)
    assert len(sandbox.requests) == 1


def test_a_short_wait_is_waited_for_in_the_worker(
    database: Database, sandbox: Sandbox, sleeps: list[float]
) -> None:
    """A deferral costs more than that; the clock of the test does not go on, so it ends in one."""
    channel = FakeSupervisor(connections_with(database, sandbox, calls_per_minute=4))
    run_task(a_call(0), channel)
    del sleeps[:]
    run = run_task(a_call(1), channel)
    assert run.state == "deferred", run.log_text
    assert sleeps[0] == pytest.approx(15.5, abs=1)
    assert sum(sleeps) <= 30
    assert run.log_text.count("This try waits for it.") == 1


def test_a_task_waits_until_the_api_says_that_a_call_is_over(database: Database, sandbox: Sandbox) -> None:
    """Nobody waits for the first call here; the one that needs its line learns that it has ended."""
    channel = FakeSupervisor(connections_with(database, sandbox, max_concurrent_calls=1))
    first = run_task(a_call(0), channel)
    assert first.state == "success", first.log_text
    second = run_task(a_call(1, max_inline_wait=0), channel)
    assert second.state == "deferred", second.log_text
    assert "As many calls are in progress as max_concurrent_calls" in second.log_text
    sandbox.advance(3600)
    pass_time(database, 31)
    resumed = run_task(a_call(1), channel, resume_event=second.trigger_kwargs)
    assert resumed.state == "success", resumed.log_text
    assert sandbox.rings == {numbered(0): 1, numbered(1): 1}
