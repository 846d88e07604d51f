"""The platform may call again by itself: how long an unsuccessful conversation stays open."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import GET_CONVERSATION
from formant_provider.core.conversations.statuses import Endings
from formant_provider.sandbox import Fault
from support.feeds import Board, number, outcome_of, reading, row
from support.ledgers import NOON
from support.scripted_server import Answer

HOUR = Endings(settle_for=timedelta(hours=1))
# A little more than the platform waits between attempts.
SEVEN_MINUTES = Endings(settle_for=timedelta(minutes=7))
TRACES = pytest.mark.parametrize("in_list", [True, False], ids=["trace id in list", "trace id in detail"])
REDIALS = pytest.mark.parametrize("redial_trace_id", ["same", "new"])


def statuses(waiter: Any) -> tuple[str | None, str | None]:
    return waiter.record and waiter.record.status, waiter.outcome and waiter.outcome.status


def test_without_settling_the_first_attempt_decides(world: Any) -> None:
    """Whatever the platform does afterwards."""
    w = world(platform_redials=1)
    waiter = w.join(w.place("01"))
    w.poll(30)
    assert statuses(waiter) == ("no_answer", "no_answer")


@TRACES
@pytest.mark.parametrize("redials", [1, 2])
def test_a_redial_that_is_answered_is_the_outcome(redials: int, in_list: bool, world: Any) -> None:
    """While the platform calls again nothing is decided; success ends the wait at once."""
    w = world(platform_redials=redials, trace_id_in_list=in_list)
    waiter = w.join(w.place("01"), endings=HOUR)
    w.poll(30)
    assert statuses(waiter) == ("no_answer", None)
    for _ in range(redials - 1):
        w.poll(310)
        assert statuses(waiter) == ("no_answer", None)
        w.poll(20)
        assert statuses(waiter) == ("no_answer", None)
    w.poll(310)
    assert statuses(waiter) == ("no_answer", None)
    w.poll(142)
    assert statuses(waiter) == ("completed", "completed")
    assert outcome_of(waiter) == w.sandbox.redials[-1].conversation_id


@TRACES
@REDIALS
def test_a_late_look_sees_the_last_attempt(redial_trace_id: str, in_list: bool, world: Any) -> None:
    """When all attempts are over at the first look, the last one is the outcome."""
    w = world(platform_redials=2, redial_trace_id=redial_trace_id, trace_id_in_list=in_list)
    waiter = w.join(w.place("01"), endings=SEVEN_MINUTES)
    w.poll(3000)
    assert outcome_of(waiter) == w.sandbox.redials[-1].conversation_id


@TRACES
@pytest.mark.parametrize("poll_s", [30, 200, 2000])
def test_a_lone_redial_of_another_trace_id_counts_once_none_can_follow(
    poll_s: float, in_list: bool, world: Any
) -> None:
    """However often one looks, it is taken when the time to settle is over, and not before."""
    w = world(platform_redials=1, redial_trace_id="new", trace_id_in_list=in_list)
    call = w.place("01")
    waiter = w.join(call, endings=HOUR)
    while w.sandbox.now() < call.ends_at + timedelta(hours=1):
        assert waiter.outcome is None
        w.poll(poll_s)
    assert outcome_of(waiter) == w.sandbox.redials[0].conversation_id


@TRACES
@pytest.mark.parametrize("poll_s", [30, 4000])
def test_of_two_later_records_with_other_trace_ids_neither_is_a_redial(
    poll_s: float, in_list: bool, world: Any
) -> None:
    """One of them is another task's call or one that came in, and nothing tells which."""
    w = world(platform_redials=1, redial_trace_id="new", trace_id_in_list=in_list)
    call = w.place("01")
    waiter = w.join(call, endings=HOUR)
    w.poll(900)
    w.place("01")
    while not waiter.outcome:
        w.poll(poll_s)
    assert outcome_of(waiter) == call.conversation_id
    assert w.sandbox.now() >= call.ends_at + timedelta(hours=1)


def test_a_later_record_without_a_trace_id_is_no_redial_where_others_have_one() -> None:
    """The person calls back: that is no call of ours, whatever becomes of it."""
    rows = [row("c-1", trace_id="t-1", status="no_answer"), row("back", 60)]
    with reading(Board(rows)) as reader:
        waiter = reader.join("t-1", endings=HOUR)
        reader.poll(1000)
        assert waiter.outcome is None
        reader.poll(3000)
    assert outcome_of(waiter) == "c-1"


OURS = row("c-1", trace_id="t-1", status="busy")
NO_REDIALS = {
    "another task's call, where redials of ours kept the trace id": [
        row("c-0", -300, trace_id="t-1", status="busy"),
        OURS,
        row("theirs", 100, trace_id="t-2"),
    ],
    "what began after the time to settle": [
        OURS,
        row("c-2", 3700, trace_id="t-2"),
    ],
    "what began before the attempt": [row("c-0", -30), OURS],
    "other people's conversations, or with numbers that are not told": [
        {**OURS, "contact_number": None},
        row("c-2", 60, contact_number=None),
        row("c-3", 90, contact_number="+14155550199"),
    ],
}


@pytest.mark.parametrize("rows", NO_REDIALS.values(), ids=NO_REDIALS)
def test_what_did_not_follow_the_attempt_is_no_redial(rows: list[dict[str, Any]]) -> None:
    """The attempt of the call itself is the outcome."""
    with reading(Board(rows)) as reader:
        waiter = reader.join("t-1", endings=HOUR, since=NOON - timedelta(hours=1))
        reader.poll(5000)
    assert outcome_of(waiter) == "c-1"


@TRACES
def test_an_attempt_that_stays_the_last_counts_in_the_end(in_list: bool, world: Any) -> None:
    """An hour after its end, not after it was seen."""
    w = world(trace_id_in_list=in_list)
    call = w.place("01")
    waiter = w.join(call, endings=HOUR)
    w.poll(1800)
    w.poll(1800 + 29)
    assert waiter.outcome is None
    w.poll(1)
    assert outcome_of(waiter) == call.conversation_id


def test_settling_begins_anew_with_each_attempt() -> None:
    """An unsuccessful redial is given the time again, from its own end."""
    board = Board([row("c-1", trace_id="t-1", status="busy")])
    with reading(board) as reader:
        waiter = reader.join("t-1", endings=HOUR)
        reader.poll(3000)
        board.rows.append(row("c-2", 3300, trace_id="t-1", status="no_answer"))
        reader.poll(1000)
        assert statuses(waiter) == ("no_answer", None)
        reader.poll(3300 + 3600 - 4000)
        assert waiter.outcome is None
        reader.poll(1)
    assert outcome_of(waiter) == "c-2"


@pytest.mark.parametrize("redials_end", ["busy", "completed"])
def test_a_redial_in_progress_keeps_the_wait_open_beyond_the_time(redials_end: str) -> None:
    """It began before the time was up, so it is waited for."""
    late = row("c-2", 3500, trace_id="t-1", status="in_progress", end_timestamp=None)
    board = Board([row("c-1", trace_id="t-1", status="busy"), late])
    with reading(board) as reader:
        waiter = reader.join("t-1", endings=HOUR)
        reader.poll(4000)
        assert waiter.outcome is None
        late |= {"status": redials_end, "end_timestamp": late["start_timestamp"] + 600_000}
        reader.poll(4000)
    assert outcome_of(waiter) == "c-2"


@TRACES
@pytest.mark.parametrize("named", ["trace_id", "conversation_id"])
def test_another_waiter_s_call_to_the_person_is_no_redial(named: str, in_list: bool, world: Any) -> None:
    """Neither while it continues, nor when it is over, nor after its waiter has left."""
    w = world(trace_id_in_list=in_list)
    call = w.place("01")
    waiter = w.join(call, endings=HOUR)
    w.poll(60)
    theirs = w.place("01")
    fields = (
        {"trace_id": theirs.trace_id} if named == "trace_id" else {"conversation_id": theirs.conversation_id}
    )
    other = w.join(since=theirs.starts_at, recipient=number("01"), **fields)
    w.poll(10)
    assert statuses(waiter) == ("no_answer", None)
    w.poll(60)
    assert outcome_of(other) == theirs.conversation_id
    assert waiter.record.conversation_id == call.conversation_id
    w.feed.leave(other)
    w.poll(600)
    assert waiter.record.conversation_id == call.conversation_id
    w.poll(3600)
    assert outcome_of(waiter) == call.conversation_id


@pytest.mark.parametrize("named", ["trace_id", "conversation_id"])
def test_another_waiter_s_call_in_progress_holds_up_nobody(named: str, world: Any) -> None:
    """It is known to be no redial before it is over, if it says whose it is."""
    w = world(trace_id_in_list=True)
    call = w.place("01")
    waiter = w.join(call, endings=HOUR)
    w.poll(60)
    w.sandbox.advance(3600 - 60)
    w.sandbox.advance(29)
    theirs = w.place("01")
    other = w.join(since=theirs.starts_at, **{named: getattr(theirs, named)})
    w.poll()
    assert waiter.outcome is None
    w.poll(1)
    assert outcome_of(waiter) == call.conversation_id
    assert other.record is None


def test_a_lost_receipt_s_call_is_no_redial_either(world: Any) -> None:
    """A conversation that was given by recipient and time is not given again."""
    w = world()
    call = w.place("01")
    waiter = w.join(call, endings=HOUR)
    w.poll(60)
    w.sandbox.advance(600)
    lost = w.join(recipient=number("01"))
    theirs = w.place("01")
    w.poll(100)
    assert outcome_of(lost) == theirs.conversation_id
    w.feed.leave(lost)
    w.poll(3600)
    assert outcome_of(waiter) == call.conversation_id


def test_redials_of_two_calls_to_one_person_are_not_dealt_out(world: Any) -> None:
    """With trace ids of their own nothing tells which is whose: each call ends as its own record did."""
    w = world(platform_redials=1, redial_trace_id="new")
    calls = [w.place("01"), w.place("01")]
    waiters = [w.join(call, endings=HOUR) for call in calls]
    w.poll(30)
    w.poll(4000)
    assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]


def test_two_who_wait_for_one_call_both_see_its_redial(world: Any) -> None:
    """An operator and a sensor with the same trace id end with the same attempt."""
    w = world(platform_redials=1)
    call = w.place("01")
    waiters = [w.join(call, endings=HOUR), w.join(call, endings=HOUR)]
    w.poll(60)
    w.poll(1000)
    assert {outcome_of(waiter) for waiter in waiters} == {w.sandbox.redials[0].conversation_id}


def test_who_does_not_let_it_settle_is_not_held_up(world: Any) -> None:
    """Each waits as it chose."""
    w = world()
    call = w.place("01")
    hasty, patient = w.join(call), w.join(call, endings=HOUR)
    w.poll(60)
    assert outcome_of(hasty) == call.conversation_id
    assert patient.outcome is None


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.ERROR_500_BEFORE, Fault.GARBAGE])
def test_a_later_record_that_cannot_be_read_yet_decides_nothing(fault: Fault, world: Any) -> None:
    """Whose it is, is not known before it was read; it may be somebody else's call."""
    w = world()
    call = w.place("01")
    waiter = w.join(call, endings=HOUR)
    w.poll(60)
    theirs = w.place("01")
    other = w.join(theirs)
    w.sandbox.inject(GET_CONVERSATION, fault, times=2)
    w.poll(60)
    assert waiter.record.conversation_id == call.conversation_id
    w.poll(30)
    w.poll(3600)
    assert [outcome_of(waiter), outcome_of(other)] == [call.conversation_id, theirs.conversation_id]


def test_a_later_record_that_can_never_be_read_holds_the_wait_up_to_its_deadline() -> None:
    """Rather a late end than a wrong one."""
    rows = [row("c-1", status="busy"), row("c-2", 60, status="busy")]
    board = Board(rows, details={"c-1": {"trace_id": "t-1"}, "c-2": Answer(404)})
    with reading(board) as reader:
        waiter = reader.join("t-1", endings=HOUR)
        reader.poll(4000)
    assert waiter.record is not None
    assert waiter.record.conversation_id == "c-1"
    assert waiter.outcome is None


def test_settling_costs_one_detail_for_each_record(world: Any) -> None:
    """However often one looks."""
    w = world(platform_redials=2, redial_trace_id="new", platform_redial_after_seconds=600)
    w.join(w.place("01"), endings=HOUR)
    details = sum(w.poll(30)["details"] for _ in range(60))
    assert details == 3
    assert w.sandbox.now() > NOON
