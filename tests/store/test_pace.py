"""``calls_per_minute`` is kept by all processes together, over the databases there are."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, func, select, update

from formant_provider.api.errors import StoreUnavailable
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.ledger import Sent
from formant_provider.core.pace import PaceExceeded, spacing_ms
from formant_provider.store.ledger import StoreLedger
from formant_provider.store.pace import Pace
from formant_provider.store.schema import intents, pace, turns
from formant_provider.store.store import Store
from support.databases import Database
from support.pacing import ACCOUNT, run_processes, shortest_by
from support.stores import SECRET, asked, ledger_in, new_store


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def a_ledger(store: Store, key: str, a_pace: Pace | None, **fields: Any) -> StoreLedger[Any]:
    ledger = ledger_in(store, Intent, asked(key, account=ACCOUNT), guesses=True, pace=a_pace, **fields)
    ledger.read()
    return ledger


def claim(store: Store, key: str, a_pace: Pace | None) -> StoreLedger[Any]:
    ledger = a_ledger(store, key, a_pace)
    ledger.claim(a_doubt(key))
    return ledger


def a_doubt(key: str) -> Intent:
    now = datetime.now(UTC)
    return Intent(key, now, Sent.UNCLEAR, sends=(SendRecord(now),))


def kept_waiting(store: Store, key: str, a_pace: Pace) -> PaceExceeded:
    with pytest.raises(PaceExceeded) as caught:
        claim(store, key, a_pace)
    return caught.value


def rows(store: Store, table: Any) -> int:
    with store.reading() as conn:
        return int(conn.execute(select(func.count()).select_from(table)).scalar_one())


def test_eight_processes_keep_the_pace_and_all_get_a_turn(database: Database) -> None:
    """No minute holds more, and nobody waits much longer than the others: turns go by arrival."""
    new_store(database).engine.dispose()
    limit, calls, processes = 600, 8, 8
    placed = run_processes(
        database.url, SECRET, processes=processes, calls=calls, calls_per_minute=limit, max_inline_wait_s=60
    )
    sent = sorted(at for _, _, at, _ in placed)
    assert shortest_by(sent, spacing_ms(limit)) <= 2000
    assert Counter(name for name, *_ in placed) == {str(nth): calls for nth in range(processes)}
    half = Counter(name for name, _, at, _ in placed if at <= sent[len(sent) // 2])
    assert set(half) == {str(nth) for nth in range(processes)}


def test_a_call_that_need_not_wait_takes_one_statement_more(store: Store) -> None:
    """And no transaction: its turn is taken in the one of its claim."""

    def statements(key: str, a_pace: Pace | None) -> tuple[int, int]:
        seen, commits = list[str](), list[object]()
        ledger = a_ledger(store, key, a_pace)
        on_statement: Any = lambda _c, _u, text, *_: seen.append(text)  # noqa: E731
        on_commit: Any = commits.append
        event.listen(store.engine, "before_cursor_execute", on_statement)
        event.listen(store.engine, "commit", on_commit)
        ledger.claim(a_doubt(key))
        event.remove(store.engine, "before_cursor_execute", on_statement)
        event.remove(store.engine, "commit", on_commit)
        return len(seen), len(commits)

    claim(store, "first", Pace(ACCOUNT, 6000))  # whoever is the first of an account makes its row
    with store.writing() as conn:
        conn.execute(update(pace).values(tail_at=0, gate_at=0))
    without = statements("a", None)
    assert statements("b", Pace(ACCOUNT, 6000)) == (without[0] + 1, without[1])


@pytest.mark.parametrize("limits", [{"calls_per_minute": 6000}, {"max_concurrent_calls": 9}])
def test_a_store_that_is_slower_than_a_turn_is_given_up(store: Store, limits: dict[str, Any]) -> None:
    """A turn that passes before it is known does not count; but nobody asks for ever. A line is no turn."""
    claim(store, "first", Pace(ACCOUNT, **limits))
    seconds = itertools.count(step=5)
    slow = Pace(ACCOUNT, max_inline_wait_s=60, monotonic=lambda: next(seconds), **limits)
    ledger = a_ledger(store, "slow", slow)
    if "max_concurrent_calls" in limits:
        ledger.claim(a_doubt("slow"))
        return
    with pytest.raises(StoreUnavailable, match="takes so long") as caught:
        claim_as_often_as_it_takes(ledger)
    assert caught.value.problem == "busy"


def claim_as_often_as_it_takes(ledger: StoreLedger[Any]) -> None:
    """As whoever waits here for the next turn does."""
    for _ in range(9):
        with suppress(PaceExceeded):
            return ledger.claim(a_doubt(ledger.asked.key))
        time.sleep(0.05)
    raise AssertionError("It would be asked for ever")


def test_a_place_outlives_its_process(store: Store) -> None:
    """A task that was deferred, or tried again, is told the time that it was given first."""
    claim(store, "first", Pace(ACCOUNT, 1))
    first = kept_waiting(store, "mine", Pace(ACCOUNT, 1))
    other = kept_waiting(store, "other", Pace(ACCOUNT, 1))
    again = kept_waiting(store, "mine", Pace(ACCOUNT, 1, has_waited=True))
    assert first.retry_after_s is not None
    assert other.retry_after_s is not None
    assert again.retry_after_s is not None
    assert 0 <= first.retry_after_s - again.retry_after_s < 5
    assert 60 < other.retry_after_s - again.retry_after_s < 70


def test_whose_turn_has_come_is_placed_and_leaves_the_queue(store: Store) -> None:
    """Also if it comes late: a deferred task is not awake at once."""
    claim(store, "first", Pace(ACCOUNT, 1))
    kept_waiting(store, "mine", Pace(ACCOUNT, 1))
    at = pace.c
    with store.writing() as conn:
        conn.execute(update(turns).values(turn_at=turns.c.turn_at - 80_000))
        conn.execute(update(pace).values(tail_at=at.tail_at - 80_000, gate_at=at.gate_at - 80_000))
    before = rows(store, turns)
    claim(store, "mine", Pace(ACCOUNT, 1, has_waited=True))
    assert (before, rows(store, turns)) == (1, 0)


def test_nothing_is_left_of_a_claim_out_of_turn(store: Store) -> None:
    """No row says that it may have been placed."""
    claim(store, "first", Pace(ACCOUNT, 1))
    kept_waiting(store, "mine", Pace(ACCOUNT, 1))
    assert rows(store, intents) == 1


def test_a_short_wait_is_for_the_worker_and_a_long_one_is_not(store: Store) -> None:
    """A worker is held for no longer than it was allowed to be, in all."""
    claim(store, "first", Pace(ACCOUNT, 1))
    a_pace = Pace(ACCOUNT, 60, max_inline_wait_s=60)
    assert not kept_waiting(store, "mine", a_pace).waits_here
    assert kept_waiting(store, "other", replace(a_pace, max_inline_wait_s=70)).waits_here


def test_a_claim_that_was_held_up_asks_again(store: Store) -> None:
    """A turn that is over a second old tells nothing of when the request arrives."""
    ticks = iter([0.0, 1.5, 2.0, 2.1])
    claim(store, "first", Pace(ACCOUNT, 6000))
    with store.writing() as conn:
        conn.execute(update(pace).values(tail_at=0, gate_at=0))
    error = kept_waiting(store, "mine", Pace(ACCOUNT, 1, monotonic=lambda: next(ticks)))
    assert error.retry_after_s is not None
    assert error.retry_after_s > 55


def test_accounts_do_not_wait_for_each_other(store: Store) -> None:
    """The limit is of an account: whichever connection leads to it, and no other."""
    digests = store.digests
    one, other = digests.account("https://a.example", "key"), digests.account("https://a.example", "other")
    assert one == digests.account("https://a.example", "key") != other
    claim(store, "first", Pace(one, 1))
    assert (kept_waiting(store, "mine", Pace(one, 1)).retry_after_s or 0) > 55
    claim(store, "mine", Pace(other, 1))
