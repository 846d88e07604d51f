"""A dry run over a call store asks it what it would say, and leaves nothing in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from formant_provider.call_cap import CallCap
from formant_provider.calling_window import CallingWindow
from formant_provider.sandbox import Sandbox
from formant_provider.store.schema import metadata
from formant_provider.store.store import Store, open_up
from formant_provider.store.suppressions import Decision, add
from support.calls import NUMBER, an_operator
from support.databases import Database
from support.stores import SECRET, connections_with
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task

TODAY = datetime.now(UTC).date()
DAYS = [TODAY + timedelta(days=n) for n in range(-1, 4)]


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox))


@pytest.fixture
def store(channel: FakeSupervisor, database: Database) -> Store:  # noqa: ARG001 - whose tables it makes
    return open_up(database.engine(), "the test", SECRET)


def dry(channel: FakeSupervisor, attempt: Any = None, **fields: Any) -> TaskRun:
    return run_task(an_operator(dry_run=True, **fields), channel, **{"run_id": "dry", **(attempt or {})})


def contents(store: Store) -> dict[str, int]:
    """Return how many rows each table has."""
    with store.reading() as conn:
        return {
            name: conn.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


def test_nothing_is_reserved_or_written(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """A dry run takes nobody's place: the real call after it is within a cap of one."""
    before = contents(store)
    for _ in range(2):
        run = dry(channel, call_cap=CallCap(1))
        assert (run.xcoms["return_value"]["status"], run.xcoms["return_value"]["reason"]) == ("dry_run", None)
    assert (contents(store), sandbox.requests) == (before, [])
    assert run_task(an_operator(call_cap=CallCap(1)), channel).state == "success"


def test_who_must_not_be_called_is_said(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """By the do-not-call list of the store."""
    now = datetime.now(UTC)
    add(store, {store.digests.recipient(NUMBER): now}, Decision("asked not to be called", "a test", now))
    run = dry(channel)
    assert (run.state, sandbox.requests) == ("success", [])
    assert run.xcoms["return_value"]["reason"] == "suppressed"
    assert "this task would be skipped" in run.log_text


def test_who_was_called_often_enough_is_said(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """With skip the reason is capped; what would fail fails."""
    assert run_task(an_operator(), channel).state == "success"
    run = dry(channel, call_cap=CallCap(1))
    assert run.xcoms["return_value"]["reason"] == "capped"
    assert run.xcoms["return_value"]["scheduled_for"] is None
    assert dry(channel, call_cap=CallCap(1), on_capped="fail").state == "failed"
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("hours", [None, CallingWindow("12:00", "13:00", timezone="UTC", holidays=DAYS)])
def test_when_the_cap_allows_a_call_is_said(hours: Any, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """With schedule it is the time at which the real task would have it placed, in its hours."""
    fields: dict[str, Any] = {"call_cap": CallCap(1), "on_capped": "schedule", "calling_window": hours}
    assert run_task(an_operator(), channel).state == "success"
    said = dry(channel, **fields).xcoms["return_value"]
    assert said["reason"] is None
    real = run_task(an_operator(**fields), channel, run_id="dry").xcoms["return_value"]
    assert said["scheduled_for"] == real["scheduled_for"]
    assert len(sandbox.requests) == 2


def test_a_call_that_is_placed_is_said(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """As the real task would return it: placed, or found where another run asked for the same name."""
    named = {"idempotency_key": "loan 7", "call_cap": CallCap(1)}
    first = run_task(an_operator(**named), channel).xcoms["return_value"]
    for run_id, placement in (("r1", "placed"), ("another", "found")):
        run = dry(channel, {"run_id": run_id, "try_number": 2}, **named)
        result = run.xcoms["return_value"]
        assert (result["status"], result["placement"], result["reason"]) == ("dry_run", placement, None)
        assert (result["trace_id"], result["by_opening"]) == (first["trace_id"], [])
        assert "is not placed again" in run.log_text
    assert len(sandbox.requests) == 1
