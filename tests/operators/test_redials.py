"""Redials of one call that several ask for, or that a try could not place: no person rings once too often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pendulum
import pytest

from formant_provider.call_cap import CallCap
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.store.history import of_dag
from formant_provider.store.store import Store, open_up
from formant_provider.store.verify import verify
from support.calls import CREATE_CALL
from support.clocks import Clock
from support.databases import Database
from support.stores import SECRET, connections_with, sqlite_store
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

PERSON = "+14155550101"  # does not answer
HOUR, DAY = 3600, 86_400


@dataclass
class World:
    """Tasks that wait in their worker, a connection with or without a call store, and one time for all."""

    sandbox: Sandbox
    channel: FakeSupervisor
    clock: Clock
    database: Database

    def __post_init__(self) -> None:
        self._began = pendulum.now("UTC")

    def run(self, operator: Any, try_number: int = 1, **attempt: Any) -> TaskRun:
        began = {"run_after": self._began, "run_started_at": self._began}
        return run_task(operator, self.channel, try_number=try_number, **{**began, **attempt})

    @property
    def rings(self) -> int:
        return self.sandbox.rings[PERSON]

    @property
    def is_whole(self) -> bool:
        """Whether the call store has nothing that nobody has written."""
        return verify(self.store).findings == []

    @property
    def store(self) -> Store:
        return open_up(self.database.engine(), "the test", SECRET)


@pytest.fixture(params=["call store", pytest.param("task state", marks=needs_state_store)])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(speed=0, rate_limit=None) as sandbox, sqlite_store() as database:
        connections: Any = connections_with(database, sandbox, is_set_up=False)
        if request.param == "task state":
            connections = {"formant_default": sandbox.connection_uri()}
        yield World(sandbox, FakeSupervisor(connections), Clock(sandbox, monkeypatch), database)


only_in_a_store = pytest.mark.parametrize("world", ["call store"], indirect=True)
OPTIONS: dict[str, Any] = {
    "task_id": "call",
    "agent_id": 456,
    "redial_on": {"no_answer"},
    "wait_for_completion": True,
    "deferrable": False,
    "retries": 9,
}


def a_call(dag_id: str = "dag", **fields: Any) -> FormantCreateCallOperator:
    with make_dag(dag_id):
        return FormantCreateCallOperator(parameters={"customer_phone": PERSON}, **{**OPTIONS, **fields})


def rows_of(*people: str) -> Any:
    with make_dag():
        parameters = [{"customer_phone": person} for person in people]
        return FormantCreateCallOperator.partial(**OPTIONS).expand(parameters=parameters)


def test_a_person_in_several_rows_is_redialled_as_often_as_in_one(world: World) -> None:
    """Each try is due one call to a person, however many rows ask for it."""
    for try_number in (1, 2, 3):
        for row in range(3):
            world.run(rows_of(PERSON, PERSON, PERSON), try_number, map_index=row)
            world.clock.lapse(60)
        assert world.rings == try_number


@only_in_a_store
def test_a_first_try_redials_nobody(world: World) -> None:
    """A call of one name that other DAGs ask for has not been tried by them: they get its ids."""
    runs = []
    for nth in range(4):
        runs.append(world.run(a_call(f"dag_{nth}", idempotency_key="loan 7"), run_id=f"run_{nth}"))
        world.clock.lapse(60)
    assert world.rings == 1
    assert len({run.xcoms["trace_id"] for run in runs}) == 1
    assert world.run(a_call("dag_3", idempotency_key="loan 7"), 2, run_id="run_3").xcoms["trace_id"]
    assert world.rings == 2


def refuse_a_redial(world: World, operator: Any, **attempt: Any) -> TaskRun:
    """Place a call that is not answered, and let the API refuse its redial in the second try."""
    first = world.run(operator, **attempt)
    world.clock.lapse(DAY)
    world.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT_NO_HEADERS, times=4)
    refused = world.run(operator, 2, **attempt)
    assert refused.state == "up_for_retry", refused.log_text
    assert world.rings == 1
    return first


def test_who_was_reached_after_a_redial_was_refused_is_not_called_again(world: World) -> None:
    """Whoever phones in meanwhile has been talked to: the task keeps the ids of its call."""
    operator = a_call()
    first = refuse_a_redial(world, operator)
    world.clock.lapse(60)
    world.sandbox.receive(PERSON, lasts_seconds=30)
    world.clock.lapse(HOUR)
    for try_number in (3, 4):
        assert world.run(operator, try_number).xcoms["trace_id"] == first.xcoms["trace_id"]
    assert world.rings == 1


def test_a_redial_that_was_refused_is_placed_only_by_who_wants_it(world: World) -> None:
    """Without ``redial_on``, and in a first try of another DAG, its call is the one that was placed."""
    named = {"idempotency_key": "loan 7"}
    first = refuse_a_redial(world, a_call(**named))
    world.clock.lapse(60)
    plain = world.run(a_call(**named, redial_on=()), 3, clear_number=1)
    assert plain.xcoms["trace_id"] == first.xcoms["trace_id"], plain.log_text
    assert world.rings == 1
    assert world.run(a_call(**named), 4).xcoms["trace_id"] != first.xcoms["trace_id"]
    assert world.rings == 2


@only_in_a_store
@pytest.mark.parametrize("redial_on", [(), {"no_answer"}])
def test_a_redial_that_was_refused_is_not_placed_for_another_dag(redial_on: Any, world: World) -> None:
    """It asks for the call of that name, and that was placed: it gets its ids."""
    first = refuse_a_redial(world, a_call(idempotency_key="loan 7"))
    other = world.run(a_call("other", idempotency_key="loan 7", redial_on=redial_on), run_id="other")
    assert other.xcoms["trace_id"] == first.xcoms["trace_id"], other.log_text
    assert (other.xcoms["return_value"]["placement"], world.rings) == ("found", 1)


def test_a_redial_of_a_row_that_was_refused_is_placed_a_day_later(world: World) -> None:
    """Although the run is older than the vendor remembers, its own receipt counts, not what others may do."""
    operator = rows_of(PERSON, "+14155550110")
    first = refuse_a_redial(world, operator, map_index=0)
    world.clock.lapse(DAY)
    third = world.run(operator, 3, map_index=0)
    assert third.xcoms["return_value"]["placement"] == "placed", third.log_text
    assert third.xcoms["trace_id"] != first.xcoms["trace_id"]
    assert world.rings == 2


@only_in_a_store
def test_a_redial_goes_on_in_a_run_that_is_older_than_its_store(world: World) -> None:
    """Of whom the store need not know all: each try counts on, and the chain of events stays whole."""
    began = {"run_after": pendulum.datetime(2025, 12, 1), "run_started_at": pendulum.datetime(2025, 12, 1)}
    with make_dag():
        operator = FormantCreateCallOperator.partial(**OPTIONS, max_lateness=None).expand(
            parameters=[{"customer_phone": PERSON}] * 2
        )
    for row in (0, 1):
        world.run(operator, map_index=row, **began)
        world.clock.lapse(60)
    world.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT_NO_HEADERS, times=4)
    for try_number, rings in ((2, 1), (3, 2), (4, 3)):
        world.run(operator, try_number, map_index=0, **began)
        assert world.rings == rings
        world.clock.lapse(60)
    assert world.is_whole


@only_in_a_store
def test_a_redial_that_was_refused_leaves_the_ids_of_the_call_before_it(world: World) -> None:
    """The person was rung: the row has the ids of that and how it ended, and the history tells of a call."""
    operator = a_call()
    first = refuse_a_redial(world, operator)
    dry = world.run(a_call(dry_run=True), 3)
    assert dry.xcoms["trace_id"] == first.xcoms["trace_id"], dry.log_text
    capped = world.run(a_call(call_cap=CallCap(1, per="7d")), 3)
    assert capped.xcoms["trace_id"] == first.xcoms["trace_id"], capped.log_text
    (asked,) = of_dag(world.store, "dag", None)["asked"]
    told = {name: asked[name] for name in ("state", "trace_id", "conversation_id", "outcome", "call_at")}
    assert told == {
        "state": "placed",
        "trace_id": first.xcoms["trace_id"],
        "conversation_id": first.xcoms["conversation_id"],
        "outcome": "no_answer",
        "call_at": asked["sends"][0]["at"],
    }
    assert world.is_whole
    last = world.run(operator, 4)
    assert world.rings == 2
    (asked,) = of_dag(world.store, "dag", None)["asked"]
    assert (asked["state"], asked["trace_id"]) == ("placed", last.xcoms["trace_id"])
    assert world.is_whole
