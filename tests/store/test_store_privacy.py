"""Whoever has the database, and not the secret, learns no number, not even by trying all of them."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from formant_provider.api.batch_models import BatchCall
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.keys import key_for_task
from formant_provider.store.intents import columns_of
from formant_provider.store.schema import metadata
from formant_provider.store.schema import store as facts
from formant_provider.store.store import Store
from formant_provider.store.suppressions import Decision, add, digests_of
from support.audit import a_batch_call, a_redial
from support.databases import Database
from support.stores import new_store

PREFIX = "+1415555"
EVERYBODY = [f"{PREFIX}{number:04}" for number in range(10_000)]
CALLED = EVERYBODY[4711]
NOW = datetime.now(UTC)


@pytest.fixture
def store(database: Database) -> Store:
    """A store with a call, a redial, a batch call and an entry of the do-not-call list, all of one person."""
    store = new_store(database)
    key = key_for_task(dag_id="dag", run_id="run", task_id="call", agent_id=456, recipient=CALLED)
    a_redial(store, key, CALLED)
    a_batch_call(store, "batch", [CALLED])
    add(store, dict.fromkeys(digests_of(store, [int(CALLED)]), NOW), Decision("asked for it", "anna", NOW))
    return store


def everything_in(store: Store) -> str:
    """Return all cells of all tables, as whoever can read the database has them."""
    with store.reading() as conn:
        rows = [row for table in metadata.sorted_tables for row in conn.execute(select(table))]
    return "\n".join(str(tuple(row)) for row in rows)


def guesses(number: str, keys: list[bytes]) -> Iterator[str]:
    """Yield what somebody would look for who takes the number for the one that was called."""
    key = key_for_task(dag_id="dag", run_id="run", task_id="call", agent_id=456, recipient=number)
    yield key
    for text in (number, number[1:], key, f"recipient\x00{number}", f"key\x00{key}"):
        plain = text.encode()
        for name in ("md5", "sha1", "sha256"):
            yield hashlib.new(name, plain).hexdigest()
        yield from (hmac.digest(each, plain, "sha256").hex() for each in keys)


def test_no_number_and_no_key_is_in_the_database(store: Store) -> None:
    """Neither as it is nor as its digits."""
    found = everything_in(store)
    assert "trace-" in found
    key = key_for_task(dag_id="dag", run_id="run", task_id="call", agent_id=456, recipient=CALLED)
    for text in (CALLED, CALLED[1:], CALLED[2:], int(CALLED).to_bytes(6, "big").hex(), key):
        assert text not in found


def test_a_name_of_a_batch_call_that_may_hold_a_number_is_not_stored() -> None:
    """Any other is; its id is there in both cases."""
    for name, is_stored in (("for +1-415-555-4711 [formant]", False), ("March [formant]", True)):
        intent = BatchIntent("key", NOW, receipt=BatchCall(7, name, 456, "pending", 1, None))
        columns = columns_of(intent)
        assert ((name in str(columns)), columns["batch_id"]) == (is_stored, 7)


def test_a_dictionary_of_all_numbers_finds_nobody(store: Store) -> None:
    """Not by hashes or HMACs under what lies there, nor by keys, which are made of names and the number."""
    with store.reading() as conn:
        wrapped = [value.encode() for value in conn.execute(select(facts.c.value)).scalars()]
    words = set(re.findall(r"[0-9a-f-]{16,}", everything_in(store)))
    beginnings = {word[:16] for word in words}
    found = [number for number in EVERYBODY for each in guesses(number, wrapped) if each[:16] in beginnings]
    assert found == []


def test_with_the_digest_key_the_same_dictionary_finds_them(store: Store) -> None:
    """So the test above looks at what it means to: the secret is what keeps people unknown."""
    found = everything_in(store)
    assert [number for number in EVERYBODY if store.digests.recipient(number) in found] == [CALLED]
