"""Pages over a call store: each is on record as any call is, and once for its event."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from formant_provider.call_cap import CallCap
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from formant_provider.store.history import of_people
from formant_provider.store.store import Store, open_up
from formant_provider.store.suppressions import Decision, add
from formant_provider.store.verify import verify
from support.databases import Database
from support.paging import ON_CALL, call, deadline, grow_old, page, rows
from support.stores import SECRET, connections_with
from support.supervisor import FakeSupervisor


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox))


@pytest.fixture
def store(channel: FakeSupervisor, database: Database) -> Store:  # noqa: ARG001 - whose tables it makes
    return open_up(database.engine(), "the test", SECRET)


def test_a_page_is_on_record_as_any_call(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """One row: for which event, to whom as a digest, placed, by which ids; what came of it is unknown."""
    page(channel)
    assert sandbox.rings == {ON_CALL: 1}
    [row] = rows(store)
    assert (row["dag_id"], row["run_id"], row["task_id"], row["map_index"]) == ("test_dag", "r1", "load", -1)
    assert (row["kind"], row["state"], row["outcome"]) == ("call", "placed", None)
    assert row["asked_by"] == "page: failed"
    assert row["recipient"] == store.digests.recipient(ON_CALL)
    assert row["trace_id"]
    assert row["sending_by"] is None


def test_the_history_of_a_person_shows_a_page(channel: FakeSupervisor, store: Store) -> None:
    """Who asked, and that it was placed; and nothing about it looks edited."""
    page(channel)
    [asked] = of_people(store, [ON_CALL])["asked"]
    assert (asked["asked_by"], asked["state"]) == ("page: failed", "placed")
    assert not verify(store).findings


def test_each_person_who_is_paged_has_a_row(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """Two people are called about one event, and each has a row and a count of their own."""
    for number in (ON_CALL, "+14155550160"):
        page(channel, parameters={"customer_phone": number}, call_cap=CallCap(1))
    assert sandbox.rings == {ON_CALL: 1, "+14155550160": 1}
    assert len({row["recipient"] for row in rows(store)}) == 2


def test_others_count_a_page(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Who was paged today is not called by a task that may call them once a day."""
    page(channel)
    assert call(channel, call_cap=CallCap(1)).state == "skipped"
    assert sandbox.rings == {ON_CALL: 1}


def test_a_page_is_exempt_from_the_cap_of_the_connection(
    sandbox: Sandbox, database: Database, store: Store
) -> None:
    """Without a cap of its own, whoever is on call is called however often."""
    channel = FakeSupervisor(connections_with(database, sandbox, call_cap="1/1d"))
    for number in range(3):
        page(channel, {"run_id": f"r{number}"})
    assert sandbox.rings == {ON_CALL: 3}
    assert [row["state"] for row in rows(store)] == ["placed"] * 3


@pytest.mark.parametrize("call_cap", [CallCap(2), "2/1d"])
def test_a_page_keeps_a_cap_of_its_own(
    call_cap: Any, sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """The call of a task and a page are two, and a third is not placed; the log and the record say so."""
    assert call(channel).state == "success"
    runs = [page(channel, {"run_id": f"r{number}"}, call_cap=call_cap) for number in range(2)]
    assert (
        "Could not call: This person has already been called as often as call_cap allows (2/1d)"
        in runs[1].log_text
    )
    assert "No call was placed." in runs[1].log_text
    assert sandbox.rings == {ON_CALL: 2}
    assert [row["state"] for row in rows(store)] == ["placed", "placed", "never"]


def test_who_must_not_be_called_is_not_paged(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """The do-not-call list holds for alarms as well: an error in the log says that nobody was called."""
    now = datetime.now(UTC)
    add(store, {store.digests.recipient(ON_CALL): now}, Decision("asked not to be called", "a test", now))
    run = page(channel)
    [line] = [line for line in run.log_text.splitlines() if "do-not-call list" in line]
    assert line.startswith("error")
    assert line.endswith("No call was placed.")
    assert sandbox.requests == []
    assert [row["state"] for row in rows(store)] == ["never"]


def test_worker_and_dag_processor_page_once(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """The second callback for one event finds the first in the store, and asks the vendor nothing."""
    page(channel)
    run = page(channel)
    assert "was placed before. No second call is placed." in run.log_text
    assert len(sandbox.requests) == 1
    assert len(rows(store)) == 1


def test_a_page_that_is_being_sent_is_left_to_who_sends_it(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """While one process waits for the API, another one that is told of the same event sends nothing."""
    sandbox.inject(CALL, Fault.HANG_AFTER, seconds=2)
    first = threading.Thread(target=deadline, args=(channel,))
    first.start()
    while not sandbox.requests:
        threading.Event().wait(0.05)
    assert "calls about this event at this moment. No second call is placed." in deadline(channel)
    first.join()
    assert (len(sandbox.requests), sandbox.rings) == (1, {ON_CALL: 1})


def test_what_was_refused_is_sent_by_the_next_callback(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """A page that nobody took counts as none, and may be sent again in the same row."""
    sandbox.inject(CALL, Fault.ERROR_503_BEFORE, times=3)
    page(channel)
    [row] = rows(store)
    assert row["state"] in {"unclear", "refused"}
    page(channel)
    assert sandbox.rings == {ON_CALL: 1}
    assert [row["state"] for row in rows(store)] == ["placed"]


def test_a_page_whose_answer_was_lost_counts_and_rings_once(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """It may have been placed, so the caps of others count it; the next callback sends the same key."""
    sandbox.inject(CALL, Fault.DROP_AFTER, times=3)
    page(channel)
    assert [row["state"] for row in rows(store)] == ["unclear"]
    assert call(channel, call_cap=CallCap(1)).state == "skipped"
    run = page(channel)
    assert "the API knows its key" in run.log_text
    assert sandbox.rings == {ON_CALL: 1}


def test_a_name_rings_again_after_a_day(sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """As without a store, what has one name calls once in 24 hours; both calls are counted."""
    page(channel, idempotency_key="tonight")
    page(channel, idempotency_key="tonight")
    assert len(sandbox.requests) == 1
    grow_old(store, 48)
    with Sandbox(api_key="key-1234567", speed=0) as later:  # by then the vendor has forgotten the key
        channel.connections["formant_default"]["host"] = later.base_url
        page(channel, idempotency_key="tonight")
        assert later.rings == {ON_CALL: 1}
        assert call(channel, call_cap=CallCap(2, "7d")).state == "skipped"
    assert [row["state"] for row in rows(store)] == ["placed", "never"]


def test_a_page_that_is_refused_after_a_day_leaves_the_ids_of_the_one_before(
    channel: FakeSupervisor, store: Store
) -> None:
    """The person was called once under this name, and the row says which call that was."""
    page(channel, idempotency_key="tonight")
    [before] = rows(store)
    grow_old(store, 48)
    with Sandbox(api_key="key-1234567", speed=0) as later:
        channel.connections["formant_default"]["host"] = later.base_url
        later.inject(CALL, Fault.RATE_LIMIT_NO_HEADERS, times=4)
        page(channel, idempotency_key="tonight")
        assert later.rings == {}
    [row] = rows(store)
    assert (row["state"], row["trace_id"]) == ("refused", before["trace_id"])
    assert before["trace_id"]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_deadline_is_on_record(how: str, sandbox: Sandbox, channel: FakeSupervisor, store: Store) -> None:
    """Also where the triggerer calls; there is one call for it, whoever is told of it again."""
    deadline(channel, how=how)
    for again in ("sync", "async"):
        assert "No second call is placed" in deadline(channel, how=again)
    assert len(sandbox.requests) == 1
    [row] = rows(store)
    assert (row["state"], row["asked_by"], row["task_id"]) == ("placed", "page: deadline", "")
