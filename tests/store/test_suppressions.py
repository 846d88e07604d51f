"""The do-not-call list of a store: who is on it, since when, and what the chain tells of it."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from formant_provider.api.errors import InvalidInput
from formant_provider.store.schema import chain, events, people
from formant_provider.store.store import Store
from formant_provider.store.suppressions import (
    AT_ONCE,
    Change,
    Decision,
    add,
    digests_of,
    entries_of,
    listing,
    remove,
    which_suppressed,
)
from support.databases import Database
from support.stores import new_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASHA, RAVI, LEE = 14155550100, 14155550101, 442079460018
SECOND = timedelta(seconds=1)


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def decision(reason: str = "asked by letter", by: str = "maria", at: datetime = NOW) -> Decision:
    return Decision(reason, by, at)


def asked(store: Store, *numbers: int, at: datetime = NOW) -> dict[str, datetime]:
    return dict.fromkeys(digests_of(store, numbers), at)


def assert_whole_chain(store: Store) -> list[tuple[str, str]]:
    """Check each link and the rows that they tell of; return kind and subject of each event."""
    with store.reading() as conn:
        rows = conn.execute(select(events).order_by(events.c.seq)).all()
        end = conn.execute(select(chain)).one()
        now = {row["recipient"]: dict(row) for row in conn.execute(select(people)).mappings()}
    link = end.base_hash
    for number, row in enumerate(rows, 1):
        assert row.seq == number
        link = store.digests.chained(link, row.seq, row.at, row.kind, row.subject, row.payload)
        assert row.hash == link
    assert (end.seq, end.hash) == (len(rows), link)
    last = {row.subject: json.loads(row.payload) for row in rows}
    assert last == {name: row for name, row in now.items() if row["reason"] is not None}
    return [(row.kind, row.subject) for row in rows]


def test_an_entry_tells_since_when_why_and_by_whom(store: Store) -> None:
    """The list has digests, the oldest entry first."""
    add(store, asked(store, RAVI), decision(at=NOW))
    add(store, asked(store, ASHA), decision("told the agent", "dag.task", NOW - SECOND))
    first, second = listing(store)
    assert [first.recipient, second.recipient] == digests_of(store, [ASHA, RAVI])
    assert (first.since, first.reason, first.by) == (NOW - SECOND, "told the agent", "dag.task")
    assert (second.since, second.reason, second.by) == (NOW, "asked by letter", "maria")


def test_adding_and_removing_say_what_has_changed(store: Store) -> None:
    """Twice the same changes nothing, and leaves no event."""
    assert add(store, asked(store, ASHA, RAVI), decision()) == Change(changed=2)
    again = decision("another", "another", NOW + SECOND)
    assert add(store, asked(store, ASHA, LEE, at=NOW + SECOND), again) == Change(changed=1, unchanged=1)
    assert [entry.since for entry in listing(store)] == [NOW, NOW, NOW + SECOND]
    later = decision("was a mistake", "maria", NOW + 2 * SECOND)
    assert remove(store, asked(store, ASHA, at=later.at), later) == Change(changed=1)
    assert remove(store, asked(store, ASHA, at=later.at), later) == Change(unchanged=1)
    kinds = [kind for kind, _ in assert_whole_chain(store)]
    assert kinds == ["suppressed"] * 3 + ["unsuppressed"]


def test_each_change_is_in_the_chain_with_who_and_why(store: Store) -> None:
    """Of a removal as well, although the list tells of it no more."""
    add(store, asked(store, ASHA), decision())
    remove(store, asked(store, ASHA), decision("is a new owner", "ravi"))
    (subject,) = digests_of(store, [ASHA])
    assert assert_whole_chain(store) == [("suppressed", subject), ("unsuppressed", subject)]
    with store.reading() as conn:
        payloads = list(conn.execute(select(events.c.payload).order_by(events.c.seq)).scalars())
    assert [json.loads(text)["reason"] for text in payloads] == ["asked by letter", "is a new owner"]
    assert [json.loads(text)["suppressed_by"] for text in payloads] == ["maria", "ravi"]
    assert list(listing(store)) == []


def test_nothing_undoes_what_was_decided_after_it_was_asked_for(store: Store) -> None:
    """A run of last week, cleared today, neither removes who was added since nor adds who was removed."""
    add(store, asked(store, ASHA), decision())
    old = asked(store, ASHA, at=NOW - SECOND)
    assert remove(store, old, decision(at=NOW + SECOND)) == Change(decided_since=1)
    assert remove(store, asked(store, ASHA, at=NOW + SECOND), decision(at=NOW + SECOND)) == Change(changed=1)
    assert add(store, asked(store, ASHA), decision(at=NOW + 2 * SECOND)) == Change(decided_since=1)
    assert add(store, asked(store, ASHA, at=NOW + SECOND), decision(at=NOW + SECOND)) == Change(changed=1)


def test_many_people_are_asked_for_at_once(store: Store) -> None:
    """More than fit into one statement, or into one transaction."""
    many = range(14155000000, 14155000000 + AT_ONCE + 1001)
    digests = digests_of(store, many)
    with store.reading() as conn:
        assert which_suppressed(conn, digests) == set()
    assert add(store, asked(store, *many), decision()).changed == len(digests)
    with store.reading() as conn:
        assert which_suppressed(conn, [*digests, "unknown"]) == set(digests)
        assert set(entries_of(conn, digests[:1500])) == set(digests[:1500])
    assert remove(store, asked(store, *many), decision()).changed == len(digests)
    assert len(assert_whole_chain(store)) == 2 * len(digests)


def test_two_who_add_the_same_people_at_once_add_each_once(store: Store) -> None:
    """In whatever order they name them: neither waits for the other forever, and the chain has each once."""
    many = list(range(14155000000, 14155000300))
    changes: list[Change] = []
    start = threading.Barrier(4)

    def put(numbers: list[int]) -> None:
        start.wait()
        changes.append(add(store, asked(store, *numbers), decision()))

    threads = [threading.Thread(target=put, args=(many[:: 1 if turn % 2 else -1],)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(change.changed for change in changes) == len(many)
    assert sum(change.unchanged for change in changes) == 3 * len(many)
    assert len(assert_whole_chain(store)) == len(many)


def test_changes_are_logged_with_counts_alone(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Who, why and how many; no number."""
    caplog.set_level(logging.INFO)
    add(store, asked(store, ASHA, RAVI), decision())
    remove(store, asked(store, ASHA, LEE), decision("was a mistake"))
    first, second = (record.getMessage() for record in caplog.records)
    assert first == (
        "Do-not-call list of the call store (connection 'test'): 2 added, 0 already on it, 0 removed since it"
        " was asked for. By maria: asked by letter"
    )
    assert "1 removed, 1 not on it, 0 added since it was asked for. By maria: was a mistake" in second


@pytest.mark.parametrize(
    "reason",
    ["", "  ", "None", "x" * 251, "from +1 415 555 0100", "(020) 7946-0018", "see 5550100"],
)  # fmt: skip
def test_a_reason_that_is_blank_long_or_may_hold_a_number_is_refused(reason: str) -> None:
    """It is stored as it is, and the error does not repeat it."""
    with pytest.raises(InvalidInput, match=r"^reason: ") as caught:
        decision(reason)
    assert "555" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "None", "x" * 251, "two\nlines"])
def test_who_decides_is_named(name: str) -> None:
    """In one line that fits."""
    with pytest.raises(InvalidInput, match=r"^by: "):
        decision(by=name)


@pytest.mark.parametrize(
    "reason",
    ["x" * 250, "letter of 2026-03-01", "manual__2026-03-01T12:00:00.123456+00:00", "§ 7 (2) 3-45"],
)  # fmt: skip
def test_a_reason_may_name_a_day_a_run_or_a_case(reason: str) -> None:
    """What people write is not mistaken for a number."""
    assert decision(reason).reason == reason


def test_what_is_asked_for_without_a_moment_comes_after_all_before(store: Store) -> None:
    """A person at a shell decides, also where somebody with a fast clock has decided otherwise before."""
    fast, shell = NOW + 300 * SECOND, dict.fromkeys(digests_of(store, [ASHA]))
    add(store, asked(store, ASHA), decision())
    remove(store, asked(store, ASHA, at=fast), decision(at=fast))
    assert add(store, shell, decision(at=NOW)) == Change(changed=1)
    assert remove(store, asked(store, ASHA, at=fast), decision(at=fast)) == Change(decided_since=1)
    assert remove(store, shell, decision(at=NOW)) == Change(changed=1)
    assert add(store, asked(store, ASHA, at=fast), decision(at=fast)) == Change(decided_since=1)
    assert_whole_chain(store)


def test_who_asks_again_is_not_taken_off_by_what_was_asked_before(store: Store) -> None:
    """A removal of last week, tried again today, when the person has asked a second time since."""
    add(store, asked(store, ASHA, RAVI), decision())
    again = asked(store, ASHA, at=NOW + 5 * SECOND) | asked(store, RAVI, at=NOW + 3 * SECOND)
    assert add(store, again, decision("another letter", at=NOW + 6 * SECOND)) == Change(unchanged=2)
    assert add(store, asked(store, ASHA, RAVI), decision(at=NOW + 7 * SECOND)) == Change(unchanged=2)
    between = asked(store, ASHA, RAVI, at=NOW + 4 * SECOND)
    assert remove(store, between, decision(at=NOW + 8 * SECOND)) == Change(changed=1, decided_since=1)
    (entry,) = listing(store)
    assert (entry.recipient, entry.since) == (*digests_of(store, [ASHA]), NOW)
    later = asked(store, ASHA, at=NOW + 9 * SECOND)
    assert remove(store, later, decision(at=NOW + 9 * SECOND)) == Change(changed=1)
    assert_whole_chain(store)


def test_who_asks_again_at_a_shell_is_not_taken_off_by_what_was_asked_before(store: Store) -> None:
    """Nor by a run that was asked for with a fast clock, which the shell comes after."""
    add(store, asked(store, ASHA), decision(at=NOW + 300 * SECOND))
    assert add(store, dict.fromkeys(digests_of(store, [ASHA])), decision()) == Change(unchanged=1)
    old = asked(store, ASHA, at=NOW + 300 * SECOND)
    assert remove(store, old, decision(at=NOW + 301 * SECOND)) == Change(decided_since=1)
