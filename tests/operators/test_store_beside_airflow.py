"""What Airflow knows of a call and what a call store knows of it, where some tries had no store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pendulum
import pytest

from formant_provider.call_cap import CallCap
from formant_provider.calling_window import CallingWindow
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from formant_provider.store.store import open_up
from formant_provider.store.verify import verify
from support.clocks import Clock
from support.databases import Database
from support.stores import SECRET, connections_with, sqlite_store
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import needs_state_store

HOUR, DAY = 3600, 25 * 3600
ANNA, BEN, ABDUL = "+14155550100", "+14155550110", "+14155550101"  # the last does not answer


class World:
    """One task, whose connection names a store or does not."""

    def __init__(self, sandbox: Sandbox, clock: Clock, database: Database) -> None:
        self.sandbox, self.clock, self.database = sandbox, clock, database
        self.with_store = connections_with(database, sandbox, is_set_up=False)
        self.without = {"formant_default": sandbox.connection_uri()}
        self.channel = FakeSupervisor(connections=self.with_store)
        self.began, self.tries = pendulum.now("UTC"), 0

    def try_call(
        self, person: str = ANNA, *, store: bool = True, run_id: str = "run", **fields: Any
    ) -> TaskRun:
        """Run the task, or clear it, with a store or without."""
        self.channel.connections = self.with_store if store else self.without
        parameters = {"customer_phone": person}
        task = FormantCreateCallOperator(
            task_id="call", agent_id=456, retries=9, parameters=parameters, **fields
        )
        if run_id != "run":
            return run_task(task, self.channel, run_id=run_id)
        self.tries += 1
        at: Any = {"run_after": self.began, "run_started_at": self.began, "max_tries": 20}
        return run_task(task, self.channel, try_number=self.tries, clear_number=self.tries - 1, **at)

    def meet(self, fault: Fault = Fault.RATE_LIMIT_NO_HEADERS, times: int = 4) -> None:
        if times:
            self.sandbox.inject(CALL, fault, times=times)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(speed=0, rate_limit=None) as sandbox, sqlite_store() as database:
        yield World(sandbox, Clock(sandbox, monkeypatch), database)
        store = open_up(database.engine(), "the test's", SECRET)
        assert verify(store).count == 0


def ids(run: TaskRun) -> Any:
    return run.xcoms["return_value"]["trace_id"]


@needs_state_store
def test_what_airflow_knows_of_others_is_kept_when_it_is_told_of_a_call(world: World) -> None:
    """A was placed without a store. B is refused and placed over one: A is not called again after a day."""
    first = world.try_call(ANNA, store=False)
    world.meet()
    world.try_call(BEN)
    world.try_call(BEN)
    world.clock.lapse(DAY)
    assert ids(world.try_call(ANNA)) == ids(first)
    assert world.sandbox.rings == {ANNA: 1, BEN: 1}


@needs_state_store
def test_airflow_is_not_told_that_it_knows_of_all_calls(world: World) -> None:
    """A and B were placed over the store. It is taken out: after a day A is not called again."""
    world.try_call(ANNA)
    world.try_call(BEN)
    world.clock.lapse(DAY)
    assert world.try_call(ANNA, store=False).xcoms["return_value"]["placement"] == "unconfirmed"
    assert world.sandbox.rings == {ANNA: 1, BEN: 1}


@needs_state_store
def test_airflow_is_not_told_of_a_send_that_the_cap_forbids(world: World) -> None:
    """Cleared and capped again, the call was never sent: once there is no store, Airflow says so too."""
    world.try_call(run_id="another run")
    for _ in range(2):
        assert world.try_call(call_cap=CallCap(1, "7d")).state == "skipped"
    world.clock.lapse(DAY)
    assert world.try_call(store=False).xcoms["return_value"]["placement"] == "placed"
    assert world.sandbox.rings == {ANNA: 2}  # of two calls that were asked for


def window_of_later() -> CallingWindow:
    """Hours in which it is not now."""
    hour = pendulum.now("UTC").hour
    return CallingWindow(start=f"{(hour + 3) % 24:02}:00", end=f"{(hour + 4) % 24:02}:00", timezone="UTC")


LATER = pytest.mark.parametrize(("after_s", "limits"), [(HOUR, 0), (HOUR, 1), (DAY, 0)])


@needs_state_store
@LATER
def test_a_call_that_a_try_without_a_store_placed_is_found_in_airflow(
    after_s: float, limits: int, world: World
) -> None:
    """Try 1 was refused over the store, try 2 placed the call without: whoever clears then has its ids."""
    world.meet()
    world.try_call()
    placed = world.try_call(store=False)
    world.clock.lapse(after_s)
    world.meet(times=limits)
    assert ids(world.try_call()) == ids(placed)
    assert world.sandbox.rings == {ANNA: 1}


@LATER
def test_a_call_of_which_a_try_is_missing_in_the_store_is_in_doubt(
    after_s: float, limits: int, world: World
) -> None:
    """Try 1 was not allowed, try 2 placed the call without a store, and nothing in Airflow tells of it."""
    world.try_call(calling_window=window_of_later(), on_closed="skip")
    world.try_call(store=False)
    world.channel.state.clear()
    world.clock.lapse(after_s)
    world.meet(times=limits)
    again = world.try_call(lookup_timeout=0)
    assert again.xcoms["return_value"]["placement"] in {"found", "unconfirmed"}, again.log_text
    assert world.sandbox.rings == {ANNA: 1}


@LATER
def test_a_store_that_was_restored_calls_nobody_again(after_s: float, limits: int, world: World) -> None:
    """The backup is of try 1, which was refused; try 2 placed the call: it is looked for, and not sent."""
    world.meet()
    world.try_call()
    with (
        closing(sqlite3.connect(world.database.connection["host"])) as store,
        closing(sqlite3.connect(":memory:")) as backup,
    ):
        store.backup(backup)
        world.try_call()
        backup.backup(store)
    world.clock.lapse(after_s)
    world.meet(times=limits)
    again = world.try_call(lookup_timeout=0)
    assert again.xcoms["return_value"]["placement"] in {"found", "unconfirmed"}, again.log_text
    assert world.sandbox.rings == {ANNA: 1}


def test_a_refused_call_is_placed_although_a_try_never_came_to_ask(world: World) -> None:
    """It ended before, or the store did not answer it: within a day the same key is sent."""
    world.meet(Fault.RATE_LIMIT)
    world.try_call()
    world.tries += 1
    assert world.try_call().xcoms["return_value"]["placement"] == "placed"
    assert world.sandbox.rings == {ANNA: 1}


@needs_state_store
def test_a_call_that_airflow_alone_knows_is_told_to_the_store(world: World) -> None:
    """It was placed without one: after a clear over the store it counts for the cap of other tasks."""
    world.try_call(store=False)
    world.try_call()
    assert world.try_call(run_id="another run", call_cap=CallCap(1)).state == "skipped"
    assert world.sandbox.rings == {ANNA: 1}


@pytest.mark.parametrize(("calls_before", "ends"), [(1, "found"), (2, "unconfirmed")])
def test_a_call_that_others_placed_without_the_store_counts_from_when_it_rang(
    calls_before: int, ends: str, world: World
) -> None:
    """They used its own name some minutes ago: no cap takes it for a call of the day before."""
    named: dict[str, Any] = {"idempotency_key": "loan 7", "lookup_timeout": 0}
    world.try_call(store=False, run_id="without a store", **named)
    if calls_before == 2:
        world.try_call(store=False, run_id="another without a store")
    world.clock.lapse(300)
    over_store = world.try_call(**named)
    assert over_store.xcoms["return_value"]["placement"] == ends, over_store.log_text
    capped = world.try_call(run_id="another run", call_cap=CallCap(1, "1d"))
    assert capped.state == "skipped", capped.log_text
    assert world.sandbox.rings == {ANNA: calls_before}


def test_a_call_that_was_found_days_after_it_counts_from_when_it_rang(world: World) -> None:
    """Found and read by its record, it does not hold up a cap for longer than it has to."""
    named: dict[str, Any] = {"idempotency_key": "loan 7", "lookup_timeout": 0}
    world.try_call(store=False, run_id="without a store", **named)
    world.clock.lapse(23 * HOUR)
    assert world.try_call(**named).xcoms["return_value"]["placement"] == "found"
    world.clock.lapse(2 * HOUR)
    again = world.try_call(run_id="another run", call_cap=CallCap(1, "1d"))
    assert again.xcoms["return_value"]["placement"] == "placed", again.log_text
    assert world.sandbox.rings == {ANNA: 2}


@needs_state_store
@pytest.mark.parametrize("after_s", [HOUR, DAY])
def test_airflow_is_told_of_the_newest_send(after_s: float, world: World) -> None:
    """A refused call is sent again by a later try: once there is no store, it is found by that send."""
    for _ in range(2):
        world.meet(Fault.RATE_LIMIT)
        world.try_call()
    world.clock.lapse(HOUR)
    assert world.try_call().xcoms["return_value"]["placement"] == "placed"
    world.clock.lapse(after_s)
    assert world.try_call(store=False).xcoms["return_value"]["placement"] == "found"
    assert world.sandbox.rings == {ANNA: 1}
