"""Several who ask for the same call at once, and a database that is killed while they do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from engine.matrix import AT_ONCE, Row

from formant_provider.core.calls.placement import Placement
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from formant_provider.store.store import Store
from support.databases import Database
from support.ledgers import NUMBER
from support.store_worker import place, place_all
from support.stores import SECRET, new_store

# Who asks for it, by row of the failure matrix; the last row's one after the other.
WHO: dict[str, list[dict[str, Any]]] = {
    "two tasks ask at once for a call with one `idempotency_key`": [{"task_id": name} for name in ("a", "b")],
    "two DAGs ask at once for a call with one `idempotency_key`": [
        {"dag_id": name, "run_id": name} for name in ("a", "b")
    ],
    "one person in two rows that run at once": [{"map_index": index} for index in (0, 1)],
    "another Airflow with the same store has placed the call with this `idempotency_key`": [
        {"dag_id": name, "run_id": name, "task_id": name} for name in ("theirs", "ours")
    ],
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(rate_limit=None, call_speed=3000) as sandbox:
        yield sandbox


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def test_every_row_says_who_asks() -> None:
    """What the page promises of several at once is played here, all of it."""
    assert set(WHO) == {row.name for row in AT_ONCE}


@pytest.mark.parametrize("row", AT_ONCE, ids=str)
@pytest.mark.parametrize("fault", [None, Fault.RATE_LIMIT, Fault.DROP_AFTER], ids=str)
def test_of_several_at_once_each_has_the_ids_of_the_one_call(
    row: Row, fault: Fault | None, store: Store, sandbox: Sandbox
) -> None:
    """The phone rings once, whoever comes first, and nobody is told that it is not known."""
    if fault:
        sandbox.inject(CALL, fault)
    is_later = row.key_kept.posts == 0
    placements = at_once(row, store, sandbox, is_later=is_later)
    (call,) = sandbox.calls
    assert {placed.receipt and placed.receipt.trace_id for placed in placements} == {call.trace_id}
    results = [placed.result.value for placed in placements]
    assert set(results[is_later:]) <= set(row.key_kept.placement)
    if fault is None:
        assert sorted(results) == ["found", "placed"]
        assert sum(seen.endpoint == CALL for seen in sandbox.requests) == 1


def at_once(row: Row, store: Store, sandbox: Sandbox, *, is_later: bool) -> list[Placement]:
    """Ask as all of the row do, in a thread each; return what came of it, in their order."""
    who, came = WHO[row.name], {}
    start = threading.Barrier(1 if is_later else len(who))

    def ask(number: int) -> None:
        start.wait()
        came[number] = place(store, sandbox.base_url, sandbox.api_key, NUMBER, **who[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(who))]
    for thread in threads:
        thread.start()
        if is_later:
            thread.join()
    for thread in threads:
        thread.join()
    return [came[number] for number in range(len(who))]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_database_that_is_killed_while_calls_are_placed_costs_no_second_ring_and_loses_none(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Four processes ask for the same twenty calls; PostgreSQL is killed and comes back ten seconds later."""
    people = [f"+14155550{number}" for number in range(110, 130)]
    sandbox.inject(CALL, Fault.DROP_AFTER)
    sandbox.inject(CALL, Fault.RATE_LIMIT_NO_HEADERS)
    context = get_context("spawn")
    where = database.url, SECRET, sandbox.base_url, sandbox.api_key
    files = [tmp_path / f"worker {number}" for number in range(4)]
    processes = [context.Process(target=place_all, args=(where, people, file.name, file)) for file in files]
    for process in processes:
        process.start()
    until_sent(sandbox, 6)
    assert database.server is not None
    database.server.kill()
    time.sleep(10)
    before = len(sandbox.calls)
    database.server.start()
    for process in processes:
        process.join(60)
    traces = {call.customer_phone: call.trace_id for call in sandbox.calls}
    assert sandbox.rings == dict.fromkeys(people, 1)
    assert before < len(people), "it was killed too late"
    for file in files:
        told = json.loads(file.read_text())
        assert {person: trace for person, (_, trace) in told.items()} == traces


def until_sent(sandbox: Sandbox, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(sandbox.calls) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)
