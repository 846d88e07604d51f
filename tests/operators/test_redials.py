"""Redials of one call that several ask for, or that a try could not place: no person rings once too often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pendulum
import pytest

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Sandbox
from support.clocks import Clock
from support.stores import connections_with, sqlite_store
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

    def __post_init__(self) -> None:
        self._began = pendulum.now("UTC")

    def run(self, operator: Any, try_number: int = 1, **attempt: Any) -> TaskRun:
        began = {"run_after": self._began, "run_started_at": self._began}
        return run_task(operator, self.channel, try_number=try_number, **{**began, **attempt})

    @property
    def rings(self) -> int:
        return self.sandbox.rings[PERSON]


@pytest.fixture(params=["call store", pytest.param("task state", marks=needs_state_store)])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(speed=0, rate_limit=None) as sandbox, sqlite_store() as database:
        connections: Any = connections_with(database, sandbox, is_set_up=False)
        if request.param == "task state":
            connections = {"formant_default": sandbox.connection_uri()}
        yield World(sandbox, FakeSupervisor(connections), Clock(sandbox, monkeypatch))


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
