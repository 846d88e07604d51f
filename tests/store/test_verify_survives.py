"""Whatever somebody writes into the database of a store, verifying ends with what was found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text, update

from formant_provider.store.findings import Report
from formant_provider.store.schema import events
from formant_provider.store.schema import store as facts
from formant_provider.store.store import Store, open_up
from formant_provider.store.suppressions import Decision, add, digests_of
from formant_provider.store.verify import verify
from support.audit import a_batch_call, a_redial
from support.databases import Database
from support.stores import SECRET, new_store, sqlite_store

NOW = datetime.now(UTC)


def filled(database: Database) -> Store:
    """A store with a redial (events 1 to 4), a batch call (5 to 8), and somebody on the do-not-call list."""
    store = new_store(database)
    a_redial(store, "redial")
    a_batch_call(store, "batch")
    add(store, dict.fromkeys(digests_of(store, [14155550199]), NOW), Decision("asked for it", "anna", NOW))
    return store


@pytest.fixture
def store(database: Database) -> Store:
    return filled(database)


@pytest.fixture
def file() -> Iterator[Store]:
    """A store in a file, where any column takes a value of any type."""
    with sqlite_store() as database:
        yield filled(database)


def found(store: Store) -> Report:
    report = verify(open_up(store.engine, "here", SECRET), first=100)
    assert report.count
    assert str(report.findings).isprintable()
    return report


PAYLOADS = ["{}", "[]", "5", "", '{"attempts":5}', '{"attempts":[[1]]}', '{"attempts":[[[],1,2]]}',
            '{"intent":5}', '{"people":5}', '{"suppressed_at":{}}', "[" * 60_000,
            '{"map_index":"x","dag_id":{},"run_id":"\\ud800\\u001b"}']  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_payload_of_any_shape_is_a_finding(store: Store, payload: str) -> None:
    """Of a call, a batch call, and an entry of the do-not-call list; none is compared with a row."""
    for seq in (3, 4, 8, 9):
        with store.engine.begin() as conn:
            conn.execute(update(events).where(events.c.seq == seq).values(payload=payload))
    found_at = [(each.seq, each.what) for each in found(store).findings]
    assert found_at == [
        (seq, "does not match its hash: it was edited, moved or inserted") for seq in (3, 4, 8, 9)
    ]


@pytest.mark.parametrize("value", ["abc", "", "9" * 40, "-5", "1e3"])
def test_a_fact_that_is_no_moment_is_a_finding_and_nothing_is_relied_on(store: Store, value: str) -> None:
    """The store opens as one that knows nothing of any run."""
    with store.engine.begin() as conn:
        conn.execute(update(facts).where(facts.c.name != "digest_key").values(value=value))
    found(store)
    if value != "-5":
        assert not open_up(store.engine, "here", SECRET).knows_since(NOW, now=NOW)


def test_facts_that_are_gone_are_a_finding(store: Store) -> None:
    """Likewise."""
    with store.engine.begin() as conn:
        conn.execute(text("DELETE FROM formant_store WHERE name <> 'digest_key'"))
    assert "purged_before" in str(found(store).findings)
    assert not open_up(store.engine, "here", SECRET).knows_since(NOW, now=NOW)


ANY_TYPE = [
    "UPDATE formant_chain SET seq = 'abc'",
    "UPDATE formant_chain SET base_seq = 'abc'",
    "UPDATE formant_chain SET base_seq = 1.5",
    "UPDATE formant_chain SET hash = x'ff'",
    "UPDATE formant_events SET seq = 'abc' WHERE seq = 3",
    "UPDATE formant_events SET seq = 3.5 WHERE seq = 3",
    "UPDATE formant_events SET at = 'yesterday' WHERE seq = 3",
    "UPDATE formant_events SET kind = x'ff00' WHERE seq = 3",
    "UPDATE formant_events SET subject = x'ff00' WHERE seq = 3",
    "UPDATE formant_events SET payload = x'ff00' WHERE seq = 3",
    "UPDATE formant_events SET payload = CAST(x'ff' AS TEXT) WHERE seq = 3",
    "UPDATE formant_events SET hash = 5",
    "UPDATE formant_intents SET intent = 'x'",
    "UPDATE formant_intents SET intent = '[]'",
    "UPDATE formant_intents SET intent = x'ff'",
    "UPDATE formant_intents SET kind = 'batch_call', intent = 'x'",
    "UPDATE formant_intents SET kind = 'call'",
    "UPDATE formant_intents SET id = x'ff' WHERE kind = 'call'",
    "UPDATE formant_intents SET call_at = 'yesterday'",
    "UPDATE formant_intents SET dag_id = CAST(x'ff' AS TEXT)",
    "UPDATE formant_calls SET call_at = 'yesterday'",
    "UPDATE formant_calls SET attempt = 'x'",
    "UPDATE formant_calls SET counted = 'x'",
    "UPDATE formant_calls SET intent_id = x'ff'",
    "UPDATE formant_calls SET recipient = x'ff' || rowid",
    "UPDATE formant_people SET suppressed_at = 'yesterday'",
    "UPDATE formant_people SET recipient = x'ff'",
]


@pytest.mark.parametrize("statement", ANY_TYPE)
def test_a_value_of_any_type_is_a_finding(file: Store, statement: str) -> None:
    """SQLite keeps what it is given."""
    with file.engine.begin() as conn:
        conn.execute(text(statement))
    found(file)
