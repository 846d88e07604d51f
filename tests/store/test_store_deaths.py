"""Processes that die at any step of placing a call with a store, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from formant_provider.api.client import CREATE_CALL
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.placement import Placement, Result
from formant_provider.sandbox import Fault
from formant_provider.store.store import Store
from support.databases import Database
from support.ledgers import CALL, NOON, Start, Tries, starting
from support.machine_world import Died, Interruption, Steps, count_steps
from support.stores import asked, ledger_in, new_store

STORIES: dict[str, tuple[Fault, ...]] = {
    "calm": (),
    "refused first": (Fault.RATE_LIMIT,),
    "not accepted first": (Fault.ERROR_503_BEFORE,),
    "answer lost": (Fault.DROP_AFTER,),
}
# Who comes after the process that died.
NEXT = {"the next try": {"try_number": 2}, "another task": {"task_id": "another", "run_id": "another"}}
# By whether the API counts the key of a request that it did not accept as used: each answer once a story.
CASES = [
    ("calm", "the next try", False),
    ("calm", "another task", False),
    ("refused first", "the next try", True),
    ("refused first", "another task", False),
    ("not accepted first", "the next try", False),
    ("not accepted first", "another task", True),
    ("answer lost", "the next try", True),
    ("answer lost", "another task", False),
]
STEPS = {f"{when} {what}" for when in ("before", "after") for what in ("transaction", "POST /v1/call")}
MOST_STEPS = 20


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database, now=NOON - timedelta(days=1))


class World:
    """Calls to one person, hours apart, and processes that ask for one and die."""

    def __init__(self, task: Tries, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.task, self.store, self.steps = task, store, Steps()
        count_steps(self.steps, monkeypatch.setattr)

    def new_call(self) -> None:
        """What follows is about another call."""
        self.task.sandbox.advance(2 * 3600)
        self.task.call = replace(CALL, idempotency_key=f"key {self.task.sandbox.now()}")

    def place(self, interruption: Interruption | None = None, **who: Any) -> Placement:
        """Ask for the call as one process does."""
        clock = {"now": self.task.sandbox.now, "sleep": self.task.sandbox.advance}
        what = asked(self.task.call.idempotency_key, CALL.recipient, **who)
        self.task.ledger = ledger_in(self.store, Intent, what, guesses=not who, **clock)
        self.task.taken_since = None
        with self.steps.process(interruption):
            return self.task.place()

    def die(self, at: int, *, before: bool, faults: Sequence[Fault]) -> str:
        """Ask for a new call, and die at that step; return which it was."""

        def act() -> None:
            raise Died

        self.new_call()
        for fault in faults:
            self.task.sandbox.inject(CREATE_CALL, fault)
        interruption = Interruption(at, before, act)
        with suppress(Died):
            self.place(interruption)
        return interruption.where


@pytest.fixture
def world(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> World:
    sandbox = {"failed_request_uses_key": request.param, "record_appears": "start"}
    return World(start(sandbox=sandbox), store, monkeypatch)


@pytest.mark.parametrize(("story", "next_process", "world"), CASES, indirect=["world"])
def test_a_process_that_dies_at_any_step_leaves_one_ring_and_its_ids(
    world: World, story: str, next_process: str
) -> None:
    """Before and after each transaction and each request: whoever comes next places or finds the one call."""
    died_at = set()
    for at, before in product(range(1, MOST_STEPS), (True, False)):
        rings = world.task.rings
        where = world.die(at, before=before, faults=STORIES[story])
        if not where:
            break
        died_at.add(where)
        placement = world.place(**NEXT[next_process])
        assert_ended(world, placement, rings=world.task.rings - rings, troubled=bool(STORIES[story]))
    assert died_at >= STEPS
    assert not world.die(MOST_STEPS, before=True, faults=()), "some steps were left out"


def assert_ended(world: World, placement: Placement, *, rings: int, troubled: bool) -> None:
    if rings:
        call = world.task.sandbox.calls[-1]
        assert (rings, placement.result in {Result.PLACED, Result.FOUND}) == (1, True)
        assert placement.receipt is not None
        assert placement.receipt.trace_id == call.trace_id
    else:  # the API has used up the key of a request that it did not accept, and cannot be asked
        assert (placement.result, placement.receipt) == (Result.UNCONFIRMED, None)
        assert troubled
        assert world.task.sandbox.failed_request_uses_key
