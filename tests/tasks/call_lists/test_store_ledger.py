"""The ledger of a call list in a call store, with what Airflow knows beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, select

from formant_provider.api.errors import SendAborted
from formant_provider.api.models import CallReceipt
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.call_lists.calls import Attempt, ListedCall
from formant_provider.core.calls.intent import Intent
from formant_provider.core.keys import key_of
from formant_provider.core.ledger import Sent
from formant_provider.sandbox import Sandbox
from formant_provider.store.ledger import StoreLedger
from formant_provider.store.outcomes import record_outcome
from formant_provider.store.schema import intents
from formant_provider.store.store import Store
from formant_provider.store.verify import verify
from formant_provider.tasks.call_lists.state_ledger import StateListLedger
from support.call_lists import BEGAN, ListTries, StateStore, list_ledger_in, listed, run_of
from support.databases import Database
from support.ledger_contract import DurableLedgerContract
from support.ledgers import NOON, Died
from support.stores import new_store, sqlite_store
from support.versions import needs_state_store

NOW = datetime.now(UTC)
FIRST = Attempt(1, "no_answer", "t1", "c1", 1_000, 2_000, 1)


class TestStoreCallLedger(DurableLedgerContract):
    """One call of a list: in SQLite, since the ledger itself passes in all databases."""

    @pytest.fixture(autouse=True)
    def opened(self, store: Store) -> None:
        self._store = store

    def open(self, kind: type[Any], key: str = "key", *, try_number: int = 1) -> StoreLedger[Any]:
        if kind is BatchIntent:
            pytest.skip("a list has calls alone")
        call = listed(1)
        call = replace(call, request=replace(call.request, idempotency_key=key))
        ledger = list_ledger_in(self._store, None, try_number)
        ledger.prepare([call])
        return ledger.ledger_of(call)

    def break_store(self) -> None:
        with self._store.writing() as conn:
            conn.exec_driver_sql("DROP TABLE formant_intents")


@pytest.fixture
def store() -> Iterator[Store]:
    with sqlite_store() as database:
        yield new_store(database)


@pytest.fixture
def any_store(database: Database) -> Store:
    return new_store(database)


@pytest.fixture
def state() -> StateStore:
    return StateStore()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=0, start_at=NOON, rate_limit=None) as world:
        yield world


def keys(calls: Sequence[ListedCall]) -> list[str]:
    return [call.key for call in calls]


def place(ledger: Any, calls: Sequence[ListedCall], receipt: CallReceipt | None = None) -> None:
    """Place some calls: with the receipt, or one that names the key."""
    ledger.prepare(calls)
    for call in calls:
        of_call = ledger.ledger_of(call)
        of_call.read()
        doubt = Intent(call.key, NOW, Sent.UNCLEAR)
        of_call.claim(doubt)
        of_call.write(replace(doubt, receipt=receipt or CallReceipt(456, call.key, "initiated")))
        ledger.finish(call)
    ledger.flush()


@contextmanager
def dying_at_commit(store: Store, number: int) -> Iterator[None]:
    """Let the process die before its n-th commit; nothing of that transaction is kept."""
    commits = 0

    def die(_: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == number:
            raise Died

    event.listen(store.engine, "commit", die)
    try:
        yield
    finally:
        event.remove(store.engine, "commit", die)


def tries_over(store: Store, sandbox: Sandbox, **fields: Any) -> ListTries:
    return ListTries(sandbox, lambda number: list_ledger_in(store, None, number), **fields)


def test_a_process_that_dies_at_any_commit_costs_nobody_a_call_and_calls_nobody_twice(
    any_store: Store, sandbox: Sandbox
) -> None:
    """By what was committed the next try places what is left, and finds what was placed."""
    for commit in range(1, 20, 2):
        calls = [listed(10 * commit + n) for n in range(3)]
        tries = tries_over(any_store, sandbox)
        with suppress(Died), dying_at_commit(any_store, commit):
            tries.run(calls)
        sandbox.advance(300)
        tries.run(calls)
        assert tries.rings(calls) == [1] * 3, commit
        assert all(known.intent.receipt for known in tries.known(calls).values()), commit
    assert not verify(any_store).findings


def test_a_process_that_dies_at_any_send_costs_nobody_a_call_and_calls_nobody_twice(
    store: Store, sandbox: Sandbox
) -> None:
    """Right before each of its requests, when its claim is committed."""
    for send in range(1, 4):
        calls = [listed(10 * send + n) for n in range(3)]
        tries = tries_over(store, sandbox, dies_at_send=send)
        with pytest.raises(Died):
            tries.run(calls)
        tries.run(calls)
        assert tries.rings(calls) == [1] * 3, send


def test_calls_are_known_with_their_attempts_that_are_over(store: Store) -> None:
    """As a later wake finds them: all that a list noted of each attempt, and the intent of the newest."""
    calls = [listed(number) for number in range(3)]
    ledger = list_ledger_in(store, None)
    place(ledger, calls)
    ledger.note((call.key, replace(FIRST, trace_id=call.key)) for call in calls)
    known = list_ledger_in(store, None, 2).known([*keys(calls), "never asked for"])
    assert list(known) == keys(calls)
    for call in calls:
        assert known[call.key].agent_id == 456
        assert known[call.key].intent.receipt == CallReceipt(456, call.key, "initiated")
        assert known[call.key].ended == (replace(FIRST, trace_id=call.key),)
    assert not verify(store).findings


def test_each_attempt_is_told_by_its_own_event(any_store: Store) -> None:
    """The row has the newest one alone, and a redial takes its place."""
    call, ledger = listed(1), list_ledger_in(any_store, None)
    place(ledger, [call])
    ledger.note([(call.key, FIRST)])
    again = replace(call, attempt=2)
    ledger.prepare([again])
    of_call = ledger.ledger_of(again)
    known = of_call.read()
    assert known is not None
    redial = Intent(key_of(first=call.key, attempt=2, spent=0), NOW, Sent.UNCLEAR, attempt=2, redials="c1",
                    last_receipt=known.receipt, last_at=NOW)  # fmt: skip
    of_call.claim(redial)
    of_call.write(replace(redial, receipt=CallReceipt(456, "t2", "initiated")))
    ledger.finish(again)
    second = Attempt(2, "completed", "t2", "c2", 3_000, 4_000, 1)
    ledger.note([(call.key, second)])
    found = list_ledger_in(any_store, None, 2).known([call.key])[call.key]
    assert found.ended == (FIRST, second)
    assert found.intent.attempt == 2
    assert not verify(any_store).findings


def test_an_end_that_comes_late_does_not_change_a_newer_attempt(store: Store) -> None:
    """It is told by an event alone: the row is of the redial by now, which is not over."""
    call, ledger = listed(1), list_ledger_in(store, None)
    place(ledger, [call])
    redial = Intent(key_of(first=call.key, attempt=2, spent=0), NOW, Sent.UNCLEAR, attempt=2, redials="c1",
                    last_receipt=CallReceipt(456, call.key, "initiated"), last_at=NOW)  # fmt: skip
    ledger.prepare([call])
    ledger.ledger_of(call).read()
    ledger.ledger_of(call).claim(redial)
    ledger.note([(call.key, FIRST)])
    assert row_of(store).outcome is None
    assert list_ledger_in(store, None, 2).known([call.key])[call.key].ended == (FIRST,)


def test_a_call_whose_answer_was_lost_is_given_what_the_wait_has_found(any_store: Store) -> None:
    """Whoever asks for it again finds it, and does not look for it once more."""
    call, ledger = listed(1), list_ledger_in(any_store, None)
    ledger.prepare([call])
    ledger.ledger_of(call).read()
    ledger.ledger_of(call).claim(Intent(call.key, NOW, Sent.UNCLEAR))
    ledger.note([(call.key, FIRST)])
    receipt = list_ledger_in(any_store, None, 2).known([call.key])[call.key].intent.receipt
    assert receipt is not None
    assert (receipt.trace_id, receipt.conversation_id) == ("t1", "c1")
    assert not verify(any_store).findings


def test_an_outcome_that_somebody_else_has_learnt_ends_no_attempt(store: Store) -> None:
    """The platform may make a further attempt, for which a list waits: its own word alone counts."""
    call, ledger = listed(1), list_ledger_in(store, None)
    place(ledger, [call])
    told = {"trace_id": call.key, "conversation_id": "c1", "outcome": "busy", "ended_at": NOW, "now": NOW}
    assert record_outcome(store, **told)
    assert list_ledger_in(store, None, 2).known([call.key])[call.key].ended == ()


def test_many_ends_are_written_in_few_transactions(any_store: Store) -> None:
    """Thirty of them in one, and each of them is read back."""
    calls, commits = [listed(number) for number in range(30)], []
    ledger = list_ledger_in(any_store, None)
    place(ledger, calls)
    event.listen(any_store.engine, "commit", commits.append)
    ledger.note((call.key, FIRST) for call in calls)
    assert len(commits) == 1
    known = list_ledger_in(any_store, None, 2).known(keys(calls))
    assert {known[call.key].ended for call in calls} == {(FIRST,)}


def test_what_could_not_be_noted_is_kept_for_the_next_write(store: Store) -> None:
    """A store that is down for a while loses nothing that this process has learnt."""
    call, ledger = listed(1), list_ledger_in(store, None)
    place(ledger, [call])
    rename(store, "formant_events", "gone")
    with pytest.raises(Exception, match="call store"):
        ledger.note([(call.key, FIRST)])
    rename(store, "gone", "formant_events")
    ledger.note([])
    assert list_ledger_in(store, None, 2).known([call.key])[call.key].ended == (FIRST,)


def test_a_first_attempt_takes_two_transactions_and_no_question(store: Store) -> None:
    """The insert is the lock; a later wake of the same try knows which rows are there and asks for those."""
    ledger, call = list_ledger_in(store, None), listed(1)
    ledger.prepare([call])
    assert ledger.ledger_of(call).read() is None
    assert ledger.ledger_of(call).is_guess
    ledger.finish(call)
    place(ledger, [call])
    ledger.prepare([call])
    assert ledger.ledger_of(call).read() is not None


def test_a_call_keeps_its_agent(store: Store) -> None:
    """The vendor knows a key by agent: another one would call the person a second time."""
    call = listed(1)
    place(list_ledger_in(store, None), [call])
    (prepared,) = list_ledger_in(store, None).prepare([call.by(457)])
    assert prepared == call


def test_who_waits_for_a_turn_keeps_the_place(store: Store) -> None:
    """The next time that the call is prepared its turn is asked for, and not a new one."""
    asked: list[bool] = []

    def pace(has_waited: bool) -> Any:
        asked.append(has_waited)
        return SimpleNamespace(has_waited=True)

    ledger, call = list_ledger_in(store, None, pace=pace), listed(1)
    for _ in range(2):
        ledger.prepare([call])
        ledger.finish(call)
    ledger = list_ledger_in(store, None, pace=pace, was_deferred=True)
    ledger.prepare([listed(2)])
    assert asked == [False, True, True]


@needs_state_store
def test_what_a_try_without_the_store_has_placed_is_not_placed_again(store: Store, state: StateStore) -> None:
    """Its receipt lies in Airflow: it is known, and the store is told of it."""
    call = listed(1)
    place(StateListLedger(run_of(state)), [call], CallReceipt(456, "t1", "initiated"))
    ledger = list_ledger_in(store, state, 2)
    assert ledger.known([call.key])[call.key].intent.receipt == CallReceipt(456, "t1", "initiated")
    ledger.prepare([call])
    known = ledger.ledger_of(call).read()
    assert known is not None
    assert known.receipt == CallReceipt(456, "t1", "initiated")
    assert row_of(store).trace_id == "t1"


@needs_state_store
def test_ends_that_both_know_are_told_together(store: Store, state: StateStore) -> None:
    """The first attempt ended in a try without the store, and the second one in one with it."""
    call, airflow = listed(1), StateListLedger(run_of(state))
    place(airflow, [call], CallReceipt(456, "t1", "initiated"))
    airflow.note([(call.key, FIRST)])
    airflow.flush()
    ledger = list_ledger_in(store, state, 2)
    ledger.prepare([call])
    ledger.ledger_of(call).read()
    second = replace(FIRST, number=2)
    ledger.note([(call.key, second)])
    assert list_ledger_in(store, state, 3).known([call.key])[call.key].ended == (FIRST, second)


@needs_state_store
def test_what_a_try_with_the_store_may_have_placed_is_in_doubt_without_it(
    store: Store, state: StateStore
) -> None:
    """Airflow was told before the first send, so nobody is taken for never called."""
    call, airflow = listed(1), StateListLedger(run_of(state))
    airflow.known([call.key])
    place(list_ledger_in(store, state, 2), [call])
    known = StateListLedger(run_of(state, 3)).known([call.key])[call.key]
    assert (known.intent.sent, known.intent.written_at) == (Sent.UNCLEAR, BEGAN)


@needs_state_store
def test_another_store_is_no_reason_to_doubt_what_this_one_tells(store: Store, state: StateStore) -> None:
    """Over the same store nothing is assumed, whichever try it is; over another one everything is."""
    place(list_ledger_in(store, state), [listed(1)])
    assert "key 2" not in list_ledger_in(store, state, 2).known(["key 2"])
    place(list_ledger_in(store, state, 3), [listed(3)])
    StateListLedger(run_of(state, 3)).mark_over("another store", [456])
    assert StateListLedger(run_of(state, 4), over="this store").known(["key 2"])["key 2"].agent_id is None


@needs_state_store
def test_a_call_that_tries_in_between_left_alone_is_in_no_doubt(store: Store, state: StateStore) -> None:
    """A list does not come to everybody in each try, and Airflow vouches that none was without this store."""
    call = listed(1)
    ledger = list_ledger_in(store, state)
    ledger.prepare([call])
    ledger.ledger_of(call).write(Intent(call.key, NOW, Sent.NEVER, refused="capped"))
    for try_number in (2, 3, 4):
        ledger = list_ledger_in(store, state, try_number)
        ledger.prepare([call])
        known = ledger.ledger_of(call).read()
        assert known is not None
        assert known.sent is Sent.NEVER


@needs_state_store
def test_a_try_that_was_superseded_is_told_before_it_sends(store: Store, state: StateStore) -> None:
    """It cannot tell Airflow that it sends over a store."""
    ledger = list_ledger_in(store, state)
    ledger.known(["key 1"])
    state.is_superseded = True
    with pytest.raises(SendAborted):
        ledger.prepare([listed(1)])


@needs_state_store
def test_a_wake_after_one_without_the_store_reads_what_that_wrote(store: Store, state: StateStore) -> None:
    """It is the first try still: the store does not know all of it, so Airflow is asked as well."""
    call = listed(1)
    place(StateListLedger(run_of(state)), [call], CallReceipt(456, "t1", "initiated"))
    ledger = list_ledger_in(store, state, was_deferred=True)
    ledger.prepare([call])
    known = ledger.ledger_of(call).read()
    assert known is not None
    assert known.receipt is not None


def rename(store: Store, table: str, name: str) -> None:
    with store.writing() as conn:
        conn.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")


def row_of(store: Store) -> Any:
    with store.reading() as conn:
        return conn.execute(select(intents)).one()
