"""What is old goes, what is needed stays, and the chain can be verified all the while."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.calls.intent import Intent
from formant_provider.store import purging
from formant_provider.store.admission import call_times, lock_person
from formant_provider.store.purging import LEAST_AGE, Purged, least_age, purge, would_purge
from formant_provider.store.schema import calls, chain, events, intents, people
from formant_provider.store.schema import store as facts
from formant_provider.store.store import Store, open_up, to_ms
from formant_provider.store.suppressions import Change, Decision, add, digests_of, remove
from formant_provider.store.verify import verify
from support.audit import NUMBERS, a_batch_call, a_call, a_further_call, a_redial
from support.databases import Database
from support.stores import NUMBER, SECRET, asked, ledger_in, new_store

NOW = datetime.now(UTC)
OLD, NEW = NOW - timedelta(days=100), NOW - timedelta(days=2)
BEFORE = NOW - timedelta(days=90)
INSTALLED = NOW - timedelta(days=200)


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database, now=INSTALLED)


def purged(store: Store, *, before: datetime = BEFORE, sleep: Any = lambda _: None) -> Purged:
    result = purge(store, before=before, by="anna", now=lambda: datetime.now(UTC), sleep=sleep)
    assert verify(store).findings == []
    return result


def rows(store: Store, table: Any) -> int:
    with store.reading() as conn:
        count: int = conn.execute(select(func.count()).select_from(table)).scalar_one()
    return count


def knows(store: Store, key: str, kind: type[Any] = Intent) -> bool:
    return ledger_in(store, kind, asked(key, None if kind is BatchIntent else NUMBER)).read() is not None


def test_what_is_older_goes_with_all_that_tells_of_it(store: Store) -> None:
    """Intents, attempts, people of batch calls, events."""
    a_call(store, "old", at=OLD)
    a_redial(store, "redialled", at=OLD)
    a_batch_call(store, "batch", at=OLD)
    assert purged(store) == Purged(events=2 + 4 + 4, kept=0, intents=3, people=0)
    assert [rows(store, table) for table in (intents, calls, people)] == [0, 0, 0]
    assert rows(store, events) == 3  # the purge itself: announced, cut off, ended


def test_what_is_younger_stays(store: Store) -> None:
    """Behind what is old."""
    a_call(store, "old", NUMBERS[0], at=OLD)
    a_call(store, "new", at=NEW)
    a_batch_call(store, "batch", at=NEW)
    assert purged(store) == Purged(events=2, kept=0, intents=1, people=0)
    assert knows(store, "new")
    assert knows(store, "batch", BatchIntent)
    assert not knows(store, "old")


def test_who_is_known_by_nothing_else_is_forgotten(store: Store) -> None:
    """The rows under which the calls of people are counted hold their digests."""
    a_call(store, "old", NUMBERS[0], at=OLD)
    a_call(store, "new", NUMBERS[1], at=NEW)
    a_batch_call(store, "batch", NUMBERS[2:], at=NEW)
    with store.writing() as conn:
        for number in NUMBERS:
            lock_person(conn, store.digests.recipient(number))
    assert purged(store).people == 1
    assert rows(store, people) == 2


def test_a_call_that_is_yet_to_ring_stays(store: Store) -> None:
    """It was asked for long ago, and counts when it rings: its row is stated again, with its attempts."""
    a_redial(store, "redialled", at=OLD)
    with store.writing() as conn:  # as an older call that is scheduled far ahead has it
        conn.execute(update(intents).values(call_at=round(NEW.timestamp() * 1000)))
    result = purge(store, before=BEFORE, by="anna", now=lambda: NOW, sleep=lambda _: None)
    assert (result.intents, result.kept) == (0, 1)
    (finding,) = verify(store).findings
    assert finding.what.endswith("edited: call_at")  # what was stated again is what the chain told
    assert rows(store, calls) == 1


def test_who_must_not_be_called_stays_on_the_list(store: Store) -> None:
    """However long ago that was said."""
    (stays,) = digests_of(store, [14155550198])
    add(store, {stays: OLD}, Decision("asked for it", "anna", OLD))
    assert purged(store) == Purged(events=1, kept=1, intents=0, people=0)
    with store.reading() as conn:
        wanted = select(people.c.recipient).where(people.c.suppressed_at.is_not(None))
        assert conn.execute(wanted).scalars().all() == [stays]
    # And once more, when what was stated again is old itself.
    assert purged(store, before=datetime.now(UTC) + timedelta(days=1)).kept == 1
    assert rows(store, people) == 1


def test_who_was_taken_off_the_list_is_not_put_on_it_by_an_older_run(store: Store) -> None:
    """When that was is known after any number of purges; somebody who asks later is put on it."""
    (person,) = asked_for = digests_of(store, [14155550199])
    removed_at = OLD + timedelta(days=1)
    add(store, dict.fromkeys(asked_for, OLD), Decision("asked for it", "anna", OLD))
    remove(store, {person: removed_at}, Decision("came back", "anna", removed_at))
    assert purged(store) == Purged(events=2, kept=1, intents=0, people=0)
    later = datetime.now(UTC) + timedelta(days=1)
    assert would_purge(store, before=later).kept == 1
    assert purged(store, before=later).kept == 1
    assert add(store, {person: OLD}, Decision("asked for it", "anna", NOW)) == Change(decided_since=1)
    assert add(store, {person: NEW}, Decision("asked for it", "anna", NOW)) == Change(changed=1)
    assert verify(store).findings == []


def test_attempts_are_known_although_the_events_of_them_were_cut_off(store: Store) -> None:
    """A call of long ago that was redialled yesterday stays as a whole."""
    a_call(store, "long", at=OLD)
    a_redial(store, "other", NUMBERS[0], at=OLD)
    a_further_call(store, "long", at=NEW)
    assert purged(store) == Purged(events=6, kept=1, intents=1, people=0)
    assert rows(store, calls) == 1
    since = OLD - timedelta(days=1)
    recipient = store.digests.recipient(NUMBER)
    with store.reading() as conn:
        times = call_times(conn, [recipient], since=since, now=NOW, other_than="none")[recipient]
    assert sorted(times) == [(to_ms(moment), to_ms(moment)) for moment in (OLD, NEW)]


def test_a_run_from_before_is_not_relied_on_any_more(store: Store) -> None:
    """Else a call that was deleted would be one that was never placed; what began later is known in full."""
    a_call(store, "old", at=OLD)
    assert store.knows_since(OLD, now=NOW)
    purged(store)
    for known in (store, open_up(store.engine, store.where, SECRET)):
        assert not known.knows_since(OLD, now=NOW)
        assert not known.knows_since(BEFORE, now=NOW)
        assert known.knows_since(NEW, now=NOW)


def test_it_is_announced_before_anything_is_deleted(store: Store) -> None:
    """A task that has read right before has so long to claim; a purge that dies then has lost nothing."""
    a_call(store, "old", at=OLD)

    def sleep(seconds: float) -> None:
        assert seconds == purging.ANNOUNCED_FOR_S
        assert not store.knows_since(OLD, now=NOW)
        assert knows(store, "old")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purged(store, sleep=sleep)
    assert verify(store).findings == []
    assert purged(store).intents == 1


def test_a_purge_that_dies_halfway_is_continued(store: Store) -> None:
    """After each piece the store is whole."""
    for number in range(150):
        a_call(store, f"old{number}", f"+1415555{number:04}", at=OLD)
    cut = []

    def now() -> datetime:
        cut.append(verify(store).findings)
        if len(cut) == 3:
            raise KeyboardInterrupt
        return NOW

    with pytest.raises(KeyboardInterrupt):
        purge(store, before=BEFORE, by="anna", now=now, sleep=lambda _: None)
    assert cut == [[], [], []]
    assert rows(store, intents) == 50
    assert purged(store).intents == 50


def test_calls_are_placed_meanwhile(store: Store) -> None:
    """By four threads, of which none is told that the store is busy."""
    for number in range(150):
        a_call(store, f"old{number}", f"+1415555{number:04}", at=OLD)
    errors: list[Exception] = []

    def write(thread: int) -> None:
        try:
            for number in range(20):
                a_call(store, f"{thread}-{number}", f"+1415555{number:04}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    result = purged(store)
    for thread in threads:
        thread.join()
    assert errors == []
    assert result.intents == 150
    assert rows(store, intents) == 80
    assert verify(store).findings == []


def test_two_purges_at_once_do_it_once(store: Store) -> None:
    """What one has cut off, the other does not count."""
    for number in range(300):
        a_call(store, f"old{number}", f"+1415555{number:04}", at=OLD)
    found: list[Purged] = []

    def run() -> None:
        found.append(purge(store, before=BEFORE, by="anna", now=lambda: NOW, sleep=lambda _: None))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.intents for each in found) == 300
    assert verify(store).findings == []


def test_a_dry_run_says_what_would_go_and_deletes_nothing(store: Store) -> None:
    """The same numbers, but for people of whom no event tells."""
    a_call(store, "old", at=OLD)
    a_redial(store, "redialled", at=OLD)
    before = rows(store, events)
    assert would_purge(store, before=BEFORE) == Purged(events=6, kept=0, intents=2, people=0)
    assert rows(store, events) == before
    assert purged(store).intents == 2


def test_nothing_to_delete_leaves_no_trace(store: Store) -> None:
    """Neither an event nor a new time since when all is known."""
    a_call(store, "new", at=NEW)
    assert purged(store) == Purged()
    assert rows(store, events) == 2
    assert store.knows_since(OLD, now=NOW)


def test_what_the_vendor_and_a_cap_need_stays_whatever_is_asked_for() -> None:
    """The longest of all."""
    day = timedelta(days=1)
    assert least_age(timedelta(hours=1)) == LEAST_AGE > timedelta(hours=25)
    assert least_age(7 * day, 31 * day, None) == 31 * day
    assert least_age(7 * day, 2 * day, 60 * day) == 60 * day
    assert least_age(90 * day, 31 * day, None) == 90 * day


def test_the_chain_begins_where_the_purge_has_left_it(store: Store) -> None:
    """Its base is the last event that was cut off, and nothing before it is left."""
    a_call(store, "old", at=OLD)
    a_call(store, "new", at=NEW)
    purged(store)
    with store.reading() as conn:
        assert conn.execute(select(chain.c.base_seq)).scalar_one() == 2
        assert conn.execute(select(func.min(events.c.seq))).scalar_one() == 3


def test_who_finishes_an_interrupted_purge_without_the_secret_is_found(store: Store) -> None:
    """It was announced up to where, but only the purge itself can tell that it has cut that off."""
    add(store, dict.fromkeys(digests_of(store, [14155550198]), OLD), Decision("asked for it", "anna", OLD))
    a_call(store, "new", at=NEW)

    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purged(store, sleep=sleep)
    with store.writing() as conn:
        first = conn.execute(select(events).where(events.c.seq == 1)).one()
        conn.execute(delete(people))
        conn.execute(delete(events).where(events.c.seq == 1))
        conn.execute(update(chain).values(base_seq=1, base_hash=first.hash))
    (finding,) = verify(store).findings
    assert "does not begin where it was left" in finding.what


@pytest.mark.parametrize("days", [(150, 110), (110, 150)])
def test_a_purge_within_another_leaves_a_store_that_can_be_verified(
    store: Store, days: tuple[int, int]
) -> None:
    """Whichever of the two deletes more, and whichever is interrupted."""
    for number in range(8):
        a_call(store, f"old{number}", NUMBERS[0], at=NOW - timedelta(days=190 - 10 * number))
    outer, inner = (NOW - timedelta(days=each) for each in days)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    def sleep(_: float) -> None:
        with pytest.raises(KeyboardInterrupt):
            purged(store, before=inner, sleep=interrupt)
        assert verify(store).findings == []
        purged(store, before=inner)

    purged(store, before=outer, sleep=sleep)
    assert rows(store, intents) == 0
    assert not store.knows_since(max(outer, inner), now=NOW)


def test_when_a_store_was_set_up_is_vouched_for_before_and_after_a_purge(store: Store) -> None:
    """Else a run of before it was set up would be one of which it knows everything."""
    a_call(store, "old", at=OLD)
    for said in ("installed_at was edited", "facts"):
        with store.writing() as conn:
            known = conn.execute(select(facts)).all()
            for fact in ("installed_at", "purged_before"):
                conn.execute(update(facts).where(facts.c.name == fact).values(value="0"))
        assert said in str(verify(store).findings)
        with store.writing() as conn:
            for row in known:
                conn.execute(update(facts).where(facts.c.name == row.name).values(value=row.value))
        purged(store)


def test_a_purge_needs_the_first_row_of_the_chain_alone(store: Store) -> None:
    """A second one is found, and does not keep somebody who has seen that from purging."""
    a_call(store, "old", at=OLD)
    with store.writing() as conn:
        row = dict(conn.execute(select(chain)).mappings().one())
        conn.execute(insert(chain).values({**row, "id": 2, "base_seq": 99}))
    assert "a second row" in str(verify(store).findings)
    assert purge(store, before=BEFORE, by="anna", now=lambda: NOW, sleep=lambda _: None).intents == 1
