"""A feed hears of ends: between two polls, in whatever order events come, and never instead of proof."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.conversations.waiters import Watch
from formant_provider.store.store import Store, open_up
from formant_provider.store.webhook_events import forget
from support.feeds import AGENT, outcome_of
from support.hearing import Hearing, hearings, retry, told_of
from support.ledgers import NOON, NUMBER
from support.stores import SECRET, sqlite_store

SETTLING = Endings(settle_for=timedelta(hours=2))


@pytest.fixture
def hearing() -> Iterator[Callable[..., Hearing]]:
    """Start sandboxes at noon, with an empty store."""
    with sqlite_store() as database:
        store: Store = open_up(database.engine(), "the test", SECRET)
        with hearings(store) as start:
            yield start


def test_an_event_ends_the_wait_between_two_polls(hearing: Any) -> None:
    """Within a second, whatever the poll interval; the vendor is not asked for it."""
    h = hearing()
    call = h.place()
    waiter = h.join(call, poll_interval_s=300)
    h.let_pass(150)
    assert outcome_of(waiter) is None
    before = h.requests()
    h.tell(told_of(call))
    h.let_pass(1)
    assert outcome_of(waiter) == call.conversation_id
    assert h.requests() == before == {"lists": 1, "details": 0}


def test_what_has_come_is_heard_before_the_first_look(hearing: Any) -> None:
    """A triggerer that was away asks for no record of which it was told."""
    h = hearing(trace_id_in_list=False)
    calls = [h.place(), h.place("10")]
    h.sandbox.advance(200)
    h.tell(*map(told_of, calls))
    waiters = [h.join(call) for call in calls]
    h.let_pass(1)
    assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]
    assert h.requests()["details"] == 0


def test_a_thousand_calls_take_two_list_requests_and_no_detail(hearing: Any) -> None:
    """All calls of one agent that end within ten minutes, each told of when it has ended."""
    h = hearing(trace_id_in_list=False)
    h.heard_before()
    calls = [
        h.sandbox.place(
            f"+1415556{n:04}"[:-2] + f"{n % 80 + 10}", scheduled_for=NOON + timedelta(seconds=n * 0.4)
        )
        for n in range(1000)
    ]
    waiters = [h.join(call) for call in calls]
    left = sorted(calls, key=lambda each: each.ends_at, reverse=True)

    def tell() -> None:
        over = []
        while left and left[-1].over(h.sandbox.now()):
            over.append(told_of(left.pop()))
        h.tell(*over)

    h.let_pass(600, tell)
    assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]
    assert h.requests()["lists"] <= 2
    assert h.requests()["details"] == 0


@pytest.mark.parametrize("waiters", [1, 50])
def test_a_look_is_one_query_whatever_the_number_of_waiters(waiters: int, hearing: Any) -> None:
    """Once a feed is under way."""
    h = hearing()
    h.heard_before()
    for _ in range(waiters):
        h.join(h.place())
    h.let_pass(10)
    selects: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        selects.append(statement)

    event.listen(h.store.engine, "before_cursor_execute", note)
    asked = h.answers
    h.let_pass(5)
    assert 4 <= h.answers - asked <= 6
    assert sum(each.startswith("SELECT") for each in selects) == h.answers - asked


def test_an_agent_that_was_not_heard_from_is_polled_as_before(hearing: Any) -> None:
    """Targets are set up by hand, and may be missing."""
    h = hearing()
    h.join(h.place("00"))
    h.let_pass(121)
    assert h.requests()["lists"] == 5


def test_a_day_without_an_event_ends_the_trust(hearing: Any) -> None:
    """Polls are as before from then on, until an event comes."""
    h = hearing()
    h.heard_before()
    h.sandbox.advance(24 * 3600 - 60)
    h.join(h.sandbox.place(NUMBER, scheduled_for=h.sandbox.now() + timedelta(hours=1)), since=h.sandbox.now())
    h.let_pass(55)
    assert h.requests()["lists"] == 1
    h.let_pass(245)
    assert h.requests()["lists"] == 10


def test_what_webhooks_miss_is_found_by_the_safety_poll(hearing: Any) -> None:
    """An event that was lost delays the end, and no more."""
    h = hearing()
    h.heard_before()
    call = h.place()
    waiter = h.join(call)
    h.let_pass(595)
    assert outcome_of(waiter) is None
    h.let_pass(10)
    assert outcome_of(waiter) == call.conversation_id
    assert h.requests()["lists"] == 2


def test_there_is_a_last_look_before_the_deadline(hearing: Any) -> None:
    """A wait that is shorter than the safety interval misses nothing that polls would have found."""
    h = hearing()
    h.heard_before()
    call = h.place()
    waiter = h.join(call)
    h.worker.wait_for(waiter, timeout_s=200)
    assert outcome_of(waiter) == call.conversation_id
    assert h.requests()["lists"] == 2


def test_a_store_that_does_not_answer_leaves_polls_as_before(hearing: Any, caplog: Any) -> None:
    """It is warned of once, without what the database said; then events are read from where they were."""
    h = hearing()
    h.heard_before()
    first, second = h.place(), h.place("10")
    waiters = [h.join(first), h.join(second, poll_interval_s=300)]
    h.let_pass(5)
    h.is_down = True
    with caplog.at_level(logging.INFO):
        h.let_pass(300)
    assert outcome_of(waiters[0]) == first.conversation_id
    assert caplog.text.count("could not be read (OSError)") == 1
    assert "secret-4711" not in caplog.text
    third = h.place("20")
    waiter = h.join(third, poll_interval_s=300)
    h.tell(told_of(third))
    h.is_down = False
    h.let_pass(2)
    assert outcome_of(waiter) == third.conversation_id


def test_a_newcomer_hears_what_came_before_it_joined(hearing: Any) -> None:
    """The feed goes back to when the call can have begun, and changes nothing for the others."""
    h = hearing()
    h.heard_before()
    call, other = h.place(), h.place("10")
    slow = h.join(other)
    h.let_pass(142)
    h.tell(told_of(call), told_of(other))
    h.let_pass(2)
    assert outcome_of(slow) == other.conversation_id
    h.join(h.place("20"))  # somebody waits all the time
    h.let_pass(30)
    before = h.requests()
    late = h.join(call)
    h.let_pass(2)
    assert outcome_of(late) == call.conversation_id
    assert h.requests() == before


def test_a_call_that_may_be_over_is_looked_for_at_once(hearing: Any) -> None:
    """Whoever joins long after its call began, and of whose end there is no event, has its first look."""
    h = hearing()
    h.heard_before()
    call = h.place()
    h.join(h.place("10"))
    h.let_pass(200)
    waiter = h.join(call)
    h.let_pass(31)
    assert outcome_of(waiter) == call.conversation_id


def test_a_last_attempt_ends_the_wait_whatever_the_time_to_settle(hearing: Any) -> None:
    """The vendor says that it calls no more."""
    h = hearing()
    call = h.place("01")
    waiter = h.join(call, endings=SETTLING)
    h.let_pass(35)
    assert outcome_of(waiter) is None
    h.tell(told_of(call, retry=retry(3, is_final=True)))
    h.let_pass(1)
    assert outcome_of(waiter) == call.conversation_id


@pytest.mark.parametrize("retry_told", [retry(), retry(is_final=False)], ids=["unknown", "no time"])
def test_an_attempt_of_which_nothing_is_announced_settles_as_before(retry_told: Any, hearing: Any) -> None:
    """And not later, though polls are rare: one is made when its time is over."""
    h = hearing()
    h.heard_before()
    call = h.place("01")
    settling = h.join(call, endings=Endings(settle_for=timedelta(seconds=100)))
    h.let_pass(40)
    h.tell(told_of(call, retry=retry_told))
    h.let_pass((call.ends_at - h.sandbox.now()).total_seconds() + 98)
    assert outcome_of(settling) is None
    h.let_pass(5)
    assert outcome_of(settling) == call.conversation_id
    assert h.requests()["lists"] <= 3


@pytest.mark.parametrize("endings", [Endings(), SETTLING], ids=["decides at once", "settles"])
@pytest.mark.parametrize("shares_id", [True, False], ids=["one id", "ids"])
def test_a_redial_that_is_announced_is_waited_for(endings: Endings, shares_id: bool, hearing: Any) -> None:
    """Its own event ends the wait, whether attempts share a conversation id or not."""
    h = hearing()
    h.heard_before()
    call = h.place("01")
    waiter = h.join(call, endings=endings)
    ids = {"conversation_id": "chain"} if shares_id else {}
    at = call.ends_at + timedelta(minutes=5)
    h.tell(told_of(call, retry=retry(1, is_final=False, next_at=at), **ids))
    h.let_pass(400)
    assert outcome_of(waiter) is None
    second = {
        "conversation_id": "chain" if shares_id else "second",
        "started_at": at.isoformat(),
        "ended_at": (at + timedelta(seconds=60)).isoformat(),
        "retry": retry(2, is_final=True),
    }
    h.tell(told_of(call, "completed", **second))
    h.let_pass(1)
    assert waiter.outcome is not None
    assert (waiter.outcome.conversation_id, waiter.outcome.status) == (second["conversation_id"], "completed")


def test_a_redial_that_never_comes_is_not_waited_for_without_end(hearing: Any) -> None:
    """An hour after its time the attempt before counts."""
    h = hearing()
    h.heard_before()
    call = h.place("01")
    waiter = h.join(call)
    at = NOON + timedelta(minutes=5)
    h.tell(told_of(call, retry=retry(1, is_final=False, next_at=at)))
    h.let_pass(3600 + 290)
    assert outcome_of(waiter) is None
    h.let_pass(20)
    assert outcome_of(waiter) == call.conversation_id


@pytest.mark.parametrize("shares_id", [True, False], ids=["one id", "ids"])
def test_an_older_attempt_that_is_told_later_changes_nothing(shares_id: bool, hearing: Any) -> None:
    """Events come in any order, and come again; what was decided stays so."""
    h = hearing()
    call = h.place("01")
    waiter = h.join(call, endings=SETTLING)
    at = call.ends_at + timedelta(minutes=5)
    ids = ("chain", "chain") if shares_id else ("first", "second")
    first = told_of(call, conversation_id=ids[0], retry=retry(1, is_final=False, next_at=at))
    times = {"started_at": at.isoformat(), "ended_at": (at + timedelta(seconds=30)).isoformat()}
    then = at + timedelta(minutes=5)
    second = told_of(
        call, "busy", conversation_id=ids[1], retry=retry(2, is_final=False, next_at=then), **times
    )
    for each in (second, first, second):
        h.tell(each)
        h.let_pass(3)
        assert waiter.outcome is None
        assert waiter.record is not None
        assert (waiter.record.conversation_id, waiter.record.status) == (ids[1], "busy")


def test_a_lost_receipt_is_confirmed_by_its_event_and_the_list(hearing: Any) -> None:
    """The event spares the detail, and lets the list be read soon, where rivals show without an event."""
    h = hearing(trace_id_in_list=False)
    h.heard_before()
    call = h.place()
    until = NOON + timedelta(seconds=15)
    waiter = h.join(since=NOON, until=until, recipient=call.customer_phone)
    h.let_pass(143)
    h.tell(told_of(call))
    h.let_pass(31)
    assert outcome_of(waiter) == call.conversation_id
    assert h.requests() == {"lists": 2, "details": 0}


def test_a_lost_receipt_is_not_confirmed_while_there_is_a_rival(hearing: Any) -> None:
    """One that goes on is in the list, and in no event."""
    h = hearing()
    h.heard_before()
    call = h.place()
    h.sandbox.advance(2)
    h.sandbox.receive(call.customer_phone, agent_id=AGENT, lasts_seconds=3000)
    waiter = h.join(since=NOON, until=NOON + timedelta(seconds=15), recipient=call.customer_phone)
    h.let_pass(143)
    h.tell(told_of(call))
    h.let_pass(100)
    assert outcome_of(waiter) is None


def test_a_call_that_came_in_is_nobodys(hearing: Any) -> None:
    """The event tells who called whom, which no record does: it is no rival any more."""
    h = hearing()
    h.heard_before()
    call = h.place()
    h.sandbox.advance(2)
    inbound = h.sandbox.receive(call.customer_phone, agent_id=AGENT, lasts_seconds=100)
    waiter = h.join(since=NOON, until=NOON + timedelta(seconds=15), recipient=call.customer_phone)
    h.let_pass(143)
    h.tell(told_of(call))
    h.let_pass(100)
    assert outcome_of(waiter) is None
    h.tell(told_of(inbound, trace_id=None, to_phone="+14155550199", from_phone=call.customer_phone))
    h.let_pass(31)
    assert outcome_of(waiter) == call.conversation_id


def test_two_who_wait_for_calls_to_one_person_get_each_their_own(hearing: Any) -> None:
    """By trace id, in whatever order the events come."""
    h = hearing()
    calls = [h.place(), h.place()]
    waiters = [h.join(call) for call in calls]
    h.let_pass(10)
    h.tell(told_of(calls[1]))
    h.let_pass(1)
    assert [outcome_of(waiter) for waiter in waiters] == [None, calls[1].conversation_id]
    h.tell(told_of(calls[0]))
    h.let_pass(1)
    assert outcome_of(waiters[0]) == calls[0].conversation_id


def test_a_feed_of_single_records_hears_as_well(hearing: Any) -> None:
    """Without an agent events are found by conversation; polls stay as they are."""
    from formant_provider.core.conversations.feed import Feed
    from support.worker import Worker

    h = hearing()
    call, news = h.place(), h.feed.news
    h.feed = Feed(None, h.sandbox.now)
    h.feed.news, h.worker = news, Worker(h.feed, h.sandbox)
    waiter = h.feed.join(Watch(NOON, conversation_id=call.conversation_id, poll_interval_s=300))
    h.let_pass(10)
    h.tell(told_of(call))
    h.let_pass(1)
    assert outcome_of(waiter) == call.conversation_id
    assert h.requests() == {"lists": 0, "details": 1}


def test_events_that_were_deleted_are_missed_by_nobody_who_polls(hearing: Any) -> None:
    """A store may be purged while somebody waits."""
    h = hearing()
    h.heard_before()
    call = h.place()
    waiter = h.join(call)
    h.let_pass(142)
    h.tell(told_of(call))
    forget(h.store, h.sandbox.now() + timedelta(days=1))
    h.let_pass(600)
    assert outcome_of(waiter) == call.conversation_id


def test_a_watch_of_an_earlier_version_is_read() -> None:
    """A trigger's arguments may have been written before there were webhooks."""
    fields = Watch(NOON, "t-1").to_json()
    fields.pop("safety_interval_s")
    assert Watch.from_json(fields).safety_interval_s == 600
