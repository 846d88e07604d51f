"""Workers of a call list die, or what they need fails: each person is called once, and nobody is forgotten.

`make test-list` does more of it. Each try has a process of its own, as with Airflow.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.attempts import Attempts
from formant_provider.call_cap import CallCap
from formant_provider.sandbox import Sandbox
from support.databases import postgres_database
from support.list_stress import World, people
from support.list_worker import LastingSupervisor
from support.processes import die, ended, kill, until
from support.stores import connections_with, sqlite_store
from support.supervisor import FakeSupervisor
from support.task_run import run_task, run_trigger
from support.versions import needs_state_store

ATTEMPT = {"attempts": Attempts(2, {"no_answer": 11})}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(rate_limit=None, call_speed=1000, record_appears="start") as sandbox:
        yield sandbox


@pytest.fixture(params=["call store", pytest.param("task state", marks=needs_state_store)])
def world(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> Iterator[World]:
    """A list of 30 people, which is written down in a call store or in Airflow."""
    if request.param == "task state":
        yield World(sandbox, tmp_path, people(30))
        return
    with sqlite_store() as database:
        connections = connections_with(database, sandbox, is_set_up=False)
        yield World(sandbox, tmp_path, people(30), connections=connections)


in_airflow = pytest.mark.parametrize("world", ["task state"], indirect=True)


def killed_at_write(number: int, *, after: bool) -> Callable[[LastingSupervisor], None]:
    """Return what lets a worker die at one of its writes to Airflow, before or after it is on record."""
    writes = 0

    def write(_: str) -> None:
        nonlocal writes
        writes += 1
        if writes == number:
            die()

    def prepare(channel: LastingSupervisor) -> None:
        setattr(channel, "after_write" if after else "before_write", write)

    return prepare


def test_a_worker_that_is_killed_at_random_moments_calls_nobody_twice(world: World) -> None:
    """However often, and wherever a list is written down: each has one call and one result, in order."""
    run = world.run(most=4, calls=6)
    assert run.kills > 1
    assert world.wrong() == []
    assert run.came is not None
    assert run.came.result["calls"] == len(world.numbers)


@in_airflow
def test_a_further_attempt_of_a_worker_that_was_killed_is_made_once(world: World) -> None:
    """Who did not answer is called a second time, and no third time, by whatever try."""
    world.numbers[:], world.fields = people(20, ("10", "01")), ATTEMPT
    run = world.run(most=3, calls=8)
    assert run.kills > 1
    assert world.wrong(attempts=2, after={"no_answer"}) == []


@in_airflow
@pytest.mark.parametrize("after", [False, True])
def test_a_worker_that_is_killed_at_a_write_calls_nobody_twice(world: World, after: bool) -> None:
    """The head, a chunk of doubts, receipts: at each of the first writes of a try it dies once."""
    world.numbers[:] = people(110)
    for number in (1, 2, 3):
        assert ended(world.task.start(killed_at_write(number, after=after))) < 0
    world.run()
    assert world.wrong() == []


def test_a_worker_that_is_killed_before_an_answer_leaves_a_call_that_is_found(world: World) -> None:
    """The phone rings, and nobody is left to hear of it: the next try finds the call."""
    world.sandbox.inject("POST /v1/call", "hang_after", seconds=100)
    pid = world.task.start()
    until(lambda: bool(world.sandbox.calls))
    kill(pid)
    world.run()
    assert world.wrong() == []


def test_a_worker_that_goes_on_beside_its_successor_calls_nobody_twice(world: World) -> None:
    """It stood still, was given up, and goes on when the next try is at work."""
    run = world.run(most=2, calls=8, revives=True)
    assert run.kills > 0
    assert world.wrong() == []


def test_a_list_outlasts_an_api_that_is_gone(world: World) -> None:
    """Its requests meet nobody for some seconds, amid the calls; all are placed once it is back."""
    pid = world.task.start()
    until(lambda: len(world.sandbox.calls) > 8)
    world.sandbox.stop()
    time.sleep(2)
    world.sandbox.start()
    assert ended(pid) == 0
    assert world.wrong() == []


@needs_state_store
def test_a_storm_of_refusals_loses_nobody(tmp_path: Path) -> None:
    """429 in every form, each of which has used up the key of its call."""
    with Sandbox(rate_limit=None, call_speed=1000, failed_request_uses_key=True) as sandbox:
        world = World(sandbox, tmp_path, people(30))
        for kind in ("rate_limit", "rate_limit_no_headers", "concurrency_limit"):
            sandbox.inject("POST /v1/call", kind)
        world.run()
        assert world.wrong() == []


@in_airflow
def test_answers_that_are_lost_or_cut_off_cost_nobody_a_second_call(world: World) -> None:
    """Errors after the call was placed, answers that never come or break off; here and with reads."""
    for kind in ("error_500_after", "drop_after", "garbage"):
        world.sandbox.inject("POST /v1/call", kind)
    world.sandbox.inject("GET /v1/conversations", "garbage")
    world.sandbox.inject("GET /v1/conversations/{conversation_id}", "error_503_after")
    world.run()
    assert world.wrong() == []


def test_a_list_that_changes_between_tries_calls_everybody_of_it_once(world: World) -> None:
    """In another order, shorter, longer, with other shares of its agents; then it grows, and is cleared."""
    moments, everybody = random.Random(7), people(40)  # noqa: S311 - no secret

    def change(_: int) -> None:
        world.numbers[:] = moments.sample(everybody, moments.randrange(20, 40))
        world.fields = {"agent_id": None, "agents": {123: moments.random(), 456: moments.random(), 789: 0.5}}

    run = world.run(most=3, calls=6, random=moments, meanwhile=change)
    assert run.kills > 0
    assert world.wrong() == []
    world.numbers[:] = everybody[::-1]
    world.run(attempt={"clear_number": 1})
    assert world.wrong() == []
    assert len(world.sandbox.calls) >= len(everybody)


def test_a_database_that_is_killed_and_comes_back_costs_nobody_a_call(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """That of the call store goes amid the calls; tries that fail go on from what it holds."""
    with postgres_database() as database:
        connections = connections_with(database, sandbox)
        world = World(sandbox, tmp_path, people(40), connections=connections)
        gone = threading.Thread(target=lambda: gone_and_back(sandbox, database.server))
        gone.start()
        run = world.run()
        gone.join()
    assert run.came is not None
    assert world.wrong() == []


def gone_and_back(sandbox: Sandbox, server: Any) -> None:
    until(lambda: len(sandbox.calls) > 5)
    server.kill()
    time.sleep(1)
    server.start()


def test_two_lists_at_once_that_share_people_keep_the_cap(sandbox: Sandbox, tmp_path: Path) -> None:
    """One call a day to each, whichever list is first, and though workers of both are killed."""
    with postgres_database() as database:
        fields, connections = {"call_cap": CallCap(1, "1d")}, connections_with(database, sandbox)
        one = World(sandbox, tmp_path, people(30), fields, connections)
        other = World(sandbox, tmp_path, people(30, first=15)[::-1], fields, connections, "other")
        beside = threading.Thread(target=lambda: other.run(most=1, calls=10))
        beside.start()
        one.run(most=1, calls=10)
        beside.join()
    assert sandbox.rings == dict.fromkeys({*one.numbers, *other.numbers}, 1)
    for world in (one, other):
        rows = world.rows()
        assert [row["customer_phone"] for row in rows] == world.numbers
        ends = {(row["status"], row["reason"]) for row in rows}
        assert ends <= {("completed", ""), ("rejected", "capped")}
    assert len(one.rows()) + len(other.rows()) == 60


@needs_state_store
def test_a_wait_that_ends_twice_calls_nobody_twice(sandbox: Sandbox, tmp_path: Path) -> None:
    """A triggerer died after it had told that the moment had come, and another one tells it once more."""
    moment = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    rows = [{"customer_phone": number, "scheduled_for": moment} for number in people(10)]
    world = World(sandbox, tmp_path, people(10), {"max_inline_wait": 1}, calls=rows)
    channel = FakeSupervisor({"formant_default": sandbox.connection_uri()})
    waiting = run_task(world.operator(), channel)
    assert waiting.state == "deferred", waiting.log_text
    assert not sandbox.calls
    event = run_trigger(waiting.deferral, channel).event
    for _ in range(2):
        assert run_task(world.operator(), channel, resume_event=event).state == "success"
        assert world.wrong() == []
