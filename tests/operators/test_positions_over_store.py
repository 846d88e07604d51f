"""A row of a mapped list has a store from some try on: what it has asked it for vouches for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from engine.matrix import MAPPED
from operators.test_cleared import DAY_LATER, FIRST, HOUR, NEW, SECOND, World, receipt_of
from operators.test_store_comes_and_goes import name_store

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from support.clocks import Clock
from support.databases import Database
from support.stores import sqlite_store
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store


@pytest.fixture
def database() -> Iterator[Database]:
    """A store that is older than all runs."""
    with sqlite_store() as database:
        yield database


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(speed=0, rate_limit=None) as sandbox:
        yield World(MAPPED, sandbox, Clock(sandbox, monkeypatch))
        assert sandbox.rings == {FIRST: 1, SECOND: 1, NEW: 1}


@pytest.mark.parametrize(("after_s", "limits"), [(HOUR, 0), (HOUR, 1), (DAY_LATER, 0)])
def test_a_position_that_had_no_store_at_first_vouches_for_nobody(
    after_s: float, limits: int, world: World, database: Database
) -> None:
    """It asked for one person since. Whoever moves to it next may have been called without a store."""
    world.run([FIRST, SECOND])
    name_store(world, database)
    world.clock.lapse(HOUR)
    world.run([NEW, SECOND], rows=[0])
    world.clock.lapse(after_s)
    if limits:
        world.sandbox.inject(CALL, Fault.RATE_LIMIT_NO_HEADERS)
    (moved,) = world.run([SECOND, NEW], rows=[0])
    assert receipt_of(moved)["placement"] == "found", moved.log_text


@needs_state_store
@pytest.mark.parametrize("after_s", [HOUR, DAY_LATER])
def test_a_position_that_had_no_store_in_between_vouches_for_nobody(
    after_s: float, world: World, database: Database
) -> None:
    """Airflow tells of the call that it placed then, of which the store knows nothing."""
    without = world.channel.connections
    name_store(world, database)
    world.run([FIRST], rows=[0])
    with_store, world.channel.connections = world.channel.connections, without
    world.run([NEW, SECOND], rows=[0, 1])
    world.channel.connections = with_store
    world.clock.lapse(after_s)
    (moved,) = world.run([SECOND, NEW], rows=[0])
    assert receipt_of(moved)["placement"] in {"found", "unconfirmed"}, moved.log_text


def batch_calls(*people: str) -> Any:
    """A batch call to each, as the rows of a mapped task."""
    with make_dag("d"):
        partial = FormantCreateBatchCallOperator.partial(task_id="batch_call", agent_id=456, retries=3)
        rows: list[Any] = [
            {"name": person[-2:], "contacts": [{"customer_phone": person}]} for person in people
        ]
        return partial.expand_kwargs(rows)


def run_batch(world: World, people: list[str], index: int, try_number: int = 1) -> TaskRun:
    """Run a row of the mapped task, which is cleared before each further try."""
    at: dict[str, Any] = {"try_number": try_number, "clear_number": try_number - 1}
    return run_task(batch_calls(*people), world.channel, map_index=index, **at)


@needs_state_store
def test_a_batch_call_that_had_no_store_at_first_is_uploaded_once(world: World, database: Database) -> None:
    """It moves to a row that has asked the store for another one since: it is looked for, and found."""
    for row in (0, 1):
        run_batch(world, [FIRST, SECOND], row)
    name_store(world, database)
    run_batch(world, [NEW, SECOND], 0, 2)
    moved = run_batch(world, [SECOND, NEW], 0, 3)
    assert moved.xcoms["return_value"]["placement"] == "found", moved.log_text


def test_a_further_try_looks_for_a_batch_call_that_the_store_does_not_know(
    world: World, database: Database
) -> None:
    """A first one only asks the store. Later on the list is asked too, since no key protects an upload."""
    name_store(world, database)
    for row in (0, 1):
        run_batch(world, [FIRST, SECOND], row)
    assert [request.method for request in world.sandbox.requests] == ["POST"] * 2
    run_batch(world, [NEW, SECOND], 0, 2)
    assert {request.method for request in world.sandbox.requests[2:-1]} == {"GET"}
