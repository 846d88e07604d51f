"""Whoever changes the database of a store and has no secret is found, whatever they change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, delete, func, insert, select, update

from formant_provider.api.errors import InvalidInput
from formant_provider.store.findings import Head, Report
from formant_provider.store.intents import BATCH_CALL
from formant_provider.store.schema import calls, chain, events, intents, people
from formant_provider.store.schema import store as facts
from formant_provider.store.store import Store
from formant_provider.store.suppressions import Decision, add, digests_of, remove
from formant_provider.store.verify import verify
from support.audit import NUMBERS, a_batch_call, a_call, a_doubt, a_redial
from support.databases import Database
from support.stores import new_store

Tampering = Callable[[Connection], object]
BY = Decision("asked for it", "anna", datetime.now(UTC))


@pytest.fixture
def store(database: Database) -> Store:
    """A store with two calls, a redial, a batch call, and somebody on the do-not-call list."""
    store = new_store(database)
    a_call(store, "first", run_id="run1")
    add(store, dict.fromkeys(digests_of(store, [14155550199]), BY.at), BY)
    a_redial(store, "second", run_id="run2")
    a_batch_call(store, "third", NUMBERS)
    a_call(store, "fourth", run_id="run4")
    came_back = digests_of(store, [14155550198])
    add(store, dict.fromkeys(came_back, BY.at), BY)
    remove(
        store, dict.fromkeys(came_back, datetime.now(UTC)), Decision("came back", "anna", datetime.now(UTC))
    )
    return store


def found(store: Store, **options: object) -> Report:
    report = verify(store, **options)
    assert report.count == len(report.findings)
    return report


def set_at(seq: int, **values: object) -> Tampering:
    return lambda conn: conn.execute(update(events).where(events.c.seq == seq).values(values))


def swap(conn: Connection) -> None:
    for old, new in ((2, -2), (3, 2), (-2, 3)):
        conn.execute(update(events).where(events.c.seq == old).values(seq=new))


def copy_last(conn: Connection) -> None:
    row = dict(conn.execute(select(events).order_by(events.c.seq.desc()).limit(1)).mappings().one())
    conn.execute(insert(events).values({**row, "seq": row["seq"] + 1}))


def insert_between(conn: Connection) -> None:
    end = conn.execute(select(func.max(events.c.seq))).scalar_one()
    for seq in range(end, 3, -1):
        conn.execute(update(events).where(events.c.seq == seq).values(seq=seq + 1))
    row = dict(conn.execute(select(events).where(events.c.seq == 3)).mappings().one())
    conn.execute(insert(events).values({**row, "seq": 4}))
    conn.execute(update(chain).values(seq=end + 1))


def cut_front(conn: Connection) -> None:
    """Make it look as if a purge had been there."""
    second = conn.execute(select(events).where(events.c.seq == 2)).one()
    conn.execute(delete(intents).where(intents.c.id == second.subject))
    conn.execute(delete(events).where(events.c.seq <= 2))
    conn.execute(update(chain).values(base_seq=2, base_hash=second.hash))


def copy_intent(conn: Connection) -> None:
    row = dict(conn.execute(select(intents).limit(1)).mappings().one())
    conn.execute(insert(intents).values({**row, "id": "f" * 32}))


def give_away_a_place(conn: Connection) -> None:
    """Let somebody else be the one who was in the batch call."""
    of_batch = select(intents.c.id).where(intents.c.kind == BATCH_CALL).scalar_subquery()
    somebody = conn.execute(select(func.min(calls.c.recipient)).where(calls.c.intent_id == of_batch)).scalar()
    mine = calls.c.intent_id == of_batch, calls.c.recipient == somebody
    conn.execute(update(calls).where(*mine).values(recipient="0" * 32))


OF_BATCH = calls.c.intent_id.in_(select(intents.c.id).where(intents.c.kind == BATCH_CALL))


def of_batch(**values: object) -> Tampering:
    return lambda conn: conn.execute(update(calls).where(OF_BATCH).values(values))


def join_the_batch_call(conn: Connection) -> None:
    row = dict(conn.execute(select(calls).where(OF_BATCH).limit(1)).mappings().one())
    conn.execute(insert(calls).values({**row, "recipient": "0" * 32}))


REDIALLED = select(calls.c.intent_id).where(calls.c.attempt == 1).join(
    intents, (intents.c.id == calls.c.intent_id) & (intents.c.kind != BATCH_CALL)
)  # fmt: skip
ONE_CALL = intents.c.run_id == "run1"
NOT_THE_PEOPLE = "not the people of the batch call"
LISTED = people.c.suppressed_at.is_not(None)

TAMPERINGS: dict[str, tuple[Tampering, str]] = {
    "the payload of an event": (set_at(2, payload='{"state":"refused"}'), "does not match its hash"),
    "the payload of an event, to what is no JSON": (set_at(2, payload="nothing"), "does not match its hash"),
    "the time of an event": (set_at(1, at=5), "does not match its hash"),
    "the kind of an event": (set_at(1, kind="purged"), "does not match its hash"),
    "the hash of an event": (set_at(4, hash="0" * 64), "does not match its hash"),
    "an event, deleted": (lambda conn: conn.execute(delete(events).where(events.c.seq == 2)), "was deleted"),
    "several events, deleted": (
        lambda conn: conn.execute(delete(events).where(events.c.seq.in_([4, 5]))),
        "was deleted, and so were all up to 5",
    ),
    "the last event, deleted": (
        lambda conn: conn.execute(
            delete(events).where(events.c.seq == select(chain.c.seq).scalar_subquery())
        ),
        "the end of the chain",
    ),
    "all events, deleted": (lambda conn: conn.execute(delete(events)), "the end of the chain"),
    "two events, swapped": (swap, "edited, moved or inserted"),
    "an event, put at the end": (copy_last, "comes after the end of the chain"),
    "an event, put in between": (insert_between, "edited, moved or inserted"),
    "the head": (lambda conn: conn.execute(update(chain).values(hash="0" * 64)), "another hash"),
    "the head, set back": (lambda conn: conn.execute(update(chain).values(seq=1)), "after the end"),
    "the head, deleted": (lambda conn: conn.execute(delete(chain)), "its row is missing"),
    "the front, cut off": (cut_front, "does not begin where it was left: its front was cut off"),
    "an intent, deleted": (
        lambda conn: conn.execute(delete(intents).where(ONE_CALL)),
        "its row in formant_intents was deleted",
    ),
    "an intent, inserted": (copy_intent, "its row in formant_intents was inserted"),
    "when a call was": (
        lambda conn: conn.execute(update(intents).where(ONE_CALL).values(call_at=5)),
        "formant_intents was edited: call_at",
    ),
    "which DAG has asked": (
        lambda conn: conn.execute(update(intents).where(ONE_CALL).values(dag_id="other")),
        "formant_intents was edited: dag_id",
    ),
    "who was called": (
        lambda conn: conn.execute(update(intents).where(ONE_CALL).values(recipient="0" * 32)),
        "formant_intents was edited: recipient",
    ),
    "an earlier attempt, edited": (
        lambda conn: conn.execute(update(calls).where(calls.c.intent_id.in_(REDIALLED)).values(call_at=5)),
        "not its earlier attempts",
    ),
    "an earlier attempt, counted no more": (
        lambda conn: conn.execute(
            update(calls).where(calls.c.intent_id.in_(REDIALLED)).values(counted=False)
        ),
        "not its earlier attempts",
    ),
    "an earlier attempt, deleted": (
        lambda conn: conn.execute(delete(calls).where(calls.c.intent_id.in_(REDIALLED))),
        "not its earlier attempts",
    ),
    "a call of no intent": (
        lambda conn: conn.execute(
            insert(calls).values(
                {"intent_id": "0" * 32, "recipient": "1" * 32, "attempt": 1, "call_at": 5, "counted": True}
            )
        ),
        "is of no intent",
    ),
    "when the people of a batch call were called": (of_batch(call_at=5), NOT_THE_PEOPLE),
    "for which upload they count": (of_batch(attempt=9), NOT_THE_PEOPLE),
    "whether they count": (of_batch(counted=False), NOT_THE_PEOPLE),
    "somebody who was not in a batch call": (join_the_batch_call, NOT_THE_PEOPLE),
    "the people of a batch call": (give_away_a_place, NOT_THE_PEOPLE),
    "the do-not-call list, shortened": (
        lambda conn: conn.execute(update(people).where(LISTED).values(suppressed_at=None)),
        "formant_people was edited: suppressed_at",
    ),
    "the do-not-call list, deleted": (
        lambda conn: conn.execute(delete(people).where(LISTED)),
        "taken off the do-not-call list",
    ),
    "who was taken off the do-not-call list": (
        lambda conn: conn.execute(delete(people).where(people.c.reason == "came back")),
        "its row in formant_people was deleted",
    ),
    "the name of who was taken off it": (
        lambda conn: conn.execute(
            update(people).where(people.c.reason == "came back").values(recipient="0" * 32)
        ),
        "no event tells of it",
    ),
    "the do-not-call list, extended": (
        lambda conn: conn.execute(insert(people).values({"recipient": "0" * 32, "suppressed_at": 5})),
        "no event tells of it",
    ),
    "the reason of an entry": (
        lambda conn: conn.execute(update(people).where(LISTED).values(reason="other")),
        "formant_people was edited: reason",
    ),
    "since when all is known": (
        lambda conn: conn.execute(update(facts).where(facts.c.name == "purged_before").values(value="5")),
        "purged_before",
    ),
    "when the store was set up": (
        lambda conn: conn.execute(update(facts).where(facts.c.name != "digest_key").values(value="0")),
        "installed_at was edited",
    ),
    "a fact, inserted": (
        lambda conn: conn.execute(insert(facts).values(name="x", value="y")),
        "a fact was inserted",
    ),
    "a second chain": (
        lambda conn: conn.execute(insert(chain).values(id=2, seq=1, hash="", base_seq=0, base_hash="")),
        "a second row",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_somebody_changes_behind_the_back_of_the_store_is_found(store: Store, name: str) -> None:
    """One finding at least says what it is, and none holds a number or a digest of one."""
    assert found(store).findings == []
    tamper, said = TAMPERINGS[name]
    with store.engine.begin() as conn:
        tamper(conn)
    report = verify(store, first=100)
    assert any(said in each.what for each in report.findings), report.findings
    with store.engine.connect() as conn:
        digests = list(
            conn.execute(select(intents.c.recipient).where(intents.c.recipient.is_not(None))).scalars()
        )
    assert not any(
        digest in str(report.findings) for digest in [*digests, *(number[1:] for number in NUMBERS)]
    )


def test_a_finding_says_which_task_it_is_about(store: Store) -> None:
    """As far as event or row still tell."""
    with store.engine.begin() as conn:
        conn.execute(update(intents).where(ONE_CALL).values(call_at=5))
    (finding,) = found(store).findings
    assert (finding.where, finding.kind) == ("dag/run1/call", "placed")


def test_each_change_is_found_once_and_the_rest_is_compared(store: Store) -> None:
    """An event that was edited does not spoil those that follow."""
    with store.engine.begin() as conn:
        set_at(2, at=5)(conn)
        set_at(4, at=5)(conn)
    assert [finding.seq for finding in found(store).findings] == [2, 4]


def test_findings_are_counted_beyond_those_that_are_kept(store: Store) -> None:
    """A store of which all was changed is told in a few lines."""
    with store.engine.begin() as conn:
        conn.execute(update(events).values(at=5))
    report = verify(store, first=2)
    assert (report.count, len(report.findings)) == (report.events, 2)


def test_an_end_that_was_put_back_is_found_by_a_head_that_was_noted(store: Store) -> None:
    """In the database alone nothing tells of it."""
    before = verify(store).head
    a_call(store, "fifth", run_id="run5")
    noted = verify(store).head
    assert before is not None
    assert noted is not None
    with store.engine.begin() as conn:
        gone = events.c.seq > before.seq
        conn.execute(delete(intents).where(intents.c.id.in_(select(events.c.subject).where(gone))))
        conn.execute(delete(events).where(gone))
        conn.execute(update(chain).values(seq=before.seq, hash=before.hash))
    assert found(store).findings == []
    (finding,) = found(store, expected=noted).findings
    assert "cut off" in finding.what
    assert found(store, expected=before).findings == []


def test_the_chain_of_another_store_is_not_taken_for_this_one(store: Store) -> None:
    """A head of the same number has another hash."""
    (finding,) = found(store, expected=Head(3, "0" * 64)).findings
    assert "rewritten" in finding.what


@pytest.mark.parametrize("text", ["", "3", "3:", "x:" + "0" * 64, "3:" + "0" * 63, "3:" + "g" * 64])
def test_a_head_is_read_as_it_was_printed(text: str) -> None:
    """Anything else is refused, so that a slip is not taken for a change."""
    assert str(Head.parse(f" 3:{'A' * 64}\n")) == f"3:{'a' * 64}"
    with pytest.raises(InvalidInput, match="--expect"):
        Head.parse(text)


def test_a_store_that_many_write_to_is_found_as_it_was_left(database: Database) -> None:
    """Eight threads place calls, and it is verified meanwhile and afterwards."""
    store = new_store(database)

    def write(thread: int) -> None:
        for number in range(12):
            a_call(store, f"{thread}-{number}", run_id=f"{thread}-{number}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert found(store).findings == []
    report = found(store)
    assert (report.findings, report.events, report.rows) == ([], 8 * 12 * 2, 8 * 12)


def test_a_call_that_is_in_doubt_is_nothing_that_was_changed(store: Store) -> None:
    """Nor is who is at work on it right now."""
    a_doubt(store, "doubt")
    assert found(store).findings == []
