"""Processes of a call list die at every step; the task state store tells the next try all it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from formant_provider.core.call_lists.calls import Attempt, ListedCall
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.tasks.call_lists.state_ledger import StateListLedger
from support.call_lists import ListTries, StateStore, listed, run_of, state_ledgers
from support.ledgers import NOON, Died, Tries
from support.versions import needs_state_store

pytestmark = needs_state_store


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=0, start_at=NOON, rate_limit=None) as world:
        yield world


def test_a_process_that_dies_at_any_write_costs_nobody_a_call_and_calls_nobody_twice(
    sandbox: Sandbox,
) -> None:
    """Before or after each of its writes: the next try places what is left, and finds what was placed."""
    number = 0
    for when in ("dies_before", "dies_after"):
        for write in range(1, 12):
            store, calls = StateStore(), [listed(number + n) for n in range(5)]
            number += 5
            tries = ListTries(sandbox, state_ledgers(store, sandbox))
            setattr(store, when, write)
            with suppress(Died):
                tries.run(calls)
            store.dies_before = store.dies_after = 0
            sandbox.advance(300)  # a conversation is listed once it is over
            tries.run(calls)
            assert tries.rings(calls) == [1] * 5, (when, write)
            known = tries.known(calls)
            assert all(known[call.key].intent.receipt for call in calls), (when, write)


def test_a_process_that_dies_at_any_send_costs_nobody_a_call_and_calls_nobody_twice(sandbox: Sandbox) -> None:
    """Right before each of its requests, when its claim is on record."""
    number = 500
    for send in range(1, 6):
        store, calls = StateStore(), [listed(number + n) for n in range(5)]
        number += 5
        tries = ListTries(sandbox, state_ledgers(store, sandbox), dies_at_send=send)
        with pytest.raises(Died):
            tries.run(calls, at_a_time=5)
        tries.run(calls)
        assert tries.rings(calls) == [1] * 5, send


def test_a_list_that_is_killed_again_and_again_calls_everybody_once(sandbox: Sandbox) -> None:
    """At writes and sends by chance, in another order each time."""
    for seed in range(8):
        rnd, store = Random(seed), StateStore()  # noqa: S311 - no secret
        calls = [listed(2000 + 40 * seed + n) for n in range(12)]
        tries = ListTries(sandbox, state_ledgers(store, sandbox))
        for _ in range(3):
            tries = replace(tries, dies_at_send=rnd.randint(1, 14))
            setattr(store, rnd.choice(["dies_before", "dies_after"]), store.writes + rnd.randint(1, 10))
            with suppress(Died):
                tries.run(rnd.sample(calls, 12), at_a_time=rnd.randint(1, 7))
            store.dies_before = store.dies_after = 0
            sandbox.advance(rnd.choice([10, 300, 3600]))
        replace(tries, dies_at_send=0).run(calls)
        assert tries.rings(calls) == [1] * 12, seed


def test_an_answer_that_was_lost_with_the_process_is_found(sandbox: Sandbox) -> None:
    """Its call was placed, and nothing but the doubt of its chunk is on record: it is not placed again."""
    store, calls = StateStore(), [listed(number) for number in range(3)]
    sandbox.inject("POST /v1/call", Fault.DROP_AFTER)
    tries = ListTries(sandbox, state_ledgers(store, sandbox))
    store.dies_after = 4
    with suppress(Died):
        tries.run(calls, at_a_time=3)
    tries.run(calls)
    assert tries.rings(calls) == [1, 1, 1]


@pytest.mark.parametrize("when", ["dies_before", "dies_after"])
def test_a_redial_is_placed_once_wherever_the_process_dies(sandbox: Sandbox, when: str) -> None:
    """Its second attempt is a call with a key of its own, which is in doubt before it is sent."""
    for write in range(1, 7):
        store, calls = StateStore(), [listed(1000 * write + n, ending="01") for n in range(3)]
        tries = ListTries(sandbox, state_ledgers(store, sandbox), redial_on=frozenset({"no_answer"}))
        tries.run(calls)
        sandbox.advance(3600)
        ledger = StateListLedger(run_of(store, 1), now=sandbox.now, was_deferred=True)
        ledger.note((call.key, ended(sandbox, call)) for call in calls)
        ledger.flush()
        again = [replace(call, attempt=2) for call in calls]
        setattr(store, when, store.writes + write)
        with suppress(Died):
            tries.run(again)
        store.dies_before = store.dies_after = 0
        sandbox.advance(300)  # a conversation is listed once it is over
        tries.run(again)
        assert tries.rings(calls) == [2, 2, 2], write
        assert {known.intent.attempt for known in tries.known(calls).values()} == {2}


def ended(sandbox: Sandbox, call: ListedCall) -> Attempt:
    """Return the attempt of a call that is over."""
    with Tries(sandbox, call.request).client() as client:
        records = client.list_conversations(456, limit=100).items
        [record] = [each for each in records if each.contact_number == call.request.recipient]
    return Attempt(1, str(record.status), record.trace_id, record.conversation_id)
