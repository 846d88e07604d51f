"""The cap of a person, held in the transaction of a claim: whoever asks, and however many at once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from formant_provider.api.errors import NotAdmitted
from formant_provider.api.models import CallReceipt
from formant_provider.core.calls.intent import Intent
from formant_provider.core.caps import CapRule
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.ledger import Sent
from formant_provider.store.admission import Admission
from formant_provider.store.ledger import StoreLedger
from formant_provider.store.schema import events, intents
from formant_provider.store.store import Store
from formant_provider.store.verify import verify
from support.databases import Database
from support.stores import LEASE, asked, ledger_in, new_store

START = datetime(2026, 11, 25, 6, tzinfo=UTC)
DAY = timedelta(days=1)
TWICE_A_DAY = Admission(CapRule(2, DAY))
OTHER = "+14155550101"


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def in_doubt(key: str, at: datetime, scheduled_for: datetime | None = None, **fields: Any) -> Intent:
    return Intent(key, at, Sent.UNCLEAR, sends=(SendRecord(at, scheduled_for=scheduled_for),), **fields)


def call(
    store: Store,
    key: str,
    hours: float = 0,
    admission: Admission = TWICE_A_DAY,
    *,
    scheduled_for: datetime | None = None,
    **fields: Any,
) -> StoreLedger[Intent]:
    """Claim a call some hours after the start, as a process would that dies right after."""
    now = START + timedelta(hours=hours)
    ledger = ledger_in(store, Intent, asked(key, **{"task_id": key, **fields}), admission, now=lambda: now)
    assert ledger.read() is None
    ledger.claim(in_doubt(key, now, scheduled_for))
    return ledger


def placed(store: Store, key: str, hours: float = 0, admission: Admission = TWICE_A_DAY) -> None:
    """Claim a call, which is answered at once."""
    now = START + timedelta(hours=hours)
    send = SendRecord(now, ended_at=now)
    receipt = CallReceipt(456, key, "initiated", None, None)
    call(store, key, hours, admission).write(replace(in_doubt(key, now), sends=(send,), receipt=receipt))


def capped(store: Store, key: str, hours: float = 0, admission: Admission = TWICE_A_DAY) -> NotAdmitted:
    with pytest.raises(NotAdmitted) as caught:
        call(store, key, hours, admission)
    assert caught.value.reason == "capped"
    return caught.value


def rows(store: Store) -> list[Any]:
    with store.reading() as conn:
        counts = [select(func.count()).select_from(table) for table in (intents, events)]
        return [conn.execute(count).scalar() for count in counts]


def test_a_person_is_counted_whoever_calls(store: Store) -> None:
    """Across tasks, DAGs and runs; another person has a count of their own."""
    call(store, "a", dag_id="one")
    call(store, "b", 1, dag_id="two", run_id="other")
    capped(store, "c", 2)
    call(store, "d", 2, recipient=OTHER)


def test_what_is_capped_leaves_nothing(store: Store) -> None:
    """No row and no event, so that a later try is as fresh as the first was, and counts once."""
    placed(store, "a")
    placed(store, "b")
    before = rows(store)
    capped(store, "c", 1)
    assert rows(store) == before
    call(store, "c", 24)


def test_exactly_as_long_after_as_the_cap_says_a_call_is_free(store: Store) -> None:
    """A moment before it is not; the error tells the moment, for who wants to schedule."""
    schedules = replace(TWICE_A_DAY, on_capped="schedule")
    placed(store, "a")
    placed(store, "b", 5)
    assert capped(store, "c", 23.999, schedules).free_at == START + DAY
    placed(store, "c", 24)
    assert capped(store, "d", 24, schedules).free_at == START + DAY + timedelta(hours=5)


@pytest.mark.parametrize(("on_capped", "skips"), [("skip", True), ("fail", False)])
def test_a_capped_call_is_skipped_or_fails_as_its_user_chose(
    on_capped: str, skips: bool, store: Store
) -> None:
    """The error names the cap, and no number."""
    admission = Admission(CapRule(1, DAY), on_capped)
    call(store, "a")
    error = capped(store, "b", 1, admission)
    assert (error.skips, error.free_at) == (skips, None)
    assert "1/1d" in str(error)
    assert "14155550100" not in str(error)


def test_what_cannot_be_scheduled_any_more_is_skipped(store: Store) -> None:
    """The vendor takes a call for at most 30 days ahead."""
    once_in = [Admission(CapRule(1, timedelta(days=days)), "schedule") for days in (30, 31)]
    placed(store, "a")
    assert capped(store, "b", 0, once_in[0]).free_at == START + timedelta(days=30)
    error = capped(store, "c", 0, once_in[1])
    assert (error.free_at, error.skips) == (None, True)


def test_a_scheduled_call_counts_when_it_rings(store: Store) -> None:
    """Not when it was asked for; and a call before it is held against it as well."""
    once = Admission(CapRule(1, DAY), "schedule")
    call(store, "a", 0, once, scheduled_for=START + 2 * DAY)
    assert capped(store, "b", 25, once).free_at == START + 3 * DAY
    call(store, "c", 24, once)


def test_a_call_that_was_refused_for_certain_does_not_count(store: Store) -> None:
    """A call in doubt does, and so does one whose process has died."""
    once = Admission(CapRule(1, DAY))
    refused = call(store, "a", 0, once)
    refused.write(Intent("a", START, Sent.REFUSED))
    call(store, "b", 1, once)
    capped(store, "c", 2, once)


def test_a_further_try_of_the_same_call_is_not_capped_by_itself(store: Store) -> None:
    """What may have been placed is one call, however often its key is sent."""
    once = Admission(CapRule(1, DAY))
    call(store, "a", 0, once)
    now = START + timedelta(hours=1)
    again = ledger_in(store, Intent, asked("a", task_id="a", try_number=2), once, now=lambda: now)
    known = again.read()
    assert known is not None
    again.claim(replace(known, sends=(*known.sends, SendRecord(now))))
    capped(store, "b", 2, once)


def test_an_answered_call_counts_from_its_answer(store: Store) -> None:
    """The vendor may have placed it at any moment until then; so no two are closer than the cap says."""
    schedules = Admission(CapRule(1, DAY), "schedule")
    answered = START + timedelta(seconds=20)
    send = SendRecord(START, ended_at=answered)
    receipt = CallReceipt(456, "t1", "initiated", None, None)
    call(store, "a", 0, schedules).write(replace(in_doubt("a", START), sends=(send,), receipt=receipt))
    assert capped(store, "b", 24, schedules).free_at == answered + DAY


def test_a_call_that_is_being_sent_counts_until_its_process_counts_as_dead(store: Store) -> None:
    """It may ring at any moment of these: what is scheduled for after it is not too close to any of them."""
    schedules = Admission(CapRule(1, DAY), "schedule")
    call(store, "a", 0, schedules)
    assert capped(store, "b", 0, schedules).free_at == START + LEASE + DAY
    just_within = (LEASE + DAY - timedelta(seconds=1)) / timedelta(hours=1)
    capped(store, "b", just_within, schedules)
    call(store, "b", just_within + 1 / 3600, schedules)


@pytest.mark.parametrize("sending_by", [None, "0" * 32])
def test_a_call_is_not_moved_by_what_no_event_vouches_for(sending_by: str | None, store: Store) -> None:
    """Whoever writes to the row that it is being sent until 2100 takes no call away from the cap."""
    placed(store, "a")
    forged = {"sending_by": sending_by, "sending_until": 4_102_444_800_000}
    with store.writing() as conn:
        conn.execute(update(intents).values(**forged))
    once = Admission(CapRule(1, DAY), "schedule")
    assert capped(store, "b", 1, once).free_at == START + DAY
    call(store, "b", 24, once)


def test_a_call_that_is_being_sent_may_ring_at_once_as_well(store: Store) -> None:
    """Under a cap shorter than its lease, none is free while it is sent; and under two, it is one call."""
    seconds = timedelta(seconds=5)
    once, twice = (Admission(CapRule(calls, seconds), "schedule") for calls in (1, 2))
    call(store, "a", 0, once)
    for after in (1, 12, 29):
        assert capped(store, "b", after / 3600, once).free_at == START + LEASE + seconds
    call(store, "c", 0, twice)


def test_a_redial_is_one_more_call(store: Store) -> None:
    """It is held against the cap, and both attempts count from then on."""
    placed = call(store, "a")
    receipt = CallReceipt(456, "t1", "initiated", None, None)
    placed.write(replace(in_doubt("a", START), receipt=receipt))

    def redial(hours: float, cap: int) -> None:
        now = START + timedelta(hours=hours)
        again = ledger_in(
            store,
            Intent,
            asked("a", task_id="a", try_number=2),
            Admission(CapRule(cap, DAY)),
            now=lambda: now,
        )
        assert again.read() is not None
        again.claim(in_doubt("a", now, attempt=2))

    with pytest.raises(NotAdmitted):
        redial(1, cap=1)
    redial(1, cap=2)
    capped(store, "b", 2)


@pytest.mark.parametrize("became", [Sent.NEVER, Sent.REFUSED])
def test_a_redial_that_is_not_sent_leaves_the_call_before_it_counted(became: Sent, store: Store) -> None:
    """It waits for its turn, or was refused: the count loses nothing, and has both once it is sent."""
    placed(store, "a")
    again = ledger_in(store, Intent, asked("a", task_id="a", try_number=2), now=lambda: START + DAY / 2)
    known = again.read()
    assert known is not None
    held_up = Intent("a", START + DAY / 2, became, attempt=2, last_receipt=known.receipt, last_at=START)
    for _ in range(2):  # however often it comes to nothing
        again.write(held_up)
        assert verify(store).findings == []
        capped(store, "b", 13, Admission(CapRule(1, DAY)))
    again.claim(in_doubt("a", START + DAY / 2, attempt=2))
    capped(store, "b", 13)
    assert verify(store).findings == []


def test_of_many_at_once_as_many_are_admitted_as_the_cap_says(store: Store) -> None:
    """Exact, however they meet: of twelve calls to one person, by tasks of their own, two."""
    start, outcomes = threading.Barrier(12), list[str]()

    def process(number: int) -> None:
        start.wait()
        try:
            call(store, f"key{number}")
            outcomes.append("admitted")
        except NotAdmitted as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=process, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["admitted"] * 2 + ["capped"] * 10
