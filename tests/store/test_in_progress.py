"""``max_concurrent_calls`` is kept by all processes together, over the databases there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from formant_provider.api.models import CallReceipt, Conversation
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.conversations.over import Going
from formant_provider.core.ledger import Sent
from formant_provider.core.pace import PaceExceeded
from formant_provider.store.outcomes import record_outcome
from formant_provider.store.pace import Pace
from formant_provider.store.schema import pace, turns
from formant_provider.store.store import Store
from support.databases import Database
from support.pacing import ACCOUNT, most_at_once, run_processes
from support.stores import SECRET, asked, ledger_in, new_store

ONE = Pace(ACCOUNT, max_concurrent_calls=1)


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def place(store: Store, key: str, a_pace: Pace, *, scheduled_for: datetime | None = None) -> None:
    now = datetime.now(UTC)
    doubt = Intent(key, now, Sent.UNCLEAR, sends=(SendRecord(now, scheduled_for=scheduled_for),))
    ledger = ledger_in(store, Intent, asked(key, account=a_pace.account), guesses=True, pace=a_pace)
    ledger.read()
    ledger.claim(doubt)
    ledger.write(replace(doubt, receipt=CallReceipt(456, f"trace {key}", "initiated", key, None)))


def kept_waiting(store: Store, key: str, a_pace: Pace) -> PaceExceeded:
    with pytest.raises(PaceExceeded, match="max_concurrent_calls") as caught:
        place(store, key, a_pace)
    return caught.value


def end(store: Store, key: str) -> None:
    now = datetime.now(UTC)
    ids: dict[str, Any] = {"trace_id": None, "conversation_id": key}
    assert record_outcome(store, **ids, outcome="completed", ended_at=None, now=now)


def again(a_pace: Pace) -> Pace:
    return replace(a_pace, has_waited=True)


def test_six_processes_never_have_more_calls_in_progress(database: Database) -> None:
    """Of 24 calls three are in progress at a time, no more, and all are placed."""
    new_store(database).engine.dispose()
    limits: dict[str, Any] = {"max_concurrent_calls": 3, "asks_again_s": 0.1, "max_inline_wait_s": 60}
    placed = run_processes(database.url, SECRET, processes=6, calls=4, **limits)
    assert most_at_once((sent, over) for _, _, sent, over in placed) <= 3
    assert Counter(name for name, *_ in placed) == {str(nth): 4 for nth in range(6)}


def test_a_call_waits_until_one_is_over(store: Store) -> None:
    """It asks again after half a minute, without a worker if that is too long to hold one."""
    place(store, "first", replace(ONE))
    error = kept_waiting(store, "second", replace(ONE))
    assert error.retry_after_s == pytest.approx(30, abs=0.1)
    assert not error.waits_here
    assert kept_waiting(store, "second", replace(ONE, has_waited=True, max_inline_wait_s=31)).waits_here
    end(store, "first")
    place(store, "second", again(ONE))


def test_who_came_first_is_served_first(store: Store) -> None:
    """A newcomer waits behind those who wait, also when a line has become free."""
    place(store, "first", replace(ONE))
    kept_waiting(store, "second", replace(ONE))
    kept_waiting(store, "third", replace(ONE))
    end(store, "first")
    kept_waiting(store, "new", replace(ONE))
    kept_waiting(store, "third", again(ONE))
    place(store, "second", again(ONE))


def test_who_waits_at_the_back_asks_less_often(store: Store) -> None:
    """As many calls as there are lines have to end before it can be its turn, and again as many."""
    place(store, "first", replace(ONE))
    waits = [kept_waiting(store, str(nth), replace(ONE)).retry_after_s for nth in range(30)]
    assert waits[:3] == pytest.approx([30, 60, 90], abs=0.1)
    assert waits[-1] == pytest.approx(600, abs=0.1)


def test_the_dead_do_not_hold_up_the_living(store: Store) -> None:
    """Whoever is a minute late is waited for no longer."""
    place(store, "first", replace(ONE))
    kept_waiting(store, "dead", replace(ONE))
    end(store, "first")
    kept_waiting(store, "second", replace(ONE))
    with store.writing() as conn:
        conn.execute(update(turns).values(back_at=turns.c.back_at - 91_000))
    place(store, "second", again(ONE))


def test_a_call_whose_end_nobody_tells_counts_for_an_hour(store: Store) -> None:
    """Longer than any call of the vendor's samples."""
    now = datetime.now(UTC)
    place(store, "long", replace(ONE), scheduled_for=now - timedelta(minutes=59))
    kept_waiting(store, "second", replace(ONE))
    other = Pace("b" * 32, max_concurrent_calls=1)
    place(store, "old", replace(other), scheduled_for=now - timedelta(minutes=61))
    place(store, "next", replace(other))


def test_a_scheduled_call_counts_from_its_time_on(store: Store) -> None:
    """Until then it occupies no line."""
    place(store, "later", replace(ONE), scheduled_for=datetime.now(UTC) + timedelta(minutes=5))
    place(store, "now", replace(ONE))
    kept_waiting(store, "second", replace(ONE))


def test_a_redial_is_in_progress_again(store: Store) -> None:
    """The outcome of the attempt before says nothing of it."""
    now = datetime.now(UTC)
    place(store, "first", replace(ONE))
    end(store, "first")
    ledger = ledger_in(store, Intent, asked("first", account=ACCOUNT), pace=replace(ONE))
    ledger.read()
    later = now + timedelta(seconds=5)
    ledger.claim(Intent("first", now, Sent.UNCLEAR, sends=(SendRecord(later),), attempt=2, redials="first"))
    kept_waiting(store, "second", replace(ONE))


def test_who_finds_the_limit_reached_asks_the_api_who_is_done(store: Store) -> None:
    """One asks for all, ten seconds after the last at the earliest, and goes on with what it has learnt."""
    questions: list[list[str]] = []

    def ended(going: list[Going], _settled: set[str]) -> list[Conversation]:
        questions.append([str(call.conversation_id) for call in going])
        return [Conversation("first", 456, "completed")] if len(questions) == 2 else []

    asking = replace(ONE, ended=ended)
    place(store, "first", replace(asking))
    kept_waiting(store, "second", replace(asking))
    kept_waiting(store, "third", replace(asking))
    assert questions == [["first"]]
    with store.writing() as conn:
        conn.execute(update(pace).values(looked_at=0))
    place(store, "second", again(asking))
    assert questions == [["first"], ["first"]]


def test_both_limits_hold(store: Store) -> None:
    """A call that finds no line takes no turn either."""
    both = Pace(ACCOUNT, 1, max_concurrent_calls=1, max_inline_wait_s=9)
    place(store, "first", replace(both))
    with store.writing() as conn:
        conn.execute(update(pace).values(tail_at=0, gate_at=0))
    kept_waiting(store, "second", replace(both))
    with store.reading() as conn:
        assert conn.execute(select(pace.c.gate_at)).scalar() == 0
        assert conn.execute(select(func.count()).select_from(turns)).scalar() == 1
