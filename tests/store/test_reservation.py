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
from formant_provider.store.admission import RESERVED_FOR, Admission, call_times
from formant_provider.store.reservation import Reservation
from formant_provider.store.schema import calls
from formant_provider.store.store import Store
from formant_provider.store.suppressions import Decision, add
from formant_provider.store.verify import verify
from support.databases import Database
from support.stores import asked, ledger_in, new_store

ONCE = CapRule(1, timedelta(days=1))
NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
KEYS = [14155550100, 14155550101]
THIRD = 14155550102


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


def test_who_asks_not_to_be_called_while_the_file_is_made_is_not_called(store: Store, clock: Clock) -> None:
    """The upload is kept back as a whole; the next try leaves them out."""
    reservation = begun(store, clock)
    admitted(reservation)
    listed = {store.digests.recipient(f"+{KEYS[0]}"): clock()}
    add(store, listed, Decision("asked by letter", "maria", clock()))
    with pytest.raises(SendAborted, match="do-not-call list"):
        reservation.ledger.claim(BatchIntent("key", clock(), Sent.UNCLEAR))
    reservation.release()
    again = begun(store, clock)
    assert again.suppressed(KEYS) == {KEYS[0]}
    assert KEYS[1] not in again.admit(KEYS[1:])
    again.ledger.claim(BatchIntent("key", clock(), Sent.UNCLEAR))


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


def uploaded(store: Store, clock: Clock, **fields: Any) -> Reservation:
    """Return the reservation of a process that uploads, and does not learn what came of it."""
    reservation = begun(store, clock, **fields)
    admitted(reservation)
    reservation.end(upload_bytes=100)
    reservation.ledger.claim(BatchIntent("key", NOW, Sent.UNCLEAR))
    return reservation


def times(store: Store, clock: Clock) -> dict[int, int]:
    """Return how often each person counts as called."""
    people = {key: store.digests.recipient(f"+{key}") for key in [*KEYS, THIRD]}
    with store.reading() as conn:
        since, now = NOW - timedelta(days=9), clock()
        known = call_times(conn, [*people.values()], since=since, now=now, other_than="")
    return {key: len(known.get(person, ())) for key, person in people.items()}


def test_a_further_upload_that_is_not_sent_is_given_back_alone(store: Store, clock: Clock) -> None:
    """Its people count while they are reserved; those of the first, which is in doubt, before and after."""
    uploaded(store, clock)
    clock.time += timedelta(minutes=10)
    further = begun(store, clock, try_number=2)
    assert admitted(further, [KEYS[0], THIRD]) == {KEYS[0], THIRD}
    assert times(store, clock) == {KEYS[0]: 1, KEYS[1]: 1, THIRD: 1}
    assert verify(store).count == 0
    further.end(upload_bytes=100)
    further.release()
    assert times(store, clock) == {KEYS[0]: 1, KEYS[1]: 1, THIRD: 0}
    assert verify(store).count == 0
    clock.time += timedelta(seconds=1)
    assert begun(store, clock, try_number=3).ledger.read() == BatchIntent("key", NOW, Sent.UNCLEAR)


def test_a_further_upload_of_a_dead_process_is_replaced_and_counts_for_an_hour(
    store: Store, clock: Clock
) -> None:
    """As that of a first one does, although the batch call itself may have been placed."""
    uploaded(store, clock)
    admitted(begun(store, clock, try_number=2), [THIRD])
    clock.time += RESERVED_FOR - timedelta(minutes=1)
    assert times(store, clock)[THIRD] == 1
    clock.time += timedelta(minutes=2)
    assert times(store, clock) == {KEYS[0]: 1, KEYS[1]: 1, THIRD: 0}
    begun(store, clock, try_number=3)
    assert rows(store) == len(KEYS)
    assert verify(store).count == 0


def test_a_further_upload_that_is_sent_counts_from_its_own_time(store: Store, clock: Clock) -> None:
    """Once for each person, whether they were in the first as well or not; also when its answer is lost."""
    uploaded(store, clock)
    clock.time += timedelta(hours=20)
    further = begun(store, clock, try_number=2)
    admitted(further, [KEYS[0], THIRD])
    further.end(upload_bytes=100)
    doubt = BatchIntent("key", NOW, Sent.UNCLEAR)
    further.ledger.claim(doubt)
    assert times(store, clock) == {KEYS[0]: 1, KEYS[1]: 1, THIRD: 1}
    assert verify(store).count == 0
    further.release()
    clock.time += timedelta(hours=23)
    assert admitted(begun(store, clock, "another"), [KEYS[0], THIRD]) == set()
    third = ledger_in(store, BatchIntent, asked("key", None, try_number=3), now=clock)
    third.read()
    third.write(replace(doubt, receipt=BatchCall(1, None, None, None, None, None)))
    assert times(store, clock) == {KEYS[0]: 1, KEYS[1]: 1, THIRD: 1}
    assert verify(store).count == 0


def test_a_further_upload_that_comes_too_late_is_kept_back(store: Store, clock: Clock) -> None:
    """As a first one is."""
    uploaded(store, clock)
    further = begun(store, clock, try_number=2)
    admitted(further)
    clock.time += RESERVED_FOR
    with pytest.raises(SendAborted, match="so long ago"):
        further.ledger.claim(BatchIntent("key", NOW, Sent.UNCLEAR))
    further.release()
    assert rows(store) == len(KEYS)


def listed(store: Store, clock: Clock, key: int) -> None:
    """Put somebody on the do-not-call list."""
    add(store, {store.digests.recipient(f"+{key}"): clock()}, Decision("asked", "a test", clock()))


def test_who_asked_not_to_be_called_since_an_earlier_upload_keeps_back_none_without_them(
    store: Store, clock: Clock
) -> None:
    """The first may have called them, and is not taken back; they are not in the second, which is sent."""
    uploaded(store, clock)
    listed(store, clock, KEYS[1])
    further = begun(store, clock, try_number=2)
    admitted(further, [KEYS[0], THIRD])
    further.ledger.claim(BatchIntent("key", NOW, Sent.UNCLEAR))
    assert times(store, clock) == {KEYS[0]: 1, KEYS[1]: 1, THIRD: 1}
    assert verify(store).count == 0


def test_who_is_in_a_further_upload_and_asks_not_to_be_called_keeps_it_back(
    store: Store, clock: Clock
) -> None:
    """Also somebody who was in the first; the next try leaves them out, and is sent."""
    uploaded(store, clock)
    doubt = BatchIntent("key", NOW, Sent.UNCLEAR)
    further = begun(store, clock, try_number=2)
    admitted(further)
    listed(store, clock, KEYS[0])
    with pytest.raises(SendAborted, match="do-not-call list"):
        further.ledger.claim(doubt)
    further.release()
    third = begun(store, clock, try_number=3)
    admitted(third, KEYS[1:])
    third.ledger.claim(doubt)
    assert verify(store).count == 0


def test_what_was_uploaded_is_not_released(store: Store, clock: Clock) -> None:
    """A doubt keeps its people."""
    reservation = begun(store, clock)
    admitted(reservation)
    reservation.ledger.claim(BatchIntent("key", clock(), Sent.UNCLEAR))
    reservation.release()
    assert rows(store) == len(KEYS)
