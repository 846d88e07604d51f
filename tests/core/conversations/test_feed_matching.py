"""Whose a conversation is: by id, by trace id, or else by recipient and time; never two callers' at once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.flows import proceed, send
from support.feeds import LIST_ORDERS, Board, number, outcome_of, reading, row
from support.ledgers import NOON
from support.scripted_server import Answer

TRACES = pytest.mark.parametrize(
    "where",
    [
        {"trace_id_in_list": True, "trace_id_in_detail": True},
        {"trace_id_in_list": True, "trace_id_in_detail": False},
        {"trace_id_in_list": False, "trace_id_in_detail": True},
        {"trace_id_in_list": False, "trace_id_in_detail": False},
    ],
    ids=["everywhere", "in list", "in detail", "nowhere"],
)
ORDERS = pytest.mark.parametrize("order", LIST_ORDERS)
APPEARS = pytest.mark.parametrize("appears", ["start", "end"])


@ORDERS
@APPEARS
@TRACES
@pytest.mark.parametrize("ending", ["00", "01", "02", "03", "04", "05", "06"])
def test_a_call_ends_its_wait_when_it_is_over_and_not_before(
    ending: str, where: dict[str, bool], appears: str, order: str, world: Any
) -> None:
    """Each outcome, wherever the trace id is to be found, in each order, and with others around it."""
    w = world(list_order=order, record_appears=appears, **where)
    w.place("10")
    call = w.place(ending)
    w.place("11")
    waiter = w.join(call)
    w.poll(call.ending.lasts_seconds - 1)
    assert waiter.record is None
    w.poll(1)
    assert outcome_of(waiter) == call.conversation_id
    assert waiter.outcome.status == call.ending.status
    assert waiter.looks == 2


@ORDERS
@pytest.mark.parametrize("joined", [0, 1], ids=["joined in order", "joined the other way round"])
@pytest.mark.parametrize("in_list", [True, False])
def test_two_calls_to_one_person_at_once_are_told_apart_by_trace_id(
    in_list: bool, joined: int, order: str, world: Any
) -> None:
    """Each gets its own, whatever the order."""
    w = world(list_order=order, trace_id_in_list=in_list)
    calls = [w.place(), w.place()]
    waiters = {call.trace_id: w.join(call) for call in (calls[::-1] if joined else calls)}
    w.poll(200)
    assert [outcome_of(waiters[call.trace_id]) for call in calls] == [call.conversation_id for call in calls]


def test_who_leaves_during_the_poll_that_finds_his_call_finds_it_when_he_is_back(world: Any) -> None:
    """As a wait that is cancelled and begins again, for a call whose trace id was lost."""
    w = world()
    since = w.sandbox.now()
    call = w.place("01")
    watch = w.watch(since=since, until=since + timedelta(seconds=10), recipient=call.customer_phone)
    first, _ = w.feed.join(watch), w.join(w.place("10"))
    w.sandbox.advance(600)
    w.feed.use(w.client)
    poll = w.feed.poll()
    query = next(poll)
    w.feed.leave(first)
    with suppress(StopIteration):
        while True:
            query = proceed(poll, send(query, w.client))
    second = w.feed.join(watch)
    w.poll(60)
    assert outcome_of(second) == call.conversation_id


@pytest.mark.parametrize("in_list", [True, False])
@pytest.mark.parametrize("named", ["trace_id", "conversation_id"])
def test_what_another_waiter_names_is_not_taken(named: str, in_list: bool, world: Any) -> None:
    """Neither while the other waits, nor after it was served and left."""
    w = world(trace_id_in_list=in_list)
    since = w.sandbox.now()
    theirs = w.place()
    other = w.join(since=since, **{named: getattr(theirs, named)})
    waiter = w.join(since=since, recipient=number("00"))
    w.poll(200)
    assert outcome_of(other) == theirs.conversation_id
    assert waiter.record is None
    w.feed.leave(other)
    w.poll(30)
    assert waiter.record is None
    ours = w.place()
    w.poll(210)
    assert outcome_of(waiter) == ours.conversation_id


def test_what_another_names_is_not_taken_by_who_thinks_it_is_over_already(world: Any) -> None:
    """A word that is final for one of the two alone makes no difference to whose it is."""
    w = world()
    theirs = w.place("07")
    w.join(theirs)
    further = Endings(further=frozenset({"voicemail_reached"}))
    waiter = w.join(recipient=number("07"), endings=further)
    w.poll(60)
    assert waiter.record is None


def test_what_was_given_by_recipient_and_time_is_not_given_again(world: Any) -> None:
    """A second who lost its receipt waits for the second call."""
    w = world()
    first = w.join(recipient=number("00"))
    calls = [w.place()]
    w.poll(210)
    second = w.join(since=NOON + timedelta(seconds=1), recipient=number("00"))
    w.feed.leave(first)
    w.poll(30)
    assert second.record is None
    calls.append(w.place())
    w.poll(210)
    assert [outcome_of(first), outcome_of(second)] == [call.conversation_id for call in calls]


def test_who_waits_again_for_the_same_call_gets_the_same_conversation(world: Any) -> None:
    """A trigger that is started again in the same process is not refused what it was given before."""
    w = world()
    w.join(recipient=number("10"))
    settling = Endings(settle_for=timedelta(hours=1))
    call = w.place("01")
    waiter = w.join(call, trace_id=None, endings=settling)
    w.poll(100)
    assert waiter.record is not None
    assert waiter.outcome is None
    w.feed.leave(waiter)
    w.poll(30)
    again = w.feed.join(waiter.watch)
    w.poll(3600)
    assert outcome_of(again) == call.conversation_id


@pytest.mark.parametrize("recipient", [None, "made with another key"])
@pytest.mark.parametrize("in_list", [True, False])
def test_a_recipient_that_cannot_be_recognised_needs_a_trace_id(
    in_list: bool, recipient: str | None, world: Any
) -> None:
    """With a trace id the call is found among all; without one it is not guessed."""
    w = world(trace_id_in_list=in_list)
    calls = [w.place(f"{n:02}") for n in range(10, 15)]
    with_trace = w.join(calls[3], recipient=None)
    without = w.join(since=NOON)
    if recipient:
        w.feed.leave(with_trace)
        w.feed.leave(without)
        with_trace = w.feed.join(replace(with_trace.watch, recipient="00000000.1234"))
        without = w.feed.join(replace(without.watch, recipient="00000000.1234"))
    w.poll(200)
    assert outcome_of(with_trace) == calls[3].conversation_id
    assert without.record is None


def test_records_without_a_number_are_nobody_s_by_recipient() -> None:
    """Two unknown numbers are not the same number."""
    with reading(Board([row("c-1", contact_number=None), row("c-2", contact_number="")])) as reader:
        waiters = [reader.join(), reader.join(recipient=None), reader.join("t-1", recipient="")]
        reader.poll()
    assert [waiter.record for waiter in waiters] == [None, None, None]


def test_another_trace_id_with_the_recipient_is_counted_and_not_taken() -> None:
    """Who waits for a trace id learns that other calls to the person ended, once each."""
    rows = [row("c-1", 1, trace_id="t-1"), row("c-2", 2), row("c-0", -300, trace_id="t-0")]
    board = Board(rows, details={"c-2": {"trace_id": "t-2"}})
    with reading(board) as reader:
        reader.join("t-9", recipient=None, since=NOON - timedelta(hours=1))
        lost = reader.join(recipient="+14155550199")
        waiter = reader.join("t-7")
        reader.poll()
        reader.poll(30)
    assert waiter.record is None
    assert waiter.others <= {"c-1", "c-2"}
    assert "c-2" in waiter.others
    assert lost.others == set()


@pytest.mark.parametrize("in_list", [True, False])
def test_a_conversation_id_names_the_record(in_list: bool, world: Any) -> None:
    """Whatever trace id and recipient it has, and without a detail read."""
    w = world(trace_id_in_list=in_list)
    calls = [w.place(), w.place()]
    waiter = w.join(since=NOON, conversation_id=calls[0].conversation_id)
    assert w.poll(100) == {"lists": 1, "details": 0}
    assert waiter.record is None
    assert w.poll(100) == {"lists": 1, "details": 0}
    assert outcome_of(waiter) == calls[0].conversation_id


def test_two_may_wait_for_one_call(world: Any) -> None:
    """An operator and a sensor with the same trace id both get the conversation, for one detail."""
    w = world()
    call = w.place()
    waiters = [w.join(call), w.join(call), w.join(call, poll_interval_s=5.0)]
    assert w.poll(200) == {"lists": 1, "details": 1}
    assert {outcome_of(waiter) for waiter in waiters} == {call.conversation_id}


def test_a_key_that_was_changed_is_recognised(world: Any) -> None:
    """Marks of the old key are not compared with those of the new one; a trace id still finds the call."""
    w = world()
    call = w.place()
    old = w.join(call)
    w.feed.leave(old)
    mark = "11111111." + (old.watch.recipient or "").partition(".")[2]
    waiters = [
        w.feed.join(replace(old.watch, recipient=mark, trace_id=trace)) for trace in (call.trace_id, None)
    ]
    w.poll(200)
    assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id, None]


# An agent that nobody knows: every conversation is asked for by its id.


def test_without_an_agent_each_conversation_is_read_by_its_id() -> None:
    """No list is read; a detail is read in every poll until it is over."""
    board = Board([row("c-1", status="in_progress"), row("c-2")])
    with reading(board, agent_id=None) as reader:
        waiters = [reader.join(conversation_id=f"c-{n}", recipient=None) for n in (1, 2, 3)]
        reader.poll()
        assert [outcome_of(waiter) for waiter in waiters] == [None, "c-2", None]
        board.rows[0]["status"] = "busy"
        board.rows.append(row("c-3"))
        reader.poll(30)
    assert [outcome_of(waiter) for waiter in waiters] == ["c-1", "c-2", "c-3"]
    assert board.lists == 0
    assert board.asked_details == ["c-1", "c-2", "c-3", "c-1", "c-3"]


@pytest.mark.parametrize(
    "answer", [Answer(404), Answer(400), Answer(500), Answer(200, b"{"), Answer(200, {"data": {}})]
)
def test_without_an_agent_one_that_cannot_be_read_holds_up_no_other(answer: Answer) -> None:
    """An id that the API refuses is its waiter's alone."""
    board = Board([row("c-1"), row("c-2")], details={"c-1": answer})
    with reading(board, agent_id=None) as reader:
        waiters = [reader.join(conversation_id=f"c-{n}", recipient=None) for n in (1, 2)]
        reader.poll()
        assert [outcome_of(waiter) for waiter in waiters] == [None, "c-2"]
        board.details = {}
        reader.poll(30)
    assert outcome_of(waiters[0]) == "c-1"
