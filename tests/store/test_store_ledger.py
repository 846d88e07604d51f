"""The ledger in a database does what every ledger has to do, and what only a shared one can."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput, SendAborted, StoreUnavailable, Superseded
from formant_provider.api.models import CallReceipt
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.ledger import Sent
from formant_provider.store.intents import Asked
from formant_provider.store.ledger import StoreLedger
from formant_provider.store.outcomes import record_outcome
from formant_provider.store.purging import purge
from formant_provider.store.store import Store
from formant_provider.store.verify import verify
from support.databases import Database, Postgres
from support.ledger_contract import DurableLedgerContract
from support.stores import LEASE, NUMBER, asked, ledger_in, new_store

NOW = datetime.now(UTC)
DOUBT = Intent("key", NOW, Sent.UNCLEAR, sends=(SendRecord(NOW),))
PLACED = replace(DOUBT, receipt=CallReceipt(456, "t1", "initiated", None, None))


class TestStoreLedger(DurableLedgerContract):
    """SQLite and PostgreSQL."""

    @pytest.fixture(autouse=True)
    def store(self, database: Database) -> None:
        self._store = new_store(database)

    def open(self, kind: type[Any], key: str = "key", *, try_number: int = 1) -> StoreLedger[Any]:
        recipient = None if kind is BatchIntent else NUMBER
        return ledger_in(self._store, kind, asked(key, recipient, try_number=try_number))

    def break_store(self) -> None:
        with self._store.writing() as conn:
            conn.exec_driver_sql("DROP TABLE formant_intents")


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def test_of_two_processes_that_know_nothing_one_claims(store: Store) -> None:
    """The insert is the lock: the second is told to read again."""
    first, second = (ledger_in(store, Intent, asked(), guesses=True) for _ in range(2))
    assert (first.read(), second.read()) == (None, None)
    assert first.is_guess
    first.claim(DOUBT)
    with pytest.raises(Superseded):
        second.claim(DOUBT)
    first.write(PLACED)
    assert second.read() == PLACED
    assert not second.is_of_others


def test_of_many_processes_at_once_one_claims(store: Store) -> None:
    """However they meet: each of twelve threads has a connection of its own."""
    start, claimed = threading.Barrier(12), []

    def process() -> None:
        ledger = ledger_in(store, Intent, asked(), guesses=True)
        ledger.read()
        start.wait()
        try:
            ledger.claim(DOUBT)
        except Superseded:
            return
        claimed.append(ledger)

    threads = [threading.Thread(target=process) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 1


def test_who_finds_another_at_work_waits_for_its_receipt(store: Store) -> None:
    """The other one's lease lasts: nothing is decided before it has ended its send."""
    first = ledger_in(store, Intent, asked(task_id="first"))
    first.read()
    first.claim(DOUBT)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            first.write(PLACED)

    second = ledger_in(store, Intent, asked(task_id="second"), sleep=sleep)
    assert second.read() == PLACED
    assert second.is_of_others
    assert len(pauses) == 3


def test_a_dead_process_is_waited_for_as_long_as_its_lease(store: Store) -> None:
    """Then its call is in doubt, and whoever comes next may claim it."""
    first = ledger_in(store, Intent, asked(task_id="first"))
    first.read()
    first.claim(DOUBT)
    now = began = datetime.now(UTC)

    def sleep(seconds: float) -> None:
        nonlocal now
        now += timedelta(seconds=seconds)

    second = ledger_in(store, Intent, asked(task_id="second"), sleep=sleep, now=lambda: now)
    assert second.read() == DOUBT
    assert 29 <= (now - began).total_seconds() <= 31
    second.claim(DOUBT)
    with pytest.raises(Superseded):
        first.claim(DOUBT)


def test_a_clock_that_was_a_day_ahead_holds_nobody_up_for_longer_than_a_send(store: Store) -> None:
    """What a dead process said of its end is believed for as long as a send of ours would take."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    first = ledger_in(store, Intent, asked(task_id="first"), now=lambda: tomorrow)
    first.read()
    first.claim(DOUBT)
    pauses: list[float] = []
    second = ledger_in(store, Intent, asked(task_id="second"), sleep=pauses.append)
    assert second.read() == DOUBT
    assert sum(pauses) == pytest.approx(LEASE.total_seconds())


def test_a_newer_try_of_the_same_task_does_not_wait(store: Store) -> None:
    """Airflow has given up the older one, which is stopped at its next claim."""
    older, newer = (ledger_in(store, Intent, asked(try_number=number)) for number in (1, 2))
    older.read()
    older.claim(DOUBT)
    assert newer.read() == DOUBT
    newer.claim(DOUBT)
    with pytest.raises(Superseded):
        older.claim(DOUBT)
    with pytest.raises(Superseded):
        older.write(replace(DOUBT, sent=Sent.REFUSED))


def test_whose_try_is_newer_depends_on_who_is_at_work(store: Store) -> None:
    """A second task has taken over a call: its own newer try takes it at once, and one of the first waits."""
    began, pauses = datetime.now(UTC), list[float]()

    def ledger_of(task_id: str, try_number: int = 1) -> StoreLedger[Any]:
        def now() -> datetime:
            return began + timedelta(seconds=sum(pauses))

        whose = asked(task_id=task_id, try_number=try_number)
        return ledger_in(store, Intent, whose, sleep=pauses.append, now=now)

    first, second = ledger_of("first"), ledger_of("second")
    first.read()
    first.claim(DOUBT)
    first.write(DOUBT)
    second.read()
    second.claim(DOUBT)
    assert ledger_of("second", 2).read() == DOUBT
    assert not pauses
    assert ledger_of("first", 2).read() == DOUBT
    assert 29 < sum(pauses) < 32


def test_a_receipt_is_kept_whoever_is_at_work_by_now(store: Store) -> None:
    """A send that took longer than its lease has placed the call all the same."""
    older, newer = (ledger_in(store, Intent, asked(try_number=number)) for number in (1, 2))
    older.read()
    older.claim(DOUBT)
    newer.read()
    newer.claim(DOUBT)
    older.write(PLACED)
    assert ledger_in(store, Intent, asked(try_number=3)).read() == PLACED


@pytest.fixture
def server(database: Database) -> Iterator[Postgres]:
    """The server of the database, which is up again when the test is over."""
    assert database.server is not None
    yield database.server
    database.server.kill()
    database.server.start()


def claimed(store: Store, sleep: Callable[[float], None]) -> StoreLedger[Any]:
    """The ledger of a process whose call is being sent."""
    ledger = ledger_in(store, Intent, asked(), sleep=sleep)
    ledger.read()
    ledger.claim(DOUBT)
    return ledger


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_receipt_waits_for_a_store_that_is_down(store: Store, server: Postgres) -> None:
    """Nobody else knows it: it is written as soon as the database is there again."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) > 10:
            server.start()

    ledger = claimed(store, sleep)
    server.kill()
    ledger.write(PLACED)
    assert ledger_in(store, Intent, asked(try_number=2)).read() == PLACED
    assert 10 < sum(pauses) < 20


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_receipt_is_given_up_after_half_a_minute(store: Store, server: Postgres) -> None:
    """Then the error says so, and the call stays in doubt."""
    pauses: list[float] = []
    ledger = claimed(store, pauses.append)
    server.kill()
    with pytest.raises(StoreUnavailable):
        ledger.write(PLACED)
    assert 25 <= sum(pauses) <= 30


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_what_a_next_try_would_learn_anew_does_not_wait(store: Store, server: Postgres) -> None:
    """A refusal is written once, or not at all."""
    pauses: list[float] = []
    ledger = claimed(store, pauses.append)
    server.kill()
    with pytest.raises(StoreUnavailable):
        ledger.write(replace(DOUBT, sent=Sent.REFUSED))
    assert pauses == []


def test_the_ids_of_each_attempt_are_known_to_be_of_that_call(store: Store) -> None:
    """Whoever looks for another call to the same person takes none of them for its own."""
    ledger = ledger_in(store, Intent, asked())
    ledger.read()
    for attempt in (1, 2, 3):
        doubt = replace(DOUBT, attempt=attempt)
        ledger.claim(doubt)
        receipt = CallReceipt(456, f"t{attempt}", "initiated", f"c{attempt}", None)
        ledger.write(replace(doubt, receipt=receipt))
    ids = {f"{letter}{attempt}" for letter in "tc" for attempt in (1, 2, 3)}
    assert ledger_in(store, Intent, asked("another key")).ids_of_others() == ids
    assert ledger.ids_of_others() == set()


def purged(store: Store, before: datetime) -> None:
    purge(store, before=before, by="test", now=lambda: datetime.now(UTC), sleep=lambda _: None)


def test_a_call_that_is_purged_after_it_was_read_is_not_placed_as_a_new_one(store: Store) -> None:
    """What was known of it is gone, which is not the same as that nobody has asked for it."""
    long_ago = NOW - timedelta(days=100)
    dead = ledger_in(store, Intent, asked(), now=lambda: long_ago)
    dead.read()
    dead.claim(Intent("key", long_ago, Sent.UNCLEAR))
    worker = ledger_in(store, Intent, asked(try_number=2))
    assert worker.read() is not None
    purged(store, NOW - timedelta(days=90))
    with pytest.raises(Superseded):
        worker.claim(DOUBT)
    for _ in range(2):
        with pytest.raises(SendAborted, match="purged meanwhile"):
            worker.read()


def test_a_run_of_long_ago_is_asked_about_again_when_it_claims(store: Store) -> None:
    """Its task may have been busy since it asked: what was purged by then may have held its call."""
    long_ago = NOW - timedelta(days=100)
    dead = ledger_in(store, Intent, asked(), now=lambda: long_ago)
    dead.read()
    dead.claim(Intent("key", long_ago, Sent.UNCLEAR))
    worker = ledger_in(store, Intent, asked(try_number=2), relies_since=long_ago)
    purged(store, NOW - timedelta(days=90))
    assert worker.read() is None
    for _ in range(2):
        with pytest.raises(SendAborted, match="purged meanwhile"):
            worker.claim(DOUBT)
    newer = ledger_in(store, Intent, asked(), relies_since=NOW - timedelta(days=2))
    assert newer.read() is None
    newer.claim(DOUBT)


def test_a_receipt_is_kept_although_its_row_was_purged(store: Store) -> None:
    """A send that hung for longer than the store keeps a call has placed it all the same."""
    long_ago = NOW - timedelta(days=100)
    hung = ledger_in(store, Intent, asked(), now=lambda: long_ago)
    hung.read()
    hung.claim(Intent("key", long_ago, Sent.UNCLEAR))
    purged(store, NOW - timedelta(days=90))
    hung.write(PLACED)
    assert ledger_in(store, Intent, asked(try_number=2)).read() == PLACED
    assert verify(store).count == 0


def test_names_that_are_too_long_for_a_database_are_cut_and_stay_apart(store: Store) -> None:
    """The end is a digest, so of two tasks with such names each is known as itself; ids of the API too."""
    long = "x" * 300
    places = [
        {"run_id": f"{long}{end}", "dag_id": "NUL\0", "asked_by": f"half \ud800 {long}"} for end in "ab"
    ]
    for number, place in enumerate(places):
        placed = replace(PLACED, receipt=CallReceipt(456, f"{long}\0{number}", "initiated", long, None))
        ledger = ledger_in(store, Intent, asked(f"key{number}", **place))
        ledger.read()
        ledger.claim(replace(DOUBT, key=f"key{number}"))
        ledger.write(replace(placed, key=f"key{number}"))
        again = ledger_in(store, Intent, asked(f"key{number}", **place))
        assert again.read() == replace(placed, key=f"key{number}")
        assert not again.is_of_others
    ended = {"trace_id": f"{long}\0000", "conversation_id": None, "outcome": "completed", "ended_at": None}
    assert record_outcome(store, **ended, now=NOW)
    other = ledger_in(store, Intent, asked("key0", **places[1]))
    other.read()
    assert other.is_of_others
    assert verify(store).count == 0


@pytest.mark.parametrize("reference", ["loan\0 5", "loan \udc00"])
def test_a_reference_that_no_database_takes_is_refused(reference: str) -> None:
    """It is the user's own, so it is not changed; and a retry would not help."""
    with pytest.raises(InvalidInput, match="reference"):
        asked(reference=reference)


def test_an_agent_that_no_database_holds_is_refused() -> None:
    """There is none of this number, and a retry would not help."""
    with pytest.raises(InvalidInput, match="agent_id"):
        Asked("key", 2**63, NUMBER, "dag", "run", "call")
    assert Asked("key", 2**63 - 1, NUMBER, "dag", "run", "call").agent_id == 2**63 - 1
