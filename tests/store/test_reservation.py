"""Reserving the people of a batch call: by the process that has it in hand, and for a while."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.errors import NotAdmitted, SendAborted, Superseded
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.calls.intent import Intent
from formant_provider.core.caps import CapRule
from formant_provider.core.ledger import Sent
from formant_provider.store.admission import RESERVED_FOR, Admission
from formant_provider.store.reservation import Reservation
from formant_provider.store.schema import calls
from formant_provider.store.store import Store
from support.databases import Database
from support.stores import asked, ledger_in, new_store

ONCE = CapRule(1, timedelta(days=1))
NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
KEYS = [14155550100, 14155550101]


class Clock:
    """What a process takes for the time."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begun(store: Store, clock: Clock, key: str = "key", **fields: Any) -> Reservation:
    """Return the reservation of a process that has a batch call in hand."""
    what = asked(key, None, **fields)
    ledger = ledger_in(store, BatchIntent, what, now=clock, sleep=clock.sleep)
    if ledger.read() is None:
        ledger.write(BatchIntent(key, clock()))
    reservation = Reservation(store, ONCE, clock, ledger=ledger)
    reservation.begin()
    return reservation


def admitted(reservation: Reservation, keys: list[int] = KEYS) -> set[int]:
    reservation.suppressed(keys)
    return set(keys) - reservation.admit(keys)


def rows(store: Store) -> int:
    with store.reading() as conn:
        return conn.execute(select(func.count()).select_from(calls)).scalar_one()


def test_what_a_dead_process_reserved_counts_for_an_hour(store: Store, clock: Clock) -> None:
    """Nothing was uploaded: others may call these people then, in a batch call or one by one."""
    admitted(begun(store, clock))
    assert admitted(begun(store, clock, "another")) == set()
    clock.time += RESERVED_FOR - timedelta(minutes=1)
    assert admitted(begun(store, clock, "another"), KEYS) == set()
    clock.time += timedelta(minutes=2)
    assert admitted(begun(store, clock, "another"), KEYS[:1]) == set(KEYS[:1])
    call = ledger_in(store, Intent, asked("a call", f"+{KEYS[1]}"), Admission(ONCE), now=clock)
    call.read()
    call.claim(Intent("a call", clock(), Sent.UNCLEAR))


def test_what_was_uploaded_counts_for_good(store: Store, clock: Clock) -> None:
    """As long as the cap looks back, whatever became of the process."""
    reservation = begun(store, clock)
    admitted(reservation)
    reservation.ledger.claim(BatchIntent("key", clock(), Sent.UNCLEAR))
    clock.time += timedelta(hours=23)
    assert admitted(begun(store, clock, "another")) == set()
    call = ledger_in(store, Intent, asked("a call", f"+{KEYS[1]}"), Admission(ONCE), now=clock)
    call.read()
    with pytest.raises(NotAdmitted):
        call.claim(Intent("a call", clock(), Sent.UNCLEAR))
    clock.time += timedelta(hours=2)
    assert admitted(begun(store, clock, "another")) == set(KEYS)


def test_people_count_from_the_end_of_the_upload(store: Store, clock: Clock) -> None:
    """A cap of a day leaves them free a day after they may have been called, not after the check."""
    reservation = begun(store, clock)
    admitted(reservation)
    clock.time += timedelta(minutes=20)
    doubt = BatchIntent("key", clock(), Sent.UNCLEAR)
    reservation.ledger.claim(doubt)
    clock.time += timedelta(minutes=10)
    receipt = BatchCall(1, None, None, None, None, None)
    reservation.ledger.write(replace(doubt, receipt=receipt))
    clock.time = NOW + timedelta(days=1, minutes=29)
    assert admitted(begun(store, clock, "another")) == set()
    clock.time += timedelta(minutes=2)
    assert admitted(begun(store, clock, "another")) == set(KEYS)


def test_an_upload_that_comes_too_late_is_kept_back(store: Store, clock: Clock) -> None:
    """Its people may count no more, so somebody else may have called them."""
    reservation = begun(store, clock)
    admitted(reservation)
    clock.time += RESERVED_FOR
    with pytest.raises(SendAborted, match="so long ago"):
        reservation.ledger.claim(BatchIntent("key", clock(), Sent.UNCLEAR))
    reservation.release()
    assert rows(store) == 0


def test_a_further_try_replaces_what_an_earlier_one_reserved(store: Store, clock: Clock) -> None:
    """The list may be another by now; the older process reserves nothing any more, and releases nothing."""
    older = begun(store, clock)
    admitted(older)
    newer = begun(store, clock, try_number=2)
    assert rows(store) == 0
    assert admitted(newer, KEYS[:1]) == set(KEYS[:1])
    with pytest.raises(Superseded):
        admitted(older)
    older.release()
    assert rows(store) == 1
    with pytest.raises(Superseded):
        older.ledger.claim(BatchIntent("key", clock(), Sent.UNCLEAR))


def test_another_task_waits_while_the_contacts_are_checked(store: Store, clock: Clock) -> None:
    """Each of their transactions prolongs the lease; the next who asks waits as long as it lasts."""
    first = begun(store, clock)
    for _ in range(4):
        clock.time += timedelta(seconds=20)
        admitted(first)
    came = clock()
    begun(store, clock, task_id="another")
    assert timedelta(seconds=29) <= clock() - came <= timedelta(seconds=31)


def test_what_was_uploaded_is_not_released(store: Store, clock: Clock) -> None:
    """A doubt keeps its people."""
    reservation = begun(store, clock)
    admitted(reservation)
    reservation.ledger.claim(BatchIntent("key", clock(), Sent.UNCLEAR))
    reservation.release()
    assert rows(store) == len(KEYS)
