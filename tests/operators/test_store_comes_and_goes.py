"""A call store that is younger than a run, was purged since, or is named by the connection no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pendulum
import pytest
from engine.matrix import PLAIN
from operators.test_cleared import DAY_LATER, FIRST, HOUR, World, receipt_of
from sqlalchemy import delete

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from formant_provider.store.schema import intents
from formant_provider.store.store import PURGED_BEFORE, Store, change, open_up, to_ms
from support.clocks import Clock
from support.databases import Database, sqlite_database
from support.stores import SECRET, connections_with, new_store, sqlite_store
from support.versions import needs_state_store

LATE = [HOUR, DAY_LATER]
# How a run without anything written down ends, by when it is cleared.
ENDS_LATE = [(HOUR, "found"), (DAY_LATER, "unconfirmed")]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(speed=0, rate_limit=None) as sandbox:
        yield World(PLAIN, sandbox, Clock(sandbox, monkeypatch))
        assert sandbox.rings == {FIRST: 1}


@pytest.fixture
def no_store(world: World) -> dict[str, Any]:
    """The connections before there was a store."""
    return world.channel.connections


@pytest.fixture
def old_store(world: World, no_store: dict[str, Any]) -> Iterator[Store]:
    """A store that is older than the run, and that the connection names."""
    with sqlite_store() as database:
        name_store(world, database)
        assert world.channel.connections is not no_store
        yield open_up(database.engine(), "the test's", SECRET)


@pytest.fixture
def database(tmp_path: Any) -> Iterator[Database]:
    with sqlite_database(tmp_path) as database:
        yield database


def name_store(world: World, database: Database) -> None:
    """Let the connection name the store from now on."""
    world.channel.connections = connections_with(database, world.sandbox, is_set_up=False)


def add_store(world: World, database: Database) -> None:
    """Set up a store, and let the connection name it from now on."""
    new_store(database, now=pendulum.now("UTC"))
    name_store(world, database)


def place(world: World, *, after_s: float = 0) -> dict[str, Any]:
    """Run the task, or clear it after a while, and return its receipt."""
    world.clock.lapse(after_s)
    (run,) = world.run([FIRST])
    return receipt_of(run)


@needs_state_store
@pytest.mark.parametrize("after_s", LATE)
def test_a_run_that_is_older_than_the_store_reads_the_task_state_store(
    after_s: float, world: World, database: Database
) -> None:
    """What was written down before there was a store is still believed."""
    first = place(world)
    world.clock.lapse(60)
    add_store(world, database)
    assert place(world, after_s=after_s) == first


@pytest.mark.parametrize(("after_s", "ends"), ENDS_LATE)
def test_of_a_run_that_is_older_the_store_knows_no_more_than_there_is_in_it(
    after_s: float, ends: str, world: World, database: Database
) -> None:
    """With its state entry deleted, such a run ends as without a store, and nobody is called again."""
    place(world)
    world.clock.lapse(60)
    add_store(world, database)
    world.channel.state.clear()
    assert place(world, after_s=after_s)["placement"] == ends


def test_what_an_older_run_found_is_in_the_store_from_then_on(world: World, database: Database) -> None:
    """Found within a day, its ids are there 25 days later."""
    place(world)
    world.clock.lapse(60)
    add_store(world, database)
    world.channel.state.clear()
    found = place(world, after_s=HOUR)
    later = place(world, after_s=25 * DAY_LATER)
    assert (found["placement"], later["placement"]) == ("found", "placed")
    assert later["trace_id"] == found["trace_id"] == world.sandbox.calls[0].trace_id


def test_a_store_that_is_added_between_two_tries_takes_over(world: World, database: Database) -> None:
    """The first try lost its answers without a store; the second finds the call, the third asks nobody."""
    world.sandbox.inject(CALL, Fault.ERROR_503_AFTER)
    world.sandbox.inject(CALL, Fault.ERROR_503_BEFORE, times=3)
    (run,) = world.run([FIRST])
    assert run.state == "up_for_retry"
    add_store(world, database)
    found = place(world, after_s=HOUR)
    seen = len(world.sandbox.requests)
    again = place(world, after_s=25 * DAY_LATER)
    assert (found["placement"], again["placement"]) == ("found", "placed")
    assert (again["trace_id"], len(world.sandbox.requests)) == (found["trace_id"], seen)


@needs_state_store
def test_a_store_that_is_added_and_removed_again_costs_no_second_ring(
    world: World, database: Database, no_store: dict[str, Any]
) -> None:
    """What Airflow knows of the first try, that it was refused, is not believed of the second."""
    world.sandbox.inject(CALL, Fault.RATE_LIMIT, times=4)
    (run,) = world.run([FIRST])
    assert run.state == "up_for_retry"
    add_store(world, database)
    assert place(world, after_s=60)["placement"] == "placed"
    world.channel.connections = no_store
    assert place(world, after_s=HOUR)["placement"] == "found"


def purge(store: Store, *, before: datetime) -> None:
    """Forget what was asked for before a time."""
    with store.writing() as conn:
        change(conn, PURGED_BEFORE, lambda _: str(to_ms(before)))
        conn.execute(delete(intents).where(intents.c.asked_at < to_ms(before)))


def test_a_run_of_which_the_store_was_purged_is_not_taken_for_a_new_one(
    world: World, old_store: Store
) -> None:
    """Its call is looked for, as without a store: unconfirmed, and nobody is called again."""
    place(world)
    world.clock.lapse(2 * DAY_LATER)
    purge(old_store, before=pendulum.now("UTC") - timedelta(hours=26))
    assert place(world)["placement"] == "unconfirmed"


def test_a_run_that_is_younger_than_the_purge_has_its_ids(world: World, old_store: Store) -> None:
    """What was kept is known, however old."""
    first = place(world)
    purge(old_store, before=pendulum.now("UTC") - timedelta(days=2))
    again = place(world, after_s=25 * DAY_LATER)
    assert again == first


@pytest.mark.usefixtures("old_store")
@pytest.mark.parametrize(("after_s", "ends"), ENDS_LATE)
def test_a_store_that_is_removed_from_the_connection_costs_the_ids_and_no_second_ring(
    after_s: float, ends: str, world: World, no_store: dict[str, Any]
) -> None:
    """Nothing was written down elsewhere: the run ends as one whose state entry was deleted."""
    place(world)
    world.channel.connections = no_store
    assert place(world, after_s=after_s)["placement"] == ends


@pytest.mark.usefixtures("old_store")
def test_a_store_that_comes_back_knows_its_calls(world: World, no_store: dict[str, Any]) -> None:
    """Removed and named again, it gives back the ids."""
    with_store = world.channel.connections
    first = place(world)
    world.channel.connections = no_store
    place(world, after_s=DAY_LATER)
    world.channel.connections = with_store
    assert place(world, after_s=HOUR) == first
